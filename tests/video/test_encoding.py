import signal
import threading
from functools import partial

import av
import numpy as np
import pytest
import skimage.data

from cvqa.video.encoders import ENCODERS
from cvqa.video.encoding import EncodingError, encode, probe, store_reference
from cvqa.video.photographs import pan_and_zoom
from cvqa.video.vmaf import full_reference_scores


EVERY_ENCODER = pytest.mark.parametrize("encoder", ENCODERS)


@pytest.fixture(scope="module")
def frames():
    from PIL import Image

    return pan_and_zoom(Image.fromarray(skimage.data.astronaut()), (192, 108), 8, seed=3)


@pytest.fixture(scope="module")
def reference(frames, tmp_path_factory):
    return store_reference((frames, 25), tmp_path_factory.mktemp("reference") / "reference.mkv")


def usual(encoder: str) -> dict:
    """The first rate control and bit depth that an encoder has."""
    return {"rate_control": ENCODERS[encoder].rate_controls[0], "bit_depth": ENCODERS[encoder].bit_depths[0]}


def decode(path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def psnr(a, b) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@EVERY_ENCODER
def test_quality_and_size_fall_as_crf_rises(encoder, reference, tmp_path):
    best, worst = ENCODERS[encoder].ladder
    paths = [
        encode(reference, tmp_path / f"{crf}{ENCODERS[encoder].suffix}", encoder, crf, **usual(encoder))
        for crf in (best, (best + worst) // 2, worst)
    ]
    scores = [full_reference_scores(path, reference)["vmaf"] for path in paths]
    sizes = [path.stat().st_size for path in paths]
    assert scores[0] > scores[1] > scores[2] + 5
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize(("encoder", "bit_depth"), [(n, depth) for n in ENCODERS for depth in ENCODERS[n].bit_depths])
def test_file_is_what_was_asked_for(encoder, bit_depth, frames, tmp_path):
    settings = ENCODERS[encoder]
    path = tmp_path / f"a{settings.suffix}"
    asked = usual(encoder) | {"bit_depth": bit_depth}
    encode((frames, 30000 / 1001), path, encoder, settings.ladder[0], **asked)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        assert stream.codec_context.codec.canonical_name == settings.codec
        assert frame.format.name == ("yuv420p" if bit_depth == 8 else "yuv420p10le")
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)
        assert float(stream.average_rate) == pytest.approx(30000 / 1001, rel=1e-3)
        assert not container.streams.audio
    decoded = decode(path)
    assert decoded.shape == frames.shape
    # Frame by frame: the picture of its own time is by far the nearest.
    for i, frame in enumerate(decoded):
        assert np.argmax([psnr(frame, other) for other in frames]) == i


@EVERY_ENCODER
def test_same_call_gives_same_bytes(encoder, reference, tmp_path):
    crf, suffix = ENCODERS[encoder].ladder[1], ENCODERS[encoder].suffix
    paths = [encode(reference, tmp_path / f"{name}{suffix}", encoder, crf, **usual(encoder)) for name in "ab"]
    first, second = (path.read_bytes() for path in paths)
    assert first == second


def test_reference_is_lossless_and_in_limited_range(frames, reference):
    white = np.full((1, 64, 64, 3), 255, np.uint8)
    path = store_reference((white, 25), reference.with_name("white.mkv"))
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).to_ndarray()[:64].max() == 235
    again = store_reference(reference, reference.with_name("again.mkv"))
    assert np.array_equal(decode(again), decode(reference))
    assert psnr(decode(reference), frames) > 33  # nothing lost but colour resolution


