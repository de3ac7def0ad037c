"""No-reference quality assessment of compressed video.

Importing cvqa registers its models with the Auto classes of transformers:

    >>> import cvqa
    >>> from transformers import AutoModel
    >>> model = AutoModel.from_pretrained("org/cvqa-student")
"""

from typing import TYPE_CHECKING

from . import models
from .lazy import lazy


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
__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "BackboneStudentConfig": ".models",
        "BackboneStudentForVideoQualityAssessment": ".models",
        "InternVideo2Config": ".models",
        "InternVideo2ForVideoQualityAssessment": ".models",
        "InternVideo2Model": ".models",
        "InternVideo2VideoProcessor": ".models",
        "VideoError": ".video",
        "VideoReader": ".video",
        "VideoScore": ".inference",
        "VideoScorer": ".inference",
        "load_quality_dataset": ".data",
    },
)
__all__ += ["models"]
