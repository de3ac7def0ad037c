"""Which models names stand for, and the processors that fit them."""

import pytest
import torch
from real_clips import save_tiny_model
from tiny_student import save_tiny_student
from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTImageProcessor

from cvqa.distillation.students import STUDENTS, build_processor, build_student, model_names
from cvqa.distillation.teacher_student import blocks_of, freeze_blocks, set_drop_path
from cvqa.models import (
    BackboneStudentConfig,
    BackboneStudentForVideoQualityAssessment,
    InternVideo2ForVideoQualityAssessment,
    InternVideo2VideoProcessor,
)


TINY_RESNET = {"layer_type": "basic", "embedding_size": 8, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}


@pytest.mark.parametrize("name", STUDENTS)
def test_every_name_is_a_student_for_clips_of_8_frames_of_224(name):
    with torch.device("meta"):
        model = build_student(name)
    assert (model.config.num_frames, model.config.image_size) == (8, 224)
    processor = build_processor(model.config)
    assert (processor.num_frames, processor.crop_size.height) == (8, 224)
    assert processor.fragment_size % model.config.patch_size == 0
    processor(torch.zeros(8, 64, 64, 3, dtype=torch.uint8), spatial_mode="fragments")


@pytest.mark.parametrize("name", ["mobilenet_v2", "swin_tiny", "vit"])
def test_any_model_can_train_in_its_last_block_alone(name):
    with torch.device("meta"):
        model = build_student(name)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    freeze_blocks(model, 1)
    blocks = blocks_of(model)
    assert [any(p.requires_grad for p in block.parameters()) for block in blocks] == [False] * (len(blocks) - 1) + [
        True
    ]
    assert model.head.weight.requires_grad
    freeze_blocks(model, -1)
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == trained


def test_stochastic_depth_is_set_where_there_is_any_and_refused_where_there_is_none():
    with torch.device("meta"):
        swin, resnet = build_student("swin_tiny"), build_student("resnet18")
    set_drop_path(swin, 0.0)
    assert swin.config.backbone_config.drop_path_rate == 0
    assert not any(getattr(module, "drop_prob", 0) for module in swin.modules())
    set_drop_path(resnet, 0.0)
    with pytest.raises(ValueError, match=r"a ResNetModel has no stochastic depth: give a drop path rate of 0"):
        set_drop_path(resnet, 0.3)


def test_a_size_is_of_the_family_of_the_teacher(caplog):
    with torch.device("meta"):
        model = build_student("Ti", num_frames=4, drop_path_rate=None)
    assert type(model) is InternVideo2ForVideoQualityAssessment and model.config.num_frames == 4
    assert "Ti starts from RANDOM weights" in caplog.text


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown model 'resnet19'") as refused:
        build_student("resnet19")
    assert all(name in str(refused.value) for name in model_names())


def test_any_type_of_transformers_with_settings_of_student_and_backbone():
    model = build_student("vit", image_size=64, feature_stages=[1, 2], num_hidden_layers=2, hidden_size=48,
                          num_attention_heads=2, intermediate_size=64, label_kind="vmaf")  # fmt: skip
    config = model.config
    assert (config.label_kind, config.backbone_config.image_size, config.backbone_config.hidden_size) == (
        "vmaf",
        64,
        48,
    )
    assert model.stages == [1, 2]


@pytest.mark.parametrize("name", ["dinov2_small", "swin_tiny"])
def test_a_named_student_can_be_made_less_deep(name):
    depth = {"num_hidden_layers": 2} if name == "dinov2_small" else {"depths": [1, 1], "num_heads": [2, 4]}
    with torch.device("meta"):
        model = build_student(name, **depth)
    assert len(blocks_of(model)) == 2


def test_what_cannot_be_a_backbone_is_refused_with_the_reason():
    config = BackboneStudentConfig(backbone_config=ViTConfig(image_size=64), image_size=96)
    with pytest.raises(ValueError, match="a backbone of type vit cannot be used for clips of 8 frames of 96x96"):
        BackboneStudentForVideoQualityAssessment(config)


def test_folders_of_quality_models_are_loaded(tmp_path):
    for save in (save_tiny_model, save_tiny_student):
        folder = save(tmp_path / save.__name__)
        model = build_student(str(folder))
        assert model.config.label_kind == "vmaf"
        processor = build_processor(model.config, [str(folder)], num_frames=3)
        assert processor.num_frames == 3 and processor.crop_size.height == model.config.image_size


@pytest.mark.parametrize(
    ("student", "spatial_mode", "given", "fragment"),
    [
        ("S", "fragments", {}, 28),
        ("videomae_small", "resize", {}, 112),  # 8 patches of 14 pixels and 7 of 16
        ("resnet18", "resize", {}, 224),
        ("resnet18", "fragments", {"fragment_size": 224}, 224),
        ("resnet18", "fragments", {"spatial_mode": "resize"}, 224),
        ("resnet18", "fragments", {}, r"one of \[224\], not 28. The models have patches of 32 and 14 pixels"),
        ("resnet18", "fragments", {"fragment_size": 32}, r"one of \[224\], not 32"),
        ("S", "fragments", {"fragment_size": 30}, r"one of \[14, 28, 56, 112, 224\], not 30"),
    ],
)
def test_fragments_fit_the_patches_of_student_and_teacher(tmp_path, student, spatial_mode, given, fragment):
    InternVideo2VideoProcessor(spatial_mode=spatial_mode, num_frames=5).save_pretrained(tmp_path)
    with torch.device("meta"):
        models = [build_student(name).config for name in (student, "L")]

    def build():
        return build_processor(models[0], [str(tmp_path)], models[1:], **given)

    if isinstance(fragment, str):
        with pytest.raises(ValueError, match=fragment):
            build()
        return
    processor = build()
    assert (processor.fragment_size, processor.num_frames) == (fragment, 5)
    assert all(fragment % config.patch_size == 0 for config in models)
    assert processor.patch_size % models[0].patch_size == 0


def test_a_checkpoint_of_transformers_becomes_the_backbone_with_its_weights(tmp_path):
    torch.manual_seed(0)
    backbone = ResNetModel(ResNetConfig(**TINY_RESNET)).eval()
    backbone.save_pretrained(tmp_path / "resnet")
    ViTImageProcessor(image_mean=[0.4, 0.5, 0.6], image_std=[0.1, 0.2, 0.3]).save_pretrained(tmp_path / "resnet")
    student = build_student(str(tmp_path / "resnet"), image_size=64, num_frames=2)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(student.backbone.state_dict()[name], tensor)
    processor = build_processor(student.config, [str(tmp_path / "resnet")])
    assert type(processor) is InternVideo2VideoProcessor
    assert (list(processor.image_mean), list(processor.image_std)) == ([0.4, 0.5, 0.6], [0.1, 0.2, 0.3])
    assert (processor.num_frames, processor.crop_size.height) == (2, 64)


def test_a_folder_with_a_configuration_only_is_a_student_with_random_weights(tmp_path, caplog):
    ResNetConfig(**TINY_RESNET).save_pretrained(tmp_path)
    model = build_student(str(tmp_path), image_size=64)
    assert model.config.backbone_config.hidden_sizes == [8, 8, 8, 8]
    assert "RANDOM" in caplog.text