def test_odd_sizes_lose_the_last_column_and_row_and_nothing_is_scaled(frames, tmp_path):
    odd = np.ascontiguousarray(frames[:, :101, :151])
    raw = store_reference((odd, 25), tmp_path / "raw.mkv")
    assert np.array_equal(decode(raw), decode(store_reference((odd[:, :100, :150], 25), tmp_path / "even.mkv")))
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:
        stream = container.add_stream("ffv1", 25)
        stream.width, stream.height, stream.pix_fmt = 151, 101, "yuv444p"
        for frame in odd:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    for encoder, settings in ENCODERS.items():
        path = tmp_path / f"{encoder}{settings.suffix}"
        encode(tmp_path / "odd.mkv", path, encoder, settings.ladder[0], **usual(encoder))
        decoded = decode(path)
        assert decoded.shape[1:3] == (100, 150)
        assert psnr(decoded, odd[:, :100, :150]) > 25


def test_10_bit_source_keeps_its_depth_and_tags(frames, tmp_path):
    tags = ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")
    to_pq = ("-vf", "format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc")
    hdr = encode((frames, 25), tmp_path / "hdr.mp4", "x265", 10, bit_depth=10, extra=(*tags, *to_pq))
    assert probe(hdr).is_hdr
    stored = probe(store_reference(hdr, tmp_path / "hdr.mkv"))
    assert (stored.bit_depth, stored.matrix, stored.primaries, stored.transfer) == (10, 9, 9, 16)


def test_untagged_small_file_is_tagged_bt601(frames, tmp_path):
    with av.open(str(tmp_path / "plain.mkv"), "w") as container:
        stream = container.add_stream("ffv1", 25)
        stream.width, stream.height, stream.pix_fmt = 192, 108, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frames[0], format="rgb24")))
        container.mux(stream.encode())
    assert probe(tmp_path / "plain.mkv").matrix == 2
    assert probe(store_reference(tmp_path / "plain.mkv", tmp_path / "tagged.mkv")).matrix == 6


@pytest.mark.parametrize(
    "name", ["a b.mp4", "it's 50%d.mp4", 'q"[x],;=.mp4', "a:b.mp4", "-i.mp4", "ü 映画.mp4", "b\\s.mp4"]
)
def test_odd_file_names(name, frames, tmp_path):
    source = store_reference((frames[:2], 25), (tmp_path / name).with_suffix(".mkv"))
    encoded = encode(source, tmp_path / name, "x264", 30)
    assert len(decode(encoded)) == 2
    assert full_reference_scores(encoded, source)["vmaf"] > 50


