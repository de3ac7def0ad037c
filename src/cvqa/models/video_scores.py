"""What scoring a video gives: the score, how sure it is, and its course over time."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit


class Segment(NamedTuple):
    """A stretch of a video, in seconds from its first frame, and its quality from 0 to 100 (higher is better)."""

    start: float
    end: float
    score: float


@dataclass(frozen=True)
class VideoScore:
    """The result for one file.

    Attributes:
        file: the path as it was given.
        score: quality from 0 to 100, higher is better; None if the file could not be scored.
        interval: (low, high) within 0 to 100; None on failure. Of a calibrated model (`score_interval` in its
            configuration) the interval that held the true score for the share of held-out videos that the
            configuration states. Of others it is `spread`.
        spread: (low, high), the 95% interval of the score that the spread of the views gives, within 0 to 100. It
            tells how far the score would move had other moments been looked at, not how far the model may be wrong.
            A single view has no spread: it is then the whole scale. None on failure.
        warnings: what makes the score less to be trusted, a line each; see `video_domain`.
        segments: the course of quality in the steps asked for, covering the whole video; else empty.
        model: the folder or repository that scored.
        error: why the file could not be scored, in one line; None if it was scored.
        views: the stretches whose mean is `score`.
        duration, fps, width, height, codec: facts about the video (seconds, frames per second, displayed pixels).
    """

    file: str
    score: float | None = None
    interval: tuple[float, float] | None = None
    segments: tuple[Segment, ...] = ()
    model: str = ""
    error: str | None = None
    views: tuple[Segment, ...] = ()
    duration: float | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    codec: str | None = None
    spread: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()

    def overlaps(self, other: "VideoScore") -> bool:
        """Whether the order of two videos is uncertain: other moments of them might have turned it round.

        By `spread`: how far the model is off is much the same for two encodes of one scene, and says little of which
        of them is better.
        """
        (low, high), (other_low, other_high) = (each.spread or each.interval for each in (self, other))
        return low <= other_high and other_low <= high

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of one file: file, score, interval, segments, model, warnings, error; 4 decimals."""
        return {
            "file": self.file,
            "score": None if self.score is None else round(self.score, 4),
            "interval": None if self.interval is None else [round(bound, 4) for bound in self.interval],
            "segments": [{name: round(value, 4) for name, value in s._asdict().items()} for s in self.segments],
            "model": self.model,
            "warnings": list(self.warnings),
            "error": self.error,
        }


def mean_and_interval(values: list[float]) -> tuple[float, tuple[float, float]]:
    """Mean and its 95% interval by Student's t, within 0 to 100; of a single value the interval is all of 0 to 100."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, (0.0, 100.0)
    margin = half_width(values)
    return mean, (max(mean - margin, 0.0), min(mean + margin, 100.0))


def calibrated_interval(values: list[float], calibration: dict[str, Any]) -> tuple[float, float]:
    """The interval of the mean of the views' scores for the stated coverage, within 0 to 100.

    Its half-width is the root of the sum of the squares of the margin at that score, between the given ones linearly,
    and of the half-width that the spread of the views gives; a single view has none.

    Args:
        calibration: `score_interval` of a configuration.
    """
    mean = float(np.mean(values))
    margin = float(np.interp(mean, calibration["scores"], calibration["margins"]))
    width = float(np.hypot(margin, half_width(values) if len(values) > 1 else 0.0))
    return max(mean - width, 0.0), min(mean + width, 100.0)


def half_width(values: list[float]) -> float:
    """Of the 95% interval of the mean of two values or more, by Student's t."""
    return float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values)))


def one_line(error: object) -> str:
    """The text of an error in one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
