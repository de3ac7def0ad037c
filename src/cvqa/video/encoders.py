"""The encoders of a ladder: how each is driven through ffmpeg, and which of its settings people use."""

from dataclasses import dataclass


RATE_CONTROLS = ("crf", "qp", "bitrate")
"""Constant quality, constant quantizer, and a target bit rate in kbit/s met in one pass."""


@dataclass(frozen=True)
class Encoder:
    """How one encoder is driven through ffmpeg. A pair is a ladder from visually lossless to unusable, best first."""

    library: str  # ffmpeg's name for the encoder
    codec: str  # ffmpeg's name for the bit stream
    suffix: str  # of the file that holds it
    crf_range: tuple[int, int]  # what the encoder accepts as CRF and QP, best first
    ladder: tuple[int, int]  # CRF and QP at about 480x270
    bits_per_pixel: tuple[float, float]  # target bit rates at about 480x270
    presets: tuple[str, ...]  # slowest first
    preset: str  # the default one
    usual_presets: tuple[str, ...]  # which a varied ladder draws from
    preset_option: str = "-preset"
    rate_controls: tuple[str, ...] = RATE_CONTROLS
    bit_depths: tuple[int, ...] = (8, 10)
    qp_option: str = "-qp"
    qp_offset_10_bit: int = 0  # what ffmpeg's -qp counts from, where it isn't the 8-bit scale
    options: tuple[str, ...] = ()  # always given; keeps the encoder on one thread
    crf_options: tuple[str, ...] = ()

    def rate_options(self, rate_control: str, quality: float, bit_depth: int) -> list[str]:
        if rate_control == "bitrate":
            return ["-b:v", str(round(quality * 1000))]
        if rate_control == "qp":
            return [self.qp_option, str(quality + (self.qp_offset_10_bit if bit_depth == 10 else 0))]
        return ["-crf", str(quality), *self.crf_options]


_X26X_PRESETS = ("placebo", "veryslow", "slower", "slow", "medium", "fast", "faster", "veryfast", "superfast")
_X26X_PRESETS += ("ultrafast",)

ENCODERS: dict[str, Encoder] = {
    "x264": Encoder(
        library="libx264",
        codec="h264",
        suffix=".mp4",
        crf_range=(0, 51),
        ladder=(20, 51),
        bits_per_pixel=(0.3, 0.015),
        presets=_X26X_PRESETS,
        preset="medium",
        usual_presets=("slow", "medium", "fast", "faster", "veryfast", "ultrafast"),
        qp_offset_10_bit=12,
        options=("-threads", "1"),
    ),
    "x265": Encoder(
        library="libx265",
        codec="hevc",
        suffix=".mp4",
        crf_range=(0, 51),
        ladder=(20, 51),
        bits_per_pixel=(0.25, 0.01),
        presets=_X26X_PRESETS,
        preset="medium",
        usual_presets=("slow", "medium", "fast", "veryfast", "ultrafast"),
        options=("-x265-params", "pools=none:frame-threads=1:log-level=error", "-tag:v", "hvc1"),
    ),
    "vp9": Encoder(
        library="libvpx-vp9",
        codec="vp9",
        suffix=".webm",
        crf_range=(0, 63),
        ladder=(36, 63),
        bits_per_pixel=(0.25, 0.015),
        presets=tuple(map(str, range(9))),
        preset="4",
        usual_presets=("2", "4", "5"),
        preset_option="-cpu-used",
        rate_controls=("crf", "bitrate"),
        options=("-deadline", "good", "-row-mt", "0", "-threads", "1"),
        crf_options=("-b:v", "0"),
    ),
    "svtav1": Encoder(
        library="libsvtav1",
        codec="av1",
        suffix=".mp4",
        crf_range=(1, 63),
        ladder=(38, 63),
        bits_per_pixel=(0.2, 0.01),
        presets=tuple(map(str, range(14))),
        preset="8",
        usual_presets=("6", "8", "10", "12"),
        options=("-svtav1-params", "lp=1"),
    ),
    "vvenc": Encoder(
        library="libvvenc",
        codec="vvc",
        suffix=".mp4",
        crf_range=(0, 63),
        ladder=(24, 51),
        bits_per_pixel=(0.15, 0.008),
        presets=("slower", "slow", "medium", "fast", "faster"),
        preset="faster",
        usual_presets=("faster",),
        rate_controls=("qp", "bitrate"),
        bit_depths=(10,),
        options=("-threads", "1"),
    ),
    "mpeg4": Encoder(
        library="mpeg4",
        codec="mpeg4",
        suffix=".mp4",
        crf_range=(1, 31),
        ladder=(2, 31),
        bits_per_pixel=(0.6, 0.04),
        presets=("rd", "bits", "simple"),
        preset="rd",
        usual_presets=("rd", "simple"),
        preset_option="-mbd",
        rate_controls=("qp", "bitrate"),
        bit_depths=(8,),
        qp_option="-q:v",
        options=("-threads", "1"),
    ),
}

COMMON_ENCODERS = ("x264", "x265", "vp9", "svtav1")
"""What most video is encoded with today. Ladders have these unless asked for more."""


def find_encoder(name: str) -> Encoder:
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}; known: {', '.join(ENCODERS)}")
    return ENCODERS[name]
