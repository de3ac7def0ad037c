"""No-reference quality assessment of compressed video.

Importing cvqa registers its models with the Auto classes of transformers:

    >>> import cvqa
    >>> from transformers import AutoModel
    >>> model = AutoModel.from_pretrained("org/cvqa-student")
"""

from importlib import import_module
from typing import TYPE_CHECKING

from . import models


if TYPE_CHECKING:
    from .data import load_quality_dataset
    from .inference import VideoScore, VideoScorer
    from .models import (
        BackboneStudentConfig,
        BackboneStudentForVideoQualityAssessment,
        InternVideo2Config,
        InternVideo2ForVideoQualityAssessment,
        InternVideo2Model,
        InternVideo2VideoProcessor,
    )
    from .video import VideoError, VideoReader

__version__ = "0.1.0"

# Looked up on first use: what training and reading video need is not needed to load a model, nor torch to score.
_LAZY = {
    "BackboneStudentConfig": "cvqa.models",
    "BackboneStudentForVideoQualityAssessment": "cvqa.models",
    "InternVideo2Config": "cvqa.models",
    "InternVideo2ForVideoQualityAssessment": "cvqa.models",
    "InternVideo2Model": "cvqa.models",
    "InternVideo2VideoProcessor": "cvqa.models",
    "VideoError": "cvqa.video",
    "VideoReader": "cvqa.video",
    "VideoScore": "cvqa.inference",
    "VideoScorer": "cvqa.inference",
    "load_quality_dataset": "cvqa.data",
}


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'cvqa' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "BackboneStudentConfig",
    "BackboneStudentForVideoQualityAssessment",
    "InternVideo2Config",
    "InternVideo2ForVideoQualityAssessment",
    "InternVideo2Model",
    "InternVideo2VideoProcessor",
    "VideoError",
    "VideoReader",
    "VideoScore",
    "VideoScorer",
    "load_quality_dataset",
    "models",
]
