"""Scoring video files: `VideoScorer` gives a `VideoScore`; reports as JSON, CSV and plots."""

from importlib import import_module


# Looked up on first use: the scorer imports torch and transformers, which a report or `cvqa --help` need not.
_HOMES = {
    "VideoScorer": "cvqa.inference.scorer",
    "ModelError": "cvqa.inference.scorer",
    "OnnxVideoScorer": "cvqa.models.onnx_video_scorer",
    "VideoScore": "cvqa.models.video_scores",
    "Segment": "cvqa.models.video_scores",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
