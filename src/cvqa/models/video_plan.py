"""Scoring one video, step by step, whoever computes the model: which frames it takes, their clips, and the result.

`VideoScorer`, the pipeline and the ONNX scorer share it, and so give the same score.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .video_domain import Motion, warnings_of
from .video_reader import VideoError, refuse_hdr
from .video_scores import Segment, VideoScore, calibrated_interval, mean_and_interval
from .video_views import MIN_VIEWS, ViewSampling, equal_steps, frames_between, spread_views, turned


Prepare = Callable[[np.ndarray], Sequence]  # uint8 (n, height, width, 3) to n frames as the model takes them

MAX_VIEWS = 10

# Frames of one decoded piece, so that 8K video needs no more memory than 4K.
DECODED_BYTES = 2**28


class Window(NamedTuple):
    """One clip: the indices of its frames, and how these are `turned`."""

    indices: tuple[int, ...]
    orientation: int


class VideoPlan:
    """What to look at in one video, and what that says of it.

    A video is looked at in several views, stretches of at least one second spread over its whole length (see
    `spread_views`); the mean of their qualities is its score. A model that is used to it sees each in another
    orientation, in turn: of a short video other frames tell little new, other orientations more. Nothing is random.

    Args:
        reader: an open `VideoReader`, or anything with its attributes.
        sampling: how the model samples frames and views.
        segments: if given, quality is also told for every step of this many seconds. Each is judged by frames of its
            own only; a rest shorter than half a step joins the last one. The score does not depend on it.
        max_views: the most views of the video.

    Attributes:
        windows: the distinct clips to score, in the order of `clips`.

    Raises:
        VideoError: the video is damaged, cut short or HDR; steps shorter than a frame.
    """

    def __init__(self, reader, sampling: ViewSampling, segments: float | None = None, max_views: int = MAX_VIEWS):
        check_video(reader)
        if segments is not None and not segments * reader.fps >= 1:
            raise VideoError(
                reader.path, f"segments of {segments:g} s are shorter than one frame ({1 / reader.fps:.3g} s)"
            )
        self._sampling = sampling
        self._times, self._duration = reader.timestamps - reader.timestamps[0], reader.duration
        min_views = max(MIN_VIEWS, min(sampling.orientations, max_views))
        views = spread_views(self._duration, sampling.seconds(reader.fps), max_views, min_views)
        self._views = self._windows_of(views, sampling.orientations)
        # All upright, so that what differs between two steps is the video.
        self._steps = self._windows_of(equal_steps(self._duration, segments) if segments else [])
        self._motion, self._was_hdr = Motion(), getattr(reader, "was_hdr", False)
        self._facts = {name: getattr(reader, name) for name in ("fps", "width", "height", "codec")}
        windows = {window for _, window in self._views + self._steps}
        self.windows = sorted(windows, key=lambda window: (max(window.indices), window))

    def _windows_of(
        self, stretches: list[tuple[float, float]], orientations: int = 1
    ) -> list[tuple[tuple[float, float], Window]]:
        found = []
        for number, stretch in enumerate(stretches):
            first, last = frames_between(self._times, *stretch)
            indices = self._sampling.indices(len(self._times), start=first, end=last)
            found.append((stretch, Window(tuple(indices.tolist()), number % orientations)))
        return found

    def clips(self, reader, prepare: Prepare) -> Iterator[tuple[Window, list[Any]]]:
        """Each window with its prepared frames, in the order in which windows end.

        One pass over the file: a frame is decoded once, and kept, at the size of the model, only while a window still
        needs it. So memory is bounded however long the video is.
        """
        waiting = deque(self.windows)
        uses = Counter((index, window.orientation) for window in self.windows for index in set(window.indices))
        needed = np.array(sorted({index for index, _ in uses}))
        size = max(1, min(self._sampling.num_frames, DECODED_BYTES // (reader.width * reader.height * 3)))
        frames: dict[tuple[int, int], Any] = {}
        for chunk in np.split(needed, range(size, len(needed), size)):
            decoded = reader.get_batch(chunk)
            self._motion.see(decoded)
            for orientation in range(self._sampling.orientations):
                keys = [(index, orientation) for index in chunk.tolist()]
                places = [place for place, key in enumerate(keys) if key in uses]
                if places:
                    prepared = prepare(turned(decoded[places], orientation))
                    frames.update(zip([keys[place] for place in places], prepared))
            while waiting and max(waiting[0].indices) <= chunk[-1]:
                window = waiting.popleft()
                keys = [(index, window.orientation) for index in window.indices]
                yield window, [frames[key] for key in keys]
                for key in set(keys):
                    uses[key] -= 1
                    if not uses[key]:
                        del frames[key]

    def result(
        self,
        file: str | os.PathLike,
        model: str,
        qualities: Mapping[Window, float],
        calibration: Mapping[str, Any] | None = None,
        domain: Mapping[str, Any] | None = None,
    ) -> VideoScore:
        """The score of the video from the quality of every window, 0 to 100.

        `calibration`: `score_interval` of the model's configuration; `domain`: its `domain`.

        Raises VideoError if a quality is not a finite number.
        """
        file = os.fspath(file)
        if not all(np.isfinite(quality) for quality in qualities.values()):
            raise VideoError(file, "the model gave a score that is not a finite number; check its weights")
        views, segments = (
            tuple(Segment(*stretch, float(qualities[window])) for stretch, window in clips)
            for clips in (self._views, self._steps)
        )
        # Of a video with too few frames, several views are the same one: they must not count as agreement.
        distinct = dict.fromkeys(window for _, window in self._views)
        size = (self._facts["width"], self._facts["height"], self._facts["fps"], len(self._times))
        values = [float(qualities[window]) for window in distinct]
        score, spread = mean_and_interval(values)
        return VideoScore(
            file=file,
            score=score,
            interval=calibrated_interval(values, calibration) if calibration else spread,
            spread=spread,
            warnings=warnings_of(*size, self._was_hdr, self._motion, domain),
            segments=segments,
            model=model,
            views=views,
            duration=self._duration,
            **self._facts,
        )


def check_video(reader) -> None:
    """Raises VideoError for a video whose score would mislead: damaged, cut short, or HDR."""
    if reader.damaged:
        raise VideoError(
            reader.path,
            f"damaged or cut short, only {len(reader)} frames can be decoded, and their score would hide that; "
            "encode it again, or save what is sound: ffmpeg -i IN -c copy OUT",
        )
    refuse_hdr(reader)
