"""Frames decoded once: the sampled frames of every video of a data set, kept on disk for training.

The cache is one folder per kind of frames, with Arrow files of one row per video, found by what identifies the file.
All data sets and splits share it; it grows by what is missing, and is read memory-mapped.
"""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import torch
from datasets import Dataset, DatasetDict, Features, List, Value, concatenate_datasets, config
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from tqdm import tqdm

from ..models import video_reader, video_source
from ..models.video_processing_internvideo2 import InternVideo2VideoProcessor, cut_crop, open_video
from ..models.video_reader import VideoError


logger = logging.getLogger(__name__)

VIDEOS_PER_FILE = 64  # per process; what an interruption can lose

FRAME_COLUMNS = {
    "frames": Value("large_binary"),  # plain binary columns end at 2 GB, which a few 4K videos reach
    "frames_shape": List(Value("int32")),
    "frames_settings": Value("string"),
}


def cache_frames(
    dataset: Dataset | DatasetDict,
    processor: InternVideo2VideoProcessor,
    cache_dir: str | os.PathLike | None = None,
    windows: int = 1,
    max_pixels: int | None = None,
    num_proc: int | None = None,
) -> Dataset | DatasetDict:
    """
    Adds the sampled frames of each `video` (a path) to `dataset`, decoding only what was not decoded before.

    Args:
        processor: Its `frame_indices` choose the frames. With `spatial_mode="fragments"` they are kept at native
            resolution; with `"resize"` as they come out of its resizing, which is smaller and gives the same pixels.
        cache_dir: Folder of the cache; by default `cvqa_frames` in the cache folder of `datasets`.
        windows: Sets of frames per video for training to choose from, at even distances in time. The first is the
            one that inference looks at.
        max_pixels: Of a larger frame keep the centre in the same aspect ratio, at most this many pixels, never
            rescaled. No effect with `spatial_mode="resize"`.
        num_proc: Processes that decode; by default one per core.

    Returns the rows whose video could be decoded, with `frames` (bytes, see `frames_of`), `frames_shape` (windows *
    num_frames, height, width, 3) and `frames_settings`. The others are reported, each with its reason.

    A video is decoded again if its path, size or modification time change, the settings, or the reader. Processes
    that start at the same time would each decode everything: let one go first.

    Raises ValueError if no video can be decoded.
    """
    if isinstance(dataset, DatasetDict):
        splits = dataset.items()
        return DatasetDict(
            {name: cache_frames(split, processor, cache_dir, windows, max_pixels, num_proc) for name, split in splits}
        )
    kind = digest([frame_settings(processor), windows, max_pixels, reader_version()])
    folder = Path(cache_dir or Path(config.HF_DATASETS_CACHE, "cvqa_frames"), kind)
    folder.mkdir(parents=True, exist_ok=True)

    videos = list(dataset["video"])
    keys, errors = {}, {}
    for video in videos:
        try:
            keys[video] = file_key(video)
        except OSError as error:
            errors[video] = error.strerror

    with quiet_datasets():
        store, rows, _ = open_store(folder)
        missing = {key: video for video, key in keys.items() if key not in rows}
        if missing:
            fill_store(folder, missing, processor, windows, max_pixels, num_proc)
            store, rows, reasons = open_store(folder)
            errors |= {video: reasons[key] for key, video in missing.items() if key in reasons}
        kept = [place for place, video in enumerate(videos) if video not in errors]
        report(errors, len(videos) - len(kept), len(videos))
        # Joined in the order of the store, then reordered by an index: so the frames stay where they are on disk.
        stored = sorted(kept, key=lambda place: rows[keys[videos[place]]])
        frames = take(store, [rows[keys[videos[place]]] for place in stored]).select_columns(list(FRAME_COLUMNS))
        table = dataset.select(stored).remove_columns([name for name in FRAME_COLUMNS if name in dataset.column_names])
        table = table.flatten_indices(keep_in_memory=True)
        return concatenate_datasets([table, frames], axis=1, split=dataset.split).select(np.argsort(stored))


def frames_of(row: dict) -> np.ndarray:
    """The frames in a row of `cache_frames`: read-only uint8 RGB (windows * num_frames, height, width, 3)."""
    return np.frombuffer(row["frames"], np.uint8).reshape(row["frames_shape"])


def frame_settings(processor: InternVideo2VideoProcessor) -> str:
    """What cached frames have in common with what the processor would take of the file, as JSON."""
    settings = {"num_frames": processor.num_frames, "frame_sampling": processor.frame_sampling}
    if processor.frame_sampling == "window":
        settings["frame_stride"] = processor.frame_stride
    if keeps_resized(processor):
        settings["size"] = {name: side for name, side in dict(processor.size).items() if side is not None}
        settings["resample"] = int(processor.resample)
    return json.dumps(settings)


def keeps_resized(processor: InternVideo2VideoProcessor) -> bool:
    """Resizing what has the right size already does nothing: then it may as well happen before storing."""
    return processor.spatial_mode == "resize" and processor.do_resize


def digest(value) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


def reader_version() -> list[str]:
    """FFmpeg comes with PyAV; our own part has no number of its own, its text will do."""
    files = [Path(module.__file__) for module in (video_reader, video_source)]
    return [av.__version__, *(file.read_text(encoding="utf-8") for file in files)]


