"""Is a download complete and readable? Told in about a minute, before a training run finds out in hours."""

import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from ..video import VideoError, VideoReader
from .loading import load_quality_dataset


@dataclass(frozen=True)
class DatasetCheck:
    """What `check_dataset` found. `missing` and `unreadable` are one line per video, of name and reason."""

    videos: int  # rows of the score table
    missing: tuple[str, ...]
    opened: int  # as many as the time allowed
    unreadable: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        return not self.missing and not self.unreadable

    def __str__(self) -> str:
        there = self.videos - len(self.missing)
        lines = [f"{there} of {self.videos} videos are there; {self.opened} were opened"]
        lines[0] += f", {len(self.unreadable)} of these cannot be read"
        for what, names in (("missing", self.missing), ("unreadable", self.unreadable)):
            lines += [f"  {what}: {name}" for name in names[:20]]
            lines += [f"  {what}: {len(names) - 20} more"] if len(names) > 20 else []
        if self.opened < there:
            lines.append(f"  {there - self.opened} were not opened for want of time")
        return "\n".join(lines)


def check_dataset(
    name: str | os.PathLike, data_dir: str | os.PathLike | None = None, *, seconds: float = 60, **options
) -> DatasetCheck:
    """Whether every video of a score table is there, and whether its first, middle and last frame can be decoded.

    Args:
        name, data_dir, options: of `load_quality_dataset`.
        seconds: no further video is opened after so long. The order is random, but the same each time, so that what
            was opened speaks for the rest.

    Raises FileNotFoundError, ValueError: the score table itself cannot be read.
    """
    started = time.monotonic()
    rows = load_quality_dataset(name, data_dir, split="all", check_files=False, **options)
    videos = sorted(set(rows["video"]), key=lambda video: hashlib.sha256(os.fsencode(video)).digest())
    there = [video for video in videos if Path(video).is_file()]
    missing = sorted(set(videos) - set(there))
    unreadable, opened = [], 0
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(there), unit="video", disable=None) as progress:
        for batch in _batches(there, workers):
            if opened and time.monotonic() - started > seconds:
                break
            unreadable += filter(None, pool.map(_problem, batch))
            opened += len(batch)
            progress.update(len(batch))
    return DatasetCheck(len(videos), tuple(missing), opened, tuple(sorted(unreadable)))


def _batches(videos: list[str], size: int) -> Iterator[list[str]]:
    remaining = iter(videos)
    while batch := list(islice(remaining, size)):
        yield batch


def _problem(video: str) -> str:
    try:
        with VideoReader(video) as reader:
            reader.get_batch(sorted({0, len(reader) // 2, len(reader) - 1}))
            return f"{video}: damaged or cut short, {len(reader)} frames can be decoded" if reader.damaged else ""
    except VideoError as error:
        return str(error)
