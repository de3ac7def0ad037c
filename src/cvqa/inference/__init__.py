"""Scoring video files: `VideoScorer` gives a `VideoScore`; reports as JSON, CSV and plots."""

from ..lazy import lazy


# Looked up on first use: the scorer imports torch and transformers, which a report or `cvqa --help` need not.
__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "VideoScorer": ".scorer",
        "ModelError": ".scorer",
        "OnnxVideoScorer": "..models.onnx_video_scorer",
        "VideoScore": "..models.video_scores",
        "Segment": "..models.video_scores",
    },
)
