"""Reading video right, writing it, and scoring it against its source."""

from importlib import import_module

from ..models.video_reader import VideoError
from .readers import VideoReader


# Loaded on first use: reading needs neither the ffmpeg program nor an imaging library.
_LAZY = {"encode": "encoding", "full_reference_scores": "vmaf", "pan_and_zoom": "photographs"}


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = ["VideoError", "VideoReader", "encode", "full_reference_scores", "pan_and_zoom"]
