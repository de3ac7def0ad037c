"""Losses of quality distillation: one small class each.

All compute in float32, or in float64 for inputs in float64, and return a scalar. A NaN among the targets of scores is a
video without a label: it is left out, and a batch without any label gives 0.
"""

from collections.abc import Sequence

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
        prediction, target, known = _columns(prediction, target)
        return (prediction - target).square().sum() / known.sum().clamp_min(1)


class HuberLoss(nn.Module):
    """Huber's loss `mean(d^2 / 2 if |d| < delta else delta (|d| - delta / 2))` with `d = prediction - target`: the
    square for small errors, the distance for large ones, so that single wrong labels count less.

    Inputs: `prediction` and `target`, each (B,) or (B, 1), on the 0-1 label scale; so is `delta`.
    Source: P. J. Huber, Robust Estimation of a Location Parameter, 1964.

        >>> HuberLoss(delta=0.1)(torch.tensor([0.5, 0.9]), torch.tensor([0.45, 0.4]))
        tensor(0.0231)
    """

    def __init__(self, delta: float = 0.1):
        super().__init__()
        self.delta = _positive("delta", delta)

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        prediction, target, known = _columns(prediction, target)
        return F.huber_loss(prediction, target, reduction="sum", delta=self.delta) / known.sum().clamp_min(1)


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
        self.min_spread = _positive("min_spread", min_spread)

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        prediction, target, known = _columns(prediction, target)
        count = known.sum().clamp_min(1)
        p, t = (self._standardise(x, known, count) for x in (prediction, target))
        r = (p * t).sum() / count
        return ((p - t).square().sum() + (r * p - t).square().sum()) / count / 8

    def _standardise(self, x: torch.Tensor, known: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        x = x.where(known, 0)
        x = (x - x.sum() / count).where(known, 0)
        # The clamp is on the variance: the gradient of a square root at 0 is infinite.
        return x / (x.square().sum() / count).clamp_min(self.min_spread**2).sqrt()


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
        p, t, known = _columns(prediction, target)
        pairs = known[:, None] & known[None, :]
        wrong = F.relu((p[:, None] - p[None, :]) * (t[None, :] - t[:, None]).sign()).where(pairs, 0)
        n = known.sum()
        return wrong.sum() / (n * (n - 1)).clamp_min(1) / (1 + wrong.max())


class FeatureLoss(nn.Module):
    """SmoothL1 between normalised features, `mean(d^2 / (2 beta) if |d| < beta else |d| - beta / 2)` with
    `d = LN(student) - LN(teacher)`; LN is LayerNorm over the last dimension, without affine parameters, eps 1e-5.

    Inputs: `student` and `teacher` features (B, D), here the 768 values that enter the score head.
    Source: the feature term of InternVQA (arXiv 2502.19026), beta 2.

        >>> FeatureLoss()(student.quality_features, teacher.quality_features)
    """

    def __init__(self, beta: float = 2.0):
        super().__init__()
        self.beta = _positive("beta", beta)

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        if student.shape != teacher.shape:
            raise ValueError(
                f"student features {tuple(student.shape)} and teacher features {tuple(teacher.shape)} differ in shape; "
                "give both models the same feature_size"
            )
        return F.smooth_l1_loss(_normalise(student), _normalise(teacher), beta=self.beta)


class RelationalDistanceLoss(nn.Module):
    """Distance-wise relational distillation: `mean over i, j of SmoothL1(d_s[i, j], d_t[i, j])` (beta 1), where `d` are
    the Euclidean distances between the features of a batch divided by their mean over `i != j`. The student is to lay
    out a batch as the teacher does, on whatever scale.

    Inputs: `student` (B, D) and `teacher` (B, E) features; the widths may differ. 0 for a batch of one.
    Source: RKD-D of Relational Knowledge Distillation (arXiv 1904.05068), section 3.2.1.

        >>> RelationalDistanceLoss()(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [5.0], [10.0]]))
        tensor(0.)
    """

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return F.smooth_l1_loss(*(self._relative_distances(_at_least_float32(x)) for x in (student, teacher)))

    @staticmethod
    def _relative_distances(features: torch.Tensor) -> torch.Tensor:
        count = len(features)
        squares = (features[:, None] - features[None, :]).square().sum(-1)  # (B, B)
        # Equal features: the gradient of the root at 0 is infinite. The diagonal is 0 and has no gradient.
        distances = squares.clamp_min(1e-12).sqrt().where(~_diagonal(squares), 0)
        return distances / (distances.sum() / max(count * (count - 1), 1)).clamp_min(1e-6)


class RelationalAngleLoss(nn.Module):
    """Angle-wise relational distillation: `mean over i, j, k of SmoothL1(a_s, a_t)` (beta 1), where `a[i, j, k]` is the
    cosine of the angle at feature `j` between the directions to `i` and `k`; 0 where `i = j` or `k = j`.

    Inputs: `student` (B, D) and `teacher` (B, E) features; the widths may differ. Memory grows with B^2 (D + B).
    Source: RKD-A of Relational Knowledge Distillation (arXiv 1904.05068), section 3.2.2.

        >>> RelationalAngleLoss()(torch.eye(3), 4 * torch.eye(3) + 1)  # scale and place do not count
        tensor(0.)
    """

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return F.smooth_l1_loss(*(self._cosines(_at_least_float32(x)) for x in (student, teacher)))

    @staticmethod
    def _cosines(features: torch.Tensor) -> torch.Tensor:
        directions = features[None, :] - features[:, None]  # (B, B, D): from j to i
        squares = directions.square().sum(-1, keepdim=True)
        # Between equal features there is no direction: 0, and no gradient, which would be as good as infinite.
        apart = squares > 1e-12
        directions = directions.where(apart, 0) / squares.where(apart, 1).sqrt()
        return directions @ directions.mT  # (B, B, B)


class HiddenStatesLoss(nn.Module):
    """Mean over pairs of layers of `mean((LN(student) - LN(teacher))^2)`; LN is LayerNorm over the last dimension,
    without affine parameters, eps 1e-5: token by token, the student is to compute what the teacher does.

    Inputs: `student` and `teacher`, for each pair of layers a tensor (B, tokens, D) each; where the widths of the
    models differ, the student's has been projected to the teacher's.
    Source: hints of FitNets (arXiv 1412.6550), normalised as the features of InternVQA are, since the residual stream
    of a large teacher has channels of very different size.

        >>> HiddenStatesLoss()([projection(student.hidden_states[12])], [teacher.hidden_states[40]])
    """

    def forward(self, student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]) -> torch.Tensor:
        losses = []
        for own, target in zip(student, teacher, strict=True):
            if own.shape != target.shape:
                raise ValueError(
                    f"hidden states {tuple(own.shape)} of the student and {tuple(target.shape)} of the teacher differ "
                    "in shape: both models must cut a clip into the same tokens"
                )
            losses.append(F.mse_loss(_normalise(own), _normalise(target)))
        return torch.stack(losses).mean()


def _at_least_float32(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _normalise(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(_at_least_float32(x), x.shape[-1:], eps=1e-5)


def _diagonal(matrix: torch.Tensor) -> torch.Tensor:
    return torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)


def _columns(prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vectors (B,) of both, and which targets are known; the others are set to the prediction, an error of 0.

    Without it (B, 1) against (B,) would broadcast to (B, B). Nothing is selected by index: that would make the host
    wait for the device.
    """
    prediction, target = (_at_least_float32(x).flatten() for x in (prediction, target))
    if prediction.shape != target.shape:
        raise ValueError(f"{len(prediction)} predictions but {len(target)} targets")
    known = ~target.isnan()
    return prediction, target.where(known, prediction), known


def _positive(name: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} is {value}; give a finite number above 0")
    return value
