import av
import numpy as np
import pytest
import skimage.data
from PIL import Image
from skimage.metrics import structural_similarity

from cvqa.video.encoding import encode, store_reference
from cvqa.video.photographs import pan_and_zoom
from cvqa.video.vmaf import VmafError, full_reference_scores


@pytest.fixture(scope="module")
def frames():
    return pan_and_zoom(Image.fromarray(skimage.data.coffee()), (256, 144), 10, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("vmaf")


@pytest.fixture(scope="module")
def reference(frames, folder):
    return store_reference((frames, 25), folder / "reference.mkv")


@pytest.fixture(scope="module")
def encoded(reference, folder):
    return encode(reference, folder / "encoded.mp4", "x264", 36)


def test_reference_against_itself(reference):
    scores = full_reference_scores(reference, reference)
    assert 95 < scores["vmaf"] <= 100
    assert scores["psnr"] == 60 and scores["ssim"] == 1
    assert scores["frames"] == 10
    assert scores["model"] == "vmaf_v0.6.1"


def test_scores_of_an_encode(encoded, reference):
    scores = full_reference_scores(encoded, reference)
    assert 0 < scores["vmaf_min"] < scores["vmaf"] < 95
    luma = []
    with av.open(str(encoded)) as first, av.open(str(reference)) as second:
        for a, b in zip(first.decode(video=0), second.decode(video=0)):
            difference = a.to_ndarray()[:144].astype(float) - b.to_ndarray()[:144]
            luma.append(10 * np.log10(255**2 / np.mean(difference**2)))
    assert scores["psnr"] == pytest.approx(np.mean(luma), abs=0.01)
    assert len(scores["vmaf_frames"]) == 10 and min(scores["vmaf_frames"]) == scores["vmaf_min"]
    assert np.mean(scores["vmaf_frames"]) == pytest.approx(scores["vmaf"], abs=1e-3)


def test_ssim_is_that_of_another_implementation(encoded, reference):
    with av.open(str(encoded)) as first, av.open(str(reference)) as second:
        pairs = zip(first.decode(video=0), second.decode(video=0))
        ssim = [structural_similarity(a.to_ndarray()[:144], b.to_ndarray()[:144]) for a, b in pairs]
    # ffmpeg's windows are 8x8 every 4 pixels, skimage's 7x7 at every pixel.
    assert full_reference_scores(encoded, reference)["ssim"] == pytest.approx(np.mean(ssim), abs=0.02)


@pytest.mark.parametrize("step", [2, 3])
def test_a_lower_frame_rate_is_judged_by_the_frames_that_it_has(frames, reference, folder, step):
    encoded = encode(reference, folder / f"every{step}.mp4", "x264", 36, frame_step=step)
    dropped = store_reference((frames[::step], 25), folder / f"dropped{step}.mkv")
    scores = full_reference_scores(encoded, reference, frame_step=step)
    assert scores == full_reference_scores(encoded, dropped)
    with pytest.raises(VmafError, match=rf"has {scores['frames']} frames, but its reference .* has 10$"):
        full_reference_scores(encoded, reference)
    with pytest.raises(VmafError, match=r"has 10 frames, but .* has 10, of which 4 are shown"):
        full_reference_scores(reference, reference, frame_step=3)


def test_frames_are_paired_by_number_whatever_their_times(encoded, reference, folder):
    slow = encode(reference, folder / "slow.mp4", "x264", 36, fps=25)
    with av.open(str(slow)) as source, av.open(str(folder / "late.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts * 3 + 12345, packet.dts * 3 + 12345
                packet.stream = stream
                target.mux(packet)
    assert full_reference_scores(folder / "late.mkv", reference) == full_reference_scores(slow, reference)


def test_a_shift_by_one_frame_is_seen(frames, reference, folder):
    # The first frame twice and the last one left out: as many frames, each one late.
    late = store_reference((np.concatenate([frames[:1], frames[:-1]]), 25), folder / "shifted.mkv")
    assert full_reference_scores(late, reference)["vmaf"] < 90


def test_smaller_encode_is_judged_at_the_size_of_the_reference(frames, reference, folder):
    quarters = np.stack([np.asarray(Image.fromarray(f).resize((64, 36), Image.Resampling.LANCZOS)) for f in frames])
    small = store_reference((quarters, 25), folder / "small.mkv")
    scaled = full_reference_scores(small, reference)["vmaf"]
    assert 20 < scaled < 90


def test_8_and_10_bit_are_comparable(encoded, reference, folder):
    fine = encode(reference, folder / "fine.mp4", "x265", 12, bit_depth=10)
    assert full_reference_scores(fine, reference)["vmaf"] > 90
    ten = store_reference(encode(reference, folder / "lossless.mp4", "x265", 0, bit_depth=10), folder / "ten.mkv")
    eight = full_reference_scores(encoded, reference)["vmaf"]
    assert full_reference_scores(encoded, ten)["vmaf"] == pytest.approx(eight, abs=1.5)


def test_other_models(encoded, reference):
    scores = full_reference_scores(encoded, reference, model="vmaf_v0.6.1neg")
    assert scores["model"] == "vmaf_v0.6.1neg"
    assert scores["vmaf"] <= full_reference_scores(encoded, reference)["vmaf"]
    with pytest.raises(VmafError, match="no model 'vmaf_v9'"):
        full_reference_scores(encoded, reference, model="vmaf_v9")
    with pytest.raises(ValueError, match="not the name"):
        full_reference_scores(encoded, reference, model="a:log_path=/etc/passwd")


def test_different_frame_counts_are_refused(encoded, frames, reference, folder):
    shorter = store_reference((frames[:7], 25), folder / "shorter.mkv")
    with pytest.raises(VmafError, match=r"shorter\.mkv: has 7 frames, but its reference .* has 10"):
        full_reference_scores(shorter, reference)
    with pytest.raises(VmafError, match=r"has 10 frames, but its reference .* has 7"):
        full_reference_scores(encoded, shorter)


def test_unreadable_files_are_named_with_the_reason(encoded, reference, folder):
    (folder / "text.mp4").write_text("not a video")
    with pytest.raises(VmafError, match=r"text\.mp4: Invalid data"):
        full_reference_scores(folder / "text.mp4", reference)
    with pytest.raises(VmafError, match=r"encoded\.mp4: its reference .*gone\.mkv No such file"):
        full_reference_scores(encoded, folder / "gone.mkv")


def test_damaged_encode_is_refused(reference, folder):
    path = encode(reference, folder / "damaged.mp4", "svtav1", 36)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data)
    with pytest.raises(VmafError, match=r"damaged\.mp4 is damaged"):
        full_reference_scores(path, reference)


def test_hdr_is_refused(frames, reference, folder):
    to_pq = ("-vf", "format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc")
    hdr = encode((frames, 25), folder / "hdr.mp4", "x265", 20, bit_depth=10, extra=to_pq)
    with pytest.raises(VmafError, match="HDR"):
        full_reference_scores(hdr, reference)
