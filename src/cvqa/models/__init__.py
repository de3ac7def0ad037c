"""The models, in flat files that travel to the Hub with the weights.

Importing this package registers them with the Auto classes and the pipelines of transformers, and marks them so that
`save_pretrained` puts their code beside the weights: a saved folder also loads where cvqa is not installed, with
`trust_remote_code=True`.
"""

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForVideoClassification,
    AutoVideoProcessor,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_internvideo2 import CUSTOM_PIPELINES, InternVideo2Config
from .modeling_internvideo2 import (
    InternVideo2ForVideoClassification,
    InternVideo2ForVideoQualityAssessment,
    InternVideo2Model,
    InternVideo2PreTrainedModel,
    VideoQualityOutput,
)
from .pipeline_video_quality import VideoQualityPipeline
from .video_processing_internvideo2 import InternVideo2VideoProcessor


class RegisteredPipelines(dict):
    """The pipelines that a folder brings, all of which are registered here.

    Who asks for the tasks finds them; `pipeline`, asking whether the code of a task is in the folder, learns that it is
    not needed, and takes the registered class without `trust_remote_code`.
    """

    def __contains__(self, task: object) -> bool:
        return False


AutoConfig.register(InternVideo2Config.model_type, InternVideo2Config)
AutoModel.register(InternVideo2Config, InternVideo2ForVideoQualityAssessment)
AutoModelForVideoClassification.register(InternVideo2Config, InternVideo2ForVideoClassification)
AutoVideoProcessor.register(InternVideo2Config, InternVideo2VideoProcessor)
# Without an image processor, the built-in pipelines refuse to batch.
AutoImageProcessor.register(InternVideo2Config, image_processor_classes={"torchvision": InternVideo2VideoProcessor})
for task in CUSTOM_PIPELINES:
    PIPELINE_REGISTRY.register_pipeline(task, pipeline_class=VideoQualityPipeline, pt_model=AutoModel, type="video")

InternVideo2Config.pipelines_type = RegisteredPipelines
InternVideo2Config.register_for_auto_class()
InternVideo2ForVideoQualityAssessment.register_for_auto_class("AutoModel")
InternVideo2ForVideoClassification.register_for_auto_class("AutoModelForVideoClassification")
InternVideo2VideoProcessor.register_for_auto_class("AutoVideoProcessor")

__all__ = [
    "InternVideo2Config",
    "InternVideo2ForVideoClassification",
    "InternVideo2ForVideoQualityAssessment",
    "InternVideo2Model",
    "InternVideo2PreTrainedModel",
    "InternVideo2VideoProcessor",
    "VideoQualityOutput",
    "VideoQualityPipeline",
]
