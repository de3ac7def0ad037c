"""What a model costs: multiply-accumulate operations of one clip."""

import copy

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel


def count_macs(
    model: PreTrainedModel, num_frames: int | None = None, height: int | None = None, width: int | None = None
) -> int:
    """Multiply-accumulate operations (MACs) of one clip, by default of the size in the configuration.

    Matrix products, convolutions and both attention products are counted; norms, activations, biases and additions
    are not. One MAC is two FLOPs. The model is traced on the meta device: nothing is computed, and it is not changed.

    Args:
        model: A video model that takes `pixel_values_videos` of shape (1, frames, 3, height, width).
        num_frames: Frames of the clip.
        height: Height in pixels.
        width: Width in pixels; by default the height.
    """
    height = height or model.config.image_size
    shape = (1, num_frames or model.config.num_frames, 3, height, width or height)
    counter = FlopCounterMode(display=False)
    with torch.device("meta"):
        traced = type(model)._from_config(copy.deepcopy(model.config), attn_implementation="eager").eval()
        with counter, torch.no_grad():
            traced(torch.empty(shape))
    return counter.get_total_flops() // 2
