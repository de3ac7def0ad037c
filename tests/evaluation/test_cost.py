import json

import pytest
import torch

from cvqa import InternVideo2Config, InternVideo2ForVideoQualityAssessment
from cvqa.distillation.students import build_student
from cvqa.evaluation.cost import count_macs


@pytest.mark.parametrize("size", ["S", "B", "L", "1B"])
def test_macs_equal_the_reference_count(size, fixtures):
    expected = json.loads((fixtures / "params_flops.json").read_text())["models"][size]
    with torch.device("meta"):
        model = InternVideo2ForVideoQualityAssessment(InternVideo2Config.from_size(size))
    assert count_macs(model) == expected["macs_total"]
    other = expected["gmacs_other_settings"]
    assert count_macs(model, num_frames=16) / 1e9 == pytest.approx(other["16_frames_224"], abs=5e-4)
    assert count_macs(model, height=252) / 1e9 == pytest.approx(other["8_frames_252"], abs=5e-4)


def test_macs_with_tubelets(fixtures):
    expected = json.loads((fixtures / "params_flops.json").read_text())["models"]["S"]["gmacs_other_settings"]
    model = InternVideo2ForVideoQualityAssessment(InternVideo2Config.from_size("S", tubelet_size=2))
    assert count_macs(model) / 1e9 == pytest.approx(expected["8_frames_224_tubelet2"], abs=5e-4)


@pytest.mark.parametrize(("name", "gmacs"), [("resnet18", 1.82), ("mobilenet_v2", 0.30), ("convnext_tiny", 4.46)])
def test_macs_of_a_frame_equal_the_published_count_of_convolutional_backbones(name, gmacs):
    with torch.device("meta"):
        model = build_student(name)
    # The projection of the pooled stages comes once a clip.
    macs = count_macs(model) - model.pooler.projection.weight.numel() - model.head.weight.numel()
    assert macs / 8e9 == pytest.approx(gmacs, rel=0.015)
