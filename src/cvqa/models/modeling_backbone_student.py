"""PyTorch student on any backbone of transformers, with the quality head of the other models.

What shows compression is local and of low level. So every stage of a hierarchical image network is pooled, by mean and
standard deviation over space as in SimpleVQA (arXiv 2204.14047), then over time by the mean and by the mean absolute
difference of consecutive frames.

Torchvision's 3-D networks are left out: they have no configuration from which transformers could save and load them,
and their only stage outputs are reached by hooks.
"""

import copy
from collections.abc import Iterable

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import can_return_tuple, logging

from .configuration_backbone_student import BackboneStudentConfig
from .modeling_video_quality import VideoClassificationMixin, VideoQualityHead, VideoQualityMixin, VideoQualityOutput


logger = logging.get_logger(__name__)

LUMA_WEIGHTS = (0.3035, 0.5828, 0.1137)  # 0.299, 0.587 and 0.114, each times the deviation of its colour; their sum 1


class BackboneStudentStagePooling(nn.Module):
    """The output of a stage to one normalised vector: class token if there is one, mean and standard deviation."""

    def __init__(self, channels: int, prefix_tokens: int, eps: float):
        super().__init__()
        self.prefix_tokens = prefix_tokens  # class token first, then registers, which are left out
        self.size = channels * (3 if prefix_tokens else 2)
        self.norm = nn.LayerNorm(self.size, eps=eps)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        states = states.float()
        # A map (n, channels, height, width), or tokens (n, tokens, channels)
        places = states.flatten(2) if states.ndim == 4 else states[:, self.prefix_tokens :].transpose(1, 2)
        variance, mean = torch.var_mean(places, dim=2, correction=0)  # (n, channels)
        parts = [mean, torch.sqrt(variance + 1e-6)]
        if self.prefix_tokens:
            parts.insert(0, states[:, 0])
        return self.norm(torch.cat(parts, dim=1).to(self.norm.weight.dtype))  # (n, size)


class BackboneStudentPooler(nn.Module):
    """Outputs of stages to the feature of a clip."""

    def __init__(self, config: BackboneStudentConfig, channels: Iterable[int], prefix_tokens: int):
        super().__init__()
        self.stages = nn.ModuleList(
            [BackboneStudentStagePooling(width, prefix_tokens, config.layer_norm_eps) for width in channels]
        )
        self.with_difference = config.temporal_pooling == "mean_difference" and not config.is_video_backbone
        size = sum(stage.size for stage in self.stages) * (2 if self.with_difference else 1)
        self.projection = nn.Linear(size, config.feature_size)

    def forward(self, states: list[torch.Tensor], batch_size: int) -> torch.Tensor:
        features = torch.cat([stage(output) for stage, output in zip(self.stages, states)], dim=1)
        features = features.unflatten(0, (batch_size, -1))  # (batch_size, frames, size); of a video backbone, 1 frame
        pooled = features.mean(dim=1)
        if self.with_difference:
            change = features.diff(dim=1).abs().sum(dim=1) / max(features.shape[1] - 1, 1)
            pooled = torch.cat([pooled, change], dim=1)
        return self.projection(pooled)  # (batch_size, feature_size)


class BackboneStudentPreTrainedModel(PreTrainedModel):
    config: BackboneStudentConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values_videos"
    input_modalities = "video"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["BackboneStudentPooler"]  # and those of the backbone

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        # The backbone has its own.
        super()._init_weights(module)
        if isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=self.config.initializer_range * getattr(module, "init_gain", 1.0))
            if isinstance(module, VideoQualityHead):
                init.constant_(module.bias, 0.5)

    def _set_gradient_checkpointing(self, enable: bool = True, **kwargs):
        # Several convolutional networks of transformers know none: they train as they are, beside a teacher that does.
        if any(hasattr(module, "gradient_checkpointing") for module in self.modules()):
            super()._set_gradient_checkpointing(enable=enable, **kwargs)
        elif enable:
            logger.warning(f"{type(self.base_model).__name__} has no activation checkpointing and trains without.")


