"""The reader gives exactly the frames that a player shows, of any file, at any index; or says why not."""

import functools
import http.server
import io
import os
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from barcode import (
    CLIPS,
    FRAMES,
    clip_maker,
    draw_frames,
    ffmpeg,
    read_number,
    read_numbers,
    sequential_frames,
    write_clip,
)

from cvqa.models.video_reader import VideoError, VideoReader


H264 = CLIPS["h264.mp4"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_maker(tmp_path_factory.mktemp("clips"))


# Every frame of every kind of file


@pytest.mark.parametrize("name", CLIPS)
def test_every_index_in_random_order_gives_its_frame(clip, name):
    indices = np.random.default_rng(0).permutation(np.repeat(np.arange(FRAMES), 2))
    with VideoReader(clip(name)) as reader:
        assert len(reader) == FRAMES
        numbers = [
            n for part in np.split(indices, range(5, len(indices), 5)) for n in read_numbers(reader.get_batch(part))
        ]
        assert numbers == indices.tolist()
        np.testing.assert_allclose(reader.timestamps - reader.timestamps[0], np.arange(FRAMES) / 25, atol=1e-3)
        assert reader.fps == pytest.approx(25, abs=0.05)
        assert reader.duration == pytest.approx(FRAMES / 25, abs=2e-3)
        assert (reader.width, reader.height) == (128, 96)
        assert reader.codec == name.split(".")[0].split("-")[0]
        assert reader.bit_depth == (10 if "10bit" in name else 8)


@pytest.mark.parametrize(
    "name", ["h264-open.mp4", "h264-manyrefs.mkv", "h264-intrarefresh.mkv", "hevc-10bit.mp4", "av1.ivf"]
)
def test_frames_after_a_jump_equal_those_of_a_whole_decode(clip, name):
    expected = sequential_frames(clip(name))
    with VideoReader(clip(name)) as reader:
        for index in np.random.default_rng(1).permutation(FRAMES):
            np.testing.assert_array_equal(reader.get_batch([index])[0], expected[index])


def test_reordering_that_begins_late_in_a_format_without_times_of_presentation(tmp_path):
    write_clip(tmp_path / "first.h264", *H264, "-bf", 0, frames=draw_frames(10))
    write_clip(tmp_path / "second.h264", *H264, frames=draw_frames(20, first=10))
    data = (tmp_path / "first.h264").read_bytes() + (tmp_path / "second.h264").read_bytes()
    ffmpeg("-f", "h264", "-r", 25, "-i", "-", "-c", "copy", tmp_path / "joined.avi", stdin=data)
    with VideoReader(tmp_path / "joined.avi") as reader:
        assert read_numbers(reader.get_batch(range(len(reader)))) == list(range(30))


def test_timestamps_are_those_of_the_file(clip):
    with VideoReader(clip("h264-late.mp4")) as reader:
        assert reader.timestamps[0] == pytest.approx(10)
        with pytest.raises(ValueError, match="read-only"):
            reader.timestamps[0] = 0


def test_variable_frame_rate(clip, tmp_path):
    kept = [0, 1, 2, 10, 11, 25, 26, 27, 39]
    choose = "+".join(f"eq(n,{number})" for number in kept)
    for name in ("vfr.mkv", "vfr.mp4"):
        ffmpeg("-i", clip("h264.mp4"), "-vf", f"select='{choose}'", "-fps_mode", "passthrough", *H264, tmp_path / name)
        with VideoReader(tmp_path / name) as reader:
            assert read_numbers(reader.get_batch(range(len(reader)))) == kept
            np.testing.assert_allclose(reader.timestamps, np.array(kept) / 25, atol=1e-3)


def test_frames_cut_by_an_edit_list_are_not_counted(clip, tmp_path):
    ffmpeg("-ss", 0.7, "-i", clip("h264-open.mp4"), "-c", "copy", tmp_path / "edit.mp4")
    with VideoReader(tmp_path / "edit.mp4") as reader:
        first = read_number(reader.get_batch([0])[0])
        assert first in {17, 18}
        order = np.random.default_rng(0).permutation(len(reader))
        assert read_numbers(reader.get_batch(order)) == (first + order).tolist()
        assert first + len(reader) == FRAMES
        assert reader.timestamps[0] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
    "source, target", [("hevc.mp4", "cut.mkv"), ("hevc.mp4", "cut.mp4"), ("h264-open.mp4", "cut.mkv")]
)
def test_pictures_that_lead_the_first_key_frame_without_what_they_refer_to_are_not_counted(
    clip, tmp_path, source, target
):
    with av.open(str(clip(source))) as whole, av.open(str(tmp_path / target), "w") as part:
        stream = whole.streams.video[0]
        copy = part.add_stream_from_template(stream)
        packets = [packet for packet in whole.demux(stream) if packet.size]
        second_key = [position for position, packet in enumerate(packets) if packet.is_keyframe][1]
        start, shown_from = packets[second_key].dts, round(packets[second_key].pts * packets[second_key].time_base * 25)
        for packet in packets[second_key:]:
            packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copy
            part.mux(packet)
    with VideoReader(tmp_path / target) as reader:
        assert read_numbers(reader.get_batch(range(len(reader)))) == list(range(shown_from, FRAMES))


