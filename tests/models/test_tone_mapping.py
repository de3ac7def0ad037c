"""HDR as SDR: the curves against numbers of the Recommendations, and patches of known luminance through a codec."""

import av
import numpy as np
import pytest
from real_clips import encode, panned

from cvqa.models import InternVideo2VideoProcessor, tone_mapping
from cvqa.models.tone_mapping import eetf, hlg_display_light, light_to_pq, pq_to_light, to_sdr
from cvqa.models.video_reader import VideoError, VideoReader


def test_pq_has_the_values_of_the_recommendation():
    # ITU-R BT.2408-7, table 1 and annex: 100, 203, 1000 and 10000 cd/m2 are at 51, 58, 75 and 100% of PQ.
    assert light_to_pq(np.array([0, 100, 203, 1000, 10000])) == pytest.approx([0, 0.508, 0.581, 0.752, 1], abs=5e-4)
    light = np.geomspace(0.001, 10000, 50)
    assert pq_to_light(light_to_pq(light)) == pytest.approx(light, rel=1e-9)


def test_hlg_has_the_values_of_the_recommendation():
    # ITU-R BT.2408-7, table 1, on a display of 1000 cd/m2: 75% of HLG is 203 cd/m2, 38% is 26 (18% grey).
    greys = np.repeat(np.array([[0, 0.38, 0.75, 1]]).T[:, None], 3, axis=2)
    light = hlg_display_light(np.rint(greys * 65535).astype(np.uint16))[:, 0, 0]
    assert light == pytest.approx([0, 26, 203, 1000], rel=0.02, abs=1e-6)


def test_the_curve_leaves_the_dark_and_meets_the_peaks_smoothly():
    light = np.geomspace(0.01, 10000, 4000)
    mapped = eetf(light, 1000)
    assert (np.diff(mapped) >= -1e-9).all() and mapped[-1] == pytest.approx(100)
    assert mapped[light < 25] == pytest.approx(light[light < 25], rel=1e-6)
    assert eetf(np.array([203.0, 1000.0, 4000.0]), 1000) == pytest.approx([88, 100, 100], abs=1)
    slopes = np.diff(np.log(mapped)) / np.diff(np.log(light))
    assert slopes[light[:-1] < 900].max() < 1 + 1e-3 and np.abs(np.diff(slopes[light[:-1] < 900])).max() < 0.02
    assert eetf(np.array([50.0, 500.0]), 100).tolist() == [50, 100], "nothing to compress but what is above"


def test_colours_in_bt709_come_through_in_their_hue():
    linear = np.array([[[0.2, 0.05, 0.01], [0.01, 0.08, 0.2], [0.1, 0.1, 0.1]]])  # of 100 cd/m2: below the knee
    in_2020 = np.clip(100 * linear @ np.linalg.inv(tone_mapping.TO_BT709.astype(float)).T, 0, None)
    pixels = np.rint(light_to_pq(in_2020) * 65535).astype(np.uint16)
    assert to_sdr(pixels, "smpte2084").astype(float) == pytest.approx(255 * linear ** (1 / 2.4), abs=1)


NITS = np.array([0.5, 5, 20, 60, 100, 203, 500, 1000])


def patches(signal: np.ndarray) -> np.ndarray:
    """Grey patches side by side of these signals, 0 to 1: (height, width) in 10 bit limited range."""
    return np.repeat(np.rint(64 + 876 * signal).astype("<u2"), 32)[None].repeat(64, 0)


def write_patches(path, luma, transfer, codec="libx265", **options):
    height, width = luma.shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "4", "preset": "ultrafast", **options})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.colorspace, context.color_primaries, context.color_range = transfer, 9, 9, 1
        for _ in range(4):
            frame = av.VideoFrame(width, height, "yuv420p10le")
            for plane, samples in zip(frame.planes, (luma, *[np.full((height // 2, width // 2), 512, "<u2")] * 2)):
                target = np.frombuffer(plane, "<u2").reshape(-1, plane.line_size // 2)
                target[: samples.shape[0], : samples.shape[1]] = samples
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def seen(path, **options) -> np.ndarray:
    with VideoReader(path, **options) as reader:
        frame = reader.get_batch([1])[0].astype(int)
    assert np.abs(frame - frame[..., :1]).max() <= 1, "grey stays grey"
    return frame[32, 16::32, 0]


@pytest.mark.parametrize("peak", [None, 4000])
def test_pq_patches_of_known_luminance(tmp_path, peak):
    told = f":master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L({peak}0000,1)" if peak else ""
    clip = write_patches(tmp_path / "pq.mp4", patches(light_to_pq(NITS)), 16, **{"x265-params": "log-level=0" + told})
    expected = 255 * (eetf(NITS, peak or 1000) / 100) ** (1 / 2.4)
    assert seen(clip, hdr="bt2390") == pytest.approx(expected, abs=2)
    assert seen(clip) == pytest.approx(255 * light_to_pq(NITS), abs=2), "and as they are"


def test_hlg_patches_of_known_luminance(tmp_path):
    signal = np.array([0.1, 0.2, 0.38, 0.5, 0.75, 0.9, 1])
    light = hlg_display_light(np.rint(signal * 65535).astype(np.uint16)[None, :, None].repeat(3, 2))[0, :, 0]
    clip = write_patches(tmp_path / "hlg.mp4", patches(signal), 18, **{"x265-params": "log-level=0"})
    assert seen(clip, hdr="bt2390") == pytest.approx(255 * (eetf(light, 1000) / 100) ** (1 / 2.4), abs=2)


def test_sdr_is_the_same_with_and_without(tmp_path):
    clip = encode(tmp_path / "sdr.mp4", panned(4))
    with VideoReader(clip) as plain, VideoReader(clip, hdr="bt2390") as mapped:
        assert np.array_equal(plain.get_batch([0, 3]), mapped.get_batch([0, 3])) and not mapped.is_hdr


def test_the_processor_refuses_hdr_unless_told_how_to_map_it(tmp_path):
    clip = write_patches(tmp_path / "pq.mp4", patches(light_to_pq(NITS)), 16, **{"x265-params": "log-level=0"})
    processor = InternVideo2VideoProcessor(size=56, crop_size=56)
    with pytest.raises(VideoError, match=r"HDR video \(PQ\).*hdr='bt2390'"):
        processor(clip)
    called = processor(clip, hdr="bt2390")["pixel_values_videos"]
    processor.save_pretrained(tmp_path)
    mapping = InternVideo2VideoProcessor.from_pretrained(tmp_path, hdr="bt2390")
    assert (called == mapping(clip)["pixel_values_videos"]).all()
    with pytest.raises(ValueError, match="hdr is one of refuse, bt2390, not 'reinhard'"):
        VideoReader(clip, hdr="reinhard")
