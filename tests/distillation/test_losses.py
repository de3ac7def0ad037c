"""Every loss against reference values and gradients, and the behaviour at the edges of a batch."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cvqa.distillation.losses import (
    FeatureLoss,
    HiddenStatesLoss,
    HuberLoss,
    PlccLoss,
    RankLoss,
    RegressionLoss,
    RelationalAngleLoss,
    RelationalDistanceLoss,
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


def test_feature_loss_equals_the_reference_on_both_sides():
    student = FEATURES["student_features"].clone().requires_grad_()
    teacher = FEATURES["teacher_features"].clone().requires_grad_()
    value = FeatureLoss()(student, teacher)
    value.backward()
    assert value.item() == pytest.approx(GOLDEN["feature_distillation"]["expected_loss"], abs=TOLERANCE)
    torch.testing.assert_close(student.grad, FEATURES["gradient_student"], atol=1e-8, rtol=1e-4)
    torch.testing.assert_close(teacher.grad, FEATURES["gradient_teacher"], atol=1e-8, rtol=1e-4)


def test_half_precision_inputs_are_reduced_in_float32():
    student, teacher = FEATURES["student_features"].bfloat16(), FEATURES["teacher_features"].bfloat16()
    value = FeatureLoss()(student, teacher)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(GOLDEN["feature_distillation"]["expected_loss"], rel=1e-2)


def test_a_column_against_a_vector_does_not_broadcast():
    prediction, target = torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, 1.0])
    assert RegressionLoss()(prediction, target).item() == 0


@pytest.mark.parametrize("delta", [0.1, 0.3])
def test_huber_loss_is_a_square_near_the_target_and_a_distance_far_from_it(delta):
    errors = torch.tensor([0.0, 0.05, -0.2, 0.5])
    expected = [0.5 * e**2 if abs(e) < delta else delta * (abs(e) - delta / 2) for e in errors.tolist()]
    value = HuberLoss(delta)(errors + 0.4, torch.full((4, 1), 0.4))
    assert value.item() == pytest.approx(sum(expected) / 4, abs=TOLERANCE)
    with pytest.raises(ValueError, match="delta is 0"):
        HuberLoss(0)


def test_relational_distance_of_points_on_a_line():
    # Distances over their mean: student 0-1-3, (1, 3, 2) / 2; teacher 0-1-2, (1, 2, 1) / (4/3).
    student, teacher = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    differences = [1 / 2 - 3 / 4, 3 / 2 - 6 / 4, 2 / 2 - 3 / 4]
    expected = 2 * sum(d**2 / 2 for d in differences) / 9
    assert RelationalDistanceLoss()(student, teacher).item() == pytest.approx(expected, abs=TOLERANCE)


def test_relational_angle_of_a_line_against_a_right_angle():
    # On a line the cosines at the ends are 1 and -1 in the middle; the triangle has 1/sqrt(2) twice and 0.
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    teacher = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    differences = [1 - 0.5**0.5, -1 - 0.0, 1 - 0.5**0.5]
    expected = 2 * sum(d**2 / 2 if abs(d) < 1 else abs(d) - 0.5 for d in differences) / 27
    assert RelationalAngleLoss()(student, teacher).item() == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("loss", [RelationalDistanceLoss(), RelationalAngleLoss()])
def test_relational_losses_see_neither_scale_nor_place_nor_width(loss):
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(6, 5, generator=generator)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=generator))[0][:5]  # (5, 8), orthonormal rows
    assert loss(3 * teacher @ rotation + 7, teacher).item() == pytest.approx(0, abs=1e-6)
    assert loss(torch.randn(6, 8, generator=generator), teacher).item() > 0.01
    # Equal features, as of a student that still says the same of all: finite gradients; and a batch of one.
    for student in (torch.zeros(6, 8), torch.ones(1, 8)):
        student.requires_grad_()
        loss(student, teacher[: len(student)]).backward()
        assert student.grad.isfinite().all() and student.grad.abs().max() < 10


def test_hidden_states_are_compared_token_by_token_after_normalising():
    generator = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(2, 3, 8, generator=generator) for _ in range(3))
    loss = HiddenStatesLoss()
    assert loss([5 * a + 1], [a]).item() == pytest.approx(0, abs=1e-4)
    # Of two layers normalised to mean 0 and variance 1, the mean square difference is 2 - 2 r.
    normal = [(x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True) for x in (b, c)]
    expected = 2 - 2 * (normal[0] * normal[1]).mean()
    assert loss([b], [c]).item() == pytest.approx(expected.item(), rel=1e-4)
    assert loss([b, a], [c, a]).item() == pytest.approx(expected.item() / 2, rel=1e-4)
    with pytest.raises(ValueError, match="same tokens"):
        loss([a], [a[:, :2]])


@pytest.mark.parametrize("loss", [RegressionLoss(), HuberLoss(), PlccLoss(), RankLoss()])
def test_clips_without_a_label_are_as_if_they_were_not_there(loss):
    prediction, target = torch.rand(6, generator=torch.manual_seed(0)), torch.rand(6)
    value, gradient = value_and_gradient(loss, prediction[:4].tolist(), target[:4].tolist())
    order = torch.tensor([0, 4, 1, 2, 5, 3])
    target[4:] = torch.nan
    mixed, mixed_gradient = value_and_gradient(loss, prediction[order].tolist(), target[order].tolist())
    assert mixed == pytest.approx(value, abs=TOLERANCE)
    torch.testing.assert_close(mixed_gradient[[0, 2, 3, 5]], gradient)
    assert mixed_gradient[[1, 4]].tolist() == [0, 0]
    nothing, no_gradient = value_and_gradient(loss, [0.2, 0.4], [float("nan")] * 2)
    assert nothing == 0 and no_gradient.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("loss", "shapes"),
    [
        (RegressionLoss(), [(5, 1), (5,)]),
        (HuberLoss(), [(5, 1), (5,)]),
        (PlccLoss(), [(5,), (5,)]),
        (RankLoss(), [(5,), (5,)]),
        (FeatureLoss(), [(4, 6), (4, 6)]),
        (RelationalDistanceLoss(), [(4, 6), (4, 3)]),
        (RelationalAngleLoss(), [(4, 6), (4, 3)]),
        (lambda s, t: HiddenStatesLoss()([s], [t]), [(2, 3, 4), (2, 3, 4)]),
    ],
)
def test_gradients_equal_finite_differences_in_float64(loss, shapes):
    generator = torch.Generator().manual_seed(3)
    inputs = [torch.rand(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert loss(*inputs).dtype == torch.float64
    assert torch.autograd.gradcheck(loss, inputs)


def test_mistakes_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match="3 predictions but 4 targets"):
        RegressionLoss()(torch.rand(3), torch.rand(4))
    with pytest.raises(ValueError, match="same feature_size"):
        FeatureLoss()(torch.rand(3, 768), torch.rand(3, 384))
