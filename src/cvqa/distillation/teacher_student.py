"""A teacher and a student that train together, as the one module that distributed training wants to see."""

import torch
from torch import nn
from transformers import PreTrainedModel


class TeacherStudent(nn.Module):
    """Teacher and student on the same clips.

    `forward(pixel_values_videos)` with (B, T, C, H, W) returns `student_scores` and `teacher_scores` (B, 1),
    `student_features` and `teacher_features` (B, D).
    """

    main_input_name = "pixel_values_videos"
    _keys_to_ignore_on_save = None

    def __init__(self, student: PreTrainedModel, teacher: PreTrainedModel):
        super().__init__()
        self.student = student
        self.teacher = teacher

    def forward(self, pixel_values_videos: torch.Tensor) -> dict[str, torch.Tensor]:
        return named_outputs(
            student=self.student(pixel_values_videos=pixel_values_videos),
            teacher=self.teacher(pixel_values_videos=pixel_values_videos),
        )

    # Trainer calls the name of its version; the arguments differ as well.
    def activation_checkpointing_enable(self, **kwargs) -> None:
        for model in (self.student, self.teacher):
            model.activation_checkpointing_enable(**kwargs)

    def gradient_checkpointing_enable(self, **kwargs) -> None:
        for model in (self.student, self.teacher):
            model.gradient_checkpointing_enable(**kwargs)


def named_outputs(**outputs) -> dict[str, torch.Tensor]:
    """`{role}_scores` and `{role}_features` of each model output, as the loss parts name them."""
    named = {}
    for role, output in outputs.items():
        named |= {f"{role}_scores": output.logits, f"{role}_features": output.quality_features}
    return named


def freeze_blocks(model: PreTrainedModel, trainable_blocks: int) -> None:
    """Freeze all but the last `trainable_blocks` transformer blocks (-1: none frozen); the rest of the model trains.

    With 1 this is the teacher of InternVQA: blocks 0 to 38 of 40 frozen; block 39, embeddings, pooling and head train.

    Raises ValueError if the model has fewer blocks than that.
    """
    blocks = model.base_model.layers
    if not -1 <= trainable_blocks <= len(blocks):
        raise ValueError(f"the model has {len(blocks)} blocks; {trainable_blocks} of them cannot train (-1 for all)")
    frozen = 0 if trainable_blocks == -1 else len(blocks) - trainable_blocks
    model.requires_grad_(True)
    blocks[:frozen].requires_grad_(False)


def set_drop_path(model: PreTrainedModel, rate: float) -> None:
    """Stochastic depth in training, growing linearly from 0 in the first block to `rate` in the last."""
    if not 0 <= rate < 1:
        raise ValueError(f"a drop path rate is in [0, 1), not {rate}")
    blocks = model.base_model.layers
    for index, block in enumerate(blocks):
        block.drop_path.drop_prob = rate * index / max(len(blocks) - 1, 1)
    model.config.drop_path_rate = rate
