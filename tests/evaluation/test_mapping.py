"""Fits of predictions to scores, and the mapping a model keeps."""

import numpy as np
import pytest
import torch

from cvqa import InternVideo2Config, InternVideo2ForVideoQualityAssessment
from cvqa.evaluation import (
    MAPPINGS,
    FittedMapping,
    Undefined,
    UndefinedWarning,
    apply_score_mapping,
    fit_mapping,
    fit_score_mapping,
)


IDENTITY = {"name": "linear", "parameters": [1.0, 0.0]}


def sse(mapping, case):
    return float(((mapping(case["prediction"]) - case["mos"]) ** 2).sum())


def test_logistic4_reaches_the_best_known_sum_of_squares(case):
    best = case["best_sum_of_squares_over_60_random_starts"]["logistic4"]
    assert sse(fit_mapping("logistic4", case["prediction"], case["mos"]), case) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1.0, 1e3])
def test_logistic4_does_not_depend_on_the_scale_or_direction_of_predictions(case, scale):
    best = case["logistic4"]["SSE"]
    for factor in (scale, -scale):
        scaled = {**case, "prediction": factor * (case["prediction"] - case["prediction"].mean())}
        assert sse(fit_mapping("logistic4", scaled["prediction"], case["mos"]), scaled) == pytest.approx(best, rel=1e-6)


def test_logistic5_ends_where_the_reference_does(case):
    fitted = fit_mapping("logistic5", case["prediction"], case["mos"])
    assert sse(fitted, case) == pytest.approx(case["logistic5"]["SSE"], rel=1e-6)


def test_rescale_sets_mean_and_population_spread(case):
    mapped = fit_mapping("rescale", case["prediction"], case["mos"])(case["prediction"])
    assert mapped[:3] == pytest.approx(case["linear_rescale"]["rescaled_first3"], rel=1e-9)
    assert mapped.mean() == pytest.approx(case["mos"].mean())
    assert mapped.std() == pytest.approx(case["mos"].std())


def test_a_curve_is_found_again_from_exact_values():
    x = np.linspace(-2, 3, 40)
    curve = FittedMapping("logistic4", (90.0, 10.0, 0.4, 0.6))
    assert fit_mapping("logistic4", x, curve(x)).parameters == pytest.approx(curve.parameters, rel=1e-5)


def test_extreme_predictions_do_not_overflow():
    with np.errstate(all="raise"):
        values = FittedMapping("logistic4", (1.0, 0.0, 0.5, 1e-9))(np.array([-1e9, 1e9]))
    assert values.tolist() == [0.0, 1.0]


def test_a_refit_from_a_nearby_fit_equals_a_fresh_fit(case):
    half = {"prediction": case["prediction"][::2], "mos": case["mos"][::2]}
    refit = fit_mapping("logistic4", case["prediction"], case["mos"]).refit(*half.values())
    assert sse(refit, half) == pytest.approx(sse(fit_mapping("logistic4", *half.values()), half), rel=1e-4)


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_fit_that_does_not_exist_is_refused_with_the_reason(name):
    with pytest.raises(Undefined, match="1 of 6 predictions are NaN or infinite"):
        fit_mapping(name, [1, 2, 3, 4, 5, float("inf")], [1, 2, 3, 4, 5, 6])


# ---- the mapping that a model keeps ----


@pytest.fixture
def noise():
    return np.random.default_rng(3).normal(0, 0.03, 200)


@pytest.fixture
def logits():
    return np.linspace(-1, 2, 200)


def test_a_linear_relation_gives_least_squares(logits, noise):
    fitted = fit_score_mapping(logits, 0.25 * logits + 0.3 + noise)
    assert fitted["name"] == "linear"
    assert fitted["parameters"] == pytest.approx(np.polyfit(logits, 0.25 * logits + 0.3 + noise, 1), rel=1e-9)


def test_a_clearly_bent_relation_gives_an_increasing_logistic_with_enough_scores_only(logits, noise):
    bent = FittedMapping("logistic4", (0.95, 0.1, 0.5, 0.15))(logits) + noise
    fitted = fit_score_mapping(logits, bent)
    assert fitted["name"] == "logistic4"
    assert fitted["parameters"] == pytest.approx([0.95, 0.1, 0.5, 0.15], abs=0.03)
    assert fit_score_mapping(logits[::5], bent[::5])["name"] == "linear"
    assert fit_score_mapping(logits, bent, "linear")["name"] == "linear"


@pytest.mark.parametrize(
    ("predictions", "labels", "reason"),
    [
        ([0.5] * 5, [0.1, 0.2, 0.3, 0.4, 0.5], "all 5 predictions are equal"),
        ([0.5, 0.4, 0.3], [0.1, 0.2, 0.3], "do not correlate positively"),
        ([0.5, 0.6], [0.1, 0.2], "2 scores are too few"),
        ([0.5, float("nan"), 0.7], [0.1, 0.2, 0.3], "NaN"),
    ],
)
@pytest.mark.parametrize("name", ["auto", "linear", "logistic4"])
def test_data_without_an_increasing_mapping_keep_the_identity(predictions, labels, reason, name):
    with pytest.warns(UndefinedWarning, match=reason):
        assert fit_score_mapping(predictions, labels, name) == IDENTITY


def test_a_logistic_that_cannot_be_fitted_gives_way_to_the_linear_one_and_says_so():
    with pytest.warns(UndefinedWarning, match="linear score mapping is used instead of logistic4"):
        assert fit_score_mapping([0.1, 0.2, 0.4, 0.5], [0.2, 0.3, 0.4, 0.6], "logistic4")["name"] == "linear"


@pytest.mark.parametrize("name", ["linear", "logistic4"])
def test_the_model_reads_the_mapping_as_it_was_fitted(logits, noise, name):
    labels = FittedMapping("logistic4", (0.9, 0.1, 0.5, 0.4))(logits) + noise
    mapping = fit_score_mapping(logits, labels, name)
    assert mapping["name"] == name
    config = InternVideo2Config(
        hidden_size=48, num_hidden_layers=1, num_attention_heads=4, image_size=56, num_frames=2, score_mapping=mapping
    )
    model = InternVideo2ForVideoQualityAssessment(config)
    quality = model.quality_score(torch.from_numpy(logits)).numpy()
    expected = apply_score_mapping(logits, mapping)
    assert np.all(np.diff(expected) > 0)
    assert quality == pytest.approx(100 * expected.clip(0, 1), abs=1e-3)
    assert 0 < quality.min() < quality.max() < 100
