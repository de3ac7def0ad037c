"""What every quality data set looks like, and what its scores mean."""

import dataclasses
import json
import math

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value


LABEL_KINDS = ("mos", "dmos", "vmaf")

# `score` is the published number; `label` is the same number on the 0-1 training scale, direction kept.
# Sources may carry more columns (std, encoder, preset, bitrate, ...) after these.
FEATURES = Features(
    {
        "video": Value("string"),  # absolute path
        "score": Value("float64"),
        "label": Value("float64"),
        "content_id": Value("string"),
        "codec": Value("string"),  # "h264", "hevc", "vp9", "av1", ...; "" where unknown
        "width": Value("int32"),  # 0 where unknown
        "height": Value("int32"),
        "level": Value("string"),  # distortion level, CRF, QP: as the source names it, or None
        "reference": Value("string"),  # absolute path of the pristine video, or None
    }
)


@dataclasses.dataclass(frozen=True)
class QualityScale:
    """The scale of the scores: its two ends, its direction, and what kind of score it is.

    Args:
        score_min, score_max: ends of the scale, in native units; `score_min < score_max`.
        higher_is_better: False for DMOS.
        label_kind: "mos", "dmos" or "vmaf".
    """

    score_min: float = 0.0
    score_max: float = 100.0
    higher_is_better: bool = True
    label_kind: str = "mos"

    def __post_init__(self):
        # Plain types whatever was given (NumPy scalars, integers): they are stored as JSON.
        for field, kind in (("score_min", float), ("score_max", float), ("higher_is_better", bool)):
            object.__setattr__(self, field, kind(getattr(self, field)))
        if not (math.isfinite(self.score_min) and math.isfinite(self.score_max) and self.score_min < self.score_max):
            raise ValueError(f"a scale needs score_min < score_max, not {self.score_min:g} and {self.score_max:g}")
        if self.label_kind not in LABEL_KINDS:
            raise ValueError(f"label_kind is one of {', '.join(LABEL_KINDS)}, not {self.label_kind!r}")

    def to_label(self, score):
        """Native score (number, array or tensor) -> training label, 0 at `score_min`, 1 at `score_max`.

        The direction stays native, as in the published method (DMOS / 100). Nothing is clipped: a negative DMOS gives a
        negative label.
        """
        return (score - self.score_min) / (self.score_max - self.score_min)

    def to_quality(self, label):
        """Training label -> 0-100, higher is better.

        Labels outside 0-1 land outside 0-100: clipping would tie scores that the viewers told apart.
        """
        return 100.0 * (label if self.higher_is_better else 1.0 - label)

    def as_config(self) -> dict:
        """The four fields that a model configuration stores to say what its score means."""
        return dataclasses.asdict(self)

    def __str__(self):
        direction = "higher is better" if self.higher_is_better else "higher is worse"
        return f"{self.label_kind.upper()} from {self.score_min:g} to {self.score_max:g}, {direction}"


def with_scale(dataset: Dataset | DatasetDict, scale: QualityScale) -> Dataset | DatasetDict:
    """The data set with `label` computed from `score` on this scale, and the scale stored beside it.

    A data set that has labels but no native scores keeps its labels. Raises ValueError if it has neither.
    """
    if isinstance(dataset, DatasetDict):
        return DatasetDict({name: with_scale(split, scale) for name, split in dataset.items()})
    columns = dataset.column_names
    source = next((name for name in ("score", "label") if name in columns), None)
    if source is None:
        raise ValueError(f"a scale belongs to a data set with a score or a label column; this one has {columns}")
    values = np.asarray(dataset.with_format(None)[source][:], dtype=np.float64)
    labels = scale.to_label(values) if source == "score" else values
    if "label" in columns:
        dataset = dataset.remove_columns("label")
    else:
        columns = [*columns, "label"]
    return dataset.add_column("label", labels, feature=label_feature(scale)).select_columns(columns)


def get_scale(dataset: Dataset | DatasetDict) -> QualityScale:
    """The scale stored by `with_scale`. Raises ValueError if there is none, or if splits disagree."""
    if isinstance(dataset, dict):
        scales = {name: get_scale(split) for name, split in dataset.items()}
        if len(set(scales.values())) != 1:
            raise ValueError(f"the splits do not share one scale: {', '.join(f'{n}: {s}' for n, s in scales.items())}")
        return next(iter(scales.values()))
    stored = getattr((dataset.features or {}).get("label"), "id", None)
    try:
        return QualityScale(**json.loads(stored))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "this data set does not say what its scores mean; attach it with "
            "with_scale(dataset, QualityScale(score_min, score_max, higher_is_better, label_kind))"
        ) from error


def label_feature(scale: QualityScale) -> Value:
    """The feature of the `label` column.

    The scale travels in the feature's `id`: unlike `DatasetInfo.description` it also goes through Parquet, the Hub and
    streaming, and `concatenate_datasets` refuses to mix scales.
    """
    return Value("float64", id=json.dumps(scale.as_config()))


# Names under which the same codec is found in published tables, by the name that FFmpeg gives its decoder.
_CODEC_NAMES = {
    "h264": ("avc", "h.264", "x264", "libx264", "h264/avc"),
    "hevc": ("h265", "h.265", "x265", "libx265", "h265/hevc", "hm"),
    "vp9": ("libvpx-vp9", "libvpx"),
    "av1": ("aom", "libaom", "libaom-av1", "svtav1", "svt-av1", "libsvtav1"),
    "vvc": ("h266", "h.266", "vvenc", "libvvenc", "vtm"),
}
_CODECS = {alias: codec for codec, aliases in _CODEC_NAMES.items() for alias in aliases}


def codec_name(text: str) -> str:
    """A codec or encoder as tables name it ("H.265", "AVC", "SVT-AV1") -> "hevc", "h264", "av1"; else lower case."""
    name = text.strip().lower()
    return _CODECS.get(name, name)
