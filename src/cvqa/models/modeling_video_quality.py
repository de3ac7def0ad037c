"""What all video quality models share: their output, the head, and the way from a raw output to a quality."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.utils import ModelOutput, can_return_tuple


@dataclass
class VideoQualityOutput(ModelOutput):
    """
    Output of a video quality model.

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*): Mean squared error on the label scale, with `labels`.
        logits (`torch.FloatTensor` of shape `(batch_size, 1)`): Score on the training scale (labels are about 0 to 1,
            in the direction of the data set). `model.quality_score(logits)` turns it into 0 to 100, higher is better.
        quality_features (`torch.FloatTensor` of shape `(batch_size, feature_size)`): Normalised pooled feature, the
            output of `fc_norm` that feature distillation compares.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*): The embeddings with positions, then the output of each
            block, each of shape `(batch_size, tokens, hidden_size)`, with `output_hidden_states=True`.
        attentions (`tuple(torch.FloatTensor)`, *optional*): Attention weights of each block of shape `(batch_size,
            num_heads, tokens, tokens)`, with `output_attentions=True` and eager attention.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    quality_features: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


class VideoQualityHead(nn.Linear):
    """Feature to score. Untrained scores start near the middle of the label scale, with a small spread."""

    init_gain = 0.1

    def __init__(self, feature_size: int):
        super().__init__(feature_size, 1)


class VideoQualityMixin:
    """Meaning of the outputs of a model whose configuration is a `VideoQualityConfig`."""

    @staticmethod
    def quality_loss(logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor | None:
        """Mean squared error on the label scale, in float32; None without labels."""
        return None if labels is None else nn.functional.mse_loss(logits.float().flatten(), labels.float().flatten())

    def quality_score(self, logits: torch.Tensor) -> torch.Tensor:
        """Raw logits to quality from 0 to 100, higher is better, whatever scale the model was trained on.

        The fitted `config.score_mapping` takes the logit to the label scale: `linear` is `a * x + b`, `logistic4` is
        `b2 + (b1 - b2) / (1 + exp(-(x - b3) / |b4|))` (the four-parameter function of VQEG). Labels where lower is
        better are turned round, and the result is clipped to the scale.

        Args:
            logits (`torch.Tensor` of shape `(batch_size, 1)` or `(batch_size,)`): Scores on the training scale.

        Returns:
            `torch.FloatTensor` of shape `(batch_size,)`.
        """
        label = logits.float().flatten()
        if self.config.score_mapping is not None:
            parameters = self.config.score_mapping["parameters"]
            if self.config.score_mapping["name"] == "linear":
                slope, intercept = parameters
                label = slope * label + intercept
            else:
                upper, lower, middle, width = parameters
                label = lower + (upper - lower) * torch.sigmoid((label - middle) / abs(width))
        quality = label if self.config.higher_is_better else 1.0 - label
        return 100.0 * quality.clamp(0.0, 1.0)


class VideoClassificationMixin:
    """A quality model for the pipeline `video-classification`, which shows `logits` as they are.

    Here they are the quality from 0 to 100, higher is better. The loss is that of the model, on the label scale.
    To be put before the class of the model among the bases.
    """

    @can_return_tuple
    def forward(
        self, pixel_values_videos: torch.Tensor, labels: torch.Tensor | None = None, **kwargs
    ) -> VideoQualityOutput:
        outputs = super().forward(pixel_values_videos, labels, **kwargs)
        # Clipping to the scale would make an infinite output look like a perfect video.
        quality = super().quality_score(outputs.logits).unsqueeze(-1)
        outputs.logits = quality.where(outputs.logits.isfinite(), torch.nan)
        return outputs

    def quality_score(self, logits: torch.Tensor) -> torch.Tensor:
        """The `logits` of this class, which are the quality already, as `torch.FloatTensor` of `(batch_size,)`."""
        return logits.float().flatten()


__all__ = ["VideoClassificationMixin", "VideoQualityHead", "VideoQualityMixin", "VideoQualityOutput"]
