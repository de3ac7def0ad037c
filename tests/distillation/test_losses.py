"""Every loss against reference values and gradients, and the behaviour at the edges of a batch."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cvqa.distillation.losses import (
    DISTILLATION_PARTS,
    QUALITY_PARTS,
    FeatureLoss,
    PlccLoss,
    RankLoss,
    RegressionLoss,
    WeightedLoss,
)


FIXTURES = Path(__file__).parents[1] / "fixtures"
GOLDEN = json.loads((FIXTURES / "metrics_golden.json").read_text())
FEATURES = load_file(FIXTURES / "fd_loss.safetensors")
CASES = {name: case for name, case in GOLDEN["losses"]["cases"].items() if "rank_loss" in case}
TOLERANCE = 1e-6


def value_and_gradient(loss, prediction, target):
    prediction = torch.tensor(prediction, requires_grad=True)
    value = loss(prediction, torch.tensor(target))
    value.backward()
    return value.item(), prediction.grad


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", ["[n]", "[n,1]"])
@pytest.mark.parametrize(("key", "loss"), [("plcc_loss", PlccLoss()), ("rank_loss", RankLoss())])
def test_correlation_losses_equal_the_reference(case, shape, key, loss):
    data = CASES[case]
    prediction, target = data["prediction"], data["target"]
    if shape == "[n,1]":
        prediction, target = [[p] for p in prediction], [[t] for t in target]
    value, gradient = value_and_gradient(loss, prediction, target)
    # The reference rank loss is 0 on vectors by mistake; ours gives the column's value for both shapes.
    expected = data[key]["[n,1]"]
    assert value == pytest.approx(expected["value"], abs=TOLERANCE)
    assert gradient.flatten().tolist() == pytest.approx(expected["gradient_on_prediction"], abs=TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_plcc_and_rank_weighted_as_in_the_training_code(case):
    data = CASES[case]
    loss = WeightedLoss({"plcc": 1.0, "rank": 0.3}, QUALITY_PARTS)
    total, _ = loss(scores=torch.tensor(data["prediction"]), labels=torch.tensor(data["target"]))
    assert total.item() == pytest.approx(data["plcc_loss_plus_0.3_rank_loss_[n,1]"], abs=TOLERANCE)


def test_constant_predictions_give_finite_values_and_a_gradient_towards_the_labels():
    case = GOLDEN["losses"]["cases"]["constant_prediction"]
    value, gradient = value_and_gradient(PlccLoss(), case["prediction"], case["target"])
    assert value == pytest.approx(case["plcc_loss"], abs=TOLERANCE)
    assert torch.isfinite(gradient).all()
    above_mean = torch.tensor(case["target"]) > torch.tensor(case["target"]).mean()
    assert torch.equal(gradient < 0, above_mean)  # descent raises the predictions of the better videos
    value, gradient = value_and_gradient(RankLoss(), case["prediction"], case["target"])
    assert value == case["rank_loss_[n,1]"]
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [PlccLoss(), RankLoss(), RegressionLoss()])
def test_degenerate_batches_are_finite(loss):
    for prediction, target in (([0.3], [0.7]), ([0.3, 0.3], [0.5, 0.5]), ([0.1, 0.9], [0.5, 0.5])):
        value, gradient = value_and_gradient(loss, prediction, target)
        assert value == value and value < 1
        assert torch.isfinite(gradient).all()


def test_plcc_loss_does_not_see_offset_and_scale():
    prediction, target = torch.rand(16, generator=torch.manual_seed(0)), torch.rand(16)
    loss = PlccLoss()
    assert loss(3 * prediction - 7, target).item() == pytest.approx(loss(prediction, target).item(), abs=1e-5)


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_feature_loss_equals_the_reference_on_both_sides(stop_gradient):
    student = FEATURES["student_features"].clone().requires_grad_()
    teacher = FEATURES["teacher_features"].clone().requires_grad_()
    value = FeatureLoss(stop_gradient=stop_gradient)(student, teacher)
    value.backward()
    assert value.item() == pytest.approx(GOLDEN["feature_distillation"]["expected_loss"], abs=TOLERANCE)
    torch.testing.assert_close(student.grad, FEATURES["gradient_student"], atol=1e-8, rtol=1e-4)
    if stop_gradient:
        assert teacher.grad is None
    else:
        torch.testing.assert_close(teacher.grad, FEATURES["gradient_teacher"], atol=1e-8, rtol=1e-4)


def test_published_sum():
    example = GOLDEN["feature_distillation"]["total_loss_example"]
    weights = {"teacher_regression": 1.0, "student_regression": 1.0, "feature": 1.0}
    total, parts = WeightedLoss(weights, DISTILLATION_PARTS)(
        student_scores=torch.tensor(example["student_scores"])[:, None],
        teacher_scores=torch.tensor(example["teacher_scores"])[:, None],
        student_features=FEATURES["student_features"],
        teacher_features=FEATURES["teacher_features"],
        labels=torch.tensor(example["targets"]),
    )
    assert total.item() == pytest.approx(example["expected_total"], abs=TOLERANCE)
    assert set(parts) == set(weights)
    assert sum(parts.values()).item() == pytest.approx(total.item(), abs=TOLERANCE)


def test_half_precision_inputs_are_reduced_in_float32():
    student, teacher = FEATURES["student_features"].bfloat16(), FEATURES["teacher_features"].bfloat16()
    value = FeatureLoss()(student, teacher)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(GOLDEN["feature_distillation"]["expected_loss"], rel=1e-2)


def test_a_column_against_a_vector_does_not_broadcast():
    prediction, target = torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, 1.0])
    assert RegressionLoss()(prediction, target).item() == 0


def test_mistakes_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match="unknown loss part 'featur'; known parts: feature, plcc, rank"):
        WeightedLoss({"featur": 1.0}, DISTILLATION_PARTS)
    with pytest.raises(ValueError, match="weight of loss part 'rank' is -1"):
        WeightedLoss({"rank": -1}, DISTILLATION_PARTS)
    with pytest.raises(ValueError, match="no loss part"):
        WeightedLoss({"rank": 0.0}, DISTILLATION_PARTS)
    with pytest.raises(ValueError, match="'rank' needs labels"):
        WeightedLoss({"rank": 1.0}, DISTILLATION_PARTS)(student_scores=torch.rand(3), labels=None)
    with pytest.raises(ValueError, match="3 predictions but 4 targets"):
        RegressionLoss()(torch.rand(3), torch.rand(4))
    with pytest.raises(ValueError, match="same feature_size"):
        FeatureLoss()(torch.rand(3, 768), torch.rand(3, 384))
