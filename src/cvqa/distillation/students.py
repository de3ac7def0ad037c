"""Students, and teachers, by name: one table of sizes, and what else a name may be."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    AutoVideoProcessor,
    BaseImageProcessor,
    PreTrainedConfig,
    PreTrainedModel,
)

from ..models import (
    BackboneStudentConfig,
    BackboneStudentForVideoQualityAssessment,
    InternVideo2Config,
    InternVideo2ForVideoQualityAssessment,
    InternVideo2VideoProcessor,
)
from ..models.configuration_backbone_student import DEFAULT_BACKBONE, FRAMES, SIDES
from ..models.configuration_internvideo2 import SIZES


logger = logging.getLogger(__name__)

# Widths of plain transformers.
TINY = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3}
SMALL = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}

# Name -> type of the backbone in transformers, and the fields of its configuration.
STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet_small": ("resnet", {name: value for name, value in DEFAULT_BACKBONE.items() if name != "model_type"}),
    "resnet18": ("resnet", {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]}),
    "resnet34": ("resnet", {"layer_type": "basic", "depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 256, 512]}),
    "resnet50": ("resnet", {}),
    "mobilenet_v2": ("mobilenet_v2", {"tf_padding": False}),
    "convnext_atto": ("convnext", {"depths": [2, 2, 6, 2], "hidden_sizes": [40, 80, 160, 320]}),
    "convnext_tiny": ("convnext", {}),
    "convnextv2_atto": ("convnextv2", {"depths": [2, 2, 6, 2], "hidden_sizes": [40, 80, 160, 320]}),
    "convnextv2_nano": ("convnextv2", {"depths": [2, 2, 8, 2], "hidden_sizes": [80, 160, 320, 640]}),
    "swin_tiny": ("swin", {"depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "embed_dim": 96}),
    "dinov2_small": ("dinov2", {**SMALL, "patch_size": 14}),
    "dinov2_base": ("dinov2", {**BASE, "patch_size": 14}),
    "videomae_tiny": ("videomae", {**TINY, "intermediate_size": 768}),
    "videomae_small": ("videomae", {**SMALL, "intermediate_size": 1536}),
    "videomae_base": ("videomae", {**BASE, "intermediate_size": 3072}),
    "timesformer_small": ("timesformer", {**SMALL, "intermediate_size": 1536}),
    "vivit_small": ("vivit", {**SMALL, "intermediate_size": 1536}),
    "vjepa2_small": ("vjepa2", SMALL),
}
NUM_FRAMES, IMAGE_SIZE = 8, 224


def build_student(name_or_path: str, **overrides: Any) -> PreTrainedModel:
    """A video quality model by name, in float32.

    Args:
        name_or_path: one of
            - the folder or Hub repository of a quality model, which is loaded;
            - a size of InternVideo2 (`"Ti"` to `"6B"`) or a name of `STUDENTS`, with random weights;
            - a type of model in transformers (`"efficientnet"`), with its default configuration and random weights;
            - the folder or Hub repository of another model of transformers, which becomes the backbone: with its
              weights, or with random ones if there is only a configuration.
        overrides: fields of the configuration of the student, or else of its backbone; those that are None are left
            out. `num_frames` and `image_size` also fit a backbone with random weights.

    Raises:
        ValueError: an unknown name, and which are known; or not a model to make a student of.
        OSError: nothing at that path.
    """
    overrides = {name: value for name, value in overrides.items() if value is not None}
    if name_or_path in SIZES:
        warn_of_random_weights(name_or_path)
        return InternVideo2ForVideoQualityAssessment(InternVideo2Config.from_size(name_or_path, **overrides))
    if name_or_path in STUDENTS:
        warn_of_random_weights(name_or_path)
        model_type, sizes = STUDENTS[name_or_path]
        return fresh_student(CONFIG_MAPPING[model_type](**sizes), **overrides)
    if not is_place(name_or_path):
        if name_or_path not in CONFIG_MAPPING:
            raise ValueError(
                f"unknown model {name_or_path!r}: neither a folder, nor a repository (organisation/name), nor one of "
                f"{', '.join(model_names())}, nor a model type of transformers"
            )
        warn_of_random_weights(name_or_path)
        return fresh_student(CONFIG_MAPPING[name_or_path](), **overrides)
    config = AutoConfig.from_pretrained(name_or_path)
    if config.model_type in (InternVideo2Config.model_type, BackboneStudentConfig.model_type):
        return AutoModel.from_pretrained(name_or_path, dtype=torch.float32, **overrides)
    if Path(name_or_path).is_dir() and not any(Path(name_or_path).glob("*.safetensors")):
        warn_of_random_weights(name_or_path)
        return fresh_student(config, **overrides)
    own, of_backbone = split_overrides(overrides)
    backbone = AutoModel.from_pretrained(name_or_path, dtype=torch.float32, **of_backbone)
    student = BackboneStudentForVideoQualityAssessment(BackboneStudentConfig(backbone_config=backbone.config, **own))
    # Not all of it: some classes carry weights that a student has no use for.
    student.backbone.load_state_dict(backbone.state_dict(), strict=False)
    return student


def build_processor(config: PreTrainedConfig, names: Sequence[str] = (), **options: Any) -> InternVideo2VideoProcessor:
    """The video processor for a model.

    Args:
        config: the configuration of the model.
        names: folders or repositories, the first of which that has a processor of this package gives it; of another
            model of transformers its mean and standard deviation of colour are taken.
        options: of the processor; they go before all others.

    Frames, size and the multiple of fragments are those of the model. Fragments are the largest below or at 32 pixels
    that fit, or else the smallest that fit.
    """
    options = {name: value for name, value in options.items() if value is not None}
    colour = {}
    for name in filter(is_place, names):
        with suppress(OSError, ValueError):
            processor = AutoVideoProcessor.from_pretrained(name, **options)
            if isinstance(processor, InternVideo2VideoProcessor):
                return processor
        with suppress(OSError):
            settings, _ = BaseImageProcessor.get_image_processor_dict(name)
            colour = {key: settings[key] for key in ("image_mean", "image_std") if key in settings}
            break
    side, patch = config.image_size, config.patch_size
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    fitting = [n for n in range(patch, side + 1, patch) if side % n == 0] or [side]
    fragment = max((n for n in fitting if n <= 32), default=fitting[0])
    facts = {"num_frames": config.num_frames, "patch_size": patch, "fragment_size": fragment}
    return InternVideo2VideoProcessor(**{**facts, **sizes, **colour, **options})


def model_names() -> list[str]:
    """The names that have sizes of their own here."""
    return [*SIZES, *STUDENTS]


def is_place(name: str) -> bool:
    """Whether this is a folder or a Hub repository, rather than a name of a size or type of model."""
    return name not in SIZES and name not in STUDENTS and ("/" in name or Path(name).is_dir())


def fresh_student(
    backbone: PreTrainedConfig, num_frames: int = NUM_FRAMES, image_size: int = IMAGE_SIZE, **overrides: Any
) -> BackboneStudentForVideoQualityAssessment:
    """A student with random weights, whose backbone is made for clips of `num_frames` frames of `image_size` pixels."""
    own, of_backbone = split_overrides(overrides)
    for names, value in ((FRAMES, num_frames), (SIDES, image_size)):
        of_backbone |= {name: value for name in names if hasattr(backbone, name)}
    backbone = type(backbone).from_dict({**backbone.to_dict(), **of_backbone})
    own |= {"num_frames": num_frames, "image_size": image_size}
    return BackboneStudentForVideoQualityAssessment(BackboneStudentConfig(backbone_config=backbone, **own))


def split_overrides(overrides: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of the student's configuration, and the rest, which is the backbone's."""
    names = {field.name for field in fields(BackboneStudentConfig)}
    own = {name: value for name, value in overrides.items() if name in names}
    return own, {name: value for name, value in overrides.items() if name not in names}


def warn_of_random_weights(name: str) -> None:
    official = (
        " For pretrained ones convert the official file with scripts/convert_internvideo2.py and give its folder."
        if name in SIZES
        else ""
    )
    logger.warning("%s starts from RANDOM weights: it knows nothing of video yet.%s", name, official)
