"""SRCC, PLCC, KRCC and RMSE: the reference numbers, and what happens where a figure does not exist."""

import math
import warnings

import numpy as np
import pytest
import torch

from cvqa.evaluation import UndefinedWarning, figures_of_merit, fit_mapping, krcc, plcc, rmse, srcc


REFERENCE_NAMES = {"none": "raw", "rescale": "linear_rescale", "logistic4": "logistic4", "logistic5": "logistic5"}


def test_rank_correlations_equal_the_reference(case):
    assert srcc(case["prediction"], case["mos"]) == pytest.approx(case["raw"]["SRCC"], abs=1e-10)
    assert krcc(case["prediction"], case["mos"]) == pytest.approx(case["raw"]["KRCC_tau_b"], abs=1e-10)


@pytest.mark.parametrize(
    ("mapping", "plcc_tolerance", "rmse_tolerance"),
    [("none", 1e-10, 1e-10), ("rescale", 1e-10, 1e-10), ("logistic4", 1e-6, 1e-6), ("logistic5", 1e-5, 1e-5)],
)
def test_plcc_and_rmse_equal_the_reference(case, mapping, plcc_tolerance, rmse_tolerance):
    expected = case[REFERENCE_NAMES[mapping]]
    assert plcc(case["prediction"], case["mos"], mapping) == pytest.approx(expected["PLCC"], abs=plcc_tolerance)
    assert rmse(case["prediction"], case["mos"], mapping) == pytest.approx(expected["RMSE"], rel=rmse_tolerance)


def test_all_figures_at_once_are_the_single_ones(case):
    p, t = case["prediction"], case["mos"]
    single = {
        "srcc": srcc(p, t),
        "plcc": plcc(p, t, "logistic4"),
        "krcc": krcc(p, t),
        "rmse": rmse(p, t, "logistic4"),
    }
    # Two runs of one fit may differ in the last digit: vector instructions depend on where an array lies in memory.
    assert figures_of_merit(p, t, "logistic4") == pytest.approx(single, rel=1e-9)


def test_rank_correlations_do_not_see_an_increasing_map_and_turn_with_a_falling_one(case):
    p, t = case["prediction"], case["mos"]
    for metric in (srcc, krcc):
        assert metric(np.exp(3 * p), t) == pytest.approx(metric(p, t), abs=1e-12)
        assert metric(-p, t) == pytest.approx(-metric(p, t), abs=1e-12)


def test_dmos_predicted_on_its_own_scale_correlates_positively():
    dmos = np.array([70.0, 55.0, 30.0, -2.0])  # higher is worse
    assert figures_of_merit(dmos / 100, dmos)["srcc"] == 1
    assert figures_of_merit(dmos / 100, dmos)["plcc"] == pytest.approx(1)


def test_a_mapping_fitted_elsewhere_is_used_as_it_is(case):
    p, t = case["prediction"], case["mos"]
    half = slice(0, len(p) // 2)
    elsewhere = fit_mapping("rescale", p[half], t[half])
    assert rmse(p, t, elsewhere) == pytest.approx(np.sqrt(np.mean((elsewhere(p) - t) ** 2)))
    assert rmse(p, t, elsewhere) > rmse(p, t, "logistic4")


@pytest.mark.parametrize("mapping", ["none", "rescale", "logistic4", "logistic5"])
def test_constant_predictions_have_no_correlation(reference, mapping):
    mos = reference["constant_prediction"]["mos"]
    with pytest.warns(UndefinedWarning, match=r"all 12 predictions are equal \(0.5\)"):
        figures = figures_of_merit([0.5] * 12, mos, mapping)
    assert math.isnan(figures["srcc"]) and math.isnan(figures["plcc"]) and math.isnan(figures["krcc"])
    # The plain error of a constant does exist; a constant cannot be rescaled or fitted.
    assert math.isnan(figures["rmse"]) == (mapping != "none")


def test_rounding_noise_around_a_constant_counts_as_constant():
    with pytest.warns(UndefinedWarning, match="equal"):
        assert math.isnan(srcc([0.3, 0.1 + 0.2, 0.3, 0.1 + 0.2], [1, 2, 3, 4]))


@pytest.mark.parametrize(
    ("predictions", "scores", "reason"),
    [
        ([1.0, 2.0], [1.0, 2.0], "2 scores are too few"),
        ([], [], "0 scores are too few"),
        ([1.0, float("nan"), 3.0], [1.0, 2.0, 3.0], "1 of 3 predictions are NaN or infinite"),
        ([1.0, 2.0, float("inf")], [1.0, 2.0, 3.0], "1 of 3 predictions are NaN or infinite"),
        ([1.0, 2.0, 3.0], [4.0, 4.0, 4.0], "all 3 scores are equal"),
    ],
)
def test_what_has_no_correlation_is_nan_with_the_reason(predictions, scores, reason):
    for metric in (srcc, krcc, plcc):
        with pytest.warns(UndefinedWarning, match=reason):
            assert math.isnan(metric(predictions, scores))


def test_a_fit_with_too_few_scores_is_undefined_and_not_replaced():
    with pytest.warns(UndefinedWarning, match="PLCC is undefined: logistic4 has 4 parameters, 4 scores are too few"):
        assert math.isnan(plcc([1, 2, 3, 4], [1, 2, 3, 5], "logistic4"))


@pytest.mark.parametrize(
    ("predictions", "scores", "reason"),
    [
        ([1, 2, 3], [1, 2], "3 predictions but 2 targets"),
        ([1, 2, 3], [1, 2, float("nan")], "1 of 3 targets are NaN"),
        (np.ones((3, 2)), [1, 2, 3], r"shape \(n,\) or \(n, 1\), not \(3, 2\)"),
    ],
)
def test_wrong_input_is_an_error(predictions, scores, reason):
    for metric in (srcc, krcc, plcc, rmse):
        with pytest.raises(ValueError, match=reason):
            metric(predictions, scores)


def test_an_unknown_mapping_is_an_error_that_names_the_known_ones():
    with pytest.raises(
        ValueError, match="unknown mapping 'logistic': choose one of none, rescale, logistic4, logistic5"
    ):
        plcc([1, 2, 3], [1, 2, 3], "logistic")


def test_columns_lists_and_bfloat16_tensors_are_understood():
    scores = [1.0, 2.0, 4.0, 8.0]
    column = torch.tensor(scores, dtype=torch.bfloat16, requires_grad=True)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert figures_of_merit(column, scores) == figures_of_merit(np.array(scores), scores)
