"""Splits by content: what a model has seen, encoded in whatever way, never tests it."""

import contextlib
import filecmp
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from operator import eq
from pathlib import Path

import numpy as np
from datasets import DatasetDict


SPLITS = ("train", "validation", "test")


def split_by_content(
    content_ids: Sequence,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    families: Sequence | None = None,
    scores: Sequence[float] | None = None,
) -> dict[str, np.ndarray]:
    """Deal the contents out to train, validation and test.

    Args:
        content_ids: the content of every row.
        fractions: shares of the contents, summing to 1. A share of 0 gives an empty split; any other gives at least one
            content.
        seed: another seed, another split; the same on every platform.
        families: of every row; contents of one family (one shoot, one film) stay together. Empty or None: no family.
        scores: of every row; with them each split gets contents from the whole range of mean scores.

    Returns:
        {"train", "validation", "test"} -> sorted int64 row indices.

    Raises:
        ValueError: fewer contents (or families) than splits, or a content in two families.
    """
    if len(fractions) != len(SPLITS):
        raise ValueError(f"fractions are three shares (train, validation, test), not {tuple(fractions)}")
    return dict(zip(SPLITS, _deal(content_ids, fractions, seed, families, scores)))


def folds(
    content_ids: Sequence,
    k: int = 5,
    seed: int = 0,
    families: Sequence | None = None,
    scores: Sequence[float] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """k splits like those of `split_by_content`: each content is tested once, the next fold validates."""
    if k < 3:
        raise ValueError(f"k-fold with train, validation and test needs k >= 3, not {k}")
    parts = _deal(content_ids, [1 / k] * k, seed, families, scores)
    for i in range(k):
        test, validation, *train = parts[i:] + parts[:i]
        yield {"train": np.sort(np.concatenate(train)), "validation": validation, "test": test}


def repeated(
    content_ids: Sequence,
    times: int = 10,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    families: Sequence | None = None,
    scores: Sequence[float] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """So many random splits as `split_by_content` makes them, with the seeds from `seed` on."""
    for one in range(seed, seed + times):
        yield split_by_content(content_ids, fractions, one, families, scores)


def leave_one_out(splits: DatasetDict, column: str) -> Iterator[tuple[object, DatasetDict]]:
    """`leave_out` of each value of a column in turn, such as "codec" or "height": (value, splits).

    Values that are not known ("", 0) and those that leave a split empty are passed over.
    """
    if column not in _columns(splits):
        raise ValueError(f"there is no column {column!r}; {_columns(splits)}")
    for value in sorted({found for split in splits.values() for found in split[column] if found}):
        with contextlib.suppress(ValueError):
            yield value, leave_out(splits, **{column: value})


def leave_out(splits: DatasetDict, **values) -> DatasetDict:
    """Splits that test what training has not seen: `leave_out(splits, codec="av1")`, `height=1080`, `encoder="vp9"`.

    Training and validation lose the rows with these values, the test keeps no others; the contents stay apart.

    Raises ValueError if a split would be empty, or a column is unknown; it names the values that there are.
    """
    for column, value in values.items():
        present = {found for split in splits.values() for found in split[column]} if column in _columns(splits) else ()
        if value not in present:
            listed = ", ".join(map(repr, sorted(present))) if present else f"no such column; {_columns(splits)}"
            raise ValueError(f"cannot leave out {column} {value!r}: there is {listed}")
    kept = {}
    for name, split in splits.items():
        matches = [all(map(eq, row, values.values())) for row in zip(*(split[column] for column in values))]
        kept[name] = split.select([row for row, match in enumerate(matches) if match == (name == "test")])
        if not len(kept[name]):
            raise ValueError(f"without {values}, the {name} split is empty")
    return DatasetDict(kept)


def _columns(splits: DatasetDict) -> list[str]:
    return next(iter(splits.values())).column_names


def check_disjoint(splits: Mapping) -> None:
    """Raise ValueError, naming them, if a content, a family or a file is in two of the splits (name -> data set)."""
    for column, what in (("content_id", "content"), ("family", "family"), ("video", "file")):
        owner: dict[str, str] = {}
        shared: dict[str, set[str]] = {}
        for name, dataset in splits.items():
            if column not in dataset.column_names:
                continue
            for value in filter(None, set(dataset[column][:])):
                # The same file may be reached by two paths.
                key = str(Path(value).resolve()) if column == "video" else value
                if owner.setdefault(key, name) != name:
                    shared.setdefault(key, {owner[key]}).add(name)
        if shared:
            first = "; ".join(f"{key} is in {' and '.join(sorted(names))}" for key, names in sorted(shared.items())[:5])
            raise ValueError(
                f"{len(shared)} {what} value(s) on more than one side of the split, so a test would measure memory: "
                f"{first}. Give all rows of one {what} the same split, or leave the split out to have one made."
            )


def fingerprint(splits: Mapping) -> str:
    """Hash of which videos, by file name, have which scores in which split: the same wherever the data lie."""
    rows = sorted(
        [name, Path(video).name, repr(score)]
        for name, split in splits.items()
        for video, score in zip(split["video"], split["score"])
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def _deal(content_ids, fractions, seed, families, scores) -> list[np.ndarray]:
    """Row indices of each part: whole units (families, or single contents) dealt by share of the contents."""
    if min(fractions) < 0 or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise ValueError(f"fractions are shares that sum to 1, not {tuple(fractions)}")
    contents = [str(content) for content in content_ids]
    units = _units(contents, families)
    open_parts = [part for part, share in enumerate(fractions) if share > 0]
    if len(units) < len(open_parts):
        raise ValueError(
            f"{len(units)} content(s) or families cannot fill {len(open_parts)} splits that share none: add videos of "
            "other contents, check that the content is read from the right place, or load without splitting "
            '(split="all")'
        )
    weight = {unit: len({contents[row] for row in rows}) for unit, rows in units.items()}
    need = {part: max(1.0, fractions[part] * sum(weight.values())) for part in open_parts}
    order = _order(units, seed, scores, block=math.ceil(1 / min(fractions[part] for part in open_parts) - 1e-9))
    # What is too big for the smallest part goes first, while there is still room elsewhere.
    order.sort(key=lambda unit: weight[unit] <= min(need.values()))

    parts: list[list[int]] = [[] for _ in fractions]
    have = Counter()
    for i, unit in enumerate(order):
        empty = [part for part in open_parts if not parts[part]]
        choice = empty if len(empty) == len(order) - i else open_parts
        fitting = [part for part in choice if have[part] + weight[unit] <= need[part] + 1e-9]
        if fitting:
            best = max(fitting, key=lambda part: 1 - have[part] / need[part])
        else:
            best = max(choice, key=lambda part: need[part] - have[part])
        parts[best] += units[unit]
        have[best] += weight[unit]
    return [np.array(sorted(part), dtype=np.int64) for part in parts]


def _units(contents: list[str], families: Sequence | None) -> dict[tuple[str, str], list[int]]:
    """Rows of each unit: of a family, or of a content without one."""
    families = [None] * len(contents) if families is None else list(families)
    if len(families) != len(contents):
        raise ValueError(f"{len(contents)} content ids but {len(families)} families")
    home: dict[str, tuple[str, str]] = {}
    units: dict[tuple[str, str], list[int]] = {}
    for row, (content, family) in enumerate(zip(contents, families)):
        unit = ("content", content) if family in (None, "") else ("family", str(family))
        if home.setdefault(content, unit) != unit:
            raise ValueError(f"content {content!r} is in two families: {home[content][1]!r} and {unit[1]!r}")
        units.setdefault(unit, []).append(row)
    return units


def _order(units, seed, scores, block) -> list[tuple[str, str]]:
    """Units in random order; with scores, sorted by mean score and random only within each block of neighbours.

    `_deal` spreads the parts evenly over this order. The randomness is a hash of seed and name: the same on every
    platform and with every NumPy.
    """

    def random(unit):
        return hashlib.sha256("\0".join([str(seed), *unit]).encode("utf-8", "surrogatepass")).digest()

    if scores is None:
        return sorted(units, key=random)
    scores = [float(score) for score in scores]
    mean = {unit: math.fsum(scores[row] for row in rows) / len(rows) for unit, rows in units.items()}
    ranked = sorted(units, key=lambda unit: (mean[unit], unit))
    blocks = [ranked[start : start + block] for start in range(0, len(ranked), block)]
    return [unit for neighbours in blocks for unit in sorted(neighbours, key=random)]


def check_copies(splits: Mapping) -> None:
    """Raise ValueError, naming them, if a video has the same bytes as one in another split, under whatever name.

    Files that are not there are skipped. Of the others a few samples are compared first, so that hardly any is read.
    """
    alike: dict[tuple[int, str], tuple[str, str]] = {}
    copies = []
    for name, dataset in splits.items():
        for video in dict.fromkeys(dataset["video"][:]):
            with contextlib.suppress(OSError):
                owner, first = alike.setdefault(_samples(video), (name, video))
                if owner != name and filecmp.cmp(first, video, shallow=False):
                    copies.append(f"{video} ({name}) is {first} ({owner})")
    if copies:
        raise ValueError(
            f"{len(copies)} file(s) are copies of one on another side of the split: {'; '.join(copies[:5])}. "
            "Give them the same content, or remove them."
        )


def _samples(video: str, length: int = 2**16) -> tuple[int, str]:
    """Size and hash of beginning, middle and end of a file."""
    size, digest = Path(video).stat().st_size, hashlib.sha256()
    with Path(video).open("rb") as opened:
        for place in (0, size // 2, max(size - length, 0)):
            opened.seek(place)
            digest.update(opened.read(length))
    return size, digest.hexdigest()
