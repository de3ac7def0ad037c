"""What in a video puts its score outside what the model was made for, in words."""

from collections.abc import Mapping, Sequence

import numpy as np


TINY = 128  # pixels of the shorter side, below which few places are left to look at
STILL = 0.5  # levels of 255: two decodes of a still picture differ by less, on average
TOLERANCE = 1.25  # times the sizes and rates of the training videos are still theirs
SUBSAMPLE = 8  # every so many pixels are compared, each way


class Motion:
    """Whether anything moves in the frames that it is shown."""

    def __init__(self):
        self._first: np.ndarray | None = None
        self.frames, self.change = 0, 0.0

    def see(self, frames: np.ndarray) -> None:
        """Frames uint8 (n, height, width, 3)."""
        few = frames[:, ::SUBSAMPLE, ::SUBSAMPLE].astype(np.int16)
        if self._first is None:
            self._first = few[0]
        self.frames += len(few)
        self.change = max(self.change, float(np.abs(few - self._first).mean((1, 2, 3)).max()))

    @property
    def is_still(self) -> bool:
        """All frames look the same; of none nothing is known."""
        return self.frames > 1 and self.change < STILL


def warnings_of(
    width: int,
    height: int,
    fps: float,
    num_frames: int,
    was_hdr: bool,
    motion: Motion,
    domain: Mapping[str, Sequence[float]] | None = None,
) -> tuple[str, ...]:
    """One line for each thing that makes the score of a video less to be trusted; none of an ordinary one.

    Args:
        width, height, fps, num_frames, was_hdr: of the video, as `VideoReader` tells them.
        motion: has seen the frames that were scored.
        domain: of the model's configuration.
    """
    short, long = sorted((width, height))
    size, found = f"{width}x{height}", []
    if short < TINY:
        found.append(f"{size} is tiny: below {TINY} pixels a score says little")
    if domain:
        (low, _), (_, high) = domain["short_side"], domain["long_side"]
        seen = f"the model has learnt from videos with sides of {low:g} to {high:g} pixels"
        if long > TOLERANCE * high:
            found.append(f"{size} is large: {seen}")
        elif TINY <= short < low / TOLERANCE:
            found.append(f"{size} is small: {seen}")
        slow, fast = domain["fps"]
        if not slow / TOLERANCE <= fps <= fast * TOLERANCE:
            found.append(f"{fps:.3g} frames per second: the model has learnt from {slow:.3g} to {fast:.3g}")
    if was_hdr:
        found.append("HDR, mapped to SDR: the score is that of this rendition")
    if num_frames == 1:
        found.append("a single frame: the model looks at change over time, too")
    elif motion.is_still:
        found.append("nothing moves: the model has learnt from moving pictures")
    return tuple(found)
