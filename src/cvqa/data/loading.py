"""`load_quality_dataset`: any source of scored videos, split by content."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from datasets import Dataset, DatasetDict

from .hub_dataset import is_published, load_hub
from .ladder_dataset import load_ladder
from .published import load_bvi_hd, load_waterloo_ivc_4k
from .published_lists import load_cvqad, load_konvid, load_kvq, load_lsvq
from .rows import TABLE_SUFFIXES
from .schema import get_scale
from .splits import SPLITS, check_disjoint, folds, leave_out, split_by_content
from .table import load_table


logger = logging.getLogger(__name__)

# Name -> loader(data_dir, **options), which returns all rows as one data set in the schema, with its scale. A `split`
# column (train, validation, test) is a published or given split and is honoured; a `family` column says which contents
# stay together.
LOADERS: dict[str, Callable[..., Dataset]] = {
    "csv": load_table,
    "ladder": load_ladder,
    "bvi-hd": load_bvi_hd,
    "waterloo-ivc-4k": load_waterloo_ivc_4k,
    "kvq": load_kvq,
    "cvqad": load_cvqad,
    "lsvq": load_lsvq,
    "konvid-1k": load_konvid,
    "hub": load_hub,
}


def load_quality_dataset(
    name: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    split: str | None = None,
    *,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    fold: Sequence[int] | None = None,
    left_out: dict | None = None,
    **options,
) -> DatasetDict | Dataset:
    """Load scored videos in the schema of `cvqa.data.schema.FEATURES`, split by content.

    Args:
        name: "csv" (any table of paths and scores), "ladder", "bvi-hd", "waterloo-ivc-4k", "kvq", "cvqad", "lsvq",
            "konvid-1k", "hub"; or the path of a table; or a data set as "org/name" on the Hub or as a folder, either
            what `cvqa.hub.dataset` wrote or videos with a table of their scores.
        data_dir: where it is: the table for "csv", else the folder; "org/name" also for "hub".
        split: "train", "validation" or "test" for one split, "all" for all rows unsplit, None for the DatasetDict.
        fractions, seed: shares of the contents per split, and which of all such splits. A split given by the source
            wins; if it has no validation part, one is taken from its training contents.
        fold: (i, k): the i-th of k folds (from 0) is tested, the next one validates, whatever the source says.
        left_out: column -> value, such as {"codec": "av1"} or {"height": 1080}: tested only, never trained on.
        **options: of the loader, see `load_table`, `load_ladder`, `load_bvi_hd`, `load_waterloo_ivc_4k`, `load_list`,
            `load_hub`.

    Raises:
        FileNotFoundError, ValueError: naming the file, the reason and the way out; among others for a content or a file
            on two sides of a given split, and for a split that would be empty.
    """
    if split not in (None, "all", *SPLITS):
        raise ValueError(f"split is one of {', '.join(SPLITS)}, all, not {split!r}")
    load, source = _loader(name, data_dir)
    dataset = load(source, **options)
    get_scale(dataset)  # a loader that forgets the scale fails here, not in training
    if split == "all":
        return dataset.remove_columns([column for column in ("split",) if column in dataset.column_names])
    splits = _split(dataset, fractions, seed) if fold is None else _fold(dataset, fold, seed)
    if left_out:
        splits = leave_out(splits, **left_out)
    check_disjoint(splits)
    if split is None:
        return splits
    if split not in splits:
        raise ValueError(f"{source}: has no {split} rows; its splits are {', '.join(splits)}")
    return splits[split]


def _loader(name, data_dir) -> tuple[Callable[..., Dataset], Path]:
    if name in LOADERS:
        if data_dir is None:
            raise ValueError(f"load_quality_dataset({str(name)!r}) needs data_dir: where the data lies")
        return LOADERS[name], Path(data_dir)
    path = Path(name)
    if path.is_file() or path.suffix.lower() in TABLE_SUFFIXES:
        load, hint = load_table, "; the videos' folder is video_dir"
    elif is_published(name):
        load, hint = load_hub, ""
    else:
        raise ValueError(f"no data set is called {str(name)!r}; known are {', '.join(LOADERS)}, or give a table's path")
    if data_dir is not None:
        raise ValueError(f"{path}: is itself the data set, so data_dir has no meaning{hint}")
    return load, path


def _split(dataset: Dataset, fractions: Sequence[float], seed: int) -> DatasetDict:
    """The split that the source gives, else a random one; families together, scores balanced, no empty parts."""
    if "split" in dataset.column_names:
        given = dataset["split"][:]
        dataset = dataset.remove_columns("split")
        rows = {name: [row for row, value in enumerate(given) if value == name] for name in SPLITS}
        train_share, validation_share, _ = fractions
        if rows["train"] and not rows["validation"] and validation_share > 0:
            total = train_share + validation_share
            parts = _deal(dataset.select(rows["train"]), (train_share / total, validation_share / total, 0), seed)
            rows.update({name: [rows["train"][row] for row in parts[name]] for name in ("train", "validation")})
            logger.info("validation: %d rows taken from the training contents", len(rows["validation"]))
    else:
        rows = _deal(dataset, fractions, seed)
    return DatasetDict({name: dataset.select(indices) for name, indices in rows.items() if len(indices)})


def _fold(dataset: Dataset, fold: Sequence[int], seed: int) -> DatasetDict:
    place, count = fold
    if not 0 <= place < count:
        raise ValueError(f"fold is (i, k) with 0 <= i < k, not {tuple(fold)}")
    dataset = dataset.remove_columns([column for column in ("split",) if column in dataset.column_names])
    families = dataset["family"][:] if "family" in dataset.column_names else None
    parts = list(folds(dataset["content_id"][:], count, seed, families, dataset["score"][:]))[place]
    return DatasetDict({name: dataset.select(rows) for name, rows in parts.items()})


def _deal(dataset: Dataset, fractions: Sequence[float], seed: int):
    families = dataset["family"][:] if "family" in dataset.column_names else None
    return split_by_content(dataset["content_id"][:], fractions, seed, families, dataset["score"][:])
