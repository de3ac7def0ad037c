"""Published sets that come as lists of videos and scores: KVQ, CVQAD, LSVQ, KoNViD-1k and what is laid out like them.

A list has a header, or it is `path, mos` or `path, duration, fps, mos` without one. One list for each split (train,
val, test in its name) is the published split; a single list is split anew, by content.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from datasets import Dataset, concatenate_datasets

from .published import _files
from .rows import TABLE_SUFFIXES, read_rows
from .table import USUAL_NAMES, load_table


logger = logging.getLogger(__name__)

HEADERLESS = {2: ("path", "mos"), 4: ("path", "duration", "fps", "mos")}
_SPLIT_WORDS = {"train": "train", "val": "validation", "test": "test"}


def load_list(
    data_dir: str | os.PathLike,
    *,
    scale: tuple[float, float],
    content: str | None = None,
    scores: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    **options,
) -> Dataset:
    """Read such a set.

    Args:
        data_dir: folder of the videos, in it as the list has them, or anywhere with the same folder and name.
        scale: ends of the scale of its MOS; higher is better.
        content: "video" where every video is a content of its own; else a column of the list or `content_pattern` has
            to tell. Where nothing tells, lists of all three splits are taken as they are, anything else is refused.
        scores: the list, or one for each split; by default those in `data_dir`.
        **options: further ones of `load_table`, such as `content_pattern`, `check_files` and `probe`.

    Raises FileNotFoundError, ValueError: no list, contents unknown, or no video of a split.
    """
    folder = Path(data_dir)
    lists = _lists(folder, scores)
    found = {}
    for path in _files(folder):
        for parts in (1, 2):  # the longer name wins below
            found.setdefault("/".join(path.parts[-parts:]), path)
    known = content == "video" or "content_pattern" in options or "content_column" in options
    if not known and not all(_content_column(table) for table in lists):
        if set(lists.values()) != {"train", "validation", "test"}:
            raise ValueError(
                f"{next(iter(lists))}: does not tell which videos share a content, and encodes of one source must not "
                "be on both sides of a split. Give content_pattern=... with one group that finds it in the path, "
                "content_column=..., or the lists of the published split, one for each of train, val and test"
            )
        logger.warning("%s: contents are not known; taken as split by whoever published it", folder)
        content = "video"
    read = partial(_read, folder=folder, found=found, scale=scale, content=content, options=options)
    return concatenate_datasets([read(table, split=split) for table, split in lists.items()])


def _read(table: Path, split: str | None, folder: Path, found: dict, scale: tuple, content: str | None, options: dict):
    names = _column_names(table)

    def path_of(cells: dict) -> str:
        text = str(cells[_usual_column(cells, USUAL_NAMES["video"].split())]).replace("\\", "/")
        parts = text.split("/")
        near = found.get("/".join(parts[-2:])) or found.get(parts[-1])
        return text if (folder / text).is_file() or near is None else str(near)

    given = {"video_column": path_of, "score_min": scale[0], "score_max": scale[1]}
    given |= {"higher_is_better": True, "label_kind": "mos", "video_dir": folder}
    if content == "video":
        given["content_column"] = path_of
    elif _content_column(table) and "content_pattern" not in options:
        given["content_column"] = _content_column(table)
    if split:
        given["split_column"] = lambda cells: split
    return load_table(table, column_names=names, **given | options)


def _lists(folder: Path, scores) -> dict[Path, str | None]:
    """The lists with their splits, or one list without."""
    if scores is None:
        tables = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in TABLE_SUFFIXES]
    else:
        tables = [Path(scores)] if isinstance(scores, (str, os.PathLike)) else [Path(path) for path in scores]
    splits: dict[str, Path] = {}
    for path in tables:
        split = next((split for word, split in _SPLIT_WORDS.items() if word in path.stem.casefold()), None)
        if split and splits.setdefault(split, path) != path:
            raise ValueError(
                f"{folder}: {splits[split].name} and {path.name} are both {split}; choose with scores=[...]"
            )
    if "train" in splits and "test" in splits:
        return {path: split for split, path in splits.items()}
    if len(tables) == 1:
        return {tables[0]: None}
    listed = ", ".join(path.name for path in tables) or "none"
    raise (ValueError if tables else FileNotFoundError)(
        f"{folder}: one list of scores is wanted, or one each with train, (val,) test in its name; found: {listed}; "
        "name them with scores=[...]"
    )


def _column_names(table: Path) -> Sequence[str] | None:
    """Names for a list without a header, whose first line ends in a number."""
    if table.suffix.lower() not in (".csv", ".txt", ".tsv"):
        return None
    first = list(read_rows(table, [str(column) for column in range(100)])[1][0].cells.values())
    try:
        float(first[-1])
    except ValueError:
        return None
    if len(first) not in HEADERLESS:
        raise ValueError(f"{table}: has no header and {len(first)} columns; give column_names= with load_table")
    return HEADERLESS[len(first)]


def _content_column(table: Path) -> str | None:
    names, _ = read_rows(table, _column_names(table))
    return _usual_column(names, [*USUAL_NAMES["content"].split(), "sequence", "sequence_name"])


def _usual_column(names: Iterable[str], usual: list[str]) -> str | None:
    return next((name for name in names if name.casefold().replace(" ", "_") in usual), None)


# The published method divides the scores of KVQ by 5 and those of CVQAD by 10. A video of LSVQ or KoNViD-1k is a source
# of its own.
load_kvq = partial(load_list, scale=(0, 5))
load_cvqad = partial(load_list, scale=(0, 10))
load_lsvq = partial(load_list, scale=(0, 100), content="video")
load_konvid = partial(load_list, scale=(1, 5), content="video")