def test_relative_names(frames, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = store_reference((frames[:2], 25), "ref.mkv")
    encode(source, "folder/out.mp4", "x264", 30)
    assert full_reference_scores("folder/out.mp4", "ref.mkv")["frames"] == 2


def test_key_frame_distance_rate_and_first_frames(reference, tmp_path):
    path = encode(reference, tmp_path / "a.mp4", "x264", 30, gop=2, fps=10)
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    assert sum(frame.key_frame for frame in decoded) == 4
    assert [float(frame.pts * frame.time_base) for frame in decoded] == pytest.approx(np.arange(8) / 10)
    assert len(decode(store_reference(reference, tmp_path / "b.mkv", max_frames=3))) == 3


@pytest.mark.parametrize("encoder", [name for name in ENCODERS if "bitrate" in ENCODERS[name].rate_controls])
def test_size_follows_the_bit_rate(encoder, reference, tmp_path):
    settings = ENCODERS[encoder]
    paths = [
        encode(
            reference,
            tmp_path / f"{rate}{settings.suffix}",
            encoder,
            rate,
            rate_control="bitrate",
            bit_depth=settings.bit_depths[0],
        )
        for rate in (30, 400)
    ]
    small, large = (path.stat().st_size for path in paths)
    assert large > 1.5 * small  # eight frames are too few to meet it


@pytest.mark.parametrize("encoder", ["x264", "x265"])
def test_a_quantizer_means_the_same_at_8_and_10_bit(encoder, reference, tmp_path):
    eight, ten = (
        encode(reference, tmp_path / f"{depth}.mp4", encoder, 34, rate_control="qp", bit_depth=depth)
        for depth in (8, 10)
    )
    assert ten.stat().st_size == pytest.approx(eight.stat().st_size, rel=0.1)


def test_scaled_before_encoding(frames, reference, tmp_path):
    small, soft = (
        encode(reference, tmp_path / f"{scaler}.mp4", "x264", 5, size=(96, 54), scaler=scaler)
        for scaler in ("lanczos", "area")
    )
    assert decode(small).shape == (8, 54, 96, 3)
    assert not np.array_equal(decode(small), decode(soft))
    back = encode(small, tmp_path / "back.mp4", "x264", 5, size=(192, 108))
    for i, frame in enumerate(decode(back)):
        assert np.argmax([psnr(frame, other) for other in frames]) == i


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_second_frame_at_half_the_rate(encoder, frames, reference, tmp_path):
    path = tmp_path / f"half{ENCODERS[encoder].suffix}"
    encode(reference, path, encoder, ENCODERS[encoder].ladder[0], frame_step=2, fps=30, **usual(encoder))
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    assert [float(frame.pts * frame.time_base) for frame in decoded] == pytest.approx(np.arange(4) / 15, abs=2e-3)
    for i, frame in enumerate(decoded):
        assert np.argmax([psnr(frame.to_ndarray(format="rgb24"), other) for other in frames]) == 2 * i


def test_unreadable_sources_are_named_with_the_reason(frames, tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    whole = encode((frames, 25), tmp_path / "whole.mp4", "x264", 30).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", 44100)
        container.mux(stream.encode(None))
    for name in ("text.mp4", "empty.mp4", "cut.mp4", "sound.mp4", "missing.mp4"):
        with pytest.raises(EncodingError, match=name) as caught:
            encode(tmp_path / name, tmp_path / "out.mp4", "x264", 30)
        assert caught.value.path.endswith(name) and len(caught.value.reason) > 5
    assert not (tmp_path / "out.mp4").exists()


def test_failure_leaves_the_old_target_and_no_other_file(reference, tmp_path):
    target = encode(reference, tmp_path / "a.mp4", "x264", 50)
    before = target.read_bytes()
    with pytest.raises(EncodingError, match=r"x264: .*no_such_profile") as caught:
        encode(reference, target, "x264", 20, extra=("-profile:v", "no_such_profile"))
    assert caught.value.encoder == "x264"
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals to interrupt an encode")
def test_interrupt_leaves_no_file(tmp_path, request):
    # A test run in the background of a shell ignores Ctrl-C.
    request.addfinalizer(partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    noise = np.random.default_rng(0).integers(0, 256, (40, 360, 640, 3), np.uint8)
    timer = threading.Timer(0.7, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        encode((noise, 25), tmp_path / "a.mp4", "x265", 1, preset="placebo")
    assert list(tmp_path.iterdir()) == []


def test_arguments_out_of_range_are_refused(frames, tmp_path):
    source, target = (frames, 25), tmp_path / "a.mp4"
    with pytest.raises(ValueError, match="known: x264, x265"):
        encode(source, target, "xvid", 30)
    with pytest.raises(ValueError, match="0 to 51 of x264"):
        encode(source, target, "x264", 52)
    with pytest.raises(ValueError, match="no preset 'quick'"):
        encode(source, target, "x264", 30, preset="quick")
    with pytest.raises(ValueError, match="8 or 10"):
        encode(source, target, "x264", 30, bit_depth=12)
    with pytest.raises(ValueError, match="no rate control 'qp'; it has crf, bitrate"):
        encode(source, target, "vp9", 30, rate_control="qp")
    with pytest.raises(ValueError, match="above 0 kbit/s"):
        encode(source, target, "x264", 0, rate_control="bitrate")
    with pytest.raises(ValueError, match="two even numbers"):
        encode(source, target, "x264", 30, size=(95, 54))
    with pytest.raises(ValueError, match="frame_step"):
        encode(source, target, "x264", 30, frame_step=0)
    with pytest.raises(EncodingError, match=r"x264: .*sharpest"):
        encode(source, target, "x264", 30, size=(96, 54), scaler="sharpest")
    with pytest.raises(ValueError, match="uint8"):
        encode((frames / 255, 25), target, "x264", 30)
