"""PyTorch InternVideo2 model with a quality head.

The architecture is that of InternVideo2 (arXiv 2403.15377), a plain video ViT with RMS norms, normalised queries and
keys, LayerScale and attention pooling; the quality head follows InternVQA (arXiv 2502.19026).
"""

import math
from collections.abc import Callable

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_internvideo2 import InternVideo2Config
from .modeling_video_quality import VideoClassificationMixin, VideoQualityHead, VideoQualityMixin, VideoQualityOutput


def get_1d_sincos_position_embeddings(size: int, positions: torch.Tensor) -> torch.Tensor:
    """Sines, then cosines, of `positions` at `size / 2` frequencies from 1 down to 1/10000; shape (n, size)."""
    frequencies = 10000 ** -(torch.arange(size // 2, dtype=torch.float64) / (size / 2))
    angles = positions.flatten().to(torch.float64)[:, None] * frequencies  # (n, size / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def get_2d_sincos_position_embeddings(size: int, height: int, width: int) -> torch.Tensor:
    """Rows ordered by height, then width; the first half of a row encodes the column; shape (height * width, size)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.cat([get_1d_sincos_position_embeddings(size // 2, axis) for axis in (columns, rows)], dim=1)


def get_3d_sincos_position_embeddings(
    hidden_size: int, grid_size: int | tuple[int, int], num_frames: int, cls_token: bool = True
) -> torch.Tensor:
    """Joint sine-cosine table: a quarter of each row encodes the frame, the rest column and row of the patch.

    Args:
        hidden_size (`int`): Length of a row, a multiple of 16.
        grid_size (`int` or `tuple[int, int]`): Patches in height and width.
        num_frames (`int`): Tokens in time.
        cls_token (`bool`, defaults to `True`): Start with a row of zeros for the class token.

    Returns:
        `torch.FloatTensor` of shape `(1 + num_frames * height * width, hidden_size)`, ordered by frame, row, column.
    """
    height, width = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
    time_size = hidden_size // 4
    space = get_2d_sincos_position_embeddings(hidden_size - time_size, height, width)
    time = get_1d_sincos_position_embeddings(time_size, torch.arange(num_frames))
    table = torch.cat([time.repeat_interleave(height * width, dim=0), space.repeat(num_frames, 1)], dim=1)
    return torch.cat([table.new_zeros(1, hidden_size), table]) if cls_token else table


def resize_position_embeddings(
    table: torch.Tensor, source: tuple[int, int, int], target: tuple[int, int, int]
) -> torch.Tensor:
    """Resize a joint position table: linearly in time, then bicubically in space; the class token's row is kept.

    Args:
        table (`torch.Tensor` of shape `(1, 1 + T * H * W, hidden_size)`): The table, class token first.
        source (`tuple[int, int, int]`): Tokens in time, height and width that it is made for.
        target (`tuple[int, int, int]`): Tokens in time, height and width that are wanted.

    Raises:
        ValueError: `source` does not fit the table's length.
    """
    if table.shape[1] != 1 + math.prod(source):
        raise ValueError(f"a position table of {table.shape[1]} rows does not hold 1 + {source} tokens")
    if source == target:
        return table
    cls_row, patches = table[:, :1], table[:, 1:].float()
    patches = _resize_time(patches.unflatten(1, (source[0], -1)), target[0])  # (1, T, H * W, hidden_size)
    patches = _resize_space(patches.flatten(0, 1), source[1:], target[1:])  # (T, H * W, hidden_size)
    return torch.cat([cls_row, patches.flatten(0, 1)[None].to(table.dtype)], dim=1)


def get_cosine_patch_kernels(hidden_size: int, tubelet_size: int, patch_size: int) -> torch.Tensor:
    """Kernels of a patch embedding that is trained from scratch: a discrete cosine transform with whitened output.

    Compression changes the fine detail of a patch, which carries a thousandth of the power of its brightness. Random
    kernels see brightness only, and a model on top of them hardly learns quality from a few thousand clips; kernels
    of all frequencies, each scaled by the inverse of the amplitude that natural images have there, show both at equal
    strength. Seven of eight channels get luma frequencies, evenly from low to high; the rest low chroma frequencies.

    Returns:
        `torch.FloatTensor` of shape `(hidden_size, 3, tubelet_size, patch_size, patch_size)`.
    """
    steps = torch.arange(patch_size)
    basis = torch.cos(math.pi * (steps + 0.5) * steps[:, None] / patch_size)  # (frequency, position)
    basis = basis / basis.norm(dim=1, keepdim=True)
    vertical, horizontal = torch.meshgrid(steps, steps, indexing="ij")
    order = (vertical + horizontal).flatten().argsort(stable=True)  # from low to high frequencies
    vertical, horizontal = vertical.flatten()[order], horizontal.flatten()[order]
    frequencies = basis[vertical, :, None] * basis[horizontal, None, :]  # (frequency, patch_size, patch_size)
    frequencies = frequencies * (1 + vertical + horizontal)[:, None, None]  # natural images fall off as 1 / frequency

    luma = torch.tensor([0.299, 0.587, 0.114])
    blue, red = torch.tensor([-0.169, -0.331, 0.5]), torch.tensor([0.5, -0.419, -0.081])
    count = len(order)
    chroma_channels = hidden_size // 16
    luma_channels = hidden_size - 2 * chroma_channels
    kernels = torch.cat(
        [
            luma[:, None, None] * frequencies[torch.arange(luma_channels) * count // luma_channels, None],
            blue[:, None, None] * frequencies[torch.arange(chroma_channels) % count, None],
            red[:, None, None] * frequencies[torch.arange(chroma_channels) % count, None],
        ]
    )
    return 0.3 * kernels[:, :, None].expand(-1, -1, tubelet_size, -1, -1) / tubelet_size


def _resize_time(table: torch.Tensor, frames: int) -> torch.Tensor:
    """(1, frames, rows, hidden_size), linearly to another number of frames."""
    if table.shape[1] == frames:
        return table
    _, source, rows, width = table.shape
    series = table.permute(0, 2, 3, 1).reshape(1, rows * width, source)
    series = nn.functional.interpolate(series, size=frames, mode="linear", align_corners=False)
    return series.reshape(1, rows, width, frames).permute(0, 3, 1, 2)


def _resize_space(table: torch.Tensor, source: tuple[int, int], target: tuple[int, int]) -> torch.Tensor:
    """(n, height * width, hidden_size), bicubically to another grid."""
    if source == target:
        return table
    grid = table.unflatten(1, source).permute(0, 3, 1, 2)  # (n, hidden_size, height, width)
    grid = nn.functional.interpolate(grid, size=target, mode="bicubic", align_corners=False)
    return grid.permute(0, 2, 3, 1).flatten(1, 2)


class InternVideo2PatchProjection(nn.Conv3d):
    """One kernel per channel of a token. Fresh kernels on RGB are frequencies, see `get_cosine_patch_kernels`."""

    def __init__(self, config: InternVideo2Config):
        kernel_size = (config.tubelet_size, config.patch_size, config.patch_size)
        super().__init__(config.num_channels, config.hidden_size, kernel_size, stride=kernel_size)


class InternVideo2PatchEmbeddings(nn.Module):
    """Tubelets of pixels to tokens."""

    def __init__(self, config: InternVideo2Config):
        super().__init__()
        self.projection = InternVideo2PatchProjection(config)

    def forward(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        batch_size, num_frames, num_channels, height, width = pixel_values_videos.shape
        tubelet, patch, _ = self.projection.kernel_size
        if num_channels != self.projection.in_channels:
            raise ValueError(
                f"pixel_values_videos has {num_channels} channels in dimension 2, not {self.projection.in_channels}: "
                "the order is (batch, frames, channels, height, width)"
            )
        if num_frames % tubelet or height % patch or width % patch:
            raise ValueError(
                f"a clip of {num_frames} frames of {height}x{width} does not divide into patches of "
                f"{tubelet}x{patch}x{patch}"
            )
        # Kernel and stride are equal, so the convolution is one matrix product over the flattened tubelets, which is
        # faster than a 3-D convolution on every device.
        pixel_values_videos = pixel_values_videos.to(self.projection.weight.dtype)
        patches = pixel_values_videos.reshape(
            batch_size, num_frames // tubelet, tubelet, num_channels, height // patch, patch, width // patch, patch
        ).permute(0, 1, 4, 6, 3, 2, 5, 7)  # (batch_size, T, H, W, channels, tubelet, patch, patch)
        return nn.functional.linear(patches.flatten(4), self.projection.weight.flatten(1), self.projection.bias)


class InternVideo2Embeddings(nn.Module):
    """Patch tokens behind a class token, with positions added."""

    def __init__(self, config: InternVideo2Config):
        super().__init__()
        self.grid = config.token_grid
        frames, height, width = self.grid
        self.separate = config.separate_position_embeddings
        self.patch_embeddings = InternVideo2PatchEmbeddings(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        if self.separate:
            self.cls_position_embeddings = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
            self.temporal_position_embeddings = nn.Parameter(torch.zeros(1, frames, config.hidden_size))
            self.spatial_position_embeddings = nn.Parameter(torch.zeros(1, height * width, config.hidden_size))
        else:
            self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + frames * height * width, config.hidden_size))

    def get_position_embeddings(self, grid: tuple[int, int, int]) -> torch.Tensor:
        """The table for a grid of tokens in time, height and width; shape (1, 1 + tokens, hidden_size)."""
        if not self.separate:
            return resize_position_embeddings(self.position_embeddings, self.grid, grid)
        time = _resize_time(self.temporal_position_embeddings[:, :, None], grid[0])  # (1, T, 1, hidden_size)
        space = _resize_space(self.spatial_position_embeddings, self.grid[1:], grid[1:])[:, None]
        return torch.cat([self.cls_position_embeddings, (time + space).flatten(1, 2)], dim=1)

    def forward(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embeddings(pixel_values_videos)  # (batch_size, T, H, W, hidden_size)
        positions = self.get_position_embeddings(tuple(patches.shape[1:4]))
        cls_token = self.cls_token.expand(patches.shape[0], -1, -1)
        return torch.cat([cls_token, patches.flatten(1, 3)], dim=1) + positions


class InternVideo2RMSNorm(nn.Module):
    """Root mean square norm; the input's type is restored before the weight is applied, as in the reference."""

    def __init__(self, hidden_size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        normed = hidden_states.float()
        normed = normed * torch.rsqrt(normed.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(hidden_states.dtype)


class InternVideo2LayerScale(nn.Module):
    """A learnt factor per channel on a residual branch."""

    def __init__(self, config: InternVideo2Config):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((config.hidden_size,), float(config.layer_scale_init_value)))
        self.in_float32 = config.layer_scale_in_float32

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if self.in_float32:
            return (hidden_states.float() * self.gamma.float()).to(hidden_states.dtype)
        return hidden_states * self.gamma


class InternVideo2DropPath(nn.Module):
    """Stochastic depth per sample (arXiv 1603.09382)."""

    def __init__(self, drop_prob: float):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if not self.training or self.drop_prob == 0.0:
            return hidden_states
        keep_prob = 1.0 - self.drop_prob
        mask = hidden_states.new_empty(hidden_states.shape[0], 1, 1).bernoulli_(keep_prob)
        return hidden_states * (mask / keep_prob)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Unpack[TransformersKwargs],
) -> tuple[torch.Tensor, torch.Tensor]:
    weights = torch.matmul(query, key.transpose(-1, -2)) * scaling  # (batch_size, heads, queries, keys)
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    output = torch.matmul(weights, value).transpose(1, 2).contiguous()  # (batch_size, queries, heads, head_size)
    return output, weights


class InternVideo2Attention(nn.Module):
    """Self-attention over all tokens, with queries and keys normalised over the full width."""

    def __init__(self, config: InternVideo2Config):
        super().__init__()
        self.config = config
        self.head_size = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_size**-0.5
        self.is_causal = False
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.q_norm = self._make_norm(config)
        self.k_norm = self._make_norm(config)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    @staticmethod
    def _make_norm(config: InternVideo2Config) -> nn.Module:
        return InternVideo2RMSNorm(config.hidden_size, config.rms_norm_eps) if config.qk_norm else nn.Identity()

    def forward(
        self, hidden_states: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        query, key, value = self.qkv(hidden_states).chunk(3, dim=-1)
        # (batch_size, heads, tokens, head_size)
        query, key, value = (
            states.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for states in (self.q_norm(query), self.k_norm(key), value)
        )
        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, weights = attention_interface(
            self, query, key, value, None, scaling=self.scaling, is_causal=False, **kwargs
        )
        return self.proj(output.flatten(2)), weights


class InternVideo2MLP(nn.Module):
    def __init__(self, config: InternVideo2Config):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation(self.fc1(hidden_states)))


class InternVideo2Layer(GradientCheckpointingLayer):
    """Pre-norm block: attention, then MLP, each scaled, randomly dropped in training, and added."""

    def __init__(self, config: InternVideo2Config, layer_index: int):
        super().__init__()
        drop_prob = config.drop_path_rate * layer_index / max(config.num_hidden_layers - 1, 1)
        self.norm1 = InternVideo2RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = InternVideo2Attention(config)
        self.layer_scale1 = InternVideo2LayerScale(config) if config.layer_scale_init_value else nn.Identity()
        self.norm2 = InternVideo2RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = InternVideo2MLP(config)
        self.layer_scale2 = InternVideo2LayerScale(config) if config.layer_scale_init_value else nn.Identity()
        self.drop_path = InternVideo2DropPath(drop_prob)
        # Each block adds two branches to the residual stream: their last layers start smaller with depth.
        for branch_end in (self.attention.proj, self.mlp.fc2):
            branch_end.init_gain = 1.0 / math.sqrt(2.0 * (layer_index + 1))

    def forward(self, hidden_states: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> torch.Tensor:
        attention_output, _ = self.attention(self.norm1(hidden_states), **kwargs)
        hidden_states = hidden_states + self.drop_path(self.layer_scale1(attention_output))
        mlp_output = self.mlp(self.norm2(hidden_states))
        return hidden_states + self.drop_path(self.layer_scale2(mlp_output))


class InternVideo2PoolingAttention(nn.Module):
    """Cross-attention of one query over all tokens."""

    def __init__(self, config: InternVideo2Config):
        super().__init__()
        self.config = config
        self.head_size = config.hidden_size // config.pooling_num_heads
        self.scaling = self.head_size**-0.5
        self.is_causal = False
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.feature_size)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            states.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for states in (self.q_proj(query), self.k_proj(key), self.v_proj(value))
        )
        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, _ = attention_interface(self, query, key, value, None, scaling=self.scaling, is_causal=False)
        return self.out_proj(output.flatten(2))


class InternVideo2AttentionPooler(nn.Module):
    """All tokens to one feature; the query is the mean of all tokens, the class token included."""

    def __init__(self, config: InternVideo2Config):
        super().__init__()
        self.norm_q = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.norm_k = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.norm_v = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = InternVideo2PoolingAttention(config)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        query = self.norm_q(hidden_states.mean(dim=1, keepdim=True))
        pooled = self.attention(query, self.norm_k(hidden_states), self.norm_v(hidden_states))
        return pooled.squeeze(1)  # (batch_size, feature_size)


class InternVideo2PreTrainedModel(PreTrainedModel):
    config: InternVideo2Config
    base_model_prefix = "internvideo2"
    main_input_name = "pixel_values_videos"
    input_modalities = "video"
    supports_gradient_checkpointing = True
    _no_split_modules = ["InternVideo2Embeddings", "InternVideo2Layer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {
        "hidden_states": InternVideo2Layer,
        "attentions": OutputRecorder(InternVideo2Attention, index=1),
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        std = self.config.initializer_range
        is_cosine = self.config.patch_initializer == "cosine" and self.config.num_channels == 3
        if isinstance(module, InternVideo2PatchProjection) and is_cosine:
            tubelet, patch, _ = module.kernel_size
            init.copy_(module.weight, get_cosine_patch_kernels(module.out_channels, tubelet, patch))
        elif isinstance(module, (nn.Linear, nn.Conv3d)):
            init.trunc_normal_(module.weight, std=std * getattr(module, "init_gain", 1.0))
            if isinstance(module, VideoQualityHead):
                init.constant_(module.bias, 0.5)
        elif isinstance(module, InternVideo2LayerScale):
            init.constant_(module.gamma, self.config.layer_scale_init_value)
        elif isinstance(module, InternVideo2Embeddings):
            frames, height, width = module.grid
            size = self.config.hidden_size
            init.trunc_normal_(module.cls_token, std=std)
            if module.separate:
                time = get_1d_sincos_position_embeddings(size, torch.arange(frames))
                init.zeros_(module.cls_position_embeddings)
                init.copy_(module.temporal_position_embeddings, time[None])
                space = get_2d_sincos_position_embeddings(size, height, width)
                init.copy_(module.spatial_position_embeddings, space[None])
            else:
                table = get_3d_sincos_position_embeddings(size, (height, width), frames)
                init.copy_(module.position_embeddings, table[None])


class InternVideo2Model(InternVideo2PreTrainedModel):
    """The backbone: a clip to its tokens and one pooled feature."""

    def __init__(self, config: InternVideo2Config):
        super().__init__(config)
        self.embeddings = InternVideo2Embeddings(config)
        self.layers = nn.ModuleList([InternVideo2Layer(config, index) for index in range(config.num_hidden_layers)])
        self.pooler = InternVideo2AttentionPooler(config)
        self.post_init()

    def get_input_embeddings(self) -> InternVideo2PatchEmbeddings:
        return self.embeddings.patch_embeddings

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, pixel_values_videos: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        r"""
        Args:
            pixel_values_videos (`torch.FloatTensor` of shape `(batch_size, num_frames, num_channels, height, width)`):
                Normalised frames. Frame count and size may differ from the configuration's as long as tubelets and
                patches divide them; the position table is resized to fit.

        Returns:
            [`~transformers.modeling_outputs.BaseModelOutputWithPooling`]: `last_hidden_state` of shape `(batch_size,
            1 + tokens, hidden_size)`, class token first, and `pooler_output` of shape `(batch_size, feature_size)`.

        Raises:
            ValueError: Patches or tubelets do not divide the clip.
        """
        hidden_states = self.embeddings(pixel_values_videos)
        for layer in self.layers:
            hidden_states = layer(hidden_states, **kwargs)
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=self.pooler(hidden_states))


class InternVideo2ForVideoQualityAssessment(VideoQualityMixin, InternVideo2PreTrainedModel):
    """The backbone with a normalised feature and one score."""

    def __init__(self, config: InternVideo2Config):
        super().__init__(config)
        self.internvideo2 = InternVideo2Model(config)
        self.fc_norm = nn.LayerNorm(config.feature_size, eps=config.layer_norm_eps)
        self.head = VideoQualityHead(config.feature_size)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values_videos: torch.Tensor,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> VideoQualityOutput:
        r"""
        Args:
            pixel_values_videos (`torch.FloatTensor` of shape `(batch_size, num_frames, num_channels, height, width)`):
                Normalised frames, as the video processor makes them.
            labels (`torch.FloatTensor` of shape `(batch_size,)` or `(batch_size, 1)`, *optional*):
                Scores on the label scale, `(score - score_min) / (score_max - score_min)`.

        Example:

        ```python
        >>> import torch
        >>> from transformers import AutoModel, AutoVideoProcessor
        >>> import cvqa

        >>> model = AutoModel.from_pretrained("org/cvqa-student")
        >>> processor = AutoVideoProcessor.from_pretrained("org/cvqa-student")
        >>> with torch.inference_mode():
        ...     output = model(**processor("movie.mp4", return_tensors="pt"))
        >>> model.quality_score(output.logits)
        ```
        """
        outputs: BaseModelOutputWithPooling = self.internvideo2(pixel_values_videos, **kwargs)
        quality_features = self.fc_norm(outputs.pooler_output)
        logits = self.head(quality_features)
        return VideoQualityOutput(
            loss=self.quality_loss(logits, labels),
            logits=logits,
            quality_features=quality_features,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class InternVideo2ForVideoClassification(VideoClassificationMixin, InternVideo2ForVideoQualityAssessment):
    """The same model and weights, with the quality from 0 to 100 as `logits`."""


__all__ = [
    "InternVideo2ForVideoClassification",
    "InternVideo2ForVideoQualityAssessment",
    "InternVideo2Model",
    "InternVideo2PreTrainedModel",
    "VideoQualityOutput",
]
