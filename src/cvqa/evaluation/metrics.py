"""The figures of merit of quality assessment: SRCC, PLCC, KRCC and RMSE, on numpy arrays.

For scores that are better when lower (DMOS) nothing is turned round: a model predicts on the scale it was trained on,
so good predictions correlate positively with the scores of that scale, whatever its direction.

A figure that does not exist (fewer than 3 scores, constant or non-finite predictions, a fit that fails) is NaN, and an
`UndefinedWarning` says why. Scores that are not finite and sides of different length are a `ValueError`.
"""

import numpy as np
from scipy.stats import kendalltau, rankdata

from .checks import Undefined, checked_pair, require_correlation, require_finite, warn_undefined
from .mapping import FittedMapping, fit_mapping


FIGURES = ("srcc", "plcc", "krcc", "rmse")
MAPPED_FIGURES = ("plcc", "rmse")


def srcc(predictions, targets) -> float:
    """Spearman's rank correlation in [-1, 1]: Pearson's correlation of the ranks, ties getting their average rank.

    Args:
        predictions, targets: (n,) or (n, 1), any scale. Unchanged by any increasing mapping of either.

    Source: C. Spearman, "The proof and measurement of association between two things", 1904.
    """
    return _one("srcc", predictions, targets, "none")


def plcc(predictions, targets, mapping: str | FittedMapping = "none") -> float:
    """Pearson's linear correlation in [-1, 1] between mapped predictions and targets.

    Args:
        predictions, targets: (n,) or (n, 1), any scale.
        mapping: one of `cvqa.evaluation.MAPPINGS`, fitted on these very data, or a mapping fitted elsewhere.
    """
    return _one("plcc", predictions, targets, mapping)


def krcc(predictions, targets) -> float:
    """Kendall's tau-b in [-1, 1]: (concordant - discordant) / sqrt((pairs - ties in p) (pairs - ties in t)).

    Args:
        predictions, targets: (n,) or (n, 1), any scale. Unchanged by any increasing mapping of either.

    Source: M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945.
    """
    return _one("krcc", predictions, targets, "none")


def rmse(predictions, targets, mapping: str | FittedMapping = "none") -> float:
    """Root of the mean squared error (division by n) between mapped predictions and targets, in units of the targets.

    Args:
        predictions, targets: (n,) or (n, 1). With the mapping "none" both must be on one scale.
        mapping: one of `cvqa.evaluation.MAPPINGS`, fitted on these very data, or a mapping fitted elsewhere.
    """
    return _one("rmse", predictions, targets, mapping)


def figures_of_merit(predictions, targets, mapping: str | FittedMapping = "none") -> dict[str, float]:
    """All `FIGURES` by name, from one fit of the mapping. Undefined figures are NaN, with a warning."""
    values, reasons = figures_and_reasons(*checked_pair(predictions, targets), mapping)
    for name, reason in reasons.items():
        warn_undefined(f"{name.upper()} is undefined: {reason}")
    return values


def figures_and_reasons(
    predictions: np.ndarray, targets: np.ndarray, mapping: str | FittedMapping, names: tuple[str, ...] = FIGURES
) -> tuple[dict[str, float], dict[str, str]]:
    """The figures by name, NaN where undefined, and the reasons for those. Takes vectors from `checked_pair`."""
    values, reasons, mapped = {}, {}, None
    for name in names:
        try:
            if name in MAPPED_FIGURES:
                if mapped is None:
                    mapped = _map(mapping, predictions, targets)
                values[name] = _METRICS[name](mapped, targets)
            else:
                values[name] = _METRICS[name](predictions, targets)
        except Undefined as reason:
            values[name], reasons[name] = float("nan"), str(reason)
    return values, reasons


def pearson(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Pearson's correlation of two checked vectors; raises `Undefined`."""
    require_correlation(predictions, targets)
    p, t = predictions - predictions.mean(), targets - targets.mean()
    # Without the division the squares of a small spread could underflow.
    p, t = p / np.abs(p).max(), t / np.abs(t).max()
    return float(np.clip((p @ t) / np.sqrt((p @ p) * (t @ t)), -1, 1))


def spearman(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Spearman's correlation of two checked vectors; raises `Undefined`."""
    require_correlation(predictions, targets)
    return pearson(rankdata(predictions), rankdata(targets))


def _kendall(predictions: np.ndarray, targets: np.ndarray) -> float:
    require_correlation(predictions, targets)
    # The p-value is not used; "asymptotic" is the cheap way to it.
    return float(kendalltau(predictions, targets, variant="b", method="asymptotic").statistic)


def _root_mean_squared_error(predictions: np.ndarray, targets: np.ndarray) -> float:
    require_finite(predictions)
    if not len(targets):
        raise Undefined("there are no scores")
    return float(np.sqrt(np.mean((predictions - targets) ** 2)))


_METRICS = {"srcc": spearman, "plcc": pearson, "krcc": _kendall, "rmse": _root_mean_squared_error}


def _map(mapping: str | FittedMapping, predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    if not isinstance(mapping, FittedMapping):
        mapping = fit_mapping(mapping, predictions, targets)
    return mapping(predictions)


def _one(name: str, predictions, targets, mapping: str | FittedMapping) -> float:
    values, reasons = figures_and_reasons(*checked_pair(predictions, targets), mapping, (name,))
    if reasons:
        warn_undefined(f"{name.upper()} is undefined: {reasons[name]}", depth=2)
    return values[name]
