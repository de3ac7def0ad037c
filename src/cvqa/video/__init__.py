"""Reading video right, writing it, and scoring it against its source."""

from ..lazy import lazy
from ..models.video_reader import VideoError
from .readers import VideoReader


# Loaded on first use: reading needs neither the ffmpeg program nor an imaging library.
__getattr__, __dir__, __all__ = lazy(
    __name__, {"encode": ".encoding", "full_reference_scores": ".vmaf", "pan_and_zoom": ".photographs"}
)
__all__ += ["VideoError", "VideoReader"]
