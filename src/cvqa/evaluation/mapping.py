"""Mappings from a model's predictions to the scale of the scores, fitted before PLCC and RMSE.

A correlation or an error between predictions and opinion scores depends on how one is brought to the scale of the
other, and published evaluations differ in it. The conventions here:

- `none`: the predictions as they are.
- `rescale`: mean and (population) standard deviation of the predictions set to those of the scores. Leaves PLCC
  unchanged. Used by FAST-VQA, FasterVQA and InternVQA.
- `logistic4`: b2 + (b1 - b2) / (1 + exp(-(x - b3) / |b4|)), least squares. VQEG's monotonic logistic (Final report on
  the validation of objective models of video quality assessment, phase I, 2000). Used by CompressedVQA and SimpleVQA.
- `logistic5`: b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5, least squares. H. R. Sheikh, M. F. Sabir, A. C. Bovik,
  "A statistical evaluation of recent full reference image quality assessment algorithms", IEEE TIP 15(11), 2006. It may
  bend the order, and where it ends depends on its start.

Rank correlations never use a mapping. A fitted logistic may also fall, so PLCC after it says nothing about the sign:
read the sign from SRCC.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import leastsq
from scipy.special import expit

from .checks import Undefined, checked_pair, is_constant, require_correlation, require_finite, warn_undefined


MAPPINGS = ("none", "rescale", "logistic4", "logistic5")

_LOGISTIC4_BIC_MARGIN = 10  # "very strong" evidence, R. E. Kass and A. E. Raftery, "Bayes factors", JASA 90, 1995
_LOGISTIC4_MIN_SCORES = 50
_MAX_EVALUATIONS = 100_000
_MAX_REFIT_EVALUATIONS = 100


@dataclass(frozen=True)
class FittedMapping:
    """A mapping with its parameters; call it on predictions (n,) to get values on the scale of the scores (n,)."""

    name: str
    parameters: tuple[float, ...] = ()

    def __call__(self, predictions) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return _FORMULAS[self.name](np.asarray(predictions, dtype=np.float64), *self.parameters)

    def refit(self, predictions: np.ndarray, targets: np.ndarray) -> "FittedMapping":
        """The same mapping fitted to a resample: these parameters are a start more, and the search is kept short.

        In a long flat valley it stops on the way, which moves an interval by far less than another seed does.
        """
        if self.name not in _LOGISTICS:
            return fit_mapping(self.name, predictions, targets)
        starts = [self.parameters, _LOGISTICS[self.name](predictions, targets)[-1]]
        return _least_squares(self.name, predictions, targets, starts, _MAX_REFIT_EVALUATIONS, tolerance=1e-5)[0]


def fit_mapping(name: str, predictions, targets) -> FittedMapping:
    """Fits the mapping `name` (one of `MAPPINGS`, or "linear" for plain least squares) from predictions to targets.

    The logistics are unbounded Levenberg-Marquardt fits (MINPACK). `logistic4` starts at [max target, min target, mean
    prediction, 0.5] and again with a quarter of the predictions' standard deviation in the place of 0.5, and keeps the
    smaller sum of squares: from the first alone it fails where predictions span much less than 1. `logistic5` starts at
    [max target, min target, mean prediction, 0.1, 0.1].

    Args:
        predictions, targets: (n,), any scales.

    Raises:
        Undefined: no such fit exists: too few scores, constant or non-finite predictions, no convergence. There is no
            fallback to another mapping.
        ValueError: unknown name, different lengths, targets that are not finite.
    """
    if name not in _FORMULAS:
        raise ValueError(f"unknown mapping {name!r}: choose one of {', '.join(MAPPINGS)}")
    predictions, targets = checked_pair(predictions, targets)
    if name == "none":
        require_finite(predictions)
        return FittedMapping("none")
    require_correlation(predictions, targets)
    if name in _LOGISTICS:
        starts = _LOGISTICS[name](predictions, targets)
        if len(targets) <= len(starts[0]):
            raise Undefined(f"{name} has {len(starts[0])} parameters, {len(targets)} scores are too few to fit them")
        mapping, converged = _least_squares(name, predictions, targets, starts, _MAX_EVALUATIONS)
        if not converged:
            raise Undefined(f"the {name} fit did not converge in {_MAX_EVALUATIONS} evaluations")
        return mapping
    slope = targets.std() / predictions.std()
    if name == "linear":
        slope *= np.corrcoef(predictions, targets)[0, 1]
    return FittedMapping(name, (float(slope), float(targets.mean() - slope * predictions.mean())))


def fit_score_mapping(predictions, labels, name: str = "auto") -> dict:
    """The mapping from a model's logits to the label scale that is kept in `config.score_mapping`; always increasing.

    Args:
        predictions: (n,) logits.
        labels: (n,) labels on the 0-1 scale, in their own direction.
        name: "linear" (a x + b), "logistic4", or "auto": linear, unless there are at least 50 scores and an increasing
            logistic4 beats it by more than 10 in the Bayesian information criterion.

    Returns:
        {"name": "linear", "parameters": [a, b]} or {"name": "logistic4", "parameters": [b1, b2, b3, b4]}. The identity
        [1, 0], with an `UndefinedWarning`, where the data give no increasing mapping: fewer than 3 scores, constant or
        non-finite values, a correlation that is not positive. A logistic4 that cannot be fitted, or falls, gives way to
        the linear one with a warning.
    """
    if name not in ("auto", "linear", "logistic4"):
        raise ValueError(f"unknown score mapping {name!r}: choose auto, linear or logistic4")
    try:
        linear = fit_mapping("linear", predictions, labels)
        if linear.parameters[0] <= 0:
            raise Undefined("predictions do not correlate positively with labels")
    except Undefined as reason:
        warn_undefined(f"no increasing score mapping exists, the identity is kept: {reason}")
        return {"name": "linear", "parameters": [1.0, 0.0]}

    chosen = linear
    if name == "logistic4" or (name == "auto" and np.size(labels) >= _LOGISTIC4_MIN_SCORES):
        try:
            logistic = fit_mapping("logistic4", predictions, labels)
            if logistic.parameters[0] <= logistic.parameters[1]:
                raise Undefined("the fitted curve falls")
            if name == "logistic4" or _clearly_better(logistic, linear, *checked_pair(predictions, labels)):
                chosen = logistic
        except Undefined as reason:
            if name == "logistic4":
                warn_undefined(f"a linear score mapping is used instead of logistic4: {reason}")
    return {"name": chosen.name, "parameters": list(chosen.parameters)}


def apply_score_mapping(logits, score_mapping: dict | None) -> np.ndarray:
    """Logits (n,) on the label scale, by a model's `config.score_mapping` (None is the identity). No clipping."""
    if score_mapping is None:
        return np.asarray(logits, dtype=np.float64)
    return FittedMapping(score_mapping["name"], tuple(score_mapping["parameters"]))(logits)


