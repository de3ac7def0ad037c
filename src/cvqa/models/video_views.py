"""Where to look: the stretches of time of a video that are scored, their frames and how these are turned, fragments.

Needs numpy alone, so that scoring does not depend on who computes the model.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np


MIN_VIEWS = 3
MAX_ORIENTATIONS = 4
TRIM = 1 / 8  # what a view leaves of a video that is as short as itself, to differ from the others


def spread_views(
    duration: float, length: float, max_views: int, min_views: int = MIN_VIEWS
) -> list[tuple[float, float]]:
    """Stretches of about `length` seconds spread evenly over a video, as (start, end) in seconds.

    As many as fit, at most `max_views`, which bounds the cost; each in the middle of its equal share of the video.
    Up to a share of two lengths it takes all of its share, so that nothing is left out; in a longer video there are
    gaps. A video too short for `min_views` takes so many that overlap, so that there is a spread to measure.
    """
    count = min(int(duration / length + 1e-6), max_views)
    if count >= min_views:
        share = duration / count
        length = share if share <= 2 * length else length
        starts = (np.arange(count) + 0.5) * share - length / 2
    else:
        length = min(length, duration * (1 - TRIM))
        starts = np.linspace(0, duration - length, min_views)
    return [(float(start), float(start + length)) for start in starts]


def equal_steps(duration: float, step: float) -> list[tuple[float, float]]:
    """The whole video in steps of `step` seconds, as (start, end); a rest shorter than half a step joins the last."""
    count = max(int(duration / step + 0.5), 1)
    edges = [step * i for i in range(count)] + [duration]
    return list(pairwise(edges))


def frames_between(times: np.ndarray, start: float, end: float) -> tuple[int, int]:
    """Frames [first, last) that come on display within [start, end) seconds, given their sorted `times`.

    If none does, as when a recording stands still, it is the one frame that stays on display meanwhile.
    """
    first, last = (int(i) for i in np.searchsorted(times, np.array([start, end]) - 1e-6))
    if first == last:
        first, last = max(first - 1, 0), max(first, 1)
    return first, last


class ViewSampling(NamedTuple):
    """How a model samples a video, frames and views; see `InternVideo2VideoProcessorKwargs` for the values."""

    num_frames: int
    frame_sampling: str
    frame_stride: int
    orientations: int

    def indices(self, total_frames: int, start: int = 0, end: int | None = None, phase: float = 0.5) -> np.ndarray:
        """Which frames of [start, end) to look at, as int64 (num_frames,) in rising order, repeated if too few.

        `phase` in [0, 1) is where a window lies between the first and the last position that it can take, or where a
        frame lies within its stretch when sampling is uniform: 0.5 is the middle.

        Raises ValueError if [start, end) holds no frame of the video.
        """
        end = total_frames if end is None else end
        if not 0 <= start < end <= total_frames:
            raise ValueError(f"Cannot sample frames {start} to {end} of a video of {total_frames} frames.")
        steps, length = np.arange(self.num_frames), end - start
        if self.frame_sampling == "uniform":
            # The sum can round up to a whole number of stretches: the last frame is the last.
            return start + np.minimum(((steps + phase) * length / self.num_frames).astype(np.int64), length - 1)
        window = min(self.num_frames * self.frame_stride, length)
        first = start + int(phase * (length - window + 1))
        return first + steps * (window - 1) // max(self.num_frames - 1, 1)

    def seconds(self, fps: float) -> float:
        """Length of a view: at least a second, and what the frames span where they are wanted at a stride."""
        stride = self.frame_stride if self.frame_sampling == "window" else 1
        return max(1.0, self.num_frames * stride / fps)


def turned(frames: np.ndarray, orientation: int) -> np.ndarray:
    """A view of `frames` (n, height, width, channels): 0 as they are, 1 mirrored, 2 upside down, 3 transposed."""
    return (frames, frames[:, :, ::-1], frames[:, ::-1], frames.swapaxes(1, 2))[orientation]


def mirrored(length: int, size: int) -> np.ndarray:
    """The places along a side of `length` pixels that make it `size` >= `length` long, int64 (size,): itself in the
    middle, then its mirror images. So a small frame keeps every pixel as it is."""
    places = (np.arange(size) - (size - length) // 2) % (2 * length)
    return np.minimum(places, 2 * length - 1 - places)


def fragment_offsets(
    length: int, fragment_size: int, count: int, generator: np.random.Generator | None = None
) -> np.ndarray:
    """Where `count` fragments start along a side of `length` >= `fragment_size` pixels."""
    places = np.arange(count)
    if length < count * fragment_size:
        return places * (length - fragment_size) // max(count - 1, 1)
    first, last = places * length // count, (places + 1) * length // count - fragment_size
    return (first + last) // 2 if generator is None else generator.integers(first, last + 1)
