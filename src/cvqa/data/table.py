"""A table of videos and scores, in whatever columns and scale, as a quality data set."""

import logging
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset, Features, Value
from tqdm import tqdm

from .rows import Row, read_rows
from .schema import FEATURES, QualityScale, codec_name, label_feature


logger = logging.getLogger(__name__)

# Usual column names (lower case, other signs as "_"), the most telling first.
USUAL_NAMES = {
    "video": "video video_path path filepath file_path filename file_name file video_name videoname name distorted "
    "distorted_path distorted_video dis_path",
    "score": "mos dmos score vmaf label quality quality_score mean_opinion_score",
    "content": "content content_id content_name source source_id source_name src src_id reference ref reference_id "
    "ref_id reference_name ref_name original original_name scene scene_id",
    "split": "split subset partition",
    "family": "family",
    "std": "std mos_std dmos_std score_std std_mos sd stdev stddev",
    "codec": "codec codec_name encoder",
    "width": "width",
    "height": "height",
    "level": "level distortion_level crf qp quality_level",
    "reference": "reference reference_path reference_video ref ref_path",
}
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_USUAL_SCALES = ((0, 1), (1, 5), (0, 5), (0, 10), (0, 100))
_URL = re.compile(r"https?://", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?|[+-]?inf|nan", re.IGNORECASE)


def load_table(
    path: str | os.PathLike,
    *,
    content_pattern: str | None = None,
    score_min: float | None = None,
    score_max: float | None = None,
    higher_is_better: bool | None = None,
    label_kind: str | None = None,
    video_dir: str | os.PathLike | None = None,
    check_files: bool = True,
    probe: bool = False,
    column_names: Sequence[str] | None = None,
    delimiter: str | None = None,
    text_columns: Sequence[str] = (),
    **columns: str | Callable[[dict], object],
) -> Dataset:
    """Read CSV, TSV, JSON Lines or Parquet. What is not given is guessed, and the guess is logged.

    Args:
        path: the table; video paths in it are relative to its folder, or http(s) URLs.
        content_pattern: regular expression with one group that finds the content in the video path as the table has it,
            e.g. r"^([^_]+)_" for "Beauty_qp32.mp4". Instead of a content column.
        score_min, score_max: ends of the scale. Guessed: the first of 0-1, 1-5, 0-5, 0-10, 0-100 that holds all scores.
        higher_is_better, label_kind: guessed from the score column's name (mos, dmos, vmaf).
        video_dir: the folder that video paths are relative to instead.
        check_files: drop and report rows whose video is not there.
        probe: open each video for its codec and size, and drop those that cannot be read.
        column_names, delimiter: see `read_rows`.
        text_columns: further columns to keep as text even where all values are numbers.
        **columns: `video_column=`, `score_column=`, `content_column=`, and the same for split, family, std, codec,
            width, height, level and reference: a column name, "" for none, or a function of the row's cells that
            returns the value (ValueError: the row is dropped, with this reason).

    Returns:
        All rows in the schema of `FEATURES` with its scale, and the table's other columns after it. `split`, `family`
        and `std` are there if the table has them; `load_quality_dataset` honours the first two.

    Raises:
        FileNotFoundError, ValueError: naming the table, the reason and the way out.
    """
    path = Path(path)
    names, rows = read_rows(path, column_names, delimiter)
    chosen, guessed = _choose_columns(path, names, columns, content_pattern)
    reader = _RowReader(chosen, content_pattern, Path(video_dir or path.parent), check_files, probe)
    records, problems, wanted_splits, missing = [], [], set(), Counter()
    for row in tqdm(rows, desc=f"Reading {path.name}", disable=None if probe else True):
        try:
            wanted_splits.add(reader.split(row))
            records.append(reader.record(row))
        except ValueError as error:
            problems.append(f"{row.place}: {error}")
            missing.update([error.content] if isinstance(error, _MissingVideo) else [])
    _report(path, len(rows), records, problems, wanted_splits - {""}, missing)

    score_name = chosen["score"] if isinstance(chosen["score"], str) else ""
    scale, scale_guessed = _scale(path, score_name, records, score_min, score_max, higher_is_better, label_kind)
    dataset = _to_dataset(records, chosen, names, scale, text_columns)
    if guessed or scale_guessed:
        read = ", ".join(f"{field} from {chosen[field]!r}" for field in guessed)
        logger.warning(
            "%s: %s; %d contents in %d videos; scale: %s%s. If this is wrong, give video_column, score_column, "
            "content_column (and so on), score_min, score_max, higher_is_better, label_kind.",
            path,
            f"took {read}" if read else "columns as given",
            len({record.fields["content_id"] for record in records}),
            len(records),
            scale,
            " (guessed)" if scale_guessed else "",
        )
    return dataset


class _MissingVideo(ValueError):
    def __init__(self, video: Path, content: str):
        super().__init__(f"there is no video {video}")
        self.content = content


class _Record(NamedTuple):
    row: Row
    fields: dict


def _choose_columns(path: Path, names, columns, content_pattern) -> tuple[dict, list[str]]:
    """Field -> column name or function, and which fields were guessed."""
    given = {}
    for option, column in columns.items():
        field = option.removesuffix("_column")
        if option == field or field not in USUAL_NAMES:
            options = ", ".join(f"{field}_column" for field in USUAL_NAMES)
            raise TypeError(f"load_table() has no option {option!r}; columns are given by {options}")
        if column is not None:
            given[field] = column
    listed = ", ".join(map(repr, names))
    for field, column in given.items():
        if column and not callable(column) and column not in names:
            raise ValueError(f"{path}: has no column {column!r} for {field}_column; it has {listed}")
    if content_pattern is not None and "content" in given:
        raise ValueError(f"{path}: give content_column or content_pattern, not both")

    chosen, guessed = dict(given), []
    normal = {re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_"): name for name in reversed(names)}
    for field, candidates in USUAL_NAMES.items():
        if field in given or (field == "content" and content_pattern is not None):
            continue
        found = next((normal[candidate] for candidate in candidates.split() if candidate in normal), None)
        if found is not None:
            chosen[field] = found
            guessed.append(field)
    chosen = {field: column for field, column in chosen.items() if column}
    for field in ("video", "score"):
        if field not in chosen:
            raise ValueError(
                f"{path}: no column looks like the {field}: it has {listed}. Name it with {field}_column=...; if the "
                "table has no header line, give column_names=[...]."
            )
    if "content" not in chosen and content_pattern is None:
        raise ValueError(
            f"{path}: the content of each video is not known: none of the columns {listed} names it. Encodes of one "
            "source would land on both sides of the split and the test would measure memory, not quality. Give "
            "content_column=... (source, reference, scene), or content_pattern=... with one group that finds it in the "
            f"path; if every video is a content of its own, content_column={chosen['video']!r}."
        )
    return chosen, guessed


class _RowReader:
    """One row of the table -> one row of the schema; ValueError says what is wrong with it."""

    def __init__(self, chosen: dict, content_pattern: str | None, folder: Path, check_files: bool, probe: bool):
        self.chosen, self.folder, self.check_files, self.probe = chosen, folder, check_files, probe
        self.seen: dict[Path, tuple[str, float]] = {}
        try:
            self.content_pattern = re.compile(content_pattern) if content_pattern is not None else None
        except re.error as error:
            raise ValueError(f"content_pattern {content_pattern!r} is not a regular expression: {error}") from error
        if self.content_pattern is not None and self.content_pattern.groups != 1:
            raise ValueError(f"content_pattern {content_pattern!r} must have exactly one group, around the content")

    def split(self, row: Row) -> str:
        """ "train", "validation", "test", or "" where the table names no split."""
        if "split" not in self.chosen or row.problem:
            return ""
        text = self._text(row, "split").lower()
        if text not in _SPLIT_NAMES:
            raise ValueError(f"split {text!r} is none of train, validation, test")
        return _SPLIT_NAMES[text]

    def record(self, row: Row) -> _Record:
        if row.problem:
            raise ValueError(row.problem)
        score = self._score(row)
        text = self._text(row, "video").replace("\\", "/")
        if not text:
            raise ValueError("has no video path")
        video = text if _URL.match(text) else self._path(text)
        fields = {
            "video": str(video),
            "score": score,
            "content_id": self._content(row, text),
            "codec": codec_name(self._text(row, "codec")),
            "width": self._size(row, "width"),
            "height": self._size(row, "height"),
            "level": self._text(row, "level") or None,
            "reference": self._reference(row),
        }
        if "split" in self.chosen:
            fields["split"] = self.split(row)
        if "family" in self.chosen:
            fields["family"] = self._text(row, "family")
        if "std" in self.chosen:
            fields["std"] = _number(self._value(row, "std"))
        if self.check_files and isinstance(video, Path) and not _is_file(video):
            raise _MissingVideo(video, fields["content_id"])
        self._check_new(row, video, score)
        if self.probe:
            fields.update(_probe(video, fields["codec"]))
        return _Record(row, fields)

    def _value(self, row: Row, field: str):
        column = self.chosen.get(field)
        if not callable(column):
            return row.cells.get(column)
        try:
            return column(row.cells)
        except (LookupError, TypeError, ArithmeticError) as error:
            raise ValueError(f"{field}_column failed: {error!r}") from error

    def _text(self, row: Row, field: str) -> str:
        value = self._value(row, field)
        return "" if value is None else str(value).strip()

    def _score(self, row: Row) -> float:
        value = self._value(row, "score")
        if value is None or value == "":
            raise ValueError("has no score")
        score = _number(value)
        if score is None or not math.isfinite(score):
            raise ValueError(f"score {str(value)[:40]!r} is not a number")
        return score

    def _content(self, row: Row, video: str) -> str:
        if self.content_pattern is None:
            content = self._text(row, "content")
            if not content:
                raise ValueError("has no content")
            return content
        found = self.content_pattern.search(video)
        if found is None or not found[1]:
            raise ValueError(f"content_pattern {self.content_pattern.pattern!r} finds no content in {video!r}")
        return found[1]

    def _size(self, row: Row, field: str) -> int:
        number = _number(self._value(row, field))
        return int(number) if number is not None and 0 < number < 2**31 else 0

    def _reference(self, row: Row) -> str | None:
        # A reference column may hold a content's name instead of a path; a path ends in a file type.
        text = self._text(row, "reference").replace("\\", "/")
        return str(self._path(text)) if Path(text).suffix else None

    def _path(self, text: str) -> Path:
        return Path(os.path.normpath(self.folder.absolute() / text))

    def _check_new(self, row: Row, video: Path | str, score: float) -> None:
        key = video.resolve() if self.check_files and isinstance(video, Path) else video
        place, first = self.seen.setdefault(key, (row.place, score))
        if place != row.place:
            differs = "" if first == score else f", where the score is {first:g}, not {score:g}"
            raise ValueError(f"is the same video as {place}{differs}")


def _number(value) -> float | None:
    """A cell as a number; decimal commas are understood. None if it is not one."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
    except (TypeError, ValueError):
        text = str(value)
        return _number(text.replace(",", ".")) if text.count(",") == 1 and "." not in text else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long or with a NUL
        return False


def _probe(video: Path | str, told: str) -> dict:
    from ..video import VideoError, VideoReader

    try:
        with VideoReader(video) as reader:
            # Published encodes are also handed out decoded: only the table knows their codec.
            codec = told if told and reader.codec == "rawvideo" else codec_name(reader.codec)
            return {"codec": codec, "width": reader.width, "height": reader.height}
    except VideoError as error:
        raise ValueError(str(error)) from error


def _report(path: Path, total: int, records, problems: list[str], wanted_splits: set[str], missing: Counter) -> None:
    """Log the dropped rows, and of which contents videos are missing; raise if nothing is left of all or of a split."""
    # Missing videos are told by content: what else is wrong comes first, each file by name.
    problems = sorted(problems, key=lambda problem: ": there is no video " in problem)
    count = min(50, max(5, len(problems) - missing.total()))
    shown = "; ".join(problems[:count]) + ("; ..." if len(problems) > count else "")
    if not records:
        raise ValueError(f"{path}: none of its {total} rows can be used: {shown}")
    lost = wanted_splits - {record.fields["split"] for record in records if "split" in record.fields}
    if lost:
        raise ValueError(f"{path}: no usable row is left in split {', '.join(sorted(lost))}: {shown}")
    if problems:
        logger.warning("%s: %d of %d rows dropped: %s", path, len(problems), total, shown)
    if missing:
        kept = Counter(record.fields["content_id"] for record in records)
        listed = ", ".join(f"{name} {count} of {count + kept[name]}" for name, count in sorted(missing.items()))
        logger.warning("%s: missing videos by content: %s", path, listed)


def _scale(path, score_name, records, score_min, score_max, higher_is_better, label_kind) -> tuple[QualityScale, bool]:
    """The scale, and whether any of it was guessed."""
    guessed = None in (score_min, higher_is_better, label_kind)
    if (score_min is None) != (score_max is None):
        raise ValueError(f"{path}: give both score_min and score_max, or neither")
    if label_kind is None:
        words = re.split(r"[^a-z0-9]+", score_name.casefold())
        label_kind = next((kind for kind in ("dmos", "vmaf") if kind in words), "mos")
    if higher_is_better is None:
        higher_is_better = label_kind != "dmos"
    low, high = (pick(records, key=lambda record: record.fields["score"]) for pick in (min, max))
    ends = tuple(f"{end.fields['score']:g} ({end.row.place})" for end in (low, high))
    if score_min is None:
        found = _usual_scale(low.fields["score"], high.fields["score"], label_kind)
        if found is None:
            raise ValueError(
                f"{path}: scores run from {ends[0]} to {ends[1]}, which is no usual scale; give score_min and score_max"
            )
        score_min, score_max = found
    scale = QualityScale(score_min, score_max, higher_is_better, label_kind)
    if scale.to_label(low.fields["score"]) < -0.5 or scale.to_label(high.fields["score"]) > 1.5:
        raise ValueError(f"{path}: scores run from {ends[0]} to {ends[1]}, far outside the scale ({scale})")
    return scale, guessed


def _usual_scale(low: float, high: float, label_kind: str) -> tuple[float, float] | None:
    if label_kind == "vmaf":
        return 0, 100
    # Differences of ratings stray beyond both ends of their scale.
    if label_kind == "dmos" and 10 < high <= 120 and low >= -20:
        return 0, 100
    return next(((bottom, top) for bottom, top in _USUAL_SCALES if bottom <= low and high <= top), None)


def _to_dataset(records: list[_Record], chosen: dict, names: list[str], scale: QualityScale, text_columns) -> Dataset:
    features = Features({**FEATURES, "label": label_feature(scale)})
    data = {name: [record.fields.get(name) for record in records] for name in FEATURES}
    data["label"] = [scale.to_label(score) for score in data["score"]]
    for name, feature in (("split", Value("string")), ("family", Value("string")), ("std", Value("float64"))):
        if name in chosen:
            data[name] = [record.fields[name] for record in records]
            features[name] = feature
    used = {column for column in chosen.values() if isinstance(column, str)}
    for name in names:
        # In a data set `frames` are cached pictures; in a table, a count.
        column = "num_frames" if name == "frames" else name
        # `split` and `family` decide what lands where: not when the caller turned them off.
        if name in used or column in features or column in ("split", "family"):
            continue
        cells = [record.row.cells.get(name) for record in records]
        numbers = None if name in text_columns else _as_numbers(cells)
        data[column] = [None if cell in (None, "") else str(cell) for cell in cells] if numbers is None else numbers
        features[column] = Value("string" if numbers is None else "float64")
    return Dataset.from_dict(data, features=features)


def _as_numbers(cells: list) -> list[float | None] | None:
    """Floats (never integers, so that the type hangs less on the rows) if all cells are numbers; "0012" is a name."""
    if all(cell in (None, "") for cell in cells):
        return None
    if not all(cell in (None, "") or (not isinstance(cell, bool) and _NUMBER.fullmatch(str(cell))) for cell in cells):
        return None
    return [_number(cell) if cell != "" else None for cell in cells]
