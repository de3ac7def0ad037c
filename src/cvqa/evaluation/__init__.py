"""How well predictions agree with scores: figures of merit, mappings, intervals, tables, reports.

Names are imported when first used, so that `import cvqa.evaluation` costs nothing. The figures as `evaluate` metrics
(`Srcc`, `Plcc`, `Krcc`, `Rmse`) import `evaluate` then.
"""

from ..lazy import lazy


__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "srcc": ".metrics",
        "plcc": ".metrics",
        "krcc": ".metrics",
        "rmse": ".metrics",
        "figures_of_merit": ".metrics",
        "FIGURES": ".metrics",
        "MAPPINGS": ".mapping",
        "FittedMapping": ".mapping",
        "fit_mapping": ".mapping",
        "fit_score_mapping": ".mapping",
        "apply_score_mapping": ".mapping",
        "Undefined": ".checks",
        "UndefinedWarning": ".checks",
        "bootstrap_interval": ".intervals",
        "within_content_srcc": ".intervals",
        "Figure": ".summary",
        "Summary": ".summary",
        "summarize": ".summary",
        "markdown_table": ".tables",
        "text_table": ".tables",
        "evaluate_dataset": ".run",
        "predict_dataset": ".predict",
        "native_predictions": ".predict",
        "save_report": ".report",
        "scatter_png": ".scatter",
        "count_macs": ".cost",
        "Srcc": ".evaluate_modules",
        "Plcc": ".evaluate_modules",
        "Krcc": ".evaluate_modules",
        "Rmse": ".evaluate_modules",
    },
)
