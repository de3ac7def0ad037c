"""Distilling a teacher into a student."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn
from transformers import EvalPrediction, PreTrainedModel

from .arguments import DistillationArguments
from .quality_trainer import QualityTrainer, as_tuple
from .teacher_cache import CachedTeacherCollator, ask_teacher
from .teacher_student import TeacherStudent, freeze_blocks, named_outputs, set_drop_path
from .weighted_loss import DISTILLATION_PARTS, WeightedLoss


TEACHER_FOLDER = "teacher"
PROJECTIONS_FILE = "projections.safetensors"


class DistillationTrainer(QualityTrainer):
    """
    [`QualityTrainer`] with a teacher (InternVQA, arXiv 2502.19026): the student learns the labels and what the teacher
    makes of the clips, as the named parts of the loss say. Clips without a label take part in the latter only.

    `args.teacher_mode`:
        - `"joint"`: the teacher learns too: its last blocks and everything outside the blocks. Checkpoints hold the
          student, and the teacher in a sub-folder; `save_model` writes a plain student, `save_teacher` the teacher.
        - `"frozen"`: the teacher is given and stays as it is.
        - `"cached"`: as frozen, but it looks at all views before training, when the trainer is made, and only what is
          not in `args.teacher_cache_dir` yet. The trainer keeps no reference to it: drop yours, and it is gone.

    Validation figures are the student's; the teacher's come as `teacher_srcc` and so on. `predict` returns the scores
    of both, student first; in cached mode it takes the validation data only.

    Args:
        model: the student, any model that returns `logits` (B, 1) and `quality_features` as wide as the teacher's.
        teacher: the teacher, likewise.
        args: [`DistillationArguments`].
        kwargs: as for [`QualityTrainer`].

    Example:

    ```python
    >>> args = DistillationArguments("runs/student", preset="internvqa", per_device_train_batch_size=16)
    >>> trainer = DistillationTrainer(student, args, data["train"], data["validation"], processor, teacher=teacher)
    >>> trainer.train()
    >>> trainer.save_model()
    ```
    """

    loss_parts = DISTILLATION_PARTS
    score_names = ("student_scores", "teacher_scores")

    def __init__(
        self,
        model: PreTrainedModel,
        args: DistillationArguments,
        train_dataset=None,
        eval_dataset=None,
        processing_class=None,
        *,
        teacher: PreTrainedModel,
        **kwargs,
    ):
        self.is_joint = args.teacher_mode == "joint"
        self.is_cached = args.teacher_mode == "cached"
        self._is_checkpoint = False
        if self.is_joint:
            freeze_blocks(teacher, args.teacher_trainable_blocks)
            set_drop_path(teacher, args.teacher_drop_path_rate)
        if self.is_cached:
            self.collator_class = CachedTeacherCollator
        else:
            layers = args.hidden_layers if "hidden_states" in args.loss_weights else ()
            model = TeacherStudent(model, teacher, self.is_joint, layers)
        super().__init__(model, args, train_dataset, eval_dataset, processing_class, **kwargs)
        if self.is_cached:
            self._ask_teacher(teacher)

    def make_loss(self, args: DistillationArguments) -> WeightedLoss:
        return WeightedLoss(args.loss_weights, self.loss_parts, args.stop_gradient)

    def _ask_teacher(self, teacher: PreTrainedModel) -> None:
        """Give both collators what the teacher says of their views."""
        args = self.args
        for dataset, collator in (
            (self.train_dataset, self.data_collator),
            (self.eval_dataset, self.eval_data_collator),
        ):
            if dataset is not None:
                collator.outputs = ask_teacher(
                    teacher,
                    getattr(dataset, "rows", dataset),  # of streamed ones
                    collator,
                    accelerator=self.accelerator,
                    cache_dir=args.teacher_cache_dir,
                    batch_size=args.per_device_eval_batch_size,
                    num_workers=args.dataloader_num_workers,
                )

    @property
    def student(self) -> PreTrainedModel:
        return self.models()[0]

    @property
    def teacher(self) -> PreTrainedModel:
        """Raises AttributeError in cached mode."""
        return self.unwrapped().teacher

    def models(self) -> tuple[PreTrainedModel, ...]:
        model = self.unwrapped()
        if self.is_cached:
            return (model,)
        return (model.student, model.teacher) if self.is_joint else (model.student,)

    def outputs(self, model: nn.Module, inputs: dict) -> dict:
        clips = inputs["pixel_values_videos"]
        if not self.is_cached:
            return model(pixel_values_videos=clips)
        given = {name: inputs[name] for name in ("teacher_features", "teacher_scores")}
        return named_outputs(student=model(pixel_values_videos=clips)) | given

    def compute_figures(self, prediction: EvalPrediction) -> dict[str, float]:
        student, teacher = as_tuple(prediction.predictions)
        figures = self._figures(teacher, prediction.label_ids)
        return self._figures(student, prediction.label_ids) | {f"teacher_{k}": v for k, v in figures.items()}

    # ---- saving and loading ----

    def save_teacher(self, output_dir: str | Path) -> None:
        """Save the teacher and the processor as a plain model folder; to be called on every process."""
        # Sharded weights are gathered by all.
        state_dict = self.accelerator.get_state_dict(self.model) if self.is_fsdp_enabled else None
        if self.args.should_save:
            self._save_folder(self.teacher, Path(output_dir), _part(state_dict, "teacher."))

    def _save_checkpoint(self, model, trial):
        self._is_checkpoint = True
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._is_checkpoint = False

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if self.is_cached or not self.args.should_save:
            return super()._save(output_dir, state_dict)
        folder = Path(output_dir or self.args.output_dir)
        # Sharded training hands over the gathered weights of the pair.
        super()._save(folder, _part(state_dict, "student."))
        # What it takes to go on; sharded checkpoints have it anyway.
        if self._is_checkpoint and not self.is_fsdp_enabled:
            if self.is_joint:
                self._save_folder(self.teacher, folder / TEACHER_FOLDER)
            if projections := self.unwrapped().projections.state_dict():
                save_file(projections, folder / PROJECTIONS_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.is_cached or self.is_fsdp_enabled:
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        folder = Path(resume_from_checkpoint)
        pair = self.unwrapped()
        for path, needed in ((folder / TEACHER_FOLDER, self.is_joint), (folder / PROJECTIONS_FILE, _has_state(pair))):
            if needed != path.exists():
                raise ValueError(
                    f"{folder}: is a checkpoint of another kind of run, it has {'no' if needed else 'a'} "
                    f"{path.name!r}; resume with the teacher_mode and loss_weights that it was made with"
                )
        super()._load_from_checkpoint(str(folder), pair.student)
        if self.is_joint:
            super()._load_from_checkpoint(str(folder / TEACHER_FOLDER), pair.teacher)
        if _has_state(pair):
            pair.projections.load_state_dict(load_file(folder / PROJECTIONS_FILE))

    def _load_best_model(self) -> None:
        if self.is_cached or self.is_fsdp_enabled:
            super()._load_best_model()
        else:
            self._load_from_checkpoint(self.state.best_model_checkpoint)


def _has_state(pair: TeacherStudent) -> bool:
    return bool(pair.projections.state_dict())


def _part(state_dict: dict | None, prefix: str) -> dict | None:
    if state_dict is None:
        return None
    return {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
