"""Raw planar video: the frames that a container of the same samples gives, from wherever in the file."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from real_clips import panned

from cvqa import InternVideo2VideoProcessor
from cvqa.models.raw_video_source import RawFormat, raw_format
from cvqa.video import VideoError, VideoReader


def write_both(folder: Path, width: int, height: int, pixel_format: str, name: str) -> tuple[Path, Path]:
    """The same samples as Matroska (lossless) and as a raw file."""
    frames = panned(20, width, height)
    container, raw = folder / "clip.mkv", folder / name
    as_rgb = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "30", "-i", "-")
    ffmpeg = (imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y")
    for target, codec in ((container, "ffv1"), (raw, "rawvideo")):
        options = ("-pix_fmt", pixel_format, "-c:v", codec, *(("-f", "rawvideo") if codec == "rawvideo" else ()))
        subprocess.run([*ffmpeg, *as_rgb, *options, str(target)], input=frames.tobytes(), check=True)
    return container, raw


@pytest.mark.parametrize(
    "width, height, pixel_format, name",
    [
        (96, 64, "yuv420p", "Bookcase_96x64_30fps_HEVC_QP22.yuv"),
        (97, 63, "yuv420p", "odd_97x63_30fps.yuv"),
        (96, 64, "yuv420p10le", "deep_96x64_30fps_10bit.yuv"),
    ],
)
def test_frames_equal_those_of_a_container(tmp_path, width, height, pixel_format, name):
    container, raw = write_both(tmp_path, width, height, pixel_format, name)
    with VideoReader(container) as expected, VideoReader(raw) as reader:
        assert (len(reader), reader.width, reader.height) == (20, width, height)
        assert (reader.fps, reader.duration) == pytest.approx((30, 20 / 30))
        np.testing.assert_allclose(reader.timestamps, np.arange(20) / 30)
        assert reader.bit_depth == (10 if "10" in pixel_format else 8) and not reader.damaged
        indices = [19, 0, 7, 7, 3, 12]
        assert np.array_equal(reader.get_batch(indices), expected.get_batch(indices))


def test_the_processor_takes_raw_video(tmp_path):
    container, raw = write_both(tmp_path, 96, 64, "yuv420p", "clip_96x64_30fps.yuv")
    processor = InternVideo2VideoProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    pixels = [processor(str(path), return_tensors="pt")["pixel_values_videos"] for path in (container, raw)]
    assert pixels[0].equal(pixels[1])


def test_a_raw_file_cut_within_a_frame_is_damaged(tmp_path):
    _, raw = write_both(tmp_path, 96, 64, "yuv420p", "clip_96x64_30fps.yuv")
    raw.write_bytes(raw.read_bytes()[:-100])
    with VideoReader(raw) as reader:
        assert reader.damaged and len(reader) == 19


@pytest.mark.parametrize(
    "name, expected",
    [
        ("BallUnderWater_1920x1080_60fps_HEVC_QP22.yuv", RawFormat(1920, 1080, 60, 8)),
        ("Lamp_3840x2160_59.94Hz_10bits.yuv", RawFormat(3840, 2160, 59.94, 10)),
        ("a_416x240_50_yuv420p10.yuv", RawFormat(416, 240, 25, 10)),
        ("x264_352x288.yuv", RawFormat(352, 288, 25, 8)),
        ("clip_60fps.yuv", None),
    ],
)
def test_what_a_name_tells(name, expected):
    assert raw_format(name) == expected


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("clip.yuv", b"\x80" * 6144, "does not tell its size; put it into the name"),
        ("clip_64x64.yuv", b"", "the file is empty"),
        ("clip_64x64.yuv", b"\x80" * 100, "100 bytes are less than one frame of 64x64"),
        ("clip_64x64_9bit.yuv", b"\x80" * 100, "9 bit at 25 fps, as its name tells, is not supported"),
        ("missing_64x64.yuv", None, "no such file"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=reason) as error:
        VideoReader(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))
