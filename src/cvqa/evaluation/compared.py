"""What several runs of several methods on the same test contents say: means over runs, and paired differences.

A *run* is one trained model with its predictions. All resamples draw the same contents for all runs, so that what is
hard about a content cancels in a difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .checks import Undefined, checked_pair
from .intervals import percentile_interval, srcc_per_content
from .mapping import fit_mapping
from .metrics import FIGURES, figures_and_reasons
from .resampling import draw_counts, weighted_figures
from .summary import WITHIN_CONTENT


COMPARED = (*FIGURES, WITHIN_CONTENT)


@dataclass(frozen=True)
class RunFigures:
    """`COMPARED` of one run: `values` by name, and `resamples` (n,) by name; NaN where undefined."""

    values: dict[str, float]
    resamples: dict[str, np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """A mean over runs with its interval; `value` is None where a run has no such figure."""

    value: float | None
    interval: tuple[float, float] | None
    runs: int
    spread: float | None  # sample standard deviation over the runs; None for one run

    @property
    def is_clear(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


class ContentResamples:
    """n draws of contents with replacement, the same for all runs whatever contents each was tested on.

    Args:
        content_ids: all contents that any of the runs was tested on; at least 3, or there are no intervals.
        n, seed: of the draws.
    """

    def __init__(self, content_ids, n: int = 1000, seed: int = 0):
        self.places = {content: place for place, content in enumerate(sorted(set(content_ids)))}
        try:
            self.counts = draw_counts(len(self.places), n, seed)
        except Undefined:
            self.counts = np.zeros((0, len(self.places)), dtype=int)

    def figures(self, predictions, scores, content_ids: Sequence, mapping: str = "logistic4") -> RunFigures:
        """The figures of one run.

        Args:
            predictions, scores: (videos,) on one scale, in one direction.
            content_ids: (videos,).
            mapping: before PLCC and RMSE, fitted on these videos and again on every resample of them.
        """
        predictions, scores = checked_pair(predictions, scores)
        try:
            fitted = fit_mapping(mapping, predictions, scores)
            values, reasons = figures_and_reasons(predictions, scores, fitted)
        except Undefined:
            fitted = None
            values, reasons = figures_and_reasons(predictions, scores, "none", ("srcc", "krcc"))
            values |= {"plcc": float("nan"), "rmse": float("nan")}
        counts = self.counts[:, [self.places[content] for content in content_ids]]
        resamples = dict.fromkeys(FIGURES, np.full(len(counts), np.nan))
        if "srcc" not in reasons and len(counts):
            resamples = weighted_figures(predictions, scores, fitted, counts)
        values[WITHIN_CONTENT], resamples[WITHIN_CONTENT] = self._within_content(predictions, scores, content_ids)
        return RunFigures(values, resamples)

    def _within_content(self, predictions, scores, content_ids) -> tuple[float, np.ndarray]:
        content_ids = np.asarray(content_ids)
        values = np.full(len(self.places), np.nan)
        for content, place in self.places.items():
            rows = np.flatnonzero(content_ids == content)
            found, _, _ = srcc_per_content(predictions[rows], scores[rows], content_ids[rows])
            values[place] = found[0] if len(found) else np.nan
        defined = np.isfinite(values)
        if not defined.any():
            return float("nan"), np.full(len(self.counts), np.nan)
        counts = self.counts[:, defined]
        with np.errstate(invalid="ignore"):
            return float(values[defined].mean()), counts @ values[defined] / counts.sum(axis=1)


def mean_over_runs(runs: Sequence[RunFigures], figure: str) -> Estimate:
    """The mean of a figure over runs (seeds, splits), with its interval over contents: what other contents would say
    of these very models. `spread` tells how far one run lies from another."""
    return _estimate([run.values[figure] for run in runs], _mean([run.resamples[figure] for run in runs]))


def mean_difference(
    pairs: Sequence[tuple[RunFigures, RunFigures]], figure: str, generator: np.random.Generator
) -> Estimate:
    """The mean over pairs of runs of the first one's figure less the second one's, e.g. with and without distillation
    from the same seed on the same split.

    The interval is over contents and over pairs: every resample draws both, so it holds what other contents and
    another start would change. With few pairs it is somewhat too narrow.

    Args:
        generator: draws the pairs; its state goes on.
    """
    values = [first.values[figure] - second.values[figure] for first, second in pairs]
    return _estimate(values, _resampled_difference(pairs, figure, generator))


def mean_of_differences(
    groups: Sequence[Sequence[tuple[RunFigures, RunFigures]]], figure: str, generator: np.random.Generator
) -> Estimate:
    """The mean over several students of their `mean_difference`: each student counts alike, however many its runs.

    The interval is over contents and runs, not over students: it speaks of these students, not of others.
    """
    means = [float(np.mean([a.values[figure] - b.values[figure] for a, b in pairs])) for pairs in groups]
    return _estimate(means, _mean([_resampled_difference(pairs, figure, generator) for pairs in groups]))


def _resampled_difference(pairs, figure, generator) -> np.ndarray:
    differences = np.stack([first.resamples[figure] - second.resamples[figure] for first, second in pairs])
    drawn = generator.integers(len(pairs), size=differences.shape)
    return np.take_along_axis(differences, drawn, axis=0).mean(axis=0)


def _mean(resamples: Sequence[np.ndarray]) -> np.ndarray:
    return np.mean(np.stack(resamples), axis=0)


def _estimate(values: Sequence[float], resamples: np.ndarray) -> Estimate:
    value, interval = float(np.mean(values)), None
    if np.isfinite(value) and len(resamples):
        try:
            interval = percentile_interval(resamples)
        except Undefined:
            interval = None
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Estimate(value if np.isfinite(value) else None, interval, len(values), spread)
