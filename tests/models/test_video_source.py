"""Of a file that is damaged, cut short or no video, the sound frames are read, or the reason told why not."""

import logging
from pathlib import Path

import av
import numpy as np
import pytest
from barcode import FRAMES, clip_maker, ffmpeg, read_numbers, sequential_frames

from cvqa.models.video_reader import VideoError, VideoReader


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_maker(tmp_path_factory.mktemp("clips"))


@pytest.mark.parametrize(
    "name",
    ["h264.mkv", "h264.ts", "h264-fragmented.mp4", "h264-faststart.mp4", "h264.h264", "hevc.ts", "hevc.hevc",
     "hevc.mkv", "vp9.webm", "vp9.ivf", "av1.ivf", "av1.webm", "mpeg2video.ts", "mpeg4.avi", "rawvideo.y4m"],
)  # fmt: skip
def test_a_file_cut_short_gives_the_frames_that_are_whole(clip, tmp_path, name):
    data = clip(name).read_bytes()
    whole = {frame.tobytes(): number for number, frame in enumerate(sequential_frames(clip(name)))}
    for part in (0.4, 0.55, 0.71, 0.93):
        path = tmp_path / f"{part}-{name}"
        path.write_bytes(data[: int(len(data) * part)])
        with VideoReader(path) as reader:
            # One by one and backwards: what is promised must be there, and unharmed.
            numbers = [whole[reader.get_batch([index])[0].tobytes()] for index in reversed(range(len(reader)))]
            assert reader.damaged or not name.endswith(("mp4", "mkv", "webm", "avi"))  # which tell their length
        assert numbers == sorted(set(numbers), reverse=True)
        decodable = {frame.tobytes() for frame in sequential_frames(path)}.intersection(whole)
        assert len(decodable) - 1 <= len(numbers) < FRAMES


@pytest.mark.parametrize("name", ["h264.mkv", "av1.webm"])
def test_a_whole_file_of_known_or_unknown_length_is_not_taken_for_a_cut_one(clip, tmp_path, name):
    live = tmp_path / name
    ffmpeg("-i", clip(name), "-c", "copy", "-live", "1", live)  # as a recording that could not tell its length
    for path in (clip(name), live):
        with VideoReader(path) as reader:
            assert not reader.damaged and len(reader) == FRAMES


