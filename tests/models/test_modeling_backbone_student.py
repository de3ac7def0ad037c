"""Students on backbones of transformers: what they compute, and that saved ones are the same."""

import pytest
import torch
from transformers import (
    AutoModel,
    ConvNextConfig,
    ConvNextV2Config,
    Dinov2Config,
    MobileNetV2Config,
    ResNetConfig,
    SwinConfig,
    TimesformerConfig,
    VideoMAEConfig,
    VivitConfig,
    VJEPA2Config,
)

from cvqa.models import (
    BackboneStudentConfig,
    BackboneStudentForVideoQualityAssessment,
    InternVideo2VideoProcessor,
)


TOKENS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
STAGES = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 12, 16, 24]}
FRAMES, SIZE = 4, 64
BACKBONES = {
    "resnet": ResNetConfig(layer_type="basic", embedding_size=8, **STAGES),
    "resnet of luma": ResNetConfig(layer_type="basic", embedding_size=8, num_channels=1, **STAGES),
    "mobilenet_v2": MobileNetV2Config(depth_multiplier=0.1, min_depth=4, depth_divisible_by=4, tf_padding=False),
    "convnext": ConvNextConfig(**STAGES),
    "convnextv2": ConvNextV2Config(**STAGES),
    "swin": SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2, image_size=SIZE),
    "dinov2": Dinov2Config(**TOKENS, patch_size=16, image_size=SIZE, mlp_ratio=2),
    "videomae": VideoMAEConfig(**TOKENS, num_frames=FRAMES, image_size=SIZE),
    "timesformer": TimesformerConfig(**TOKENS, num_frames=FRAMES, image_size=SIZE),
    "vivit": VivitConfig(**TOKENS, num_frames=FRAMES, image_size=SIZE, tubelet_size=[2, 16, 16]),
    "vjepa2": VJEPA2Config(
        **{name: TOKENS[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")},
        frames_per_clip=FRAMES,
        crop_size=SIZE,
        mlp_ratio=2.0,
        pred_hidden_size=24,
        pred_num_hidden_layers=1,
        pred_num_attention_heads=2,
    ),
}


def student(name: str, **settings) -> BackboneStudentForVideoQualityAssessment:
    torch.manual_seed(0)
    settings = {"num_frames": FRAMES, "image_size": SIZE, "feature_size": 20, **settings}
    config = BackboneStudentConfig(backbone_config=BACKBONES[name].to_dict(), **settings)
    return BackboneStudentForVideoQualityAssessment(config).eval()


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    return torch.randn(3, FRAMES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_scores_and_comes_back_from_its_folder(name, clips, tmp_path):
    model = student(name, label_kind="dmos", higher_is_better=False)
    with torch.no_grad():
        # Statistics that are not those of a fresh model
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        model.train()(clips)
        output = model.eval()(clips, labels=torch.tensor([0.0, 0.5, 1.0]), output_hidden_states=True)
    assert output.logits.shape == (3, 1) and output.quality_features.shape == (3, 20)
    assert output.loss == pytest.approx(((output.logits.flatten() - torch.tensor([0.0, 0.5, 1.0])) ** 2).mean().item())
    assert len(set(output.logits.flatten().tolist())) == 3
    assert all(state.ndim == 3 and len(state) == 3 for state in output.hidden_states)
    model.save_pretrained(tmp_path)
    again, loading = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(again) is BackboneStudentForVideoQualityAssessment and not any(loading.values())
    assert type(again.config.backbone_config) is type(BACKBONES[name])
    settings = ("feature_stages", "temporal_pooling", "patch_size", "label_kind", "higher_is_better", "feature_size")
    assert all(getattr(again.config, name) == getattr(model.config, name) for name in settings)
    with torch.no_grad():
        assert torch.allclose(again(clips).logits, output.logits, atol=1e-6)
    assert torch.equal(again.quality_score(output.logits), 100 * (1 - output.logits.flatten()).clamp(0, 1))


@pytest.mark.parametrize("name", BACKBONES)
def test_everything_that_trains_gets_a_gradient(name, clips):
    model = student(name).train()
    model.gradient_checkpointing_enable()
    model(clips, labels=torch.rand(3)).loss.backward()
    assert {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None} == set()
    stuck = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert all("pooler" in n or "mask_token" in n or n.startswith("backbone.layernorm") for n in stuck)
    assert set(model._no_split_modules) <= {type(module).__name__ for module in model.modules()}


def test_a_backbone_of_one_channel_sees_luma_and_nothing_else():
    clip = torch.randint(0, 256, (1, FRAMES, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(2))
    grey = (torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1) * clip).sum(dim=2, keepdim=True).expand_as(clip)
    normalise = InternVideo2VideoProcessor().pixel_values
    colourful, greyed = normalise(clip.float()), normalise(grey)
    with torch.no_grad():
        of_luma, of_colours = (
            [student(name)(pixels).quality_features for pixels in (colourful, greyed, colourful.flip(2))]
            for name in ("resnet of luma", "resnet")
        )
    assert (of_luma[0] - of_luma[1]).abs().max() < 2e-3
    assert (of_luma[0] - of_luma[2]).abs().max() > 2e-2
    assert (of_colours[0] - of_colours[1]).abs().max() > 2e-2