def test_streams_joined_without_regard_to_their_times(clip, tmp_path):
    (tmp_path / "join.ts").write_bytes(clip("h264.ts").read_bytes() * 2)
    with VideoReader(tmp_path / "join.ts") as reader:
        order = np.random.default_rng(0).permutation(len(reader))
        numbers = np.empty(len(reader), int)
        numbers[order] = read_numbers(reader.get_batch(order))
        assert (np.diff(reader.timestamps) > 0).all()
    # At the seam it looks as if packets were lost; up to two frames before it are given up.
    assert numbers[-FRAMES:].tolist() == list(range(FRAMES))
    assert numbers[:-FRAMES].tolist() == list(range(len(numbers) - FRAMES))
    assert len(numbers) >= 2 * FRAMES - 2


@pytest.mark.parametrize("name", ["one.mp4", "one.webm", "one.ts", "one.avi", "one.hevc", "one.ivf", "one.y4m"])
def test_a_single_frame(tmp_path, name):
    codecs = {".webm": "vp9.webm", ".hevc": "hevc.hevc", ".ivf": "av1.ivf", ".y4m": "rawvideo.y4m"}
    options = CLIPS[codecs.get(Path(name).suffix, "h264.mp4")]
    with VideoReader(write_clip(tmp_path / name, *options, frames=draw_frames(1, first=77))) as reader:
        assert len(reader) == 1
        assert read_numbers(reader.get_batch([0, 0, 0])) == [77] * 3
        assert reader.fps == pytest.approx(25, rel=0.05)
        assert reader.duration == pytest.approx(0.04, rel=0.05)


@pytest.mark.parametrize(
    "name, options",
    [
        ("vp9.webm", CLIPS["vp9.webm"]),
        ("av1.mp4", CLIPS["av1.mp4"]),
        ("h264.mp4", (*H264, "-pix_fmt", "yuv444p")),
        ("hevc.mp4", (*CLIPS["hevc.mp4"], "-pix_fmt", "yuv444p10le")),
    ],
)
def test_odd_sizes(tmp_path, name, options):
    frames = draw_frames(14, width=133, height=97)
    with VideoReader(write_clip(tmp_path / name, *options, frames=frames)) as reader:
        batch = reader.get_batch(range(14))
        assert batch.shape == (14, 97, 133, 3) == (14, reader.height, reader.width, 3)
        assert read_numbers(batch) == list(range(14))
        assert np.abs(batch[3].astype(int) - frames[3]).mean() < 8  # the far edges, too


