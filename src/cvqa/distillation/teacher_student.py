"""A teacher and a student on the same clips, as the one module that distributed training wants to see."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import output_capturing


class TeacherStudent(nn.Module):
    """
    Teacher and student on the same clips.

    `forward(pixel_values_videos)` with (B, T, C, H, W) returns `student_scores` and `teacher_scores` (B, 1),
    `student_features` and `teacher_features` (B, D); with `hidden_layers` also `student_states` and `teacher_states`,
    for each pair of layers (B, tokens, width of the teacher).

    Args:
        teacher_learns: train the teacher, too. If not, it has no gradient and always is in evaluation mode.
        hidden_layers: pairs of layers of teacher and student; 0 the embeddings, i the output of block i, -1 that of
            the last block. Where the widths differ, `projections` take the student's to the teacher's; they learn with
            the student, and belong to neither model.

    Raises ValueError for layers that there are not.
    """

    main_input_name = "pixel_values_videos"
    _keys_to_ignore_on_save = None

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        teacher_learns: bool = True,
        hidden_layers: Sequence[tuple[int, int]] = (),
    ):
        super().__init__()
        self.student = student
        self.teacher = teacher
        self.teacher_learns = teacher_learns
        self.teacher_layers = [_layer(teacher, pair[0], "teacher") for pair in hidden_layers]
        self.student_layers = [_layer(student, pair[1], "student") for pair in hidden_layers]
        self.projections = nn.ModuleList(_projection(student, teacher) for _ in hidden_layers)
        # Sharded training splits the pair at the blocks of both.
        blocks = [model._no_split_modules or () for model in (student, teacher)]
        self._no_split_modules = sorted({name for names in blocks for name in names})
        if not teacher_learns:
            teacher.requires_grad_(False).eval()

    def forward(self, pixel_values_videos: torch.Tensor) -> dict[str, torch.Tensor | list[torch.Tensor]]:
        student = self.student(pixel_values_videos=pixel_values_videos, **_states(self.student_layers))
        with torch.set_grad_enabled(self.teacher_learns and torch.is_grad_enabled()):
            teacher = self.teacher(pixel_values_videos=pixel_values_videos, **_states(self.teacher_layers))
        outputs = named_outputs(student=student, teacher=teacher)
        if self.student_layers:
            states = [student.hidden_states[layer] for layer in self.student_layers]
            outputs["student_states"] = [project(state) for project, state in zip(self.projections, states)]
            outputs["teacher_states"] = [teacher.hidden_states[layer] for layer in self.teacher_layers]
        return outputs

    def train(self, mode: bool = True) -> "TeacherStudent":
        super().train(mode)
        if not self.teacher_learns:
            self.teacher.eval()
        return self

    # Trainer calls the name of its version; the arguments differ as well.
    def activation_checkpointing_enable(self, **kwargs) -> None:
        for model in self._learners():
            model.activation_checkpointing_enable(**kwargs)

    def gradient_checkpointing_enable(self, **kwargs) -> None:
        for model in self._learners():
            model.gradient_checkpointing_enable(**kwargs)

    def _learners(self) -> tuple[PreTrainedModel, ...]:
        return (self.student, self.teacher) if self.teacher_learns else (self.student,)


def named_outputs(**outputs) -> dict[str, torch.Tensor]:
    """`{role}_scores` and `{role}_features` of each model output, as the loss parts name them."""
    named = {}
    for role, output in outputs.items():
        named |= {f"{role}_scores": output.logits, f"{role}_features": output.quality_features}
    return named


def freeze_blocks(model: PreTrainedModel, trainable_blocks: int) -> None:
    """Freeze all but the last `trainable_blocks` blocks (-1: none frozen); the rest of the model trains.

    With 1 this is the teacher of InternVQA: blocks 0 to 38 of 40 frozen; block 39, embeddings, pooling and head train.
    For other blocks see `blocks_of`.

    Raises ValueError if the model has fewer blocks than that.
    """
    blocks = blocks_of(model)
    if not -1 <= trainable_blocks <= len(blocks):
        raise ValueError(f"the model has {len(blocks)} blocks; {trainable_blocks} of them cannot train (-1 for all)")
    frozen = 0 if trainable_blocks == -1 else len(blocks) - trainable_blocks
    model.requires_grad_(True)
    for name in getattr(model, "unused_parameters", ()):
        model.base_model.get_parameter(name).requires_grad_(False)
    for block in blocks[:frozen]:
        block.requires_grad_(False)


def set_drop_path(model: PreTrainedModel, rate: float) -> None:
    """Stochastic depth in training, growing linearly from 0 in the first block to `rate` in the last.

    Raises ValueError for a rate that is none, and for one above 0 where the model has no stochastic depth.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"a drop path rate is in [0, 1), not {rate}")
    paths = [module for module in model.base_model.modules() if hasattr(module, "drop_prob")]
    if rate and not paths:
        kind = type(model.base_model).__name__
        raise ValueError(f"a {kind} has no stochastic depth: give a drop path rate of 0 instead of {rate}")
    for index, path in enumerate(paths):
        path.drop_prob = rate * index / max(len(paths) - 1, 1)
    config = getattr(model.config, "backbone_config", model.config)
    if hasattr(config, "drop_path_rate"):
        config.drop_path_rate = rate


def blocks_of(model: PreTrainedModel) -> Sequence[nn.Module]:
    """Transformer blocks, or stages of a hierarchical network: the outermost list of modules, () if there is none."""
    level = [model.base_model]
    while level:
        if lists := [module for module in level if isinstance(module, nn.ModuleList)]:
            return max(lists, key=lambda blocks: sum(parameter.numel() for parameter in blocks.parameters()))
        level = [child for module in level for child in module.children()]
    return ()


def _states(layers: list[int]) -> dict:
    """Only what is asked for is kept: all layers of a large teacher are gigabytes."""
    if not layers:
        return {}
    # transformers 5.17 leaves the embeddings out of a selection, so that every layer would be the next one.
    can_select = hasattr(output_capturing, "selected_hidden_states")
    return {"output_hidden_states": sorted(set(layers)) if can_select else True}


def _layer(model: PreTrainedModel, layer: int, role: str) -> int:
    count = _depth_and_width(model, role)[0] + 1
    if not -count <= layer < count:
        raise ValueError(f"hidden_layers: the {role} has {count - 1} blocks, so there is no layer {layer}")
    return layer % count


def _projection(student: PreTrainedModel, teacher: PreTrainedModel) -> nn.Module:
    own, target = (_depth_and_width(model, role)[1] for model, role in ((student, "student"), (teacher, "teacher")))
    return nn.Identity() if own == target else nn.Linear(own, target)


def _depth_and_width(model: PreTrainedModel, role: str) -> tuple[int, int]:
    try:
        return model.config.num_hidden_layers, model.config.hidden_size
    except AttributeError:
        raise ValueError(
            f"hidden_states compares token by token: the {role}, a {type(model).__name__}, has no such blocks; leave "
            "hidden_states out of loss_weights"
        ) from None
