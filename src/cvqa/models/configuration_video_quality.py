"""What the configurations of all video quality models share: the meaning of the score, and how a folder is loaded."""

from copy import deepcopy
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


PROCESSOR = "video_processing_internvideo2.InternVideo2VideoProcessor"
CUSTOM_PIPELINES = {
    "video-quality-assessment": {
        "impl": "pipeline_video_quality.VideoQualityPipeline",
        "pt": ["AutoModel"],
        "type": "video",
    }
}
LABEL_KINDS = ("mos", "dmos", "vmaf")
SCORE_MAPPINGS = {"linear": 2, "logistic4": 4}


def auto_map(family: str, prefix: str) -> dict[str, str]:
    """Where a saved folder finds the classes of a family: `family` ends the names of its files, `prefix` starts those
    of its classes."""
    return {
        "AutoConfig": f"configuration_{family}.{prefix}Config",
        "AutoModel": f"modeling_{family}.{prefix}ForVideoQualityAssessment",
        "AutoModelForVideoClassification": f"modeling_{family}.{prefix}ForVideoClassification",
        "AutoVideoProcessor": PROCESSOR,
        "AutoImageProcessor": PROCESSOR,
    }


@strict
class VideoQualityConfig(PreTrainedConfig):
    r"""
    Base of the configurations.

    Args:
        feature_size (`int`, defaults to 768): Width of the pooled feature. It is the same in all models, so features of
            a teacher and a student can be compared without a projection.
        score_min (`float`, defaults to 0.0), score_max (`float`, defaults to 100.0): The native scale of the scores
            that the model was trained on. A label is `(score - score_min) / (score_max - score_min)`.
        higher_is_better (`bool`, defaults to `True`): Direction of the native scale; `False` for DMOS.
        label_kind (`str`, defaults to `"mos"`): What the labels were: `"mos"`, `"dmos"` or `"vmaf"`.
        score_mapping (`dict`, *optional*): Fitted increasing function from a raw logit to a label,
            `{"name": "linear" | "logistic4", "parameters": [...]}`; `None` takes the logit as it is. See
            `quality_score` of the models.
        score_interval (`dict`, *optional*): How far scores were off on held-out contents, `{"coverage": 0.9, "scores":
            [...], "margins": [...]}`: half-widths, in points of 0 to 100, at rising scores. With the spread of its
            views they give an interval that held the true score for this share of the videos; without them, the
            interval of a score tells that spread alone. See `video_scores`.
        domain (`dict`, *optional*): What the training videos were like, `{"short_side": [low, high], "long_side": [low,
            high], "fps": [low, high]}` in pixels and frames per second. Scores of other videos come with a warning, see
            `video_domain`.
    """

    # What holds `custom_pipelines`: a plain dictionary where the code comes with the folder. The package has its own.
    pipelines_type = dict
    code_files = {}  # the `auto_map` of a family

    feature_size: int = 768
    score_min: float | int = 0.0
    score_max: float | int = 100.0
    higher_is_better: bool = True
    label_kind: str = "mos"
    score_mapping: dict[str, Any] | None = None
    score_interval: dict[str, Any] | None = None
    domain: dict[str, Any] | None = None

    def __post_init__(self, **kwargs):
        # One output that is a number, not a class: what the Auto classes and pipelines go by.
        if self.id2label is None:
            self.id2label = {0: "quality"}
        self.problem_type = "regression"
        # Where a saved folder finds its classes when the package is not installed. What an older version wrote there
        # gives way to what this one saves; what points to a repository stays.
        elsewhere = {name: place for name, place in (kwargs.get("auto_map") or {}).items() if "--" in place}
        kwargs["auto_map"] = {**self.code_files, **elsewhere}
        kwargs["custom_pipelines"] = self.pipelines_type(deepcopy(CUSTOM_PIPELINES))  # `pipeline` writes into it
        super().__post_init__(**kwargs)

    def validate_score(self):
        """Part of the `@strict` validation: refuses a score scale that cannot be read back."""
        if self.label_kind not in LABEL_KINDS:
            raise ValueError(f"unknown label_kind {self.label_kind!r}: choose one of {', '.join(LABEL_KINDS)}")
        if not self.score_min < self.score_max:
            raise ValueError(f"score_min {self.score_min} is not below score_max {self.score_max}")
        interval = self.score_interval
        if interval is not None and not (
            0 < interval.get("coverage", 0) < 1
            and len(interval.get("scores", ())) == len(interval.get("margins", ())) > 0
            and list(interval["scores"]) == sorted(interval["scores"])
        ):
            raise ValueError(
                f"score_interval {interval} is neither None nor a coverage between 0 and 1 with as many margins as "
                "rising scores"
            )
        if self.score_mapping is None:
            return
        name, parameters = self.score_mapping.get("name"), self.score_mapping.get("parameters", ())
        if len(parameters) != SCORE_MAPPINGS.get(name):
            raise ValueError(
                f"score_mapping {self.score_mapping} is neither None nor one of "
                + ", ".join(f"{name} with {count} parameters" for name, count in SCORE_MAPPINGS.items())
            )


__all__ = ["VideoQualityConfig"]