@pytest.mark.parametrize(
    "tag, turns", [(("-display_rotation", 90), 1), (("-display_rotation", 180), 2), (("-display_rotation", 270), 3)]
)
def test_rotated_video_is_returned_upright(tmp_path, tag, turns):
    stored = np.rot90(draw_frames(6), -turns, axes=(1, 2))  # as a phone stores it; display turns it back
    write_clip(tmp_path / "stored.mp4", *H264, frames=np.ascontiguousarray(stored))
    ffmpeg(*tag, "-i", tmp_path / "stored.mp4", "-c", "copy", tmp_path / "phone.mp4")
    with VideoReader(tmp_path / "phone.mp4") as reader:
        assert (reader.width, reader.height) == (128, 96)
        assert read_numbers(reader.get_batch(range(6))) == list(range(6))


@pytest.mark.parametrize("tag, axis", [("-display_hflip", 2), ("-display_vflip", 1)])
def test_mirrored_video_is_returned_unmirrored(tmp_path, tag, axis):
    write_clip(tmp_path / "stored.mp4", *H264, frames=np.ascontiguousarray(np.flip(draw_frames(6), axis)))
    ffmpeg(tag, "-i", tmp_path / "stored.mp4", "-c", "copy", tmp_path / "selfie.mp4")
    with VideoReader(tmp_path / "selfie.mp4") as reader:
        assert read_numbers(reader.get_batch(range(6))) == list(range(6))


def test_other_streams_and_cover_pictures_do_not_matter(clip, tmp_path):
    sound, cover = ("-f", "lavfi", "-i", "sine=440:d=1.6"), tmp_path / "cover.png"
    write_clip(cover, frames=draw_frames(1, first=200))
    ffmpeg("-i", cover, *sound, "-i", clip("h264.mp4"), "-map", 0, "-map", 1, "-map", 2, "-c:v", "copy",
           "-disposition:v:0", "attached_pic", tmp_path / "film.mp4")  # fmt: skip
    with VideoReader(tmp_path / "film.mp4") as reader:
        assert read_numbers(reader.get_batch([39, 0, 20])) == [39, 0, 20]


# Colour


@pytest.mark.parametrize(
    "matrix, red, blue",
    [("bt709", 0.2126, 0.0722), ("smpte170m", 0.299, 0.114), ("bt2020nc", 0.2627, 0.0593), (None, 0.299, 0.114)],
)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_tagged_matrix_and_range_are_honoured(tmp_path, matrix, red, blue, full, bits):
    # A flat colour, stored as Y'CbCr without any conversion, so that only the reader's is tested.
    scale = 2 ** (bits - 8)
    y, u, v = 140 * scale, 90 * scale, 170 * scale
    dtype = np.uint8 if bits == 8 else "<u2"
    pixels = np.concatenate([np.full(64 * 64, y), np.full(32 * 32, u), np.full(32 * 32, v)]).astype(dtype)
    tags = [f"range={'pc' if full else 'tv'}"] + ([f"colorspace={matrix}"] if matrix else [])
    pixel_format = "yuv420p" if bits == 8 else "yuv420p10le"
    ffmpeg("-f", "rawvideo", "-pix_fmt", pixel_format, "-s", "64x64", "-i", "-", "-vf", "setparams=" + ":".join(tags),
           "-c:v", "libx264", "-qp", 1, tmp_path / "flat.mp4", stdin=pixels.tobytes())  # fmt: skip
    top = 2**bits - 1
    luma = y / top if full else (y - 16 * scale) / (219 * scale)
    cb, cr = ((c - 128 * scale) / (top if full else 224 * scale) for c in (u, v))
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    with VideoReader(tmp_path / "flat.mp4") as reader:
        shown = reader.get_batch([0])[0, 32, 32]
    np.testing.assert_allclose(shown, np.clip(np.array([r, g, b]) * 255, 0, 255), atol=3 if bits == 8 else 1)


