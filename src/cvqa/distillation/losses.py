"""Losses of quality distillation: one small class each, and their weighted sum with a name for every part.

    >>> loss = WeightedLoss({"student_regression": 1.0, "feature": 1.0}, DISTILLATION_PARTS)
    >>> total, parts = loss(student_scores=s, labels=y, student_features=fs, teacher_features=ft)

All losses reduce in float32 whatever the inputs' type, and return a scalar.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


class RegressionLoss(nn.Module):
    """Mean squared error `mean((prediction - target)^2)`.

    Inputs: `prediction` and `target`, each (B,) or (B, 1), on the 0-1 label scale.
    Source: the score terms of InternVQA (arXiv 2502.19026), for the teacher and for the student.

        >>> RegressionLoss()(torch.tensor([0.5, 0.7]), torch.tensor([0.4, 0.7]))
        tensor(0.0050)
    """

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        prediction, target = _columns(prediction, target)
        return F.mse_loss(prediction, target)


class FeatureLoss(nn.Module):
    """SmoothL1 between normalised features, `mean(d^2 / (2 beta) if |d| < beta else |d| - beta / 2)` with
    `d = LN(student) - LN(teacher)`; LN is LayerNorm over the last dimension, without affine parameters, eps 1e-5.

    Inputs: `student` and `teacher` features (B, D), here the 768 values that enter the score head.
    `stop_gradient=True` keeps the student from pulling the teacher towards itself; in the published joint training it
    does pull.
    Source: the feature term of InternVQA (arXiv 2502.19026), beta 2.

        >>> FeatureLoss()(student.quality_features, teacher.quality_features)
    """

    def __init__(self, beta: float = 2.0, stop_gradient: bool = False):
        super().__init__()
        self.beta = beta
        self.stop_gradient = stop_gradient

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        if student.shape != teacher.shape:
            raise ValueError(
                f"student features {tuple(student.shape)} and teacher features {tuple(teacher.shape)} differ in shape; "
                "give both models the same feature_size"
            )
        if self.stop_gradient:
            teacher = teacher.detach()
        student, teacher = (F.layer_norm(x.float(), x.shape[-1:], eps=1e-5) for x in (student, teacher))
        return F.smooth_l1_loss(student, teacher, beta=self.beta)


class PlccLoss(nn.Module):
    """Correlation loss `(mean((p - t)^2) + mean((r p - t)^2)) / 8` on z-scored `p`, `t` (population deviation), with
    `r = mean(p t)`, Pearson's coefficient: 0 for a perfect linear relation, 1/4 for constant predictions, 1/2 for a
    reversed one.

    Inputs: `prediction` and `target`, each (B,) or (B, 1); only their order and spacing within the batch count.
    A spread below `min_spread` (label scale) counts as `min_spread`: a head that still predicts one value for all
    (zero initialisation) gets a finite gradient towards the labels instead of NaN.
    Source: InternVQA's training code names it as an alternative, together with 0.3 times the rank loss; the same form
    is used by FAST-VQA (arXiv 2207.02595).

        >>> PlccLoss()(torch.tensor([0.2, 0.4, 0.6]), torch.tensor([0.1, 0.5, 0.9]))  # a straight line
        tensor(0.)
    """

    def __init__(self, min_spread: float = 1e-4):
        super().__init__()
        self.min_spread = min_spread

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        p, t = (self._standardise(x) for x in _columns(prediction, target))
        r = (p * t).mean()
        return (F.mse_loss(p, t) + F.mse_loss(r * p, t)) / 8

    def _standardise(self, x: torch.Tensor) -> torch.Tensor:
        x = x - x.mean()
        # The clamp is on the variance: the gradient of a square root at 0 is infinite.
        return x / x.square().mean().clamp_min(self.min_spread**2).sqrt()


class RankLoss(nn.Module):
    """Pairwise ranking loss `sum(R) / (n (n - 1) (1 + max R))` with
    `R[i, j] = relu((p_i - p_j) sign(t_j - t_i))`: what the predictions put in the wrong order, by how much.
    0 when all pairs are in order (and for a batch of one).

    Inputs: `prediction` and `target`, each (B,) or (B, 1).
    Source: InternVQA's training code, where it works on columns (B, 1) only and is 0 on (B,); here both give the
    value for columns. The maximum takes part in the gradient, as there.

        >>> RankLoss()(torch.tensor([0.1, 0.3]), torch.tensor([0.6, 0.2]))  # the pair counts in both orders
        tensor(0.1667)
    """

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        p, t = _columns(prediction, target)
        n = len(p)
        wrong = F.relu((p[:, None] - p[None, :]) * (t[None, :] - t[:, None]).sign())
        return wrong.sum() / max(n * (n - 1), 1) / (1 + wrong.max())


@dataclass(frozen=True)
class LossPart:
    """A loss class and the names of the tensors that it is given, in order.

    `over_batch` marks losses that compare the samples of a batch with each other: the trainers give them the batch of
    all processes.
    """

    loss: type[nn.Module]
    inputs: tuple[str, ...]
    over_batch: bool = False


QUALITY_PARTS = {
    "regression": LossPart(RegressionLoss, ("scores", "labels")),
    "plcc": LossPart(PlccLoss, ("scores", "labels"), over_batch=True),
    "rank": LossPart(RankLoss, ("scores", "labels"), over_batch=True),
}
"""Parts for training one model on scores, by name."""

DISTILLATION_PARTS = {
    "teacher_regression": LossPart(RegressionLoss, ("teacher_scores", "labels")),
    "student_regression": LossPart(RegressionLoss, ("student_scores", "labels")),
    "feature": LossPart(FeatureLoss, ("student_features", "teacher_features")),
    "plcc": LossPart(PlccLoss, ("student_scores", "labels"), over_batch=True),
    "rank": LossPart(RankLoss, ("student_scores", "labels"), over_batch=True),
}
"""Parts for training a student with a teacher, by name."""


class WeightedLoss(nn.Module):
    """Weighted sum of named losses, `sum(weight * part)`.

    Args:
        weights: name -> weight; a weight of 0 leaves the part out.
        parts: the known parts by name, e.g. `DISTILLATION_PARTS`.
        options: name -> keyword arguments of that part's loss class.

    Raises ValueError for a name that is not in `parts`, a weight that is not a finite number >= 0, or no part at all.

    `forward(**tensors)` returns the sum and the unweighted parts by name; each part picks its tensors by name.
    """

    def __init__(
        self,
        weights: dict[str, float],
        parts: dict[str, LossPart],
        options: dict[str, dict] | None = None,
    ):
        super().__init__()
        for name, weight in weights.items():
            if name not in parts:
                raise ValueError(f"unknown loss part {name!r}; known parts: {', '.join(sorted(parts))}")
            if not 0 <= weight < float("inf"):
                raise ValueError(f"weight of loss part {name!r} is {weight}; give a finite number, 0 or more")
        self.weights = {name: float(weight) for name, weight in weights.items() if weight > 0}
        if not self.weights:
            raise ValueError(f"no loss part has a weight above 0; known parts: {', '.join(sorted(parts))}")
        self.parts = {name: parts[name] for name in self.weights}
        options = options or {}
        self.losses = nn.ModuleDict({name: part.loss(**options.get(name, {})) for name, part in self.parts.items()})

    def forward(self, gather=lambda tensor: tensor, **tensors) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """`gather` turns this process's (b, ...) tensor into that of all processes, for the parts over the batch."""
        values = {}
        for name, part in self.parts.items():
            missing = [key for key in part.inputs if tensors.get(key) is None]
            if missing:
                raise ValueError(f"loss part {name!r} needs {', '.join(missing)}, which this batch does not have")
            inputs = (tensors[key] for key in part.inputs)
            values[name] = self.losses[name](*(map(gather, inputs) if part.over_batch else inputs))
        total = sum(self.weights[name] * value for name, value in values.items())
        return total, {name: value.detach() for name, value in values.items()}


def _columns(prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as float32 vectors (B,); without it (B, 1) against (B,) would broadcast to (B, B)."""
    prediction, target = prediction.float().flatten(), target.float().flatten()
    if prediction.shape != target.shape:
        raise ValueError(f"{len(prediction)} predictions but {len(target)} targets")
    return prediction, target
