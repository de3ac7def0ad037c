"""Students, and teachers, by name: one table of sizes, and what else a name may be."""

import logging
import math
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

# A residual network that halves the frame once before its first stage, not twice as ResNet does: blocks and ringing are
# a few pixels wide. Plain convolutions, since no width is as large as a group.
FINE = {"layer_type": "x", "depths": [2, 2, 2, 2], "groups_width": 1024, "downsample_in_first_stage": False}

# Name -> type of the backbone in transformers, and the fields of its configuration.
STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet_small": ("resnet", {name: value for name, value in DEFAULT_BACKBONE.items() if name != "model_type"}),
    "resnet18": ("resnet", {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]}),
    "resnet34": ("resnet", {"layer_type": "basic", "depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 256, 512]}),
    "resnet50": ("resnet", {}),
    "regnet_tiny": ("regnet", {**FINE, "embedding_size": 24, "hidden_sizes": [24, 48, 96, 192]}),
    "regnet_small": ("regnet", {**FINE, "embedding_size": 32, "hidden_sizes": [32, 64, 128, 256]}),
    "regnet_base": ("regnet", {**FINE, "embedding_size": 64, "hidden_sizes": [64, 128, 256, 512]}),
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
STAGE_NAMES = ("stage_names", "out_features", "out_indices")  # follow from the depth of a backbone


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


def build_processor(
    config: PreTrainedConfig, names: Sequence[str] = (), others: Sequence[PreTrainedConfig] = (), **options: Any
) -> InternVideo2VideoProcessor:
    """The video processor for a model.

    Args:
        config: the configuration of the model.
        names: folders or repositories, the first of which that has a processor of this package gives its settings; of
            another model of transformers its mean and standard deviation of colour are taken.
        others: configurations of further models that will look at the same pixels.
        options: of the processor; they go before all others.

    Where no processor says so, frames and size are those of the model, and fragments are the largest below or at 32
    pixels that fit, or else the smallest that fit. To fit is to be a multiple of the patches of all these models, so
    that no token of any lies across a seam.

    Raises ValueError: options that do not go together, or fragments that do not fit; those of a processor that was
    found are not changed, since a model has learnt to look through it.
    """
    options = {name: value for name, value in options.items() if value is not None}
    patches = [each.patch_size for each in (config, *others)]
    facts = {"patch_size": math.lcm(*patches)}
    settings = found_settings(names)
    if "crop_size" not in settings:
        sizes = {"shortest_edge": config.image_size}, {"height": config.image_size, "width": config.image_size}
        facts |= {"num_frames": config.num_frames, "size": sizes[0], "crop_size": sizes[1]}
    settings = {**settings, **facts, **options}
    side, patch = settings["crop_size"]["height"], settings["patch_size"]
    fitting = [n for n in range(patch, side + 1, patch) if side % n == 0] or [side]
    is_learnt = settings.get("spatial_mode") == "fragments" and "fragment_size" in settings
    if not is_learnt and "fragment_size" not in options and settings.get("fragment_size") not in fitting:
        settings["fragment_size"] = max((n for n in fitting if n <= 32), default=fitting[0])
    try:
        return InternVideo2VideoProcessor.from_dict(settings)
    except ValueError as error:
        if "fragment_size" not in str(error):
            raise
        sizes = " and ".join(map(str, dict.fromkeys(patches)))
        raise ValueError(
            f"{error} The models have patches of {sizes} pixels: give such a fragment_size, spatial_mode 'resize', or "
            "other models."
        ) from error


def found_settings(names: Sequence[str]) -> dict[str, Any]:
    """The settings of the first processor at these places, or what the first of another kind says of colour."""
    for name in filter(is_place, names):
        with suppress(OSError, ValueError):
            processor = AutoVideoProcessor.from_pretrained(name)
            if isinstance(processor, InternVideo2VideoProcessor):
                return processor.to_dict()
        with suppress(OSError):
            settings, _ = BaseImageProcessor.get_image_processor_dict(name)
            return {key: settings[key] for key in ("image_mean", "image_std") if key in settings}
    return {}


def clip_of(name: str) -> dict[str, int]:
    """`num_frames` and `image_size` that the model at this place looks at, {} where no processor tells."""
    settings = found_settings([name])
    if "crop_size" not in settings:
        return {}
    return {"num_frames": settings["num_frames"], "image_size": settings["crop_size"]["height"]}


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
    # The stages are named anew for the depth that is asked for.
    settings = {name: value for name, value in backbone.to_dict().items() if name not in STAGE_NAMES}
    backbone = type(backbone).from_dict(settings | of_backbone)
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