class BackboneStudentForVideoQualityAssessment(VideoQualityMixin, BackboneStudentPreTrainedModel):
    """A backbone, the pooling of its stages, a normalised feature and one score."""

    def __init__(self, config: BackboneStudentConfig):
        super().__init__(config)
        self.backbone = make_backbone(config)
        self.stages, channels, self.unused_parameters = trace_backbone(config, self.backbone)
        for name in self.unused_parameters:
            # Distributed training waits for the gradients of all that train.
            self.backbone.get_parameter(name).requires_grad_(False)
        prefix_tokens = 1 + getattr(config.backbone_config, "num_register_tokens", 0) if has_class_token(self) else 0
        self.pooler = BackboneStudentPooler(config, channels, prefix_tokens)
        self.fc_norm = nn.LayerNorm(config.feature_size, eps=config.layer_norm_eps)
        self.head = VideoQualityHead(config.feature_size)
        self.post_init()
        # Backbones name blocks that only other heads have; sharded training refuses names that it does not find.
        self._no_split_modules = {type(module).__name__ for module in self.modules()} & set(self._no_split_modules)

    @can_return_tuple
    def forward(
        self,
        pixel_values_videos: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs,
    ) -> VideoQualityOutput:
        r"""
        Args:
            pixel_values_videos (`torch.FloatTensor` of shape `(batch_size, num_frames, num_channels, height, width)`):
                Normalised frames, as the video processor makes them.
            labels (`torch.FloatTensor` of shape `(batch_size,)` or `(batch_size, 1)`, *optional*):
                Scores on the label scale, `(score - score_min) / (score_max - score_min)`.
            output_hidden_states (`bool`, *optional*): Return what the backbone calls its hidden states, as tokens of
                all frames: each of shape `(batch_size, tokens, channels)`.

        Raises:
            ValueError: The dimensions are not those of clips in RGB.
        """
        if pixel_values_videos.ndim != 5 or pixel_values_videos.shape[2] != 3:
            raise ValueError(
                f"pixel_values_videos has the shape {tuple(pixel_values_videos.shape)}, not (batch, frames, 3, height, "
                "width)"
            )
        batch_size = pixel_values_videos.shape[0]
        pixel_values_videos = pixel_values_videos.to(self.head.weight.dtype)
        if channels_of(self.config) == 1:
            pixel_values_videos = luma(pixel_values_videos)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if not self.config.is_video_backbone:
            # Colours of a pixel side by side: convolutions are up to a third faster so, on CPU and GPU.
            pixel_values_videos = pixel_values_videos.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        outputs = run_backbone(
            self.backbone,
            pixel_values_videos,
            output_hidden_states=bool(output_hidden_states) or self.stages != [-1],
            **kwargs,
        )
        states = (*(outputs.hidden_states or ()), outputs.last_hidden_state)
        pooled = self.pooler([states[index] for index in self.stages], batch_size)
        quality_features = self.fc_norm(pooled)
        logits = self.head(quality_features)
        return VideoQualityOutput(
            loss=self.quality_loss(logits, labels),
            logits=logits,
            quality_features=quality_features,
            hidden_states=as_tokens(outputs.hidden_states, batch_size) if output_hidden_states else None,
            attentions=getattr(outputs, "attentions", None),
        )


class BackboneStudentForVideoClassification(VideoClassificationMixin, BackboneStudentForVideoQualityAssessment):
    """The same model and weights, with the quality from 0 to 100 as `logits`."""


def make_backbone(config: BackboneStudentConfig) -> PreTrainedModel:
    """The backbone with fresh weights."""
    backbone = AutoModel.from_config(config.backbone_config)
    if hasattr(backbone, "predictor"):
        del backbone.predictor  # of V-JEPA 2: for its pretraining only
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d) and module.momentum > 0.5:
            # Transformers takes TensorFlow's number for PyTorch's, which means the opposite: with it, evaluation would
            # go by the statistics of the last batch.
            module.momentum = 0.1
    return backbone


