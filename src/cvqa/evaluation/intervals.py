"""Uncertainty over contents, and agreement within a content.

Encodes of one content are no independent samples: a model that misjudges a scene misjudges all its encodes. What a
figure would be on other videos is therefore asked by drawing contents, not videos.
"""

import warnings
from collections.abc import Callable

import numpy as np

from .checks import Undefined, UndefinedWarning, checked_pair, warn_undefined
from .metrics import spearman


MIN_CONTENTS = 3
_MAX_UNDEFINED = 0.05


def bootstrap_interval(
    metric: Callable[[np.ndarray, np.ndarray], float],
    predictions,
    targets,
    content_ids,
    n: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of a metric, resampling contents with all their videos, with replacement.

    Args:
        metric: maps (predictions, targets), both (m,), to a number, NaN where undefined.
        predictions, targets: (videos,).
        content_ids: (videos,), anything hashable; the content that each video is an encode of.
        n: resamples.
        seed: of the draw; the same seed gives the same interval.
        confidence: two-sided coverage.

    Returns:
        (low, high), or None with an `UndefinedWarning` naming the reason: fewer than 3 contents, or the metric
        undefined in more than 5 % of the resamples (fewer are left out). With fewer than about 10 contents the interval
        is too narrow; it does not know the contents that were not seen.

    Source: B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    predictions, targets = checked_pair(predictions, targets)
    groups = group_by_content(content_ids, len(targets))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UndefinedWarning
            )  # undefined resamples are counted, not announced one by one
            resamples = (np.concatenate([groups[c] for c in draw]) for draw in draw_contents(len(groups), n, seed))
            values = [metric(predictions[rows], targets[rows]) for rows in resamples]
        return percentile_interval(np.array(values), confidence)
    except Undefined as reason:
        warn_undefined(f"no interval: {reason}")
        return None


def draw_contents(n_contents: int, n: int, seed: int) -> np.ndarray:
    """(n, n_contents) numbers of the contents that make up each resample. Raises `Undefined` for fewer than 3."""
    if n_contents < MIN_CONTENTS:
        raise Undefined(f"too few contents to resample ({n_contents}, at least {MIN_CONTENTS} are needed)")
    return np.random.default_rng(seed).integers(n_contents, size=(n, n_contents))


def percentile_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of the values (n,) that are defined; raises `Undefined` if more than 5 % are NaN."""
    defined = values[np.isfinite(values)]
    if len(defined) < (1 - _MAX_UNDEFINED) * len(values):
        raise Undefined(f"the figure is undefined in {len(values) - len(defined)} of {len(values)} resamples")
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def within_content_srcc(predictions, targets, content_ids) -> tuple[float, int]:
    """Mean SRCC within a content: does the model order the encodes of one source, whatever it thinks of the source?

    Args:
        predictions, targets, content_ids: (videos,).

    Returns:
        (mean, number of contents it is over). Contents with fewer than 3 distinct scores are not asked. Contents whose
        predictions are all equal have no SRCC; they are left out with an `UndefinedWarning` that counts them. NaN, 0
        where no content is left.
    """
    predictions, targets = checked_pair(predictions, targets)
    values, _, undefined = srcc_per_content(predictions, targets, content_ids)
    if undefined:
        warn_undefined(f"SRCC within content leaves out contents with constant or non-finite predictions ({undefined})")
    if not len(values):
        warn_undefined("SRCC within content is undefined: no content has 3 distinct scores and predictions that differ")
        return float("nan"), 0
    return float(values.mean()), len(values)


def srcc_per_content(predictions: np.ndarray, targets: np.ndarray, content_ids) -> tuple[np.ndarray, int, int]:
    """The SRCC of each content with at least 3 distinct scores, their videos, and how many such contents have none."""
    values, videos, undefined = [], 0, 0
    for rows in group_by_content(content_ids, len(targets)):
        if len(np.unique(targets[rows])) < 3:
            continue
        try:
            values.append(spearman(predictions[rows], targets[rows]))
            videos += len(rows)
        except Undefined:
            undefined += 1
    return np.array(values), videos, undefined


def group_by_content(content_ids, n: int) -> list[np.ndarray]:
    """The row numbers of each content, contents in order of first appearance.

    Raises:
        ValueError: not one content id per row, or one is missing.
    """
    content_ids = list(content_ids)
    if len(content_ids) != n:
        raise ValueError(f"{len(content_ids)} content ids for {n} scores: one per video is needed")
    groups: dict = {}
    for row, content in enumerate(content_ids):
        if content is None or content == "":
            raise ValueError(f"row {row} has no content id; without it no interval over contents can be told")
        groups.setdefault(content, []).append(row)
    return [np.array(rows) for rows in groups.values()]
