"""Training arguments: `TrainingArguments` with defaults for quality assessment, and the few that distillation adds."""

from dataclasses import dataclass, field

from transformers import TrainingArguments

from .presets import PRESETS


TEACHER_MODES = ("joint", "frozen")


@dataclass
class QualityArguments(TrainingArguments):
    r"""
    Arguments of [`QualityTrainer`]: those of `TrainingArguments`, and

    Args:
        loss_weights (`dict[str, float]`, defaults to `{"regression": 1.0}`):
            The loss as a weighted sum of named parts: `regression` (mean squared error), `plcc`, `rank`. On the command
            line as JSON: `--loss_weights '{"plcc": 1, "rank": 0.3}'`. What is given replaces the default as a whole.
        augment (`bool`, defaults to `True`):
            Train on random windows, crops (or fragments) and mirrored clips, none of which changes the quality that the
            label describes. Evaluation never augments.

    Defaults that differ from `TrainingArguments`: evaluation and checkpoint after every epoch, the best checkpoint by
    validation SRCC at the end, two checkpoints kept, AdamW at 1e-4 with weight decay 0.05 and a cosine schedule after
    10% warm-up (`warmup_steps` below 1 is a share), 30 epochs, data order from `seed`, a NaN loss is logged as NaN.
    """

    _VALID_DICT_FIELDS = [*TrainingArguments._VALID_DICT_FIELDS, "loss_weights"]

    loss_weights: dict | str | None = field(
        default=None, metadata={"help": "Weights of the named loss parts, a JSON object; replaces the default."}
    )
    augment: bool = field(default=True, metadata={"help": "Train on random windows and crops and mirrored clips."})

    num_train_epochs: float = field(default=30, metadata={"help": "Training epochs."})
    learning_rate: float = field(default=1e-4, metadata={"help": "Highest learning rate of AdamW."})
    weight_decay: float = field(default=0.05, metadata={"help": "Weight decay of AdamW."})
    warmup_steps: float = field(default=0.1, metadata={"help": "Warm-up steps; below 1 a share of all steps."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "Learning rate schedule after the warm-up."})
    logging_steps: float = field(default=10, metadata={"help": "Log every so many steps; below 1 a share."})
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "Hide NaN and infinite losses in the log."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps or epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save: no, steps, epoch or best."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept; the best is always kept."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "End with the best checkpoint."})
    metric_for_best_model: str | None = field(default="srcc", metadata={"help": "What decides which is best."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must be False: the collator needs all."})

    def __post_init__(self):
        super().__post_init__()
        if self.loss_weights is None:
            self.loss_weights = {"regression": 1.0}
        if not isinstance(self.loss_weights, dict):
            raise ValueError(
                f'loss_weights is {self.loss_weights!r}; give a JSON object such as {{"plcc": 1.0, "rank": 0.3}}'
            )
        if self.remove_unused_columns:
            raise ValueError(
                "remove_unused_columns=True would remove the frames before they are collated; leave it False"
            )
        if self.label_names is None:
            self.label_names = ["labels"]
        if self.data_seed is None:
            # Otherwise the order depends on the state of the global generator, thus on what was built before.
            self.data_seed = self.seed


@dataclass
class DistillationArguments(QualityArguments):
    r"""
    Arguments of [`DistillationTrainer`]: those of [`QualityArguments`], and

    Args:
        preset (`str`, defaults to `"default"`):
            The recipe that fills in what is not given here: `"internvqa"` (published) or `"default"`; see
            `cvqa.distillation.presets`. A learning rate of a preset may be scaled by the batch size over 256.
        teacher_mode (`str`, defaults to `"joint"`):
            `"joint"`: teacher and student learn together, as published. `"frozen"`: the teacher is given, in evaluation
            mode, and does not change.
        loss_weights (`dict[str, float]`, *optional*):
            Parts `teacher_regression`, `student_regression`, `feature`, `plcc`, `rank`. A frozen teacher has no
            `teacher_regression`.
        stop_gradient (`bool`, *optional*):
            Keep the student from pulling the teacher's features towards its own in joint mode.
        teacher_trainable_blocks (`int`, *optional*):
            Joint mode: the last so many blocks of the teacher train, and everything outside the blocks; -1 for all.
        teacher_drop_path_rate (`float`, *optional*):
            Joint mode: stochastic depth of the teacher's last block while training.
    """

    preset: str = field(default="default", metadata={"help": f"Recipe: {', '.join(PRESETS)}."})
    teacher_mode: str = field(default="joint", metadata={"help": f"One of {', '.join(TEACHER_MODES)}."})
    stop_gradient: bool | None = field(
        default=None, metadata={"help": "No gradient from the feature loss into the teacher. Default: by preset."}
    )
    teacher_trainable_blocks: int | None = field(
        default=None, metadata={"help": "Last blocks of the teacher that train, -1 for all. Default: by preset."}
    )
    teacher_drop_path_rate: float | None = field(
        default=None, metadata={"help": "Stochastic depth of the teacher in joint mode. Default: by preset."}
    )

    num_train_epochs: float | None = field(default=None, metadata={"help": "Training epochs. Default: by preset."})
    learning_rate: float | None = field(default=None, metadata={"help": "Highest rate of AdamW. Default: by preset."})
    weight_decay: float | None = field(default=None, metadata={"help": "Of AdamW. Default: by preset."})
    warmup_steps: float | None = field(default=None, metadata={"help": "Below 1 a share. Default: by preset."})

    def __post_init__(self):
        if self.preset not in PRESETS:
            raise ValueError(f"unknown preset {self.preset!r}: choose one of {', '.join(PRESETS)}")
        if self.teacher_mode not in TEACHER_MODES:
            raise ValueError(f"unknown teacher_mode {self.teacher_mode!r}: choose one of {', '.join(TEACHER_MODES)}")
        preset = PRESETS[self.preset]
        scale_learning_rate = self.learning_rate is None and preset.scale_learning_rate
        if self.loss_weights is None:
            self.loss_weights = dict(preset.loss_weights)
            if self.teacher_mode == "frozen":
                self.loss_weights.pop("teacher_regression", None)
        for name in (
            "stop_gradient",
            "teacher_trainable_blocks",
            "teacher_drop_path_rate",
            "num_train_epochs",
            "learning_rate",
            "weight_decay",
            "warmup_steps",
        ):
            if getattr(self, name) is None:
                setattr(self, name, getattr(preset, name))
        super().__post_init__()
        if scale_learning_rate:
            batch = self.train_batch_size * self.gradient_accumulation_steps * self.world_size
            self.learning_rate *= batch / 256
        if self.teacher_mode == "frozen" and self.loss_weights.get("teacher_regression", 0) > 0:
            raise ValueError("a frozen teacher does not learn: leave teacher_regression out of loss_weights")
        if self.teacher_mode == "joint" and not self.loss_weights.get("teacher_regression", 0) > 0:
            raise ValueError(
                "a teacher in joint mode needs a teacher_regression weight above 0, or teacher_mode='frozen'"
            )