def run_backbone(backbone: PreTrainedModel, pixel_values: torch.Tensor, **kwargs):
    """Outputs of the backbone for clips (n, frames, 3, height, width) or images (n, 3, height, width)."""
    if backbone.config.model_type == "vjepa2":
        kwargs["skip_predictor"] = True
    return backbone(**{backbone.main_input_name: pixel_values}, **kwargs)


def trace_backbone(config: BackboneStudentConfig, backbone: PreTrainedModel) -> tuple[list[int], list[int], list[str]]:
    """What the backbone gives for a clip of the configured size, found on the meta device, where nothing is computed.

    Returns:
        The indices of the outputs to pool, among the hidden states with the last output behind them; their channels;
        and the names of the parameters on which none of them depends.

    Raises:
        ValueError: The backbone does not take such clips, or has no such outputs.
    """
    frames, side = (config.num_frames,) if config.is_video_backbone else (), config.image_size
    channels = channels_of(config)
    with torch.device("meta"), torch.enable_grad():
        # While a folder is being loaded, the model itself is there.
        traced = backbone if backbone.device.type == "meta" else make_backbone(copy.deepcopy(config))
        traced.eval()
        try:
            outputs = run_backbone(traced, torch.empty(1, *frames, channels, side, side), output_hidden_states=True)
            states = [*outputs.hidden_states, outputs.last_hidden_state]
            stages = choose_stages(states, config.feature_stages)
        except Exception as error:  # whatever the many models of transformers raise
            raise ValueError(
                f"a backbone of type {config.backbone_config.model_type} cannot be used for clips of "
                f"{config.num_frames} frames of {side}x{side} with feature_stages {config.feature_stages}: {error}"
            ) from error
        names, parameters = zip(*traced.named_parameters())
        gradients = torch.autograd.grad(sum(states[index].sum() for index in stages), parameters, allow_unused=True)
        traced.train()  # as a fresh model is
    channels = [states[index].shape[1 if states[index].ndim == 4 else 2] for index in stages]
    return stages, channels, [name for name, gradient in zip(names, gradients) if gradient is None]


def choose_stages(states: list[torch.Tensor], feature_stages: str | list[int]) -> list[int]:
    """Indices of the outputs to pool; the last output is always -1."""
    if feature_stages == "all":
        places = {state.shape[2:].numel() if state.ndim == 4 else state.shape[1]: i for i, state in enumerate(states)}
        feature_stages = list(places.values())
    elif feature_stages == "last":
        feature_stages = [-1]
    for index in feature_stages:
        states[index].shape  # noqa: B018 an index that is not there raises
    return [index if index != len(states) - 1 else -1 for index in feature_stages]


def channels_of(config: BackboneStudentConfig) -> int:
    """Of what the backbone sees: 3 of RGB, or 1, of luma."""
    return getattr(config.backbone_config, "num_channels", 3)


def luma(clips: torch.Tensor) -> torch.Tensor:
    """Luma (BT.601) of normalised RGB (..., 3, height, width), as (..., 1, height, width).

    Up to an offset: the weights are those of normalised colours, by the deviations of ImageNet.
    """
    return (clips * clips.new_tensor(LUMA_WEIGHTS).view(3, 1, 1)).sum(dim=-3, keepdim=True)


def has_class_token(model: nn.Module) -> bool:
    return any(name.endswith(("cls_token", "class_embedding")) for name, _ in model.named_parameters())


def as_tokens(states: tuple[torch.Tensor, ...], batch_size: int) -> tuple[torch.Tensor, ...]:
    """Maps or tokens of frames, or tokens of clips, to (batch_size, tokens, channels)."""
    tokens = (state.flatten(2).transpose(1, 2) if state.ndim == 4 else state for state in states)
    return tuple(state.unflatten(0, (batch_size, -1)).flatten(1, 2) for state in tokens)


__all__ = [
    "BackboneStudentForVideoClassification",
    "BackboneStudentForVideoQualityAssessment",
    "BackboneStudentPreTrainedModel",
]
