"""The figures of one evaluation, each with what is needed to read it.

A `Summary` is the one object behind `table.md`, `results.json`, model cards and the README; `tables` writes it out.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from .checks import Undefined, checked_pair
from .intervals import draw_contents, group_by_content, percentile_interval, srcc_per_content
from .mapping import FittedMapping, fit_mapping
from .metrics import FIGURES, MAPPED_FIGURES, figures_and_reasons
from .resampling import resampled_figures


WITHIN_CONTENT = "within_content_srcc"


@dataclass(frozen=True)
class Figure:
    """One figure of merit, with everything that must stand beside it."""

    metric: str  # "srcc", "plcc", "krcc", "rmse" or "within_content_srcc"
    value: float | None  # None where undefined; the note says why
    interval: tuple[float, float] | None  # over contents; None where undefined, the note says why
    n: int  # videos
    n_contents: int
    mapping: str  # fitted on the same videos; "none" for rank correlations, which need none
    split: str
    subset: str = "all"  # or "codec=hevc"
    note: str | None = None


@dataclass(frozen=True)
class Summary:
    """All figures of one model on one split of one data set, over all videos and per codec."""

    figures: tuple[Figure, ...]
    mapping: FittedMapping | None  # over all videos; None where it could not be fitted
    model: str | None = None
    dataset: str | None = None
    label_kind: str | None = None  # of the scores: "mos", "dmos", "vmaf"
    model_label_kind: str | None = None  # of the scores that the model was trained on
    higher_is_better: bool = True
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    failed: tuple[str, ...] = ()  # files without a prediction; in no figure

    @property
    def subsets(self) -> list[str]:
        return list(dict.fromkeys(figure.subset for figure in self.figures))

    def figure(self, metric: str, subset: str = "all") -> Figure:
        """The figure of that metric (see `Figure.metric`) and subset. Raises KeyError if there is none."""
        for figure in self.figures:
            if (figure.metric, figure.subset) == (metric, subset):
                return figure
        raise KeyError(f"no figure {metric!r} for subset {subset!r}")

    def to_dict(self) -> dict:
        """Plain values for JSON, no NaN."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Summary":
        """The inverse of `to_dict`, also after a way through JSON."""
        figures = tuple(
            Figure(**{**figure, "interval": figure["interval"] and tuple(figure["interval"])})
            for figure in values["figures"]
        )
        mapping = values["mapping"] and FittedMapping(values["mapping"]["name"], tuple(values["mapping"]["parameters"]))
        return cls(**{**values, "figures": figures, "mapping": mapping, "failed": tuple(values["failed"])})


def summarize(
    predictions,
    scores,
    content_ids: Sequence,
    mapping: str = "logistic4",
    split: str = "test",
    codecs: Sequence[str] | None = None,
    model: str | None = None,
    dataset: str | None = None,
    label_kind: str | None = None,
    model_label_kind: str | None = None,
    higher_is_better: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    failed: Sequence[str] = (),
) -> Summary:
    """Computes SRCC, PLCC, KRCC, RMSE and SRCC within content, each with a 95 % interval over contents.

    Args:
        predictions: (n,) on the native scale of the scores, in their direction: for DMOS a good prediction correlates
            positively too.
        scores: (n,) native scores; RMSE is in their unit.
        content_ids: (n,) the content each video is an encode of.
        mapping: one of `cvqa.evaluation.MAPPINGS`; fitted on these videos (and again on those of each codec and, from
            there, of each resample) before PLCC and RMSE.
        split: name of the split, stands beside every figure.
        codecs: (n,) names; gives the same figures per codec as well, if there is more than one.
        model, dataset, label_kind, model_label_kind, higher_is_better: what is written into reports.
        resamples, seed: of the bootstrap over contents; 0 resamples leave the intervals out.
        failed: names of videos that gave no prediction and are therefore not in the other arguments.

    Raises:
        ValueError: lengths differ, a score is not finite, a content id is missing, or the mapping has no such name.
    """
    predictions, scores = checked_pair(predictions, scores)
    content_ids = list(content_ids)
    group_by_content(content_ids, len(scores))
    if codecs is not None and len(codecs) != len(scores):
        raise ValueError(f"{len(codecs)} codecs for {len(scores)} scores: one per video is needed")

    figures, fitted = _subset_figures(predictions, scores, content_ids, mapping, split, "all", resamples, seed)
    names = sorted({str(codec) for codec in codecs}) if codecs is not None else []
    for name in names if len(names) > 1 else []:
        rows = np.array([row for row, codec in enumerate(codecs) if str(codec) == name])
        contents = [content_ids[row] for row in rows]
        settings = (mapping, split, f"codec={name}", resamples, seed)
        figures += _subset_figures(predictions[rows], scores[rows], contents, *settings)[0]
    return Summary(
        figures=tuple(figures),
        mapping=fitted,
        model=model,
        dataset=dataset,
        label_kind=label_kind,
        model_label_kind=model_label_kind,
        higher_is_better=higher_is_better,
        resamples=resamples,
        seed=seed,
        failed=tuple(failed),
    )


