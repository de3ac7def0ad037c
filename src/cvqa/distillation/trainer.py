"""Distilling a teacher into a student."""

from pathlib import Path

import torch
from torch import nn
from transformers import EvalPrediction, PreTrainedModel

from .arguments import DistillationArguments
from .losses import DISTILLATION_PARTS
from .quality_trainer import QualityTrainer, as_tuple
from .teacher_student import TeacherStudent, freeze_blocks, named_outputs, set_drop_path


TEACHER_FOLDER = "teacher"


class DistillationTrainer(QualityTrainer):
    """
    [`QualityTrainer`] with a teacher (InternVQA, arXiv 2502.19026): the student learns the labels and the teacher's
    features, as the named parts of the loss say.

    `args.teacher_mode`:
        - `"joint"`: the teacher learns too: its last blocks and everything outside the blocks. Checkpoints hold the
          student, and the teacher in a sub-folder; `save_model` writes a plain student, `save_teacher` the teacher.
        - `"frozen"`: the teacher is given and stays as it is.

    Validation figures are the student's; the teacher's come as `teacher_srcc` and so on. `predict` returns the scores
    of both, student first.

    Args:
        model: the student, any model that returns `logits` (B, 1) and `quality_features` as wide as the teacher's.
        teacher: the teacher, an [`InternVideo2ForVideoQualityAssessment`] in joint mode.
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
        self._is_checkpoint = False
        if self.is_joint:
            freeze_blocks(teacher, args.teacher_trainable_blocks)
            set_drop_path(teacher, args.teacher_drop_path_rate)
            model = TeacherStudent(model, teacher)
        super().__init__(model, args, train_dataset, eval_dataset, processing_class, **kwargs)
        if not self.is_joint:
            teacher.requires_grad_(False)
            self.frozen_teacher = self.accelerator.prepare_model(teacher, evaluation_mode=True).eval()

    def loss_options(self, args: DistillationArguments) -> dict[str, dict]:
        return {"feature": {"stop_gradient": args.stop_gradient}}

    @property
    def student(self) -> PreTrainedModel:
        return self.models()[0]

    @property
    def teacher(self) -> PreTrainedModel:
        return self.models()[1] if self.is_joint else self.accelerator.unwrap_model(self.frozen_teacher)

    def models(self) -> tuple[PreTrainedModel, ...]:
        model = self.accelerator.unwrap_model(self.model)
        return (model.student, model.teacher) if self.is_joint else (model,)

    def outputs(self, model: nn.Module, inputs: dict) -> dict[str, torch.Tensor]:
        clips = inputs["pixel_values_videos"]
        if self.is_joint:
            return model(pixel_values_videos=clips)
        with torch.no_grad():
            teacher = self.frozen_teacher(pixel_values_videos=clips)
        return named_outputs(student=model(pixel_values_videos=clips), teacher=teacher)

    def compute_figures(self, prediction: EvalPrediction) -> dict[str, float]:
        student, teacher = as_tuple(prediction.predictions)
        figures = self._figures(teacher, prediction.label_ids)
        return self._figures(student, prediction.label_ids) | {f"teacher_{k}": v for k, v in figures.items()}

    # ---- saving and loading ----

    def save_teacher(self, output_dir: str | Path) -> None:
        """Save the teacher and the processor as a plain model folder."""
        if self.args.should_save:
            self._save_folder(self.teacher, Path(output_dir))

    def _save_checkpoint(self, model, trial):
        self._is_checkpoint = self.is_joint
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._is_checkpoint = False

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if not self.is_joint or not self.args.should_save:
            return super()._save(output_dir, state_dict)
        folder = Path(output_dir or self.args.output_dir)
        # Sharded training hands over the gathered weights of the pair.
        super()._save(folder, _part(state_dict, "student."))
        if self._is_checkpoint:
            self._save_folder(self.teacher, folder / TEACHER_FOLDER, _part(state_dict, "teacher."))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if not self.is_joint:
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        folder = Path(resume_from_checkpoint)
        if not (folder / TEACHER_FOLDER).is_dir():
            raise ValueError(
                f"{folder}: is not a checkpoint of joint training, it has no {TEACHER_FOLDER!r} folder; "
                "resume with the teacher_mode that it was made with"
            )
        super()._load_from_checkpoint(str(folder), self.student)
        super()._load_from_checkpoint(str(folder / TEACHER_FOLDER), self.teacher)

    def _load_best_model(self) -> None:
        if self.is_joint:
            self._load_from_checkpoint(self.state.best_model_checkpoint)
        else:
            super()._load_best_model()


def _part(state_dict: dict | None, prefix: str) -> dict | None:
    if state_dict is None:
        return None
    return {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
