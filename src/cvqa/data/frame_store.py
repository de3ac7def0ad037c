"""The files of the frame cache: one folder per kind of frames, in it Arrow files with one row per video.

A file appears under its name when it is complete, and never changes. Frames are then read where they lie, by memory
map: whoever needs a crop touches only that.
"""

import contextlib
import errno
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from datasets import config

from ..files import json_text, replacing, write_text


logger = logging.getLogger(__name__)

SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "frames": pa.large_binary(),  # plain binary columns end at 2 GB, which a few 4K videos reach
        "shape": pa.list_(pa.int32()),
        "error": pa.string(),
    }
)
FACTS = "cache.json"
ABANDONED = 3600  # seconds after which a file that nobody writes to any more is taken for what a killed process left


class Frames(NamedTuple):
    """Where the frames of a video lie."""

    file: str
    offset: int  # bytes from the start of the file
    shape: tuple[int, ...]


class Store(NamedTuple):
    """What a cache folder holds, by key: frames, or why there are none."""

    frames: dict[str, Frames]
    errors: dict[str, str]


class FrameCache(NamedTuple):
    """One folder of the cache, as `frame_caches` finds it."""

    path: Path
    facts: dict  # settings, windows, regions, max_pixels, reader
    videos: int
    bytes: int
    used: float  # seconds since the epoch


def default_folder() -> Path:
    return Path(config.HF_DATASETS_CACHE, "cvqa_frames")


def digest(value) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


def file_key(path: str, samples: int = 4, length: int = 2**14) -> str:
    """What tells a file from others wherever it lies: its name, size, time of modification and some of its bytes.

    Not all of them: to read a data set of raw video takes hours. The name belongs to it, since that of raw video tells
    its format.
    """
    if path.lower().startswith(("http://", "https://")):
        raise OSError(errno.EINVAL, "a URL, of which frames are not cached; download it, or train without a cache")
    file = Path(path).resolve()
    status, content = file.stat(), hashlib.sha256()
    with file.open("rb") as opened:
        for sample in range(samples):
            opened.seek(max(0, status.st_size - length) * sample // (samples - 1))
            content.update(opened.read(length))
    return digest([file.name, status.st_size, status.st_mtime_ns, content.hexdigest()])


def make_folder(folder: Path, facts: dict) -> None:
    """Make the folder if need be, and note that it is in use."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / FACTS).is_file():
        write_text(folder / FACTS, json_text(facts))
    with contextlib.suppress(OSError):  # of a cache that others share, and that may only be read
        (folder / FACTS).touch()
        for left in folder.glob(".*.part.arrow"):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink(missing_ok=True)


def open_store(folder: Path) -> Store:
    """All that the folder holds. A file that cannot be read, as after a failure of the disk, counts as absent."""
    store = Store({}, {})
    for file in complete_files(folder):
        try:
            with pa.memory_map(str(file)) as mapped:
                start = mapped.read_buffer().address
                mapped.seek(0)
                reader = pa.ipc.open_file(mapped)
                for number in range(reader.num_record_batches):
                    read_batch(reader.get_batch(number), str(file), start, store)
        except (pa.ArrowException, OSError) as error:
            logger.warning("%s: left out, it is damaged (%s); remove it", file, error)
    return store


def read_batch(batch: pa.RecordBatch, file: str, start: int, store: Store) -> None:
    key, shape, error = (batch[name][0].as_py() for name in ("key", "shape", "error"))
    if error is None:
        content = batch["frames"].buffers()[2]  # after validity and lengths
        store.frames[key] = Frames(file, content.address - start, tuple(shape))
    else:
        store.errors[key] = error


def write_store(file: Path, rows: Iterable[tuple[str, np.ndarray | None, str | None]]) -> None:
    """Write (key, frames, error) of every video, one after the other, to a file that appears when it is complete."""
    with replacing(file) as partial, pa.ipc.new_file(str(partial), SCHEMA) as writer:
        for key, frames, error in rows:
            content = None if frames is None else memoryview(np.ascontiguousarray(frames)).cast("B")
            shape = None if frames is None else list(frames.shape)
            arrays = [pa.array([value], kind.type) for value, kind in zip((key, content, shape, error), SCHEMA)]
            writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))


def map_frames(file: str, offset: int, shape: Iterable[int]) -> np.ndarray:
    """The stored frames, read-only, as a view of the file.

    Raises FileNotFoundError if the cache is gone.
    """
    shape = tuple(shape)
    try:
        stored = mapped_file(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: was removed from the cache of frames; run cache_frames again") from None
    return stored[offset : offset + int(np.prod(shape))].reshape(shape)


@lru_cache(maxsize=256)
def mapped_file(file: str) -> np.ndarray:
    # As a plain array: every slice of np.memmap would cost as much again.
    return np.asarray(np.memmap(file, np.uint8, "r"))


def complete_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.arrow") if not file.name.startswith("."))


def frame_caches(cache_dir: str | Path | None = None) -> list[FrameCache]:
    """The caches of frames in a folder (by default the usual one), the one used last at the end."""
    found = []
    for path in Path(cache_dir or default_folder()).glob(f"*/{FACTS}"):
        files = [file.stat().st_size for file in complete_files(path.parent)]
        videos = len(open_store(path.parent).frames)
        facts = json.loads(path.read_text(encoding="utf-8"))
        found.append(FrameCache(path.parent, facts, videos, sum(files), path.stat().st_mtime))
    return sorted(found, key=lambda cache: cache.used)


def remove_cache(cache: FrameCache) -> None:
    """Remove one of `frame_caches`. Data sets that still refer to its frames say so when they are read."""
    (cache.path / FACTS).unlink()  # first, so that what is left after an interruption is not taken for a cache
    shutil.rmtree(cache.path)
