"""Frames decoded once: the sampled frames of every video of a data set, kept on disk for training.

The cache is one folder per kind of frames (see `frame_store`), shared by all data sets and splits; it grows by what is
missing. A cached data set holds only where its frames lie, so it is small, however it is sent about or shuffled.
"""

import gc
import json
import logging
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch
from datasets import Dataset, DatasetDict, Features, List, Value, concatenate_datasets
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from tqdm import tqdm

from ..models import raw_video_source, tone_mapping, video_reader, video_source, video_views
from ..models.video_processing_internvideo2 import InternVideo2VideoProcessor, cut_crop, open_video
from ..models.video_reader import VideoError
from .frame_store import Store, default_folder, digest, file_key, make_folder, map_frames, open_store, write_store


logger = logging.getLogger(__name__)

VIDEOS_PER_FILE = 64  # at most; what an interruption can lose in each process

FRAME_COLUMNS = Features(
    {
        "frames": {"file": Value("string"), "offset": Value("int64")},
        "frames_shape": List(Value("int32")),
        "frames_settings": Value("string"),
    }
)


def cache_frames(
    dataset: Dataset | DatasetDict,
    processor: InternVideo2VideoProcessor,
    cache_dir: str | os.PathLike | None = None,
    windows: int = 1,
    max_pixels: int | None = None,
    num_proc: int | None = None,
    *,
    regions: int = 1,
    native: bool = False,
    max_bytes: float | None = None,
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
        regions: With `max_pixels`, so many regions of a larger frame, spread over it, the centre first. Each window
            is kept for each region.
        native: Keep them at native resolution also with `spatial_mode="resize"`, as the published augmentation needs.
        max_bytes: Refuse to write more than this. More than the free disk is refused in any case, by an estimate from
            the dimensions of some of the videos.

    Returns the rows whose video could be decoded, with `frames` (where they lie, see `frames_of`), `frames_shape`
    (regions * windows * num_frames, height, width, 3) and `frames_settings`. The others are reported, each with its
    reason.

    A video is decoded again if its name, size, modification time or content change, the settings, or the reader; not
    if it only moves. Processes that start at the same time would each decode everything: let one go first. Stopped or
    killed at any point, the same call goes on where it was.

    Raises ValueError if no video can be decoded, or if it would take too much disk.
    """
    splits = dataset if isinstance(dataset, DatasetDict) else {None: dataset}
    native = native or not keeps_resized(processor)
    regions = regions if native and max_pixels else 1
    kind = {
        "settings": json.loads(frame_settings(processor, native)),
        "windows": windows,
        "regions": regions,
        "max_pixels": max_pixels,
        "reader": reader_version(),
    }
    folder = Path(cache_dir or default_folder(), digest(kind))
    make_folder(folder, kind)

    videos = dict.fromkeys(video for split in splits.values() for video in split["video"])
    keys, errors = {}, {}
    for video in videos:
        try:
            keys[video] = file_key(video)
        except OSError as error:
            errors[video] = error.strerror
    store = open_store(folder)
    missing = {key: video for video, key in keys.items() if key not in store.frames}
    if missing:
        keep = partial(stored_frames, processor=processor, native=native, max_pixels=max_pixels)
        sets = {"windows": windows, "regions": regions, "num_frames": processor.num_frames, "hdr": processor.hdr}
        check_size(folder, estimate_bytes(list(missing.values()), keep, **sets), len(missing), max_bytes)
        decode = partial(decode_rows, processor=processor, keep=keep, windows=windows, regions=regions)
        fill_store(folder, missing, decode, num_proc or os.cpu_count() or 1)
        store = open_store(folder)
        errors |= {video: store.errors[key] for key, video in missing.items() if key not in store.frames}
    report(errors, sum(video in errors for split in splits.values() for video in split["video"]), splits)
    attached = {
        name: attach(split, keys, store, errors, frame_settings(processor, native)) for name, split in splits.items()
    }
    return DatasetDict(attached) if isinstance(dataset, DatasetDict) else attached[None]


def frames_of(row: dict) -> np.ndarray:
    """The frames in a row of `cache_frames`: read-only uint8 RGB (regions * windows * num_frames, height, width, 3).

    A view of the mapped file, so that only what is used of it is read. `frames` may also be the bytes themselves.
    """
    frames, shape = row["frames"], row["frames_shape"]
    if isinstance(frames, bytes):
        return np.frombuffer(frames, np.uint8).reshape(shape)
    return map_frames(frames["file"], frames["offset"], shape)


def frame_settings(processor: InternVideo2VideoProcessor, native: bool = False) -> str:
    """What cached frames have in common with what the processor would take of the file, as JSON.

    `native`: of frames that were not resized, whatever the processor does.
    """
    settings = {"num_frames": processor.num_frames, "frame_sampling": processor.frame_sampling}
    if processor.frame_sampling == "window":
        settings["frame_stride"] = processor.frame_stride
    if keeps_resized(processor) and not native:
        settings["size"] = {name: side for name, side in dict(processor.size).items() if side is not None}
        settings["resample"] = int(processor.resample)
    if processor.hdr != "refuse":
        settings["hdr"] = processor.hdr
    return json.dumps(settings)


def keeps_resized(processor: InternVideo2VideoProcessor) -> bool:
    """Resizing what has the right size already does nothing: then it may as well happen before storing."""
    return processor.spatial_mode == "resize" and processor.do_resize


def reader_version() -> list[str]:
    """FFmpeg comes with PyAV; our own part has no number of its own, the hash of its text will do."""
    files = [
        Path(module.__file__) for module in (video_reader, video_source, raw_video_source, tone_mapping, video_views)
    ]
    return [av.__version__, digest([file.read_text(encoding="utf-8") for file in files])]


def attach(dataset: Dataset, keys: dict, store: Store, errors: dict, settings: str) -> Dataset:
    """The rows whose frames are in the store, with where they lie."""
    videos = dataset["video"][:]
    kept = [place for place, video in enumerate(videos) if video not in errors]
    found = [store.frames[keys[videos[place]]] for place in kept]
    columns = {
        "frames": [{"file": frames.file, "offset": frames.offset} for frames in found],
        "frames_shape": [frames.shape for frames in found],
        "frames_settings": [settings] * len(found),
    }
    table = dataset.select(kept).remove_columns([name for name in FRAME_COLUMNS if name in dataset.column_names])
    with quiet_datasets():
        table = table.flatten_indices(keep_in_memory=True)
    return concatenate_datasets([table, Dataset.from_dict(columns, FRAME_COLUMNS)], axis=1, split=dataset.split)


def check_size(folder: Path, size: float, videos: int, max_bytes: float | None) -> None:
    """Say what it will take, and refuse what does not fit."""
    free = shutil.disk_usage(folder).free
    limit = free if max_bytes is None else min(free, max_bytes)
    tqdm.write(f"Caching the frames of {videos} videos, about {size / 1e6:,.0f} MB, in {folder}", file=sys.stderr)
    if size > limit:
        what = "the limit" if limit == max_bytes else "what is free on this disk"
        raise ValueError(
            f"the frames of {videos} videos take about {size / 1e9:,.1f} GB, more than {what} "
            f"({limit / 1e9:,.1f} GB): keep fewer (windows, regions), smaller ones (max_pixels, spatial_mode='resize') "
            "or none but while training (--stream), give another cache_dir, or remove old ones (cvqa cache)"
        )


def estimate_bytes(
    videos: list[str], keep: Callable, windows: int, regions: int, num_frames: int, hdr: str, probes: int = 32
) -> float:
    """Size on disk of the frames of `videos`, from the dimensions of some of them."""
    sizes = []
    for video in videos[:: -(-len(videos) // probes)]:
        try:
            with open_video(video, hdr) as reader:
                frame = torch.empty(1, 3, reader.height, reader.width, dtype=torch.uint8)
        except VideoError:
            continue
        stored = keep(frame)
        sizes.append(stored.numel() * (1 if stored.shape == frame.shape else regions))
    return len(videos) * windows * num_frames * float(np.mean(sizes)) if sizes else 0.0


def fill_store(folder: Path, missing: dict[str, str], decode, num_proc: int) -> None:
    """Decodes the `missing` videos, by key, into new files of the folder; each file appears when it is complete.

    Where a process dies, what is left is done by half as many. Raises RuntimeError where even a single one does.
    """
    keys = list(missing)
    step = min(VIDEOS_PER_FILE, -(-len(keys) // num_proc))
    chunks = [{key: missing[key] for key in keys[first : first + step]} for first in range(0, len(keys), step)]
    with tqdm(total=len(keys), desc="Decoding", unit="video", disable=None) as progress:
        if min(num_proc, len(chunks)) == 1:
            for chunk in chunks:
                fill_file(folder, chunk, decode)
                progress.update(len(chunk))
            return
        processes = min(num_proc, len(chunks))
        while left := fill_by_processes(folder, chunks, decode, processes, progress):
            if processes == 1:
                videos = list(left[0].values())
                raise RuntimeError(
                    f"a process that decoded was killed, for want of memory or by one of {len(videos)} videos, from "
                    f"{videos[0]} to {videos[-1]}; the same call goes on where it was"
                )
            chunks, processes = left, processes // 2
            logger.warning("a process that decoded was killed; going on with %d", processes)


def fill_by_processes(folder: Path, chunks: list[dict], decode, processes: int, progress: tqdm) -> list[dict]:
    """Decodes the chunks, one file each; returns those that are left because a process died."""
    # A forked process has the main script already, whether or not that guards its start.
    forks = "fork" in multiprocessing.get_all_start_methods()
    gc.collect()  # what lies about here must not be finalized there, without the threads that belong to it
    context = multiprocessing.get_context("fork" if forks else None)
    with ProcessPoolExecutor(processes, context, start_worker, (os.getpid(),)) as pool:
        try:
            futures = {pool.submit(fill_file, folder, chunk, decode): chunk for chunk in chunks}
            for future in as_completed(futures):
                with suppress(BrokenProcessPool):
                    future.result()
                    progress.update(len(futures[future]))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [chunk for future, chunk in futures.items() if future.exception() is not None]


def start_worker(parent: int) -> None:
    torch.set_num_threads(1)  # a forked process hangs in the thread pool that its parent may have used
    threading.Thread(target=leave_with, args=(parent,), daemon=True).start()


def leave_with(parent: int) -> None:
    """End this process once its parent is gone, killed: nobody else would."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def fill_file(folder: Path, chunk: dict[str, str], decode) -> None:
    write_store(folder / f"{digest(list(chunk))}.arrow", decode(chunk))


def decode_rows(
    videos: dict[str, str], processor: InternVideo2VideoProcessor, keep: Callable, windows: int, regions: int
) -> Iterator[tuple[str, np.ndarray | None, str | None]]:
    """(key, frames, None) of each of the videos, or (key, None, reason)."""
    for key, video in videos.items():
        try:
            with open_video(video, processor.hdr) as reader:
                phases = [(0.5 + window / windows) % 1 for window in range(windows)]
                indices = np.concatenate([processor.frame_indices(len(reader), phase=phase) for phase in phases])
                frames = torch.from_numpy(reader.get_batch(indices)).permute(0, 3, 1, 2)
        except VideoError as error:
            yield key, None, error.reason
            continue
        kept = [keep(frames, region=region) for region in range(regions)]
        if kept[0].shape == frames.shape:
            del kept[1:]  # nothing was cut off
        yield key, torch.cat(kept).permute(0, 2, 3, 1).numpy(), None


def stored_frames(
    frames: torch.Tensor, processor: InternVideo2VideoProcessor, native: bool, max_pixels: int | None, region: int = 0
) -> torch.Tensor:
    """What is kept of `frames` (frames, 3, height, width) for one of the regions."""
    if not native:
        return processor.resize(frames, processor.size, processor.resample)
    height, width = frames.shape[-2:]
    if max_pixels is None or height * width <= max_pixels:
        return frames
    scale = (max_pixels / (height * width)) ** 0.5
    size = (int(height * scale), int(width * scale))
    if region == 0:
        return cut_crop(frames, size)
    # The powers of the plastic number spread points over a square evenly, however many there are.
    top, left = (
        int((0.5 + region * step) % 1 * room) for step, room in zip(PLASTIC, (height - size[0], width - size[1]))
    )
    return frames[..., top : top + size[0], left : left + size[1]]


PLASTIC = (0.7548776662466927, 0.5698402909980532)


def report(errors: dict[str, str], left_out: int, splits: dict) -> None:
    total = sum(map(len, splits.values()))
    for video, reason in errors.items():
        logger.warning("%s: %s", video, reason)
    empty = [name for name, split in splits.items() if all(video in errors for video in split["video"])]
    if empty:
        where = f" of {empty[0]}" if empty[0] else ""
        raise ValueError(f"None of the {len(splits[empty[0]])} videos{where} can be decoded; the reasons are above.")
    if left_out:
        logger.warning("%d of %d videos are left out: they cannot be decoded.", left_out, total)


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Without the progress bars of datasets."""
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