def _subset_figures(predictions, scores, content_ids, mapping, split, subset, resamples, seed):
    """The figures of one subset and its fitted mapping, None where the fit failed."""
    try:
        fitted = fit_mapping(mapping, predictions, scores)
        values, reasons = figures_and_reasons(predictions, scores, fitted)
    except Undefined as failure:
        fitted = None
        values, reasons = figures_and_reasons(predictions, scores, "none")
        reasons |= dict.fromkeys(MAPPED_FIGURES, str(failure))
    intervals, no_interval = dict.fromkeys(FIGURES), {}
    if "srcc" in reasons:
        no_interval = dict.fromkeys(FIGURES, f"no interval: {reasons['srcc']}")
    elif resamples:
        intervals, no_interval = _intervals(predictions, scores, content_ids, fitted, resamples, seed)
    where = {"split": split, "subset": subset}
    figures = [
        Figure(
            metric=name,
            value=None if name in reasons else values[name],
            interval=None if name in reasons else intervals[name],
            n=len(scores),
            n_contents=len(set(content_ids)),
            mapping=mapping if name in MAPPED_FIGURES else "none",
            note=reasons.get(name) or no_interval.get(name),
            **where,
        )
        for name in FIGURES
    ]
    return [*figures, _within_content(predictions, scores, content_ids, resamples, seed, where)], fitted


def _intervals(predictions, scores, content_ids, fitted, resamples, seed):
    """The interval of each figure, None where there is none, and the reasons for those."""
    intervals, reasons = dict.fromkeys(FIGURES), {}
    try:
        values = resampled_figures(predictions, scores, content_ids, fitted, resamples, seed)
    except Undefined as reason:
        return intervals, dict.fromkeys(FIGURES, f"no interval: {reason}")
    for name in FIGURES:
        try:
            intervals[name] = percentile_interval(values[name])
        except Undefined as reason:
            reasons[name] = f"no interval: {reason}"
    return intervals, reasons


def _within_content(predictions, scores, content_ids, resamples, seed, where) -> Figure:
    values, videos, undefined = srcc_per_content(predictions, scores, content_ids)
    interval, notes = None, []
    if undefined:
        notes.append(f"contents with constant predictions are left out ({undefined})")
    if not len(values):
        notes.append("no content has 3 distinct scores and predictions that differ")
    elif len(values) + undefined < len(set(content_ids)):
        notes.append(f"over contents with at least 3 distinct scores ({len(values)})")
    if len(values) and resamples:
        try:
            interval = percentile_interval(values[draw_contents(len(values), resamples, seed)].mean(axis=1))
        except Undefined as reason:
            notes.append(f"no interval: {reason}")
    return Figure(
        metric=WITHIN_CONTENT,
        value=float(values.mean()) if len(values) else None,
        interval=interval,
        n=videos,
        n_contents=len(values),
        mapping="none",
        note="; ".join(notes) or None,
        **where,
    )
