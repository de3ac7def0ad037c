"""Quality data sets as `datasets`: one schema for every source, splits by content, cached frames, batches.

Names are imported when first used, so that `import cvqa.data` costs nothing.
"""

from importlib import import_module


_HOME = {
    "load_quality_dataset": "loading",
    "QualityScale": "schema",
    "with_scale": "schema",
    "get_scale": "schema",
    "split_by_content": "splits",
    "folds": "splits",
    "repeated": "splits",
    "leave_out": "splits",
    "leave_one_out": "splits",
    "check_disjoint": "splits",
    "check_copies": "splits",
    "cache_frames": "frames",
    "frame_caches": "frame_store",
    "QualityCollator": "collator",
    "StreamedVideos": "streaming",
    "build_ladder": "ladder",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return sorted(set(globals()) | set(__all__))
