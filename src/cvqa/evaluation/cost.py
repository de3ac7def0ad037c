"""What a model costs: multiply-accumulate operations and time of one clip."""

import copy
import platform
import statistics
import time
from pathlib import Path

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


@torch.inference_mode()
def measure_latency(
    model: PreTrainedModel, num_frames: int | None = None, height: int | None = None, repeats: int = 10
) -> float:
    """Median milliseconds of one clip alone (batch 1), after warming up, where and in the precision that the model is.

    Args:
        num_frames, height: of the clip, as for `count_macs`.
        repeats: measurements.
    """
    weights, height = next(model.parameters()), height or model.config.image_size
    shape = (1, num_frames or model.config.num_frames, 3, height, height)
    clip = torch.rand(shape, device=weights.device, dtype=weights.dtype)
    was_training, times = model.training, []
    model.eval()
    for _ in range(repeats + 2):
        started = time.perf_counter()
        model(pixel_values_videos=clip)
        if weights.is_cuda:
            torch.cuda.synchronize(weights.device)
        times.append(1000 * (time.perf_counter() - started))
    model.train(was_training)
    return statistics.median(times[2:])


def machine(device: torch.device | str = "cpu") -> str:
    """What computes, in words: the GPU, or the processor with the threads that torch uses; and the version of torch."""
    device = torch.device(device)
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{processor_name()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def processor_name() -> str:
    """The CPU as it calls itself."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
