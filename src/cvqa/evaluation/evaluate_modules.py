"""SRCC, PLCC, KRCC and RMSE as `evaluate` metrics. Importing this module imports `evaluate`, which takes seconds.

They are classes, nothing is fetched, so they work offline:

    metrics = evaluate.combine([Srcc(), Plcc(), Krcc(), Rmse()])
    metrics.add_batch(predictions=[...], references=[...])
    metrics.compute(mapping="logistic4")
"""

import datasets
import evaluate

from . import metrics


_INPUTS = """
Args:
    predictions: list of float, any scale.
    references: list of float, the scores.
"""
_MAPPING = """    mapping: "none" (default), "rescale", "logistic4" or "logistic5", fitted on the inputs first.
Returns:
    {name}: float, NaN with a warning where undefined.
    {name}_mapping: the name of the mapping.
"""
_NO_MAPPING = """    mapping: without effect, since ranks do not change; accepted for use in `evaluate.combine`.
Returns:
    {name}: float, NaN with a warning where undefined.
"""
_VQEG = (
    "Video Quality Experts Group, Final report on the validation of objective models of video quality assessment, 2000"
)


class _QualityMetric(evaluate.Metric):
    figure: str
    citation: str

    def _info(self) -> evaluate.MetricInfo:
        function = getattr(metrics, self.figure)
        mapping = _MAPPING if self.figure in metrics.MAPPED_FIGURES else _NO_MAPPING
        return evaluate.MetricInfo(
            description=function.__doc__.split("\n")[0],
            citation=self.citation,
            inputs_description=_INPUTS + mapping.format(name=self.figure),
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
            ),
        )

    def _compute(self, predictions, references, mapping: str = "none") -> dict:
        function = getattr(metrics, self.figure)
        if self.figure not in metrics.MAPPED_FIGURES:
            return {self.figure: function(predictions, references)}
        return {self.figure: function(predictions, references, mapping), f"{self.figure}_mapping": mapping}


class Srcc(_QualityMetric):
    """Spearman's rank correlation; `compute` gives {"srcc": float}."""

    figure = "srcc"
    citation = 'C. Spearman, "The proof and measurement of association between two things", 1904'


class Plcc(_QualityMetric):
    """Pearson's correlation after a mapping; `compute(mapping=...)` gives {"plcc": float, "plcc_mapping": str}."""

    figure = "plcc"
    citation = _VQEG


class Krcc(_QualityMetric):
    """Kendall's tau-b; `compute` gives {"krcc": float}."""

    figure = "krcc"
    citation = 'M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945'


class Rmse(_QualityMetric):
    """Root mean squared error after a mapping; `compute(mapping=...)` gives {"rmse": float, "rmse_mapping": str}."""

    figure = "rmse"
    citation = _VQEG
