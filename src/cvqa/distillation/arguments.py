"""Training arguments: `TrainingArguments` with defaults for quality assessment, and the few that distillation adds."""

import json
from dataclasses import dataclass, field

from transformers import TrainingArguments

from ..data.augmentation import AUGMENTATIONS
from .loader_workers import default_workers
from .presets import PRESETS
from .weighted_loss import TEACHER_PARTS


AUGMENT = (*AUGMENTATIONS, "none")
TEACHER_MODES = ("joint", "frozen", "cached")
CACHED_VIEWS = 8


@dataclass
class QualityArguments(TrainingArguments):
    r"""
    Arguments of [`QualityTrainer`]: those of `TrainingArguments`, and

    Args:
        loss_weights (`dict[str, float | dict]`, defaults to `{"regression": 1.0}`):
            The loss as a weighted sum of named parts: `regression` (mean squared error), `huber`, `plcc`, `rank`. A
            weight is a number, or an object that also says how it changes while training, and the options of the loss:
            `{"weight": 1, "warmup": 0.1, "schedule": "cosine", "final": 0, "end": 0.8, "delta": 0.1}`; see
            [`WeightSchedule`] and the classes in `cvqa.distillation.losses`. On the command line as JSON:
            `--loss_weights '{"plcc": 1, "rank": 0.3}'`. What is given replaces the default as a whole.
        augment (`str`, defaults to `"quality"`):
            `"quality"`: train on random windows, crops (or fragments) and mirrored clips, none of which changes the
            quality that the label describes. `"luma"`: also in grey, upside down and transposed, for labels such as
            VMAF that are computed from luma. `"published"`: RandAugment, resized crops and erasing, two clips of each
            video of a batch, as InternVQA does; it needs frames cached with `native=True`. `"none"`: always the clip
            that evaluation looks at. See `cvqa.data.augmentation`. Evaluation never augments.
        views (`int`, *optional*):
            Draw so many views of a video once and see them in turn, one per epoch; by default every epoch has a new
            one.
        early_stopping_patience (`int`, *optional*):
            Stop when the metric that decides which checkpoint is best has not become better in so many evaluations.

    Defaults that differ from `TrainingArguments`: evaluation and checkpoint after every epoch, the best checkpoint by
    validation SRCC at the end, two checkpoints kept, AdamW at 1e-4 with weight decay 0.05 and a cosine schedule after
    10% warm-up (`warmup_steps` below 1 is a share), 30 epochs, data order from `seed`, a NaN loss is logged as NaN,
    `dataloader_num_workers` by [`default_workers`], `run_name` the output folder.
    """

    _VALID_DICT_FIELDS = [*TrainingArguments._VALID_DICT_FIELDS, "loss_weights"]

    loss_weights: dict | str | None = field(
        default=None, metadata={"help": "Weights of the named loss parts, a JSON object; replaces the default."}
    )
    augment: str = field(default="quality", metadata={"help": f"One of {', '.join(AUGMENT)}."})
    views: int | None = field(default=None, metadata={"help": "Views of a video seen in turn. Default: always new."})
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after so many evaluations without a better one."}
    )

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
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Resuming goes on counting where early stopping was."}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must be False: the collator needs all."})
    dataloader_num_workers: int | None = field(
        default=None,
        metadata={"help": "Processes that load data. Default: with CUDA the process's share of the cores, else 0."},
    )

    def __post_init__(self):
        if self.dataloader_num_workers is None:
            self.dataloader_num_workers = 0 if self.use_cpu else default_workers()
        super().__post_init__()
        if self.loss_weights is None:
            self.loss_weights = {"regression": 1.0}
        if not isinstance(self.loss_weights, dict):
            raise ValueError(
                f'loss_weights is {self.loss_weights!r}; give a JSON object such as {{"plcc": 1.0, "rank": 0.3}}'
            )
        if self.augment not in AUGMENT:
            raise ValueError(f"unknown augment {self.augment!r}: choose one of {', '.join(AUGMENT)}")
        for name in ("views", "early_stopping_patience"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more, or leave it out")
        if self.remove_unused_columns:
            raise ValueError(
                "remove_unused_columns=True would remove the frames before they are collated; leave it False"
            )
        if self.label_names is None:
            self.label_names = ["labels"]
        if self.data_seed is None:
            # Otherwise the order depends on the state of the global generator, thus on what was built before.
            self.data_seed = self.seed
        if self.run_name is None:
            # Trackers go on with the run of that name when training does.
            self.run_name = self.output_dir

    @property
    def clips_per_update(self) -> int:
        """How many clips one update of the weights sees, on all processes."""
        samples = 1 if self.augment == "none" else AUGMENTATIONS[self.augment].samples
        return samples * self.train_batch_size * self.gradient_accumulation_steps * self.world_size


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
            mode, and does not change. `"cached"`: as frozen, but the teacher looks at every view once, before training,
            and what it says is kept on disk: the student trains without it, on `views` views of each video (default
            8). Frozen and cached give the same student for the same `views`.
        teacher_cache_dir (`str`, *optional*):
            Cached mode: where the teacher's outputs are kept, by default beside the cached frames of `datasets`.
        loss_weights (`dict[str, float | dict]`, *optional*):
            Parts for labelled clips: `student_regression`, `student_huber`, `plcc`, `rank`, and for a teacher in joint
            mode `teacher_regression`, `teacher_huber`; for all clips, with or without a label: `feature`,
            `teacher_score` (squared error to the teacher's score), `relational_distance`, `relational_angle`,
            `hidden_states` (not in cached mode).
        hidden_layers (`list[list[int]]`, defaults to `[[-1, -1]]`):
            Pairs of layers, of teacher and student, that `hidden_states` compares: 0 the embeddings, i the output of
            block i, -1 that of the last. Where the models differ in width, a projection is learnt with the student and
            left out of its final folder. On the command line as JSON: `--hidden_layers '[[20, 6], [40, 12]]'`.
        stop_gradient (`bool`, *optional*):
            Keep the student from pulling what the teacher computes towards its own in joint mode.
        teacher_trainable_blocks (`int`, *optional*):
            Joint mode: the last so many blocks of the teacher train, and everything outside the blocks; -1 for all.
        teacher_drop_path_rate (`float`, *optional*):
            Joint mode: stochastic depth of the teacher's last block while training.
    """

    augment: str | None = field(default=None, metadata={"help": f"One of {', '.join(AUGMENT)}. Default: by preset."})
    preset: str = field(default="default", metadata={"help": f"Recipe: {', '.join(PRESETS)}."})
    teacher_mode: str = field(default="joint", metadata={"help": f"One of {', '.join(TEACHER_MODES)}."})
    teacher_cache_dir: str | None = field(default=None, metadata={"help": "Folder of the cached teacher outputs."})
    hidden_layers: list | str | None = field(
        default=None, metadata={"help": "Layers [[teacher, student], ...] of hidden_states, JSON. Default: the last."}
    )
    stop_gradient: bool | None = field(
        default=None, metadata={"help": "No gradient from the student into the teacher. Default: by preset."}
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
            if self.teacher_mode != "joint":
                self.loss_weights = {k: v for k, v in self.loss_weights.items() if k not in TEACHER_PARTS}
        if self.teacher_mode == "cached" and self.views is None:
            self.views = CACHED_VIEWS
        self.hidden_layers = _layer_pairs(self.hidden_layers)
        for name in (
            "augment",
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
            self.learning_rate *= self.clips_per_update / 256
        learning = [name for name in TEACHER_PARTS if self.loss_weights.get(name)]
        if self.teacher_mode != "joint" and learning:
            raise ValueError(f"a {self.teacher_mode} teacher does not learn: leave {learning[0]} out of loss_weights")
        if self.teacher_mode == "joint" and not learning:
            raise ValueError(
                f"a teacher in joint mode needs a {' or '.join(TEACHER_PARTS)} weight above 0, or teacher_mode='frozen'"
            )
        if self.teacher_mode == "cached" and self.loss_weights.get("hidden_states"):
            raise ValueError(
                "hidden states are too large to be cached: leave hidden_states out of loss_weights, or take "
                "teacher_mode='frozen'"
            )


def _layer_pairs(layers: list | str | None) -> list[list[int]]:
    if isinstance(layers, list) and len(layers) == 1 and isinstance(layers[0], str):
        layers = layers[0]  # the command line makes a list of what it is given
    try:
        pairs = json.loads(layers) if isinstance(layers, str) else layers or [[-1, -1]]
        return [[int(teacher), int(student)] for teacher, student in pairs]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"hidden_layers is {layers!r}; give pairs of teacher and student layers such as [[20, 6], [40, 12]]"
        ) from error
