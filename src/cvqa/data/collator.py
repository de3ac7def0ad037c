"""From rows of a data set to the input of a model."""

import logging
import math
import os
import warnings
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import torch

from ..models.video_processing_internvideo2 import InternVideo2VideoProcessor, open_video
from ..models.video_reader import VideoError
from .augmentation import get_augmentation
from .frames import frame_settings, frames_of


logger = logging.getLogger(__name__)


class QualityCollator:
    """
    Batches rows with `frames` (of `cache_frames`) or else `video` (a path) into `pixel_values_videos`, float32
    (rows, frames, 3, height, width), and `labels`, float32 (rows,), where rows have a `label`; NaN for those without.

    Without `augment` the pixels are those of `processor(path)`, bit for bit. With "quality" (or True), they vary in
    ways that leave the quality as it is: another window in time (of cached frames, one of those that were cached),
    another place in the frame, mirroring. Nothing is rescaled beyond what the processor does, and no colour changes.
    "luma" adds what labels computed from luma do not see: grey, upside down, transposed.
    With "published", they vary as in the published method, see `augmentation`, and each row gives two clips, one
    after the other.

    With `as_uint8` the pixels stay as decoded, a quarter of the bytes, for `processor.pixel_values` on the device of
    the model: what a worker does then is little more than copying.

    What is drawn for a row depends on `seed` and
    - once `set_epoch` was called, on the epoch and the name of the video in its folder, and on nothing else: the same
      for any number of processes and workers, after resuming, and wherever the data lie;
    - with `views`, on the epoch modulo `views` only: so many views of a video, seen in turn, which can be known before;
    - until then on the rank (`RANK`) and the random state of torch in the process, which the workers of a DataLoader
      get anew each epoch: reproducible after `torch.manual_seed` with the same number of processes and workers.

    Rows of one video that have a number in `repeat` are drawn for apart: a small data set that is repeated in itself
    has long epochs, between which loaders need not start anew.

    `video` may also be a file of a data set that is streamed from the Hub: {"bytes", "path"}.

    With `replace_unreadable` a video that cannot be read is named, and another row of the batch takes its place, in
    the list that was given, too.

    Raises `VideoError` for a video that cannot be read, ValueError for frames cached with other settings and for an
    augmentation that there is not.
    """

    def __init__(
        self,
        processor: InternVideo2VideoProcessor,
        augment: str | bool | None = None,
        seed: int = 0,
        as_uint8: bool = False,
        views: int | None = None,
        replace_unreadable: bool = False,
    ):
        self.processor = processor
        self.augmentation = get_augmentation(augment)
        self.seed = seed
        self.as_uint8 = as_uint8
        self.views = views
        self.replace_unreadable = replace_unreadable
        self.epoch = torch.tensor(-1).share_memory_()  # shared: persistent workers hold a copy of this object

    def set_epoch(self, epoch: int) -> None:
        self.epoch.fill_(epoch)

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        samples = self.augmentation.samples if self.augmentation else 1
        views, unreadable = None, {}
        for place, (row, sample) in enumerate(product(rows, range(samples))):
            try:
                # Pixel by pixel as decoded, (frames, height, width, 3), so that whole lines are copied, and only once.
                view = self._view(row, sample).permute(0, 2, 3, 1)
            except VideoError as error:
                if not self.replace_unreadable:
                    raise
                unreadable[place // samples] = error
                continue
            if views is None:
                views = torch.empty(len(rows) * samples, *view.shape, dtype=torch.uint8)
            views[place] = view
        if unreadable:
            replace(rows, views, unreadable, samples)
        views = views.permute(0, 1, 4, 2, 3)
        batch = {"pixel_values_videos": views if self.as_uint8 else self.processor.pixel_values(views)}
        if any("label" in row for row in rows):
            labels = [row.get("label") for row in rows for _ in range(samples)]
            labels = [math.nan if label is None else label for label in labels]
            batch["labels"] = torch.tensor(labels, dtype=torch.float32)
        return batch

    @property
    def view(self) -> int:
        """Number of the view that the rows of this epoch are seen in: the epoch, counted modulo `views`; -1 unknown."""
        epoch = int(self.epoch)
        return max(epoch, 0) % self.views if self.views else epoch

    def _view(self, row: dict, sample: int) -> torch.Tensor:
        generator = self._generator(row, sample) if self.augmentation else None
        frames = self._cached_frames(row, generator) if row.get("frames") else self._decoded_frames(row, generator)
        with warnings.catch_warnings():
            # Cached frames are a read-only map of the disk, which torch warns of; they are only ever read.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            frames = torch.from_numpy(frames).permute(0, 3, 1, 2)
        if generator is None:
            return self.processor.spatial_views(frames)
        return self.augmentation.view(frames, self.processor, generator)

    def _cached_frames(self, row: dict, generator: np.random.Generator | None) -> np.ndarray:
        fitting = [frame_settings(self.processor, native=True)]
        if not (self.augmentation and self.augmentation.native):
            fitting.append(frame_settings(self.processor))
        if row["frames_settings"] not in fitting:
            raise ValueError(
                f"The frames of {row['video']} were cached for {row['frames_settings']}, but the processor asks for "
                f"{fitting[-1]}: cache them again with this processor"
                f"{'' if len(fitting) > 1 else ' and native=True, which this augmentation needs'}."
            )
        frames, num_frames = frames_of(row), self.processor.num_frames
        first = 0 if generator is None else num_frames * generator.integers(len(frames) // num_frames)
        return frames[first : first + num_frames]

    def _decoded_frames(self, row: dict, generator: np.random.Generator | None) -> np.ndarray:
        video = row["video"]
        if isinstance(video, dict):
            video = video["path"] if video["bytes"] is None else video["bytes"]
        with open_video(video, self.processor.hdr) as reader:
            return reader.get_batch(self.processor.frame_indices(len(reader), generator=generator))

    def _generator(self, row: dict, sample: int) -> np.random.Generator:
        view = self.view
        if view >= 0:
            place = [self.seed, view, zlib.crc32(video_name(row["video"]).encode()), sample]
            return np.random.default_rng([*place, row["repeat"]] if row.get("repeat") else place)
        state = int(torch.empty((), dtype=torch.int64).random_())
        return np.random.default_rng([self.seed, int(os.environ.get("RANK", 0)), state])


def video_name(video: str | dict) -> str:
    """The name of a video in its folder, the same wherever the data lie."""
    video = video["path"] if isinstance(video, dict) else video
    return "/".join(Path(video).parts[-2:])


def replace(rows: list[dict], clips: torch.Tensor | None, unreadable: dict[int, VideoError], samples: int) -> None:
    """Let rows that can be read, with their clips, take the places of those that cannot. Raises if there are none."""
    sound = [place for place in range(len(rows)) if place not in unreadable]
    for error in unreadable.values():
        logger.warning("%s; another video is taken instead", error)
    if not sound:
        raise next(iter(unreadable.values()))
    for number, place in enumerate(unreadable):
        source = sound[number % len(sound)]
        rows[place] = rows[source]
        clips[place * samples : (place + 1) * samples] = clips[source * samples : (source + 1) * samples]
