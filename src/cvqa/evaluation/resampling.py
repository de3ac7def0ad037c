"""The figures of merit on all resamples of the contents at once.

A resample draws contents with replacement, so all it does is give every video a whole-number weight. Moments, ranks and
concordant pairs have weighted forms that are exact, not approximate: they equal the figure of the resample written out.
"""

import numpy as np

from .checks import Undefined
from .intervals import draw_contents, group_by_content
from .mapping import FittedMapping
from .metrics import FIGURES


_PAIR_BLOCK = 512


def resampled_figures(
    predictions: np.ndarray, targets: np.ndarray, content_ids, mapping: FittedMapping | None, n: int, seed: int
) -> dict[str, np.ndarray]:
    """Each of `FIGURES` on n resamples of the contents of these videos; see `weighted_figures`.

    Raises:
        Undefined: fewer than 3 contents.
    """
    groups = group_by_content(content_ids, len(targets))
    places = np.empty(len(targets), dtype=int)
    for place, rows in enumerate(groups):
        places[rows] = place
    return weighted_figures(predictions, targets, mapping, draw_counts(len(groups), n, seed)[:, places])


def draw_counts(n_contents: int, n: int, seed: int) -> np.ndarray:
    """(n, n_contents) how often each content is in each resample. Raises `Undefined` for fewer than 3."""
    return np.stack([np.bincount(draw, minlength=n_contents) for draw in draw_contents(n_contents, n, seed)])


def weighted_figures(
    predictions: np.ndarray, targets: np.ndarray, mapping: FittedMapping | None, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Each of `FIGURES` on n resamples, NaN where it is undefined.

    Args:
        predictions, targets: (videos,), finite, no column constant.
        mapping: fitted to all videos; it is refitted to every resample. None leaves PLCC and RMSE undefined.
        counts: (n, videos) how often each video is in each resample; the same for all videos of a content.
    """
    weights = counts.astype(float)
    undefined = _constant(predictions, weights) | _constant(targets, weights)
    mapped = _mapped(mapping, predictions, targets, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {
            "srcc": _pearson(_ranks(predictions, weights), _ranks(targets, weights), weights),
            "plcc": _pearson(mapped, targets, weights),
            "krcc": _kendall(predictions, targets, weights),
            "rmse": np.sqrt(_mean((mapped - targets) ** 2, weights)),
        }
    return {name: np.where(undefined, np.nan, values[name]) for name in FIGURES}


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (values * weights).sum(axis=1) / weights.sum(axis=1)


def _pearson(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    a, b = a - _mean(a, weights)[:, None], b - _mean(b, weights)[:, None]
    return _mean(a * b, weights) / np.sqrt(_mean(a * a, weights) * _mean(b * b, weights))


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average ranks, up to a constant: the weight of all smaller values and half the weight of the equal ones."""
    _, group = np.unique(values, return_inverse=True)
    totals = np.zeros((group.max() + 1, len(weights)))
    np.add.at(totals, group, weights.T)
    middle = np.cumsum(totals, axis=0) - totals / 2
    return middle[group].T


def _kendall(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """tau-b: pairs of one video with itself are ties on both sides, as they are in the resample written out."""
    balance, untied_p, untied_t = np.zeros((3, len(weights)))
    for start in range(0, len(targets), _PAIR_BLOCK):
        block = slice(start, start + _PAIR_BLOCK)
        p = np.sign(predictions[block, None] - predictions)
        t = np.sign(targets[block, None] - targets)
        for total, pairs in ((balance, p * t), (untied_p, np.abs(p)), (untied_t, np.abs(t))):
            total += ((weights @ pairs.T) * weights[:, block]).sum(axis=1)
    return balance / np.sqrt(untied_p * untied_t)


def _constant(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n,) whether all values of a resample are equal, or there are none."""
    drawn = weights > 0
    return np.where(drawn, values, np.inf).min(axis=1) >= np.where(drawn, values, -np.inf).max(axis=1)


def _mapped(
    mapping: FittedMapping | None, predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """(n, videos) predictions after the mapping refitted to each resample; NaN where there is no fit."""
    if mapping is None:
        return np.full_like(weights, np.nan)
    mapped = np.full_like(weights, np.nan)
    for row, repeats in enumerate(weights.astype(int)):
        if not repeats.any():
            continue
        try:
            mapped[row] = mapping.refit(np.repeat(predictions, repeats), np.repeat(targets, repeats))(predictions)
        except Undefined:
            continue
    return mapped
