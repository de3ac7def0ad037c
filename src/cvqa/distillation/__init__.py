"""Training of teachers and students: losses, arguments, trainers.

Names are imported when first used: `import cvqa.distillation` costs nothing.
"""

from ..lazy import lazy


__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DISTILLATION_PARTS": ".weighted_loss",
        "QUALITY_PARTS": ".weighted_loss",
        "LossPart": ".weighted_loss",
        "WeightedLoss": ".weighted_loss",
        "WeightSchedule": ".schedules",
        "FeatureLoss": ".losses",
        "HiddenStatesLoss": ".losses",
        "HuberLoss": ".losses",
        "PlccLoss": ".losses",
        "RankLoss": ".losses",
        "RegressionLoss": ".losses",
        "RelationalAngleLoss": ".losses",
        "RelationalDistanceLoss": ".losses",
        "PRESETS": ".presets",
        "DistillationArguments": ".arguments",
        "QualityArguments": ".arguments",
        "QualityTrainer": ".quality_trainer",
        "DistillationTrainer": ".trainer",
    },
)