def test_a_cut_file_is_warned_of(clip, tmp_path, caplog):
    data = clip("h264-faststart.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with caplog.at_level(logging.WARNING), VideoReader(tmp_path / "cut.mp4") as reader:
        assert f"cut.mp4: damaged or cut short; {len(reader)} frames can be decoded" in caplog.text


def overwrite(source: Path, target: Path, positions: list[int]) -> list[int]:
    """Copy a clip with half of each packet at `positions`, in decoding order, overwritten; numbers of their frames."""
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [(round(packet.pts / 40), bytes(packet)) for packet in container.demux(video=0) if packet.size]
    for position in positions:
        payload = packets[position][1]
        start = data.index(payload) + len(payload) // 4
        data[start : start + len(payload) // 2] = b"\x55" * (len(payload) // 2)
    target.write_bytes(data)
    return [packets[position][0] for position in positions]


@pytest.fixture(scope="module")
def damaged(clip, tmp_path_factory) -> tuple[Path, int]:
    """A clip with a key frame every 12, of which one in the second dozen is damaged, and the number of that one."""
    path = tmp_path_factory.mktemp("damaged") / "damaged.mkv"
    return path, overwrite(clip("h264.mkv"), path, [16])[0]


def test_a_damaged_frame_is_refused_and_the_others_are_read(damaged):
    path, number = damaged
    with VideoReader(path) as reader:
        assert len(reader) == FRAMES
        assert read_numbers(reader.get_batch([0, 5, 30])) == [0, 5, 30]
        with pytest.raises(VideoError, match=rf"damaged.mkv: frame {number} is damaged .*verify=True"):
            reader.get_batch([3, number])
        assert read_numbers(reader.get_batch([38, 2])) == [38, 2]


def test_verify_counts_only_sound_frames(damaged, clip):
    path, number = damaged
    with VideoReader(path, verify=True) as reader:
        numbers = read_numbers(reader.get_batch(range(len(reader))))
        assert number not in numbers
        assert set(range(12)) | set(range(24, FRAMES)) <= set(numbers)
        np.testing.assert_allclose(reader.timestamps, np.array(numbers) / 25, atol=1e-3)
    with VideoReader(clip("h264.mkv"), verify=True) as reader:
        assert len(reader) == FRAMES


def test_damage_in_many_places_hits_what_follows_each(clip, tmp_path):
    whole = {frame.tobytes(): number for number, frame in enumerate(sequential_frames(clip("h264.mkv")))}
    for places in ([14, 20, 30], [13, 28, 29, 38], [3, 12, 31]):
        overwrite(clip("h264.mkv"), tmp_path / "damaged.mkv", places)
        with VideoReader(tmp_path / "damaged.mkv", verify=True) as reader:
            numbers = [whole[frame.tobytes()] for frame in reader.get_batch(range(len(reader)))]
            assert numbers == sorted(numbers)
            assert len(places) <= FRAMES - len(numbers)


def write_files(folder: Path, clip) -> None:
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no video\n" * 50)
    (folder / "notes.txt").write_text("this is no video\n" * 50)
    (folder / "frames.yuv").write_bytes(b"\x80" * 64 * 64 * 15)
    (folder / "half.mp4").write_bytes(clip("h264.mp4").read_bytes()[:9000])
    head = clip("h264-fragmented.mp4").read_bytes()
    (folder / "nothing.mp4").write_bytes(head[: head.index(b"moof") - 4])
    ffmpeg("-f", "lavfi", "-i", "sine=440:d=0.5", "-c:a", "aac", folder / "sound.m4a")
    ffmpeg("-f", "lavfi", "-i", "sine=440:d=0.5", folder / "sound.wav")
    (folder / "unknown.mkv").write_bytes(clip("h264.mkv").read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ"))


@pytest.mark.parametrize(
    "name, reason",
    [
        ("missing.mp4", "no such file"),
        (".", "not a file"),
        ("empty.mp4", "the file is empty"),
        ("text.mp4", "not a video file"),
        ("notes.txt", "no video stream"),
        ("frames.yuv", "raw video does not tell its size; put it into the name"),
        ("half.mp4", r"its index \(moov\) is missing"),
        ("nothing.mp4", "holds no frame"),
        ("sound.m4a", "no video stream, only audio"),
        ("sound.wav", "no video stream, only audio"),
        ("unknown.mkv", "its codec is unknown here"),
    ],
)
def test_an_unreadable_file_is_refused_in_one_line_of_name_and_reason(clip, tmp_path, name, reason):
    write_files(tmp_path, clip)
    with pytest.raises(VideoError, match=reason) as caught:
        VideoReader(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {caught.value.reason}"
    assert caught.value.path == str(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to count open files and threads")
def test_nothing_stays_open(clip, tmp_path):
    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))

    write_files(tmp_path, clip)
    names = [clip("h264.mp4"), clip("hevc.ts"), clip("h264.avi"), *tmp_path.iterdir()]
    counts = []
    for _ in range(3):
        for name in names:
            try:
                with VideoReader(name) as reader:
                    reader.get_batch([20])
            except VideoError:
                pass
        counts.append(held())
    assert counts[0] == counts[1] == counts[2]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{place}\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "ffconcat version 1.0\nfile {place}\n"),
    ],
)
def test_a_list_of_other_files_is_refused_and_none_of_them_read(clip, tmp_path, name, text):
    (tmp_path / "video.ts").write_bytes(clip("h264.ts").read_bytes())
    for place in ("video.ts", f"file://{tmp_path}/video.ts"):
        (tmp_path / name).write_text(text.format(place=place))
        with pytest.raises(VideoError, match="a playlist, not a video"):
            VideoReader(tmp_path / name)
