"""A data set of scored videos as a folder for the Hub: Parquet with the videos in it, and a card."""

import io
import logging
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features, Image, Video
from PIL.Image import fromarray
from tqdm import tqdm

from ..data.frames import FRAME_COLUMNS
from ..data.hub_dataset import MEDIA
from ..data.schema import codec_name, get_scale
from ..data.splits import SPLITS, check_disjoint, fingerprint
from ..files import json_text, write_text
from ..video import VideoError, VideoReader
from .dataset_card import FACTS, dataset_card, published_rows
from .folder import ABSOLUTE_PATH, check_public, replacing_folder


logger = logging.getLogger(__name__)

SHARD_BYTES = 500_000_000  # after which a new file begins
ROW_GROUP_BYTES, ROW_GROUP_ROWS = 32_000_000, 100  # which the viewer of the Hub reads at once, and we hold in memory
CELL_BYTES = 2**31 - 1  # of the type that `datasets` stores videos in


def write_dataset_folder(
    splits: Mapping[str, Dataset],
    target: str | os.PathLike,
    *,
    name: str | None = None,
    repo_id: str | None = None,
    license: str = "unknown",
) -> Path:
    """Write splits of scored videos to be published: `load_dataset` reads them anywhere, without cvqa.

    `data/SPLIT-NNNNN-of-NNNNN.parquet` holds the columns of the splits and
    - `video`: the file itself, `{"bytes", "path"}`, its path as content and file name; not decoded at loading;
    - `frame`: its middle frame as PNG, native resolution and lossless, since artefacts are what it is about.

    README.md is the card, dataset.json what it states. Codec, width and height are filled in where the splits do not
    know them. `reference` becomes a file name, and other columns that hold absolute paths are left out. Memory is
    bounded by `ROW_GROUP_BYTES` and one video per core.

    Args:
        splits: "train", "validation", "test" -> rows, of `load_quality_dataset`.
        target: made or replaced as a whole; it must not hold anything but an earlier such folder.
        name: title; by default that of the repository or the folder.
        repo_id: where it will be published; the card's snippets load it from there.
        license: of the source videos and scores, as the Hub spells it ("cc-by-4.0"). Only you can know it.

    Returns `target`. A video that cannot be read is left out, with a warning, and counted in the card.

    Raises:
        ValueError: splits that share a content or a file, no readable video in a split, two contents that only the
            folder tells apart; `target` is then as it was.
    """
    target = Path(target)
    scale = get_scale(splits)
    unknown = set(splits) - set(SPLITS)
    if unknown:
        raise ValueError(f"splits are called {', '.join(SPLITS)}, not {', '.join(sorted(unknown))}")
    check_disjoint(splits)
    splits = _public(splits)
    names = _names(splits)
    left_out = []
    with replacing_folder(target, marker=FACTS) as fresh:
        (fresh / "data").mkdir()
        for split in (split for split in SPLITS if split in splits):
            problems = _write_split(splits[split], names[split], fresh / "data", split)
            if len(problems) == len(splits[split]):
                raise ValueError(f"none of the videos of the {split} split can be read: {'; '.join(problems[:5])}")
            left_out += problems
        for problem in left_out:
            logger.warning("left out: %s", problem)
        facts = {
            "name": name or (repo_id or target.resolve().name).split("/")[-1],
            "scale": scale.as_config(),
            "fingerprint": fingerprint(published_rows(fresh)),
            "left_out": len(left_out),
        }
        write_text(fresh / FACTS, json_text(facts))
        write_text(fresh / "README.md", dataset_card(fresh, repo_id, license))
        check_public(fresh, named=target)
    return target


