"""The weighted sum: which parts, with which weights, at which point of training."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cvqa.distillation.schedules import WeightSchedule
from cvqa.distillation.weighted_loss import DISTILLATION_PARTS, QUALITY_PARTS, WeightedLoss


FIXTURES = Path(__file__).parents[1] / "fixtures"
GOLDEN = json.loads((FIXTURES / "metrics_golden.json").read_text())
FEATURES = load_file(FIXTURES / "fd_loss.safetensors")
CASES = {name: case for name, case in GOLDEN["losses"]["cases"].items() if "rank_loss" in case}
TOLERANCE = 1e-6


@pytest.mark.parametrize("case", CASES)
def test_plcc_and_rank_weighted_as_in_the_training_code(case):
    data = CASES[case]
    loss = WeightedLoss({"plcc": 1.0, "rank": 0.3}, QUALITY_PARTS)
    total, _ = loss(scores=torch.tensor(data["prediction"]), labels=torch.tensor(data["target"]))
    assert total.item() == pytest.approx(data["plcc_loss_plus_0.3_rank_loss_[n,1]"], abs=TOLERANCE)


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


@pytest.mark.parametrize(
    "name", ["feature", "teacher_score", "relational_distance", "relational_angle", "hidden_states"]
)
@pytest.mark.parametrize("stop_gradient", [False, True])
def test_stop_gradient_keeps_every_part_from_the_teacher_but_its_own(name, stop_gradient):
    generator = torch.Generator().manual_seed(0)
    shapes = {"scores": (4, 1), "features": (4, 8), "states": (4, 3, 8)}
    tensors = {
        f"{role}_{kind}": torch.rand(shape, generator=generator).requires_grad_()
        for role in ("student", "teacher")
        for kind, shape in shapes.items()
    }
    given = {key: [value] if "states" in key else value for key, value in tensors.items()}
    total, _ = WeightedLoss({name: 1.0}, DISTILLATION_PARTS, stop_gradient)(**given)
    total.backward()
    learner, target = DISTILLATION_PARTS[name].inputs
    assert tensors[learner].grad.abs().max() > 0
    assert (tensors[target].grad is None) == stop_gradient

    labels = torch.rand(4, generator=generator)
    total, _ = WeightedLoss({"teacher_regression": 1.0}, DISTILLATION_PARTS, stop_gradient)(**given, labels=labels)
    total.backward()
    assert tensors["teacher_scores"].grad.abs().max() > 0


def test_options_reach_the_loss_class():
    labels, scores = torch.tensor([0.0, 0.0]), torch.tensor([0.5, 0.01])
    for delta in (0.1, 0.4):
        loss = WeightedLoss({"huber": {"weight": 2.0, "delta": delta}}, QUALITY_PARTS)
        expected = (delta * (0.5 - delta / 2) + 0.01**2 / 2) / 2
        assert loss(scores=scores, labels=labels)[0].item() == pytest.approx(2 * expected, abs=TOLERANCE)


def test_a_scheduled_part_counts_by_the_progress_of_training():
    weights = {"regression": 1.0, "rank": {"weight": 0.0, "final": 0.4, "schedule": "linear"}}
    loss = WeightedLoss(weights, QUALITY_PARTS)
    tensors = {"scores": torch.tensor([0.1, 0.3]), "labels": torch.tensor([0.6, 0.2])}
    for progress, weight in ((0.0, 0.0), (0.5, 0.2), (1.0, 0.4)):
        total, parts = loss(progress=progress, **tensors)
        assert loss.weights(progress)["rank"] == pytest.approx(weight)
        assert total.item() == pytest.approx((parts["regression"] + weight * parts["rank"]).item(), abs=TOLERANCE)


@pytest.mark.parametrize(
    ("schedule", "weights"),  # at the start, at a quarter, half way, at three quarters, at the end
    [
        ({"weight": 2}, [2, 2, 2, 2, 2]),
        ({"weight": 2, "warmup": 0.5}, [0, 1, 2, 2, 2]),
        ({"weight": 2, "end": 0.5}, [2, 2, 0, 0, 0]),
        ({"weight": 2, "end": 0.5, "final": 1}, [2, 2, 1, 1, 1]),
        ({"weight": 2, "schedule": "linear"}, [2, 1.5, 1, 0.5, 0]),
        ({"weight": 2, "schedule": "linear", "warmup": 0.5}, [0, 1, 2, 1, 0]),
        ({"weight": 0, "final": 1, "schedule": "linear", "end": 0.5}, [0, 0.5, 1, 1, 1]),
        ({"weight": 1, "schedule": "cosine"}, [1, 0.5 + 0.125**0.5, 0.5, 0.5 - 0.125**0.5, 0]),
    ],
)
def test_schedules(schedule, weights):
    schedule = WeightSchedule(**schedule)
    assert [schedule.at(progress / 4) for progress in range(5)] == pytest.approx(weights)
    assert schedule.varies == (len(set(weights)) > 1)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"featur": 1.0}, "unknown loss part 'featur'; known parts: feature, hidden_states, plcc, rank"),
        ({"rank": -1}, "loss part 'rank': weight is -1; give a finite number, 0 or more"),
        ({"rank": float("nan")}, "loss part 'rank': weight is nan"),
        ({"rank": 0.0}, "no loss part has a weight above 0"),
        ({"rank": {"weigth": 1}}, "unknown option 'weigth' of loss part 'rank'; known options: weight, warmup"),
        ({"feature": {"beta": 0}}, "loss part 'feature': beta is 0"),
        ({"feature": {"schedule": "step"}}, "loss part 'feature': unknown schedule 'step'; known schedules: constant"),
        ({"feature": {"warmup": 0.5, "end": 0.2}}, "0 <= warmup <= end <= 1 does not hold"),
        ({"feature": "much"}, "loss part 'feature'"),
    ],
)
def test_mistakes_are_refused_with_the_way_out(weights, message):
    with pytest.raises(ValueError, match=message):
        WeightedLoss(weights, DISTILLATION_PARTS)


def test_what_a_part_needs_must_be_there():
    with pytest.raises(ValueError, match="'rank' needs labels"):
        WeightedLoss({"rank": 1.0}, DISTILLATION_PARTS)(student_scores=torch.rand(3), labels=None)
