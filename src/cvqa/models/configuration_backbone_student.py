"""Configuration of students on any backbone of transformers."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from .configuration_video_quality import VideoQualityConfig, auto_map


AUTO_MAP = auto_map("backbone_student", "BackboneStudent")
TEMPORAL_POOLING = ("mean", "mean_difference")
FRAMES = ("num_frames", "frames_per_clip")  # by which a configuration of transformers tells that it is of a video model
SIDES = ("image_size", "crop_size")
# A narrow ResNet-18: 6.4 million parameters with the pooling. What shows compression is in the early stages, so these
# are narrowed least.
DEFAULT_BACKBONE = {
    "model_type": "resnet",
    "layer_type": "basic",
    "embedding_size": 48,
    "hidden_sizes": [48, 96, 160, 320],
    "depths": [2, 2, 2, 2],
}


@strict
class BackboneStudentConfig(VideoQualityConfig):
    r"""
    Configuration of [`BackboneStudentForVideoQualityAssessment`], a student of another architecture than its teacher.

    Args:
        backbone_config (`PreTrainedConfig` or `dict`, *optional*): Configuration of a model that `AutoModel` knows: of
            video (VideoMAE, TimeSformer, ViViT, V-JEPA 2) or of images, which then sees frame by frame (ResNet,
            MobileNetV2, ConvNeXt, Swin, DINOv2 and others). By default a narrow ResNet-18. With `num_channels=1` it
            sees luma, which is all that labels such as VMAF, PSNR and SSIM depend on.
        num_frames (`int`, *optional*): Frames of a clip. By default those of a video backbone, else 8.
        image_size (`int`, *optional*): Height and width of a clip in pixels. By default that of a video backbone, else
            224.
        patch_size (`int`, *optional*): Pixels between two places of the backbone's last output. Fragments of frames are
            multiples of it, so that no such place lies across a seam. By default told by the backbone.
        feature_stages (`str` or `list[int]`, defaults to `"all"`): Outputs of the backbone that are pooled. `"all"`:
            the last one of every resolution, so all stages of a hierarchical network, and the output of a plain
            transformer. `"last"`: its output only. A list: these of `hidden_states`, where -1 is the output.
        temporal_pooling (`str`, defaults to `"mean_difference"`): How the features of frames become those of a clip:
            their `"mean"`, or with it the mean absolute difference of consecutive frames. Image backbones only.
        layer_norm_eps (`float`, defaults to 1e-5): Epsilon of the LayerNorms of the pooling and `fc_norm`.
        initializer_range (`float`, defaults to 0.02): Standard deviation of fresh weights outside the backbone.
        kwargs: `feature_size` and what the score means, see [`VideoQualityConfig`].

    Example:

    ```python
    >>> from transformers import ConvNextConfig
    >>> from cvqa import BackboneStudentConfig, BackboneStudentForVideoQualityAssessment

    >>> config = BackboneStudentConfig(backbone_config=ConvNextConfig(), label_kind="vmaf")
    >>> model = BackboneStudentForVideoQualityAssessment(config)
    >>> model.config.patch_size
    32
    ```
    """

    model_type = "backbone_student"
    code_files = AUTO_MAP
    sub_configs = {"backbone_config": AutoConfig}

    backbone_config: dict[str, Any] | PreTrainedConfig | None = None
    num_frames: int | None = None
    image_size: int | None = None
    patch_size: int | None = None
    feature_stages: str | list[int] | tuple[int, ...] = "all"
    temporal_pooling: str = "mean_difference"
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        if not isinstance(self.backbone_config, PreTrainedConfig):
            self.backbone_config = AutoConfig.for_model(**(self.backbone_config or DEFAULT_BACKBONE))
        backbone = self.backbone_config
        if self.num_frames is None:
            self.num_frames = first_of(backbone, FRAMES) or 8
        if self.image_size is None:
            self.image_size = (self.is_video_backbone and first_of(backbone, SIDES)) or 224
        if self.patch_size is None:
            self.patch_size = stride_of(backbone)
        super().__post_init__(**kwargs)

    @property
    def is_video_backbone(self) -> bool:
        """Whether the backbone sees clips, rather than frame by frame."""
        return first_of(self.backbone_config, FRAMES) is not None

    def validate_architecture(self):
        """Part of the `@strict` validation: refuses settings that do not fit together."""
        if self.temporal_pooling not in TEMPORAL_POOLING:
            raise ValueError(f"temporal_pooling {self.temporal_pooling!r} is not one of {', '.join(TEMPORAL_POOLING)}")
        if isinstance(self.feature_stages, str) and self.feature_stages not in ("all", "last"):
            raise ValueError(f"feature_stages {self.feature_stages!r} is neither 'all', 'last' nor a list of indices")


def first_of(config: PreTrainedConfig, names: tuple[str, ...]) -> int | None:
    """The first of these fields that a configuration has; of a height and a width the height."""
    value = next((getattr(config, name) for name in names if hasattr(config, name)), None)
    return value[0] if isinstance(value, (list, tuple)) else value


def stride_of(config: PreTrainedConfig) -> int:
    """Pixels between two places of the last output: a patch, doubled by every stage after the first."""
    if hasattr(config, "output_stride"):
        return config.output_stride
    tubelet = getattr(config, "tubelet_size", None)
    patch = tubelet[-1] if isinstance(tubelet, (list, tuple)) else first_of(config, ("patch_size",))
    stages = len(config.depths) if hasattr(config, "depths") else 1 if patch else 4
    return (patch or 4) * 2 ** (stages - 1)


__all__ = ["BackboneStudentConfig"]
