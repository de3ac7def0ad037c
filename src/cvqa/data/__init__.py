"""Quality data sets as `datasets`: one schema for every source, splits by content, cached frames, batches.

Names are imported when first used, so that `import cvqa.data` costs nothing.
"""

from ..lazy import lazy


__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "load_quality_dataset": ".loading",
        "QualityScale": ".schema",
        "with_scale": ".schema",
        "get_scale": ".schema",
        "split_by_content": ".splits",
        "folds": ".splits",
        "repeated": ".splits",
        "leave_out": ".splits",
        "leave_one_out": ".splits",
        "check_disjoint": ".splits",
        "check_copies": ".splits",
        "cache_frames": ".frames",
        "frame_caches": ".frame_store",
        "QualityCollator": ".collator",
        "StreamedVideos": ".streaming",
        "build_ladder": ".ladder",
    },
)
