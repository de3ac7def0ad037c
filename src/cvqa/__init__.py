"""No-reference quality assessment of compressed video.

Importing cvqa registers its models with the Auto classes of transformers:

    >>> import cvqa
    >>> from transformers import AutoModel
    >>> model = AutoModel.from_pretrained("org/cvqa-student")
"""

from importlib import import_module
from typing import TYPE_CHECKING

from . import models
from .models import (
    BackboneStudentConfig,
    BackboneStudentForVideoQualityAssessment,
    InternVideo2Config,
    InternVideo2ForVideoQualityAssessment,
    InternVideo2Model,
    InternVideo2VideoProcessor,
)


if TYPE_CHECKING:
    from .data import load_quality_dataset
    from .inference import VideoScore, VideoScorer
    from .video import VideoError, VideoReader

__version__ = "0.1.0"

# Loaded on first use: what training and reading video need is not needed to load a model.
_LAZY = {
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
