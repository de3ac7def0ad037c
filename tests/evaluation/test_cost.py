import json

import pytest
import torch

from cvqa import InternVideo2Config, InternVideo2ForVideoQualityAssessment
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