def _public(splits: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """The splits without columns that tell of this machine, and with such contents and families by their names."""
    columns = next(iter(splits.values())).features
    private = [column for column in (*FRAME_COLUMNS, "frame") if column in columns]
    for column, feature in columns.items():
        if column in ("video", "reference") or getattr(feature, "dtype", None) != "string":
            continue
        values = {value for split in splits.values() for value in split[column] if value}
        if not any(map(ABSOLUTE_PATH.search, values)):
            continue
        if column not in ("content_id", "family"):
            logger.warning("the column %s is left out: it holds absolute paths", column)
            private.append(column)
            continue
        short = {value: Path(value).name for value in values}
        if len(set(short.values())) < len(values):
            raise ValueError(
                f"{column} holds absolute paths, and their last parts are not enough to tell the contents apart: load "
                "the data with a content_column or content_pattern that gives short names"
            )
        splits = {
            name: split.remove_columns(column)
            .add_column(column, [short.get(value, value) for value in split[column]])
            .select_columns(split.column_names)
            for name, split in splits.items()
        }
    return {name: split.remove_columns(private) for name, split in splits.items()}


def _names(splits: Mapping[str, Dataset]) -> dict[str, list[str]]:
    """What each video is called in the data set: "content/file name", unique, the file name as it is."""
    taken, names = set(), {}
    for split, rows in splits.items():
        names[split] = []
        for content, video in zip(rows["content_id"], rows["video"]):
            folder = re.sub(r"[^\w.-]+", "_", content).strip(".") or "_"
            places = chain([folder], (f"{folder}/{number}" for number in count(2)))
            name = next(path for path in (f"{place}/{Path(video).name}" for place in places) if path not in taken)
            taken.add(name)
            names[split].append(name)
    return names


def _write_split(split: Dataset, names: list[str], folder: Path, name: str) -> list[str]:
    """Writes the files of a split, and returns which videos are not in them and why."""
    features = Features({"frame": Image(), **split.features, "video": Video(decode=False)})
    problems = []
    with (
        _Shards(folder, name, features) as shards,
        tqdm(total=len(split), desc=f"Writing {name}", unit="video", disable=None) as progress,
    ):
        for row in _rows(split, names):
            if isinstance(row, str):
                problems.append(row)
            else:
                shards.write(row)
            progress.update()
    return problems


def _rows(split: Dataset, names: list[str]) -> Iterator[dict | str]:
    """Rows with file and frame, or why there are none, decoded by all cores."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(split), workers):
            rows = list(split.select(range(first, min(first + workers, len(split)))))
            yield from pool.map(_row, rows, names[first : first + workers])


def _row(row: dict, name: str) -> dict | str:
    path = Path(row["video"])
    try:
        with VideoReader(path) as reader:
            if path.stat().st_size > CELL_BYTES:
                return f"{path}: {path.stat().st_size / 1e9:.1f} GB, and a Parquet cell holds 2.1 GB; cut it shorter"
            frame = io.BytesIO()
            fromarray(reader.get_batch([len(reader) // 2])[0]).save(frame, "PNG")
            known = {"codec": codec_name(reader.codec), "width": reader.width, "height": reader.height}
        content = path.read_bytes()
    except (VideoError, OSError) as error:
        return str(error)
    row |= {column: value for column, value in known.items() if not row[column]}
    row["video"] = {"bytes": content, "path": name}
    row["frame"] = {"bytes": frame.getvalue(), "path": Path(name).with_suffix(".png").name}
    if row.get("reference"):
        row["reference"] = Path(row["reference"]).name
    return row


class _Shards:
    """Parquet files of one split, written row group by row group; they get their names when their number is known."""

    def __init__(self, folder: Path, split: str, features: Features):
        self.folder, self.split, self.features = folder, split, features
        self.rows, self.size, self.files, self.writer = [], 0, [], None

    def write(self, row: dict) -> None:
        self.rows.append(row)
        self.size += sum(len(row[column]["bytes"]) for column in MEDIA)
        if self.size >= ROW_GROUP_BYTES or len(self.rows) >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self.rows:
            return
        schema = self.features.arrow_schema
        if self.writer is None:
            self.files.append(self.folder / f"{self.split}-{len(self.files)}.part")
            plain = [column for column in self.features if column not in MEDIA]
            self.writer = pq.ParquetWriter(
                self.files[-1],
                schema,
                use_dictionary=plain,
                write_statistics=plain,
                write_page_index=True,  # the viewer fetches single rows
                use_content_defined_chunking=True,  # the Hub stores what a new version shares with the old one once
            )
        self.writer.write_table(pa.Table.from_pylist(self.rows, schema=schema))
        self.rows, self.size = [], 0
        if self.files[-1].stat().st_size >= SHARD_BYTES:
            self._close()

    def _close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def __enter__(self) -> "_Shards":
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self._flush()
        self._close()
        for number, file in enumerate(self.files):
            file.rename(self.folder / f"{self.split}-{number:05d}-of-{len(self.files):05d}.parquet")