def _clearly_better(logistic, linear, predictions, labels) -> bool:
    """BIC = n ln(SSE) + k ln(n), smaller is better; k is 4 against 2."""
    n = len(labels)
    sse = [max(float(((mapping(predictions) - labels) ** 2).sum()), 1e-12 * n) for mapping in (logistic, linear)]
    return n * np.log(sse[1] / sse[0]) - 2 * np.log(n) > _LOGISTIC4_BIC_MARGIN


def _affine(x, a, b):
    return a * x + b


def _logistic4(x, b1, b2, b3, b4):
    return b2 + (b1 - b2) * expit((x - b3) / abs(b4))


def _logistic5(x, b1, b2, b3, b4, b5):
    return b1 * (0.5 - expit(-b2 * (x - b3))) + b4 * x + b5


def _logistic4_gradient(x, b1, b2, b3, b4):
    """(4, n) derivatives by the parameters. A numerical gradient fails where predictions span much less than 1."""
    z = (x - b3) / abs(b4)
    rise = expit(z)
    slope = (b1 - b2) * rise * (1 - rise)
    return np.stack([rise, 1 - rise, -slope / abs(b4), -slope * z / b4])


def _starts4(predictions, targets):
    return [(targets.max(), targets.min(), predictions.mean(), b4) for b4 in (0.5, predictions.std() / 4)]


def _starts5(predictions, targets):
    return [(targets.max(), targets.min(), predictions.mean(), 0.1, 0.1)]


_FORMULAS: dict[str, Callable] = {
    "none": lambda x: x,
    "rescale": _affine,
    "linear": _affine,
    "logistic4": _logistic4,
    "logistic5": _logistic5,
}
_LOGISTICS = {"logistic4": _starts4, "logistic5": _starts5}
# logistic5 is fitted with a numerical gradient, as published: its local optimum depends on that too.
_GRADIENTS = {"logistic4": _logistic4_gradient, "logistic5": None}


def _least_squares(name, predictions, targets, starts, max_evaluations, tolerance=1.5e-8) -> tuple[FittedMapping, bool]:
    """The fit with the smallest sum of squares over the starts, and whether it converged."""
    if is_constant(predictions):
        raise Undefined("all predictions are equal")
    formula, gradient, fits = _FORMULAS[name], _GRADIENTS[name], []
    for start in starts:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            parameters, _, info, _, status = leastsq(
                lambda b: formula(predictions, *b) - targets,
                start,
                Dfun=gradient and (lambda b: gradient(predictions, *b)),
                col_deriv=True,
                full_output=True,
                maxfev=max_evaluations,
                ftol=tolerance,
            )
        sse = float((info["fvec"] ** 2).sum())
        if np.isfinite(sse) and np.isfinite(parameters).all():
            fits.append((sse, parameters.tolist(), status in (1, 2, 3, 4)))
    if not fits:
        raise Undefined(f"the {name} fit does not end in finite values")
    _, parameters, converged = min(fits)
    if name == "logistic4":  # the sign of b4 has no meaning
        parameters[3] = abs(parameters[3])
    return FittedMapping(name, tuple(parameters)), converged
