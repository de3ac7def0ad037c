"""A tiny student on a ResNet, and its processor."""

from pathlib import Path

import torch


def tiny_student():
    """Statistics of its batch norms, and so its scores, are those of clips, not of a fresh model."""
    from cvqa.distillation.students import build_processor, build_student

    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    model = build_student("resnet", num_frames=4, image_size=64, label_kind="vmaf", **sizes)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(2, 4, 3, 64, 64))
    return model.eval(), build_processor(model.config)


def save_tiny_student(folder: Path) -> Path:
    for part in tiny_student():
        part.save_pretrained(folder)
    return folder
