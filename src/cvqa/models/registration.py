"""All models, registered with the Auto classes and pipelines of transformers, marked to travel with their code."""

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForVideoClassification,
    AutoVideoProcessor,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_backbone_student import BackboneStudentConfig
from .configuration_internvideo2 import InternVideo2Config
from .configuration_video_quality import CUSTOM_PIPELINES, VideoQualityConfig
from .modeling_backbone_student import (
    BackboneStudentForVideoClassification,
    BackboneStudentForVideoQualityAssessment,
)
from .modeling_internvideo2 import (
    InternVideo2ForVideoClassification,
    InternVideo2ForVideoQualityAssessment,
    InternVideo2Model,
    InternVideo2PreTrainedModel,
)
from .modeling_video_quality import VideoQualityOutput
from .pipeline_video_quality import VideoQualityPipeline
from .video_processing_internvideo2 import InternVideo2VideoProcessor


class RegisteredPipelines(dict):
    """The pipelines that a folder brings, all of which are registered here.

    Who asks for the tasks finds them; `pipeline`, asking whether the code of a task is in the folder, learns that it is
    not needed, and takes the registered class without `trust_remote_code`.
    """

    def __contains__(self, task: object) -> bool:
        return False


# Of each family: configuration, quality model, and the same model for the pipeline `video-classification`.
FAMILIES = (
    (InternVideo2Config, InternVideo2ForVideoQualityAssessment, InternVideo2ForVideoClassification),
    (BackboneStudentConfig, BackboneStudentForVideoQualityAssessment, BackboneStudentForVideoClassification),
)
for config, model, classifier in FAMILIES:
    AutoConfig.register(config.model_type, config)
    AutoModel.register(config, model)
    AutoModelForVideoClassification.register(config, classifier)
    AutoVideoProcessor.register(config, InternVideo2VideoProcessor)
    # Without an image processor, the built-in pipelines refuse to batch.
    AutoImageProcessor.register(config, image_processor_classes={"torchvision": InternVideo2VideoProcessor})
    config.register_for_auto_class()
    model.register_for_auto_class("AutoModel")
    classifier.register_for_auto_class("AutoModelForVideoClassification")
for task in CUSTOM_PIPELINES:
    PIPELINE_REGISTRY.register_pipeline(task, pipeline_class=VideoQualityPipeline, pt_model=AutoModel, type="video")

VideoQualityConfig.pipelines_type = RegisteredPipelines
InternVideo2VideoProcessor.register_for_auto_class("AutoVideoProcessor")

__all__ = [
    "FAMILIES",
    "BackboneStudentConfig",
    "BackboneStudentForVideoClassification",
    "BackboneStudentForVideoQualityAssessment",
    "InternVideo2Config",
    "InternVideo2ForVideoClassification",
    "InternVideo2ForVideoQualityAssessment",
    "InternVideo2Model",
    "InternVideo2PreTrainedModel",
    "InternVideo2VideoProcessor",
    "VideoQualityConfig",
    "VideoQualityOutput",
    "VideoQualityPipeline",
]
