"""The models, in flat files that travel to the Hub with the weights.

Importing this package registers them with the Auto classes of transformers, and marks them so that
`save_pretrained` puts their code beside the weights: a saved folder also loads where cvqa is not installed, with
`trust_remote_code=True`.
"""

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoVideoProcessor

from .configuration_internvideo2 import InternVideo2Config
from .modeling_internvideo2 import (
    InternVideo2ForVideoQualityAssessment,
    InternVideo2Model,
    InternVideo2PreTrainedModel,
    VideoQualityOutput,
)
from .video_processing_internvideo2 import InternVideo2VideoProcessor


AutoConfig.register(InternVideo2Config.model_type, InternVideo2Config)
AutoModel.register(InternVideo2Config, InternVideo2ForVideoQualityAssessment)
AutoModelForVideoClassification.register(InternVideo2Config, InternVideo2ForVideoQualityAssessment)
AutoVideoProcessor.register(InternVideo2Config, InternVideo2VideoProcessor)

InternVideo2Config.register_for_auto_class()
InternVideo2ForVideoQualityAssessment.register_for_auto_class("AutoModel")
InternVideo2VideoProcessor.register_for_auto_class("AutoVideoProcessor")

__all__ = [
    "InternVideo2Config",
    "InternVideo2ForVideoQualityAssessment",
    "InternVideo2Model",
    "InternVideo2PreTrainedModel",
    "InternVideo2VideoProcessor",
    "VideoQualityOutput",
]
