"""A data set as `cvqa.hub.dataset` publishes it, on the Hub or in a folder, read back for training."""

import logging
import os
import re
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq
from datasets import Dataset, Features, Value, concatenate_datasets, config
from huggingface_hub import snapshot_download
from pyarrow import ArrowException

from ..files import write_bytes
from .frames import file_key
from .rows import TABLE_SUFFIXES
from .splits import SPLITS
from .table import load_table


logger = logging.getLogger(__name__)

MEDIA = ("video", "frame")  # columns of files: {"bytes", "path"}
SHARD = re.compile(rf"({'|'.join(SPLITS)})-(\d{{5}})-of-(\d{{5}})\.parquet")


def is_published(name: str | os.PathLike) -> bool:
    """Whether `name` is a folder with such Parquet files or a table, or else could be a repository on the Hub."""
    if Path(name).exists():
        return any(Path(name, "data").glob("*.parquet")) or bool(_tables(Path(name)))
    return re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)) is not None


def load_hub(data_dir: str | os.PathLike, *, revision: str | None = None, **options) -> Dataset:
    """Read `data/SPLIT-NNNNN-of-NNNNN.parquet` of a folder or of a repository on the Hub.

    Where there are none but a table of videos and scores (metadata.csv or .jsonl, as data sets of videos have it, or
    any single table), it is `load_table` of that.

    The videos are written out once, as the files that they were, to `cvqa_videos` in the cache folder of `datasets`;
    `video` is the path there. Previews (`frame`) are not read, `reference` is None: the sources are not published.

    Args:
        data_dir: "org/name" or a folder.
        revision: branch, tag or commit on the Hub.
        **options: of `load_table`, where it is a table.

    Raises:
        FileNotFoundError, ValueError: naming the repository or file, the reason and the way out.
    """
    is_folder = Path(data_dir).is_dir()
    folder = Path(data_dir) if is_folder else _download(Path(data_dir).as_posix(), revision, "data/*.parquet")
    if not any(folder.glob("data/*.parquet")):
        folder = folder if is_folder else _download(Path(data_dir).as_posix(), revision, None)
        if tables := _tables(folder):
            return load_table(tables[0], **options)
    if options:
        raise TypeError(f"{data_dir}: says itself what its columns are; {', '.join(options)} cannot be given")
    return concatenate_datasets([_read(file, split) for file, split in _shards(folder, data_dir)])


def read_plain(file: Path) -> dict[str, list]:
    """The columns of a Parquet file but the files in it; `video` is the path within the data set."""
    with pq.ParquetFile(file) as opened:
        plain = [name for name in opened.schema_arrow.names if name not in MEDIA]
        columns = opened.read(columns=[*plain, "video.path"]).to_pydict()
    return columns | {"video": [cell["path"] for cell in columns["video"]]}


def _tables(folder: Path) -> list[Path]:
    """The table of a folder of videos, or nothing where it is not clear which one it is."""
    tables = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in TABLE_SUFFIXES and path.is_file()]
    usual = [path for path in tables if path.stem == "metadata"]
    return usual[:1] or (tables if len(tables) == 1 else [])


def _download(repo_id: str, revision: str | None, patterns: str | None) -> Path:
    try:
        return Path(snapshot_download(repo_id, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(f"{repo_id}: no such folder, and no such data set from the Hub: {reason}") from error


def _shards(folder: Path, name) -> list[tuple[Path, str]]:
    """Files with their split, in order."""
    found = [(file, SHARD.fullmatch(file.name)) for file in sorted(folder.glob("data/*.parquet"))]
    shards = [(file, match[1]) for file, match in found if match]
    if not shards:
        raise FileNotFoundError(f"{name}: holds no data/{{{','.join(SPLITS)}}}-*.parquet, so no data set of cvqa")
    for split in {split for _, split in shards}:
        promised = {match[3] for _, match in found if match and match[1] == split}
        count = sum(of == split for _, of in shards)
        if promised != {f"{count:05d}"}:
            raise ValueError(
                f"{name}: {count} files of {split}, whose names promise {' and '.join(sorted(promised))}; copy or "
                "download it anew, into an empty folder"
            )
    return shards


def _read(file: Path, split: str) -> Dataset:
    try:
        features = Features.from_arrow_schema(pq.read_schema(file))
        missing = [name for name in ("video", "score", "label", "content_id") if name not in features]
        if missing or not hasattr(features["video"], "decode"):
            raise ValueError(f"{file}: no data set of cvqa, it has no {' and no '.join(missing) or 'embedded videos'}")
        columns = read_plain(file)
        columns["video"] = _write_videos(file, columns["video"])
    except (ArrowException, OSError) as error:
        raise ValueError(f"{file}: cannot be read, or its videos cannot be written to the cache: {error}") from error
    if "reference" in columns:
        columns["reference"] = [None] * len(columns["video"])
    columns["split"] = [split] * len(columns["video"])
    features = Features({name: feature for name, feature in features.items() if name != "frame"})
    features |= {"video": Value("string"), "split": Value("string")}
    return Dataset.from_dict({name: columns[name] for name in features}, features=Features(features))


def _write_videos(file: Path, names: list[str]) -> list[str]:
    """Paths of the videos of a Parquet file, written out if they are not there already."""
    # Downloaded files are named by their content, so this does not change with the place of the cache's snapshots.
    folder = Path(config.HF_DATASETS_CACHE, "cvqa_videos", file_key(str(file)))
    for name in names:
        path = PurePosixPath(name or "..")
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ValueError(f"{file}: the video is called {name!r}, which is no name within a data set")
    paths = [folder / name for name in names]
    if len(set(paths)) < len(paths):
        raise ValueError(f"{file}: two of its videos have the same name")
    if not all(path.is_file() for path in paths):
        logger.info("%s: writing %d videos to %s", file.name, len(paths), folder)
        remaining = iter(paths)
        opened = pq.ParquetFile(file, pre_buffer=False)  # which would hold all videos of the file
        for group in range(opened.num_row_groups):
            for cell in opened.read_row_group(group, columns=["video.bytes"]).column("video"):
                path, content = next(remaining), cell["bytes"].as_py()
                if content is None:
                    raise ValueError(f"{file}: does not hold the video {path.name}, only its name")
                if not path.is_file():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_bytes(path, content)
    return [str(path) for path in paths]
