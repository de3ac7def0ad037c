"""How the weight of a loss part changes while training."""

import math
from dataclasses import dataclass, fields


SHAPES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class WeightSchedule:
    """The weight of a loss part at every point of training, from 0 (start) to 1 (end).

    It grows linearly from 0 to `weight` during `warmup`, then goes from `weight` to `final` in the given shape, which
    it has from `end` on. So `{"weight": 1, "warmup": 0.1}` warms up, `{"weight": 1, "end": 0.8}` ends at 80%,
    `{"weight": 1, "schedule": "cosine"}` fades out, `{"weight": 0, "final": 1, "schedule": "linear"}` fades in.

    Args:
        weight: the weight after the warm-up, 0 or more.
        warmup: share of the training that the warm-up takes, 0 to 1.
        schedule: "constant" (`weight` until `end`), "linear" or "cosine" (half a period).
        final: the weight from `end` on, 0 or more.
        end: share of the training, above or at `warmup`, at most 1.

    Raises ValueError for values outside these ranges.
    """

    weight: float = 1.0
    warmup: float = 0.0
    schedule: str = "constant"
    final: float = 0.0
    end: float = 1.0

    def __post_init__(self):
        if self.schedule not in SHAPES:
            raise ValueError(f"unknown schedule {self.schedule!r}; known schedules: {', '.join(SHAPES)}")
        for name in ("weight", "final"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; give a finite number, 0 or more")
        if not 0 <= self.warmup <= self.end <= 1:
            raise ValueError(f"0 <= warmup <= end <= 1 does not hold for warmup {self.warmup} and end {self.end}")

    def at(self, progress: float) -> float:
        """The weight at `progress`, the share of the training that is done, 0 to 1."""
        if progress < self.warmup:
            return self.weight * progress / self.warmup
        if self.schedule == "constant":
            # The very end of a part that never ends still counts.
            return self.weight if progress < self.end or self.end == 1 else self.final
        share = min((progress - self.warmup) / (self.end - self.warmup), 1.0) if self.end > self.warmup else 1.0
        if self.schedule == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.weight + share * (self.final - self.weight)

    @property
    def varies(self) -> bool:
        return not (self.warmup == 0 and self.schedule == "constant" and self.end == 1)


SCHEDULE_OPTIONS = tuple(field.name for field in fields(WeightSchedule))
