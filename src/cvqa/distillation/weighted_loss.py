"""The loss of a training run: a weighted sum of named parts.

>>> loss = WeightedLoss({"student_regression": 1.0, "feature": {"weight": 1.0, "end": 0.8}}, DISTILLATION_PARTS)
>>> total, parts = loss(student_scores=s, labels=y, student_features=fs, teacher_features=ft)
"""

import inspect
from dataclasses import dataclass

import torch
from torch import nn

from .losses import (
    FeatureLoss,
    HiddenStatesLoss,
    HuberLoss,
    PlccLoss,
    RankLoss,
    RegressionLoss,
    RelationalAngleLoss,
    RelationalDistanceLoss,
)
from .schedules import SCHEDULE_OPTIONS, WeightSchedule


@dataclass(frozen=True)
class LossPart:
    """A loss class and the names of the tensors that it is given: what is to be changed, and its target.

    `over_batch` marks losses that compare the clips of a batch with each other: the trainers give them the batch of
    all processes.
    """

    loss: type[nn.Module]
    inputs: tuple[str, str]
    over_batch: bool = False

    @property
    def by_label(self) -> bool:
        """It is a mean over the clips that have a label."""
        return "labels" in self.inputs and not self.over_batch


_SCORES = ("scores", "labels")
_STUDENT_SCORES = ("student_scores", "labels")
_FEATURES = ("student_features", "teacher_features")

QUALITY_PARTS = {
    "regression": LossPart(RegressionLoss, _SCORES),
    "huber": LossPart(HuberLoss, _SCORES),
    "plcc": LossPart(PlccLoss, _SCORES, over_batch=True),
    "rank": LossPart(RankLoss, _SCORES, over_batch=True),
}
"""Parts for training one model on scores, by name."""

TEACHER_PARTS = {
    "teacher_regression": LossPart(RegressionLoss, ("teacher_scores", "labels")),
    "teacher_huber": LossPart(HuberLoss, ("teacher_scores", "labels")),
}
"""Parts from which a teacher learns that trains with its student."""

DISTILLATION_PARTS = TEACHER_PARTS | {
    "student_regression": LossPart(RegressionLoss, _STUDENT_SCORES),
    "student_huber": LossPart(HuberLoss, _STUDENT_SCORES),
    "plcc": LossPart(PlccLoss, _STUDENT_SCORES, over_batch=True),
    "rank": LossPart(RankLoss, _STUDENT_SCORES, over_batch=True),
    "feature": LossPart(FeatureLoss, _FEATURES),
    "relational_distance": LossPart(RelationalDistanceLoss, _FEATURES, over_batch=True),
    "relational_angle": LossPart(RelationalAngleLoss, _FEATURES, over_batch=True),
    "hidden_states": LossPart(HiddenStatesLoss, ("student_states", "teacher_states")),
    "teacher_score": LossPart(RegressionLoss, ("student_scores", "teacher_scores")),
}
"""Parts for training a student with a teacher, by name."""


class WeightedLoss(nn.Module):
    """Weighted sum of named losses, `sum(weight * part)`.

    Args:
        weights: name -> weight, a number, or an object with the fields of [`WeightSchedule`] and the keyword arguments
            of the part's loss class, such as `{"weight": 1, "warmup": 0.1, "beta": 2}`. A weight that is always 0
            leaves the part out.
        parts: the known parts by name, e.g. `DISTILLATION_PARTS`.
        stop_gradient: no gradient into the targets: the student does not pull the teacher towards itself.

    Raises ValueError for an unknown name or option (with the list of those there are), a value out of range, no part.

    `forward(**tensors)` returns the sum and the unweighted parts by name; each part picks its tensors by name.
    """

    def __init__(self, weights: dict[str, float | dict], parts: dict[str, LossPart], stop_gradient: bool = False):
        super().__init__()
        self.stop_gradient = stop_gradient
        self.schedules: dict[str, WeightSchedule] = {}
        self.losses = nn.ModuleDict()
        for name, given in weights.items():
            if name not in parts:
                raise ValueError(f"unknown loss part {name!r}; known parts: {', '.join(sorted(parts))}")
            schedule, loss = _build(name, given, parts[name].loss)
            if schedule.weight or schedule.final:
                self.schedules[name], self.losses[name] = schedule, loss
        if not self.schedules:
            raise ValueError(f"no loss part has a weight above 0; known parts: {', '.join(sorted(parts))}")
        self.parts = {name: parts[name] for name in self.schedules}

    @property
    def inputs(self) -> set[str]:
        """Names of the tensors that the parts need."""
        return {name for part in self.parts.values() for name in part.inputs}

    def weights(self, progress: float = 0.0) -> dict[str, float]:
        """The weight of every part at this share of the training, 0 to 1."""
        return {name: schedule.at(progress) for name, schedule in self.schedules.items()}

    def forward(
        self, gather=lambda tensor: tensor, progress: float = 0.0, label_share: float | torch.Tensor = 1.0, **tensors
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """
        Args:
            gather: turns this process's (b, ...) tensor into that of all processes, for the parts over the batch.
            progress: share of the training that is done, for the schedules.
            label_share: factor of the parts that are means over labelled clips, where a batch is a piece of a larger
                one: the piece's share of the labelled clips over its share of all clips.
        """
        total, values = 0.0, {}
        for name, part in self.parts.items():
            missing = [key for key in part.inputs if tensors.get(key) is None]
            if missing:
                raise ValueError(f"loss part {name!r} needs {', '.join(missing)}, which this batch does not have")
            learner, target = (tensors[key] for key in part.inputs)
            if self.stop_gradient:
                target = target.detach() if torch.is_tensor(target) else [each.detach() for each in target]
            if part.over_batch:
                learner, target = gather(learner), gather(target)
            value = self.losses[name](learner, target)
            values[name] = value.detach()
            total = total + self.schedules[name].at(progress) * (value * label_share if part.by_label else value)
        return total, values


def _build(name: str, given: float | dict, loss: type[nn.Module]) -> tuple[WeightSchedule, nn.Module]:
    """Schedule and loss of one entry of the weights."""
    options = dict(given) if isinstance(given, dict) else {"weight": given}
    known = [option for option in inspect.signature(loss).parameters if option not in ("args", "kwargs")]
    for option in options:
        if option not in (*SCHEDULE_OPTIONS, *known):
            listed = ", ".join([*SCHEDULE_OPTIONS, *known])
            raise ValueError(f"unknown option {option!r} of loss part {name!r}; known options: {listed}")
    try:
        schedule = WeightSchedule(**{key: value for key, value in options.items() if key in SCHEDULE_OPTIONS})
        return schedule, loss(**{key: value for key, value in options.items() if key in known})
    except (TypeError, ValueError) as error:
        raise ValueError(f"loss part {name!r}: {error}") from error
