"""HDR video (PQ, HLG) as SDR, for models that know only that: one documented mapping, in numpy.

    signal -> light of the display it was made for -> compressed to 100 cd/m2 -> BT.709 -> signal, once rounded

What a display or a player would make of it differs from one to the next; a score is that of this rendition.
"""

from functools import lru_cache

import av
import numpy as np


# Transfer characteristics of HDR, as `VideoReader.transfer` tells them.
HDR_TRANSFERS = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
HDR_MAPPINGS = ("refuse", "bt2390")

SDR_PEAK = 100.0  # cd/m2, of the reference display of BT.1886 and BT.2035
USUAL_PEAK = 1000.0  # of the mastering display where the file does not tell; the nominal one of HLG

# Linear light, from ITU-R BT.2020 to BT.709 (BT.2087-0, section 4).
TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]], np.float32
)
BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)


def to_sdr(pixels: np.ndarray, transfer: str, peak: float = USUAL_PEAK) -> np.ndarray:
    """BT.2020 pixels of PQ or HLG as BT.709 pixels of SDR.

    The largest of R, G and B is compressed by the EETF of ITU-R BT.2390-8, section 5.4.1, from a black of 0 and `peak`
    to 100 cd/m2, and the others in proportion, so that hues stay. Up to about 30 cd/m2 nothing changes; the white of
    text and paper in HDR (203 cd/m2, BT.2408) comes out at 88. Colours outside BT.709 are clipped.

    Args:
        pixels: uint16 (height, width, 3), R'G'B' in full range.
        transfer: "smpte2084" (PQ) or "arib-std-b67" (HLG, shown at 1000 cd/m2).
        peak: cd/m2, of the display that PQ was mastered on.

    Returns uint8 (height, width, 3), R'G'B' by the inverse of BT.1886 with a gamma of 2.4 and a black of 0.
    """
    light = pq_light()[pixels] if transfer == "smpte2084" else hlg_display_light(pixels)
    brightest = light.max(axis=-1)
    table = compressed_over_brightest(USUAL_PEAK if transfer != "smpte2084" else peak)
    # By square root, so that the dark is not left to a few steps of the table.
    steps = np.sqrt(brightest * (1 / 10000)) * (len(table) - 1)
    light *= np.interp(steps, np.arange(len(table)), table).astype(np.float32)[..., None]
    linear = np.clip(light @ TO_BT709.T, 0, SDR_PEAK) / np.float32(SDR_PEAK)
    return np.rint(255 * linear ** np.float32(1 / 2.4)).astype(np.uint8)


def pq_to_light(signal: np.ndarray) -> np.ndarray:
    """The EOTF of PQ (SMPTE ST 2084; ITU-R BT.2100-2, table 4): signal, 0 to 1, to cd/m2, 0 to 10000."""
    power = np.asarray(signal, np.float64) ** (1 / PQ_M2)
    return 10000 * (np.maximum(power - PQ_C1, 0) / (PQ_C2 - PQ_C3 * power)) ** (1 / PQ_M1)


def light_to_pq(light: np.ndarray) -> np.ndarray:
    """The inverse of `pq_to_light`."""
    power = (np.asarray(light, np.float64) / 10000) ** PQ_M1
    return ((PQ_C1 + PQ_C2 * power) / (1 + PQ_C3 * power)) ** PQ_M2


PQ_M1, PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
PQ_C1, PQ_C2, PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


@lru_cache(maxsize=1)
def pq_light() -> np.ndarray:
    return pq_to_light(np.arange(65536) / 65535).astype(np.float32)


@lru_cache(maxsize=1)
def hlg_scene_light() -> np.ndarray:
    """The inverse OETF of HLG (ITU-R BT.2100-2, table 5) of every 16-bit signal: scene light, 0 to 1."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    signal = np.arange(65536) / 65535
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)


def hlg_display_light(pixels: np.ndarray) -> np.ndarray:
    """Signal of HLG to cd/m2 on a display of 1000: the OOTF of ITU-R BT.2100-2, table 5, with a gamma of 1.2."""
    scene = hlg_scene_light()[pixels]
    return scene * (USUAL_PEAK * (scene @ BT2020_LUMA) ** 0.2)[..., None]


@lru_cache(maxsize=16)
def compressed_over_brightest(peak: float, steps: int = 2**14) -> np.ndarray:
    """By what light is to be multiplied, (steps + 1,), where the brightest component is 10000 * (step / steps)^2."""
    light = 10000 * (np.arange(1, steps + 1) / steps) ** 2
    ratio = eetf(light, peak) / light
    return np.concatenate([ratio[:1], ratio])


def eetf(light: np.ndarray, peak: float, target: float = SDR_PEAK) -> np.ndarray:
    """The EETF of ITU-R BT.2390-8, section 5.4.1: cd/m2 on a display of `peak` to cd/m2 on one of `target`, black 0.

    In PQ, everything above a knee is bent to the new peak by a Hermite spline, smooth at the knee.
    """
    if peak <= target:
        return np.minimum(light, target)
    source = light_to_pq(peak)
    signal = np.minimum(light_to_pq(light) / source, 1)
    top = light_to_pq(target) / source
    knee = 1.5 * top - 0.5
    t = (signal - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * top
    return pq_to_light(np.where(signal < knee, signal, spline) * source)


def mastering_peak(frame: av.VideoFrame) -> float:
    """cd/m2 of the display that the frame says it was mastered on (SMPTE ST 2086), or else 1000."""
    try:
        data = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    except ValueError:  # side data that this PyAV has no name for
        data = None
    if data is None or data.buffer_size < 88:
        return USUAL_PEAK
    # AVMasteringDisplayMetadata: ten rational numbers, the last of which is the peak, and two flags.
    numbers = np.frombuffer(data, np.int32)[:22].tolist()
    numerator, denominator, has_luminance = numbers[18], numbers[19], numbers[21]
    peak = numerator / denominator if has_luminance and denominator else 0
    return peak if SDR_PEAK <= peak <= 10000 else USUAL_PEAK
