"""InternVideo2 model configuration."""

from huggingface_hub.dataclasses import strict

from .configuration_video_quality import VideoQualityConfig, auto_map


# Width, depth, heads and MLP ratio of the published backbones, and of "Ti", a tiny student of the same family.
SIZES = {
    "Ti": {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3},
    "S": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6},
    "B": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "L": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
    "1B": {"hidden_size": 1408, "num_hidden_layers": 40, "num_attention_heads": 16, "mlp_ratio": 48 / 11},
    "6B": {"hidden_size": 3200, "num_hidden_layers": 48, "num_attention_heads": 25},
}
PATCH_INITIALIZERS = ("cosine", "normal")
AUTO_MAP = auto_map("internvideo2", "InternVideo2")


@strict
class InternVideo2Config(VideoQualityConfig):
    r"""
    Configuration of [`InternVideo2Model`] and [`InternVideo2ForVideoQualityAssessment`], the teacher (1B, 6B) and the
    students of the same family (L, B, S, Ti). It also holds what the score means.

    Args:
        hidden_size (`int`, defaults to 384): Width of the tokens.
        num_hidden_layers (`int`, defaults to 12): Number of blocks.
        num_attention_heads (`int`, defaults to 6): Attention heads in a block.
        mlp_ratio (`float`, defaults to 4.0): Hidden width of the MLP over `hidden_size`, rounded down.
        image_size (`int`, defaults to 224): Height and width in pixels that the position table is made for.
        patch_size (`int`, defaults to 14): Height and width of a patch in pixels.
        num_channels (`int`, defaults to 3): Colour channels.
        num_frames (`int`, defaults to 8): Frames of a clip that the position table is made for.
        tubelet_size (`int`, defaults to 1): Frames that share a token.
        pooling_num_heads (`int`, defaults to 16): Heads of the attention pooling.
        hidden_act (`str`, defaults to `"gelu"`): `"gelu"` (exact) or `"gelu_pytorch_tanh"`. The published weights were
            trained with the tanh approximation; [`~InternVideo2Config.from_size`] sets it.
        layer_scale_init_value (`float`, defaults to 1e-5): Start of the LayerScale factors; 0 leaves LayerScale out.
        layer_scale_in_float32 (`bool`, defaults to `True`): Multiply LayerScale in float32 whatever the input's type.
        qk_norm (`bool`, defaults to `True`): RMS norm of queries and keys over the full width, before the head split.
        separate_position_embeddings (`bool`, defaults to `False`): Separate tables for space, time and class token
            instead of a joint one.
        drop_path_rate (`float`, defaults to 0.0): Stochastic depth of the last block; it grows linearly from 0.
        rms_norm_eps (`float`, defaults to 1e-6): Epsilon of the RMS norms.
        layer_norm_eps (`float`, defaults to 1e-5): Epsilon of the LayerNorms of pooling and `fc_norm`.
        initializer_range (`float`, defaults to 0.02): Standard deviation of fresh weights.
        patch_initializer (`str`, defaults to `"cosine"`): Fresh patch kernels: `"cosine"`, the frequencies of a cosine
            transform, or `"normal"`, like other weights.
        kwargs: `feature_size` and what the score means, see [`VideoQualityConfig`].

    Example:

    ```python
    >>> from cvqa import InternVideo2Config, InternVideo2ForVideoQualityAssessment

    >>> model = InternVideo2ForVideoQualityAssessment(InternVideo2Config.from_size("S"))
    >>> model.num_parameters()
    23046145
    ```
    """

    model_type = "internvideo2"
    code_files = AUTO_MAP

    hidden_size: int = 384
    num_hidden_layers: int = 12
    num_attention_heads: int = 6
    mlp_ratio: float | int = 4.0
    image_size: int = 224
    patch_size: int = 14
    num_channels: int = 3
    num_frames: int = 8
    tubelet_size: int = 1
    pooling_num_heads: int = 16
    hidden_act: str = "gelu"
    layer_scale_init_value: float | int = 1e-5
    layer_scale_in_float32: bool = True
    qk_norm: bool = True
    separate_position_embeddings: bool = False
    drop_path_rate: float | int = 0.0
    rms_norm_eps: float = 1e-6
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    patch_initializer: str = "cosine"

    @classmethod
    def from_size(cls, size: str, **overrides) -> "InternVideo2Config":
        """The configuration of a published size, with the activation that its weights were trained with.

        Args:
            size (`str`): `"Ti"`, `"S"`, `"B"`, `"L"`, `"1B"` or `"6B"`.
            overrides: Any field of the configuration.

        Raises:
            ValueError: The size is unknown.
        """
        if size not in SIZES:
            raise ValueError(f"unknown size {size!r}: choose one of {', '.join(SIZES)}")
        return cls(**{"hidden_act": "gelu_pytorch_tanh", **SIZES[size], **overrides})

    @property
    def intermediate_size(self) -> int:
        return int(self.hidden_size * self.mlp_ratio)

    @property
    def token_grid(self) -> tuple[int, int, int]:
        """Tokens in time, height and width that the position table is made for."""
        side = self.image_size // self.patch_size
        return self.num_frames // self.tubelet_size, side, side

    def validate_architecture(self):
        """Part of the `@strict` validation: refuses sizes that do not fit together."""
        if self.patch_initializer not in PATCH_INITIALIZERS:
            raise ValueError(
                f"unknown patch_initializer {self.patch_initializer!r}: choose one of {', '.join(PATCH_INITIALIZERS)}"
            )
        for heads in ("num_attention_heads", "pooling_num_heads"):
            if self.hidden_size % getattr(self, heads):
                raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of {heads} {getattr(self, heads)}")
        if self.hidden_size % 16:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of 16, as the position tables need")
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        if self.num_frames % self.tubelet_size:
            raise ValueError(f"num_frames {self.num_frames} is not a multiple of tubelet_size {self.tubelet_size}")


__all__ = ["InternVideo2Config"]