def test_ten_bits_are_kept_until_the_conversion(tmp_path):
    greys = np.arange(500, 512)
    planes = [np.concatenate([np.full(64 * 64, grey), np.full(2 * 32 * 32, 512)]) for grey in greys]
    ffmpeg("-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", "64x64", "-i", "-", "-c:v", "ffv1", tmp_path / "grey.mkv",
           stdin=np.concatenate(planes).astype("<u2").tobytes())  # fmt: skip
    with VideoReader(tmp_path / "grey.mkv") as reader:
        shown = reader.get_batch(range(len(greys)))[:, 32, 32]
    # Had the two low bits been cut off first, errors would reach a whole level.
    np.testing.assert_allclose(shown, np.repeat(((greys - 64) / 876 * 255)[:, None], 3, 1), atol=0.6)


@pytest.mark.parametrize("transfer", ["bt709", "smpte2084", "arib-std-b67"])
def test_transfer_characteristics_are_told(tmp_path, transfer):
    tag = ("-vf", f"setparams=color_trc={transfer}:colorspace=bt2020nc:color_primaries=bt2020")
    with VideoReader(write_clip(tmp_path / "hdr.mp4", *CLIPS["hevc-10bit.mp4"], *tag, frames=draw_frames(3))) as reader:
        assert reader.transfer == transfer


def test_untagged_transfer_is_none(clip):
    with VideoReader(clip("h264.mp4")) as reader:
        assert reader.transfer is None


# The interface


def test_indices(clip):
    with VideoReader(clip("h264.mp4")) as reader:
        assert read_numbers(reader.get_batch(np.array([5, 5, 30, 4]))) == [5, 5, 30, 4]
        assert reader.get_batch([]).shape == (0, 96, 128, 3)
        assert reader.get_batch([0]).dtype == np.uint8
        for wrong in ([-1], [FRAMES], [0, 10**9]):
            with pytest.raises(IndexError, match=r"h264.mp4: .* of 0 to 39"):
                reader.get_batch(wrong)
        for wrong in ([0.5], 3, [[1, 2]], ["1"]):
            with pytest.raises(TypeError, match="flat sequence of integers"):
                reader.get_batch(wrong)


def test_kinds_of_path(clip, tmp_path, monkeypatch):
    path = clip("hevc.mp4")
    for kind in (path, str(path), os.fsencode(path)):
        with VideoReader(kind) as reader:
            assert read_number(reader.get_batch([33])[0]) == 33
            assert reader.path == str(path)
    monkeypatch.chdir(tmp_path)
    for name in ("http: a, b.mp4", "100%03d.mp4", "-i.mp4", "é ß.mp4"):
        Path(name).write_bytes(path.read_bytes())
        with VideoReader(name) as reader:
            assert len(reader) == FRAMES


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.ts", "hevc.hevc", "vp9.webm", "h264.avi"])
def test_a_binary_file_in_memory(clip, name):
    file = io.BytesIO(clip(name).read_bytes())
    with VideoReader(file) as reader:
        assert read_numbers(reader.get_batch([30, 2])) == [30, 2]
    assert not file.closed
    with pytest.raises(VideoError, match="<stream>: cannot be opened as a video"):
        VideoReader(io.BytesIO(b"no video"))


def test_a_url(clip):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(clip("hevc.mp4").parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            with VideoReader(f"{address}/hevc.mp4") as reader:
                assert read_numbers(reader.get_batch([30, 2])) == [30, 2]
            with pytest.raises(VideoError, match=r"/none\.mp4: cannot be opened as a video \(Server returned 404"):
                VideoReader(f"{address}/none.mp4")
        finally:
            server.shutdown()


def test_a_closed_reader_says_so(clip):
    reader = VideoReader(clip("h264.mp4"))
    reader.close()
    reader.close()
    with pytest.raises(VideoError, match=r"h264.mp4: the reader is closed"):
        reader.get_batch([0])
    assert len(reader) == FRAMES


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_reader_inherited_through_fork_is_refused_and_does_not_hang(clip):
    reader = VideoReader(clip("h264.mp4"))
    reader.get_batch([20])
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            reader.get_batch([0])
            answer = "no error"
        except VideoError as error:
            answer = error.reason
        reader.close()
        del reader
        os.write(send, answer.encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        assert "open it in the worker" in pipe.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    assert read_number(reader.get_batch([21])[0]) == 21
    reader.close()
