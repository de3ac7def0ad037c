"""Where a scorer looks: the stretches of time of a video that are scored, and the frames on display in them."""

from itertools import pairwise

import numpy as np


MIN_VIEWS = 3
TRIM = 1 / 8  # what a view leaves of a video that is as short as itself, to differ from the others


def spread_views(duration: float, length: float, max_views: int) -> list[tuple[float, float]]:
    """Stretches of about `length` seconds spread evenly over a video, as (start, end) in seconds.

    As many as fit, at most `max_views`, which bounds the cost; each in the middle of its equal share of the video.
    Up to a share of two lengths it takes all of its share, so that nothing is left out; in a longer video there are
    gaps. A video too short for three takes three that overlap, so that there is a spread to measure.
    """
    count = min(int(duration / length + 1e-6), max_views)
    if count >= MIN_VIEWS:
        share = duration / count
        length = share if share <= 2 * length else length
        starts = (np.arange(count) + 0.5) * share - length / 2
    else:
        length = min(length, duration * (1 - TRIM))
        starts = np.linspace(0, duration - length, MIN_VIEWS)
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
