"""Folding batch normalisation changes nothing but the time."""

import pytest
import torch
from torch import nn

from cvqa.distillation.students import build_student
from cvqa.inference.fusion import fuse_for_inference


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    return torch.randn(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def trained(name: str, clips: torch.Tensor) -> nn.Module:
    """With statistics of batches that are not those of a fresh model."""
    torch.manual_seed(0)
    model = build_student(name, num_frames=2, image_size=clips.shape[-1]).train()
    with torch.no_grad():
        for scale in (0.5, 2.0, 1.0):
            model(pixel_values_videos=scale * clips + scale)
    return model.eval()


@pytest.mark.parametrize("name", ["resnet_small", "regnet_tiny", "mobilenet_v2"])
def test_a_fused_model_gives_the_same_and_has_no_normalisation_left(name, clips):
    model = trained(name, clips)
    with torch.inference_mode():
        before = model(pixel_values_videos=clips)
        after = fuse_for_inference(model)(pixel_values_videos=clips)
    torch.testing.assert_close(after.logits, before.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(after.quality_features, before.quality_features, atol=1e-3, rtol=1e-3)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("name", ["convnext_atto", "Ti"])
def test_a_model_without_batch_normalisation_stays_as_it_is(name, clips):
    clips = clips[..., :56, :56]  # four patches of InternVideo2
    model = trained(name, clips)
    with torch.inference_mode():
        before = model(pixel_values_videos=clips).logits
        after = fuse_for_inference(model)(pixel_values_videos=clips).logits
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-5)