def file_key(path: str) -> str:
    status = Path(path).stat()
    return digest([str(Path(path).resolve()), status.st_size, status.st_mtime_ns])


def open_store(folder: Path) -> tuple[Dataset | None, dict[str, int], dict[str, str]]:
    """All rows of a cache folder, the row of each video in it, and why others could not be decoded."""
    files = sorted(folder.glob("*.arrow"))
    if not files:
        return None, {}, {}
    store = concatenate_datasets([Dataset.from_file(str(file)) for file in files])
    entries = list(enumerate(zip(store["key"], store["error"])))
    return (
        store,
        {key: row for row, (key, error) in entries if error is None},
        {key: error for _, (key, error) in entries if error is not None},
    )


def take(store: Dataset, rows: list[int]) -> Dataset:
    """Those rows as slices of the memory map; `select` of all would add an index, and joining columns then a copy."""
    breaks = [place for place in range(1, len(rows)) if rows[place] != rows[place - 1] + 1]
    runs = pairwise([0, *breaks, len(rows)])
    return concatenate_datasets([store.select(range(rows[first], rows[last - 1] + 1)) for first, last in runs])


def fill_store(
    folder: Path,
    missing: dict[str, str],
    processor: InternVideo2VideoProcessor,
    windows: int,
    max_pixels: int | None,
    num_proc: int | None,
) -> None:
    """Decodes the `missing` videos, by key, into new files of the folder; each file appears when it is complete."""
    size = estimate_bytes(list(missing.values()), processor, windows, max_pixels)
    tqdm.write(f"Caching the frames of {len(missing)} videos, about {size / 1e6:,.0f} MB, in {folder}", file=sys.stderr)
    num_proc = num_proc or os.cpu_count() or 1
    step = VIDEOS_PER_FILE * num_proc
    with tqdm(total=len(missing), desc="Decoding", unit="video", disable=None) as progress:
        for first in range(0, len(missing), step):
            keys = list(missing)[first : first + step]
            processes = min(num_proc, len(keys))
            Dataset.from_dict({"key": keys, "video": [missing[key] for key in keys]}).map(
                decode_row,
                fn_kwargs={
                    "processor": processor,
                    "windows": windows,
                    "max_pixels": max_pixels,
                    "single_thread": processes > 1,
                },
                num_proc=processes if processes > 1 else None,
                remove_columns="video",
                features=Features({"key": Value("string"), **FRAME_COLUMNS, "error": Value("string")}),
                cache_file_name=str(folder / f"{digest(keys)}.arrow"),
                new_fingerprint=digest(keys),
                load_from_cache_file=False,  # only ever asked for what the folder does not hold
                writer_batch_size=1,  # rows are megabytes
            )
            progress.update(len(keys))


def decode_row(
    row: dict, processor: InternVideo2VideoProcessor, windows: int, max_pixels: int | None, single_thread: bool
) -> dict:
    if single_thread:
        # A forked process hangs in the thread pool that its parent may have used.
        torch.set_num_threads(1)
    try:
        with open_video(row["video"]) as reader:
            phases = [(0.5 + window / windows) % 1 for window in range(windows)]
            indices = np.concatenate([processor.frame_indices(len(reader), phase=phase) for phase in phases])
            frames = torch.from_numpy(reader.get_batch(indices)).permute(0, 3, 1, 2)
    except VideoError as error:
        return {"frames": None, "frames_shape": None, "frames_settings": None, "error": error.reason}
    frames = stored_frames(frames, processor, max_pixels).permute(0, 2, 3, 1).contiguous().numpy()
    return {
        "frames": frames.tobytes(),
        "frames_shape": frames.shape,
        "frames_settings": frame_settings(processor),
        "error": None,
    }


def stored_frames(frames: torch.Tensor, processor: InternVideo2VideoProcessor, max_pixels: int | None) -> torch.Tensor:
    """What is kept of `frames` (frames, 3, height, width)."""
    if keeps_resized(processor):
        return processor.resize(frames, processor.size, processor.resample)
    height, width = frames.shape[-2:]
    if max_pixels is None or height * width <= max_pixels:
        return frames
    scale = (max_pixels / (height * width)) ** 0.5
    return cut_crop(frames, (int(height * scale), int(width * scale)))


def estimate_bytes(
    videos: list[str], processor: InternVideo2VideoProcessor, windows: int, max_pixels: int | None, probes: int = 8
) -> float:
    """Size on disk of the frames of `videos`, from the dimensions of a few of them."""
    sizes = []
    for video in videos[:: -(-len(videos) // probes)]:
        try:
            with open_video(video) as reader:
                frame = torch.empty(1, 3, reader.height, reader.width, dtype=torch.uint8)
        except VideoError:
            continue
        sizes.append(stored_frames(frame, processor, max_pixels).numel())
    return len(videos) * windows * processor.num_frames * float(np.mean(sizes)) if sizes else 0.0


def report(errors: dict[str, str], left_out: int, total: int) -> None:
    for video, reason in errors.items():
        logger.warning("%s: %s", video, reason)
    if left_out == total:
        raise ValueError(f"None of the {total} videos can be decoded; the reasons are above.")
    if left_out:
        logger.warning("%d of %d videos are left out: they cannot be decoded.", left_out, total)


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Without the progress bars of datasets, one for every step within."""
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
