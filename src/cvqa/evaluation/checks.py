"""What the figures of merit accept, and how an undefined figure is reported."""

import warnings

import numpy as np


class Undefined(ValueError):
    """A figure or a fit that does not exist for these data; the message is the reason."""


class UndefinedWarning(UserWarning):
    """Said when a public function returns NaN or None because the figure is undefined."""


def checked_pair(predictions, targets) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as float64 vectors (n,). Columns (n, 1) and torch tensors are accepted.

    Raises:
        ValueError: the lengths differ, a side is no vector, or a target is not finite.
    """
    predictions, targets = vector(predictions, "predictions"), vector(targets, "targets")
    if len(predictions) != len(targets):
        raise ValueError(
            f"{len(predictions)} predictions but {len(targets)} targets: one prediction per score is needed"
        )
    if not np.isfinite(targets).all():
        raise ValueError(
            f"{np.sum(~np.isfinite(targets))} of {len(targets)} targets are NaN or infinite: leave them out"
        )
    return predictions, targets


def vector(values, name: str) -> np.ndarray:
    if hasattr(values, "detach"):  # a torch tensor, possibly bfloat16, possibly on an accelerator
        values = values.detach().cpu().double()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (n,) or (n, 1), not {array.shape}")
    return array


def is_constant(values: np.ndarray) -> bool:
    """True if the spread is no more than rounding of float64; a correlation with it would be noise."""
    return np.ptp(values) <= 1e-13 * np.abs(values).max()


def require_correlation(predictions: np.ndarray, targets: np.ndarray) -> None:
    """Raises `Undefined` unless a correlation of the two vectors exists."""
    require_finite(predictions)
    if len(predictions) < 3:
        raise Undefined(f"{len(predictions)} scores are too few: at least 3 are needed")
    if is_constant(predictions):
        raise Undefined(f"all {len(predictions)} predictions are equal ({predictions[0]:.6g})")
    if is_constant(targets):
        raise Undefined(f"all {len(targets)} scores are equal ({targets[0]:.6g})")


def require_finite(predictions: np.ndarray) -> None:
    bad = np.sum(~np.isfinite(predictions))
    if bad:
        raise Undefined(f"{bad} of {len(predictions)} predictions are NaN or infinite")


def warn_undefined(message: str, depth: int = 1) -> None:
    """Warns at the place that called the public function; `depth` counts the frames between here and that function."""
    warnings.warn(message, UndefinedWarning, stacklevel=2 + depth)
