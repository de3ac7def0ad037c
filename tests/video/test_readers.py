"""Whoever decodes, frames are the same: a backend that would give others hands the file over to PyAV, and says so."""

import importlib.util
import io
import logging
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from barcode import CLIPS, FRAMES, clip_maker, draw_frames, ffmpeg, read_numbers, write_clip

from cvqa.video import VideoError, VideoReader


needs_decord = pytest.mark.skipif(not importlib.util.find_spec("decord"), reason="decord is not installed")

# Of all kinds of clips, those that decord reads exactly.
DECORD_READS = ["h264.mp4", "h264.mkv", "h264-faststart.mp4", "h264-fragmented.mp4", "vp9.webm", "vp9.mp4"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_maker(tmp_path_factory.mktemp("clips"))


@pytest.mark.parametrize("backend", ["auto", "pyav"])
def test_pyav_is_the_default(clip, backend):
    with VideoReader(clip("hevc.ts"), backend=backend) as reader:
        assert reader.backend == "pyav"
        assert read_numbers(reader.get_batch([30, 3, 3])) == [30, 3, 3]


@needs_decord
@pytest.mark.parametrize("name", DECORD_READS)
def test_decord_reads_what_is_safe(clip, name, caplog):
    order = np.random.default_rng(0).permutation(FRAMES)
    with VideoReader(clip(name), backend="decord") as reader, VideoReader(clip(name)) as expected:
        assert reader.backend == "decord"
        assert not caplog.text
        frames = reader.get_batch(order)
        assert read_numbers(frames) == order.tolist()
        np.testing.assert_array_equal(frames, expected.get_batch(order))
        np.testing.assert_array_equal(reader.timestamps, expected.timestamps)
        for name in ("fps", "duration", "width", "height", "codec", "bit_depth", "transfer"):
            assert getattr(reader, name) == getattr(expected, name)
        assert reader.get_batch([]).shape == (0, 96, 128, 3)
        with pytest.raises(IndexError):
            reader.get_batch([-1])


@needs_decord
@pytest.mark.parametrize("name", [name for name in CLIPS if name not in DECORD_READS])
def test_what_decord_gets_wrong_is_handed_over(clip, name, caplog):
    order = np.random.default_rng(0).permutation(FRAMES)
    with caplog.at_level(logging.WARNING), VideoReader(clip(name), backend="decord") as reader:
        assert read_numbers(reader.get_batch(order)) == order.tolist()
        if reader.backend == "pyav":
            assert f"{name}: decord is not safe here (" in caplog.text
        else:  # what it cannot be shown to get wrong it may read
            assert not caplog.text


@needs_decord
@pytest.mark.parametrize(
    "name, reason",
    [
        ("h264-open.mp4", "open groups of pictures"),
        ("hevc.mp4", "open groups of pictures"),
        ("mpeg4.mp4", "open groups of pictures"),
        ("h264.ts", "not tried in the format mpegts"),
        ("h264.avi", "not tried in the format avi"),
        ("av1.mp4", "AV1"),
        ("vp9-10bit.webm", "10 bit"),
    ],
)
def test_the_reason_for_handing_over(clip, name, reason, caplog):
    with caplog.at_level(logging.WARNING), VideoReader(clip(name), backend="decord") as reader:
        assert reader.backend == "pyav"
        assert f"({reason}" in caplog.text


@needs_decord
def test_edited_mirrored_and_odd_files_are_handed_over(clip, tmp_path):
    ffmpeg("-ss", 0.7, "-i", clip("h264.mp4"), "-c", "copy", tmp_path / "edited.mp4")
    ffmpeg("-display_hflip", "-i", clip("h264.mp4"), "-c", "copy", tmp_path / "mirrored.mp4")
    write_clip(tmp_path / "odd.webm", *CLIPS["vp9.webm"], frames=draw_frames(5, width=101))
    for path in tmp_path.iterdir():
        with VideoReader(path, backend="decord") as reader, VideoReader(path) as expected:
            assert reader.backend == "pyav"
            np.testing.assert_array_equal(reader.get_batch([4]), expected.get_batch([4]))


@needs_decord
def test_rotated_video_is_upright_with_decord(clip, tmp_path):
    ffmpeg("-display_rotation", 90, "-i", clip("h264.mp4"), "-c", "copy", tmp_path / "phone.mp4")
    with (
        VideoReader(tmp_path / "phone.mp4", backend="decord") as reader,
        VideoReader(tmp_path / "phone.mp4") as expected,
    ):
        assert reader.backend == "decord"
        assert (reader.width, reader.height) == (96, 128)
        np.testing.assert_array_equal(reader.get_batch([7, 30]), expected.get_batch([7, 30]))


@needs_decord
def test_only_files_are_given_to_decord(clip):
    with VideoReader(io.BytesIO(clip("h264.mp4").read_bytes()), backend="decord") as reader:
        assert reader.backend == "pyav"
        assert read_numbers(reader.get_batch([12])) == [12]


@pytest.mark.parametrize("backend, way_out", [("decord", "pip install decord"), ("torchcodec", r"cvqa\[torchcodec\]")])
def test_a_missing_backend_is_told_with_the_way_out(clip, monkeypatch, backend, way_out):
    for module in (backend, f"{backend}.decoders"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=way_out):
        VideoReader(clip("h264.mp4"), backend=backend)


def test_torchcodec(clip):
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"torchcodec is not usable here: {error}")
    for name in (
        "hevc.mp4",
        "h264-open.mp4",
        "av1.mp4",
        "vp9.webm",
        "hevc-10bit.mp4",
        "h264.ts",
        "h264-intrarefresh.mkv",
    ):
        with VideoReader(clip(name), backend="torchcodec") as reader:
            assert read_numbers(reader.get_batch([33, 2, 17, 38])) == [33, 2, 17, 38]


def test_an_unknown_backend(clip):
    with pytest.raises(ValueError, match="unknown backend 'opencv'; choose from auto, pyav, decord, torchcodec"):
        VideoReader(clip("h264.mp4"), backend="opencv")


@pytest.mark.parametrize("backend", ["auto", pytest.param("decord", marks=needs_decord)])
def test_errors_are_the_same_for_every_backend(clip, tmp_path, backend):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text\.mp4: not a video file"):
        VideoReader(tmp_path / "text.mp4", backend=backend)
    with VideoReader(clip("h264.mp4"), backend=backend) as reader:
        pass
    with pytest.raises(VideoError, match="the reader is closed"):
        reader.get_batch([0])


def _numbers_in_a_worker(path: Path) -> list[int]:
    with VideoReader(path) as reader:
        return read_numbers(reader.get_batch([39, 0]))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_forked_workers_open_their_own(clip):
    with VideoReader(clip("hevc.mp4")) as reader:
        reader.get_batch([20])  # its threads run as the workers are forked
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(_numbers_in_a_worker, [clip("hevc.mp4")] * 4) == [[39, 0]] * 4


def test_a_reader_left_open_at_the_end_of_the_program_is_quiet(clip):
    script = (
        "import sys; from cvqa.video import VideoReader; r = VideoReader(sys.argv[1]); print(r.get_batch([1]).shape)"
    )
    done = subprocess.run([sys.executable, "-c", script, clip("h264.mp4")], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("(1, ") and done.stderr == ""
