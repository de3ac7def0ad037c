"""Training of teachers and students: losses, arguments, trainers.

Names are imported when first used: `import cvqa.distillation` costs nothing.
"""

from importlib import import_module


_HOME = {
    "DISTILLATION_PARTS": "weighted_loss",
    "QUALITY_PARTS": "weighted_loss",
    "LossPart": "weighted_loss",
    "WeightedLoss": "weighted_loss",
    "WeightSchedule": "schedules",
    "FeatureLoss": "losses",
    "HiddenStatesLoss": "losses",
    "HuberLoss": "losses",
    "PlccLoss": "losses",
    "RankLoss": "losses",
    "RegressionLoss": "losses",
    "RelationalAngleLoss": "losses",
    "RelationalDistanceLoss": "losses",
    "PRESETS": "presets",
    "DistillationArguments": "arguments",
    "QualityArguments": "arguments",
    "QualityTrainer": "quality_trainer",
    "DistillationTrainer": "trainer",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
