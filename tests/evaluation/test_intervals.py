"""Bootstrap over contents and agreement within a content."""

import math

import numpy as np
import pytest

from cvqa.evaluation import UndefinedWarning, bootstrap_interval, krcc, plcc, rmse, srcc, within_content_srcc
from cvqa.evaluation.mapping import fit_mapping
from cvqa.evaluation.resampling import resampled_figures


def test_the_interval_holds_the_figure_and_is_the_same_for_the_same_seed(ladder):
    predictions, scores, contents, _ = ladder
    low, high = bootstrap_interval(srcc, predictions, scores, contents, n=300)
    assert low < srcc(predictions, scores) < high
    assert (low, high) == bootstrap_interval(srcc, predictions, scores, contents, n=300)
    assert (low, high) != bootstrap_interval(srcc, predictions, scores, contents, n=300, seed=1)


def test_more_confidence_gives_a_wider_interval(ladder):
    predictions, scores, contents, _ = ladder
    low, high = bootstrap_interval(plcc, predictions, scores, contents, n=300, confidence=0.99)
    inner_low, inner_high = bootstrap_interval(plcc, predictions, scores, contents, n=300, confidence=0.8)
    assert low < inner_low < inner_high < high


def test_contents_are_drawn_and_not_videos(ladder):
    """Where whole contents are misjudged, an interval over videos would promise too much."""
    predictions, scores, contents, _ = ladder
    low, high = bootstrap_interval(plcc, predictions, scores, contents, n=400)
    naive_low, naive_high = bootstrap_interval(plcc, predictions, scores, range(len(scores)), n=400)
    assert high - low > 1.3 * (naive_high - naive_low)


def test_the_interval_covers_the_true_figure_about_as_often_as_it_says():
    rng = np.random.default_rng(0)

    def draw(n_contents):
        """Scores, and predictions that are off by content and by video: the true mean error is 0.5."""
        contents = np.repeat(np.arange(n_contents), 4)
        return 0.5 + np.repeat(rng.normal(size=n_contents), 4) + rng.normal(size=4 * n_contents), contents

    def mean_error(predictions, targets):
        return float(np.mean(predictions - targets))

    hits = 0
    for _ in range(200):
        predictions, contents = draw(30)
        low, high = bootstrap_interval(mean_error, predictions, np.zeros(120), contents, n=200, confidence=0.9)
        hits += low < 0.5 < high
    assert 0.82 < hits / 200 < 0.96


def test_fewer_than_three_contents_give_no_interval(ladder):
    predictions, scores, contents, _ = ladder
    with pytest.warns(UndefinedWarning, match=r"too few contents to resample \(2, at least 3 are needed\)"):
        assert bootstrap_interval(srcc, predictions[:32], scores[:32], contents[:32]) is None


def test_a_metric_that_is_often_undefined_gives_no_interval():
    # One video differs; a resample without it is constant.
    predictions, scores, contents = [1.0, 1.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0], ["a", "b", "c", "d"]
    with pytest.warns(UndefinedWarning, match=r"undefined in \d+ of 200 resamples"):
        assert bootstrap_interval(srcc, predictions, scores, contents, n=200) is None


@pytest.mark.parametrize(
    ("contents", "reason"), [(["a", "b"], "2 content ids for 3 scores"), (["a", None, "b"], "row 1 has no content id")]
)
def test_content_ids_must_be_there(contents, reason):
    with pytest.raises(ValueError, match=reason):
        bootstrap_interval(srcc, [1, 2, 3], [1, 2, 3], contents)


@pytest.mark.parametrize("mapping", ["none", "rescale", "logistic4"])
def test_all_resamples_at_once_equal_resamples_one_by_one(case, mapping):
    predictions, scores = case["prediction"], case["mos"]
    contents = np.arange(len(scores)) // 7
    fitted = fit_mapping(mapping, predictions, scores)
    at_once = resampled_figures(predictions, scores, contents, fitted, n=40, seed=5)

    one_by_one = {name: [] for name in at_once}

    def collect(p, t):
        values = {"srcc": srcc(p, t), "krcc": krcc(p, t), "plcc": plcc(p, t, mapping), "rmse": rmse(p, t, mapping)}
        for name, value in values.items():
            one_by_one[name].append(value)
        return values["srcc"]

    bootstrap_interval(collect, predictions, scores, contents, n=40, seed=5)
    for name, values in one_by_one.items():
        tolerance = 1e-10 if name in ("srcc", "krcc") or mapping != "logistic4" else 1e-3
        assert at_once[name] == pytest.approx(np.array(values), rel=tolerance), name


def test_constant_resamples_are_undefined_at_once_too():
    predictions, scores = np.array([1.0, 1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0, 4.0])
    values = resampled_figures(predictions, scores, "abcd", fit_mapping("none", predictions, scores), 200, seed=0)
    assert 0 < np.isnan(values["srcc"]).sum() < 200
    assert np.isnan(values["srcc"]).tolist() == np.isnan(values["krcc"]).tolist() == np.isnan(values["plcc"]).tolist()


# ---- within a content ----


def test_within_content_srcc_is_blind_to_what_is_thought_of_the_contents():
    scores = [10, 20, 30, 40, 50, 60]
    predictions = [7, 8, 9, 1, 2, 3]  # each content in order, the better content judged worse
    assert srcc(predictions, scores) < 0
    assert within_content_srcc(predictions, scores, list("aaabbb")) == (1.0, 2)


def test_within_content_srcc_is_the_mean_over_contents_with_three_distinct_scores():
    contents = list("aaabbbccdddd")
    scores = [1, 2, 3, 1, 2, 3, 1, 2, 5, 5, 6, 6]
    predictions = [1, 2, 3, 3, 2, 1, 1, 2, 1, 2, 3, 4]
    assert within_content_srcc(predictions, scores, contents) == (0.0, 2)  # +1 and -1; c and d have two scores only


def test_contents_whose_predictions_are_constant_are_counted_and_left_out():
    with pytest.warns(UndefinedWarning, match=r"leaves out contents .* \(1\)"):
        assert within_content_srcc([1, 1, 1, 1, 2, 3], [1, 2, 3, 1, 2, 3], list("aaabbb")) == (1.0, 1)


def test_no_content_to_ask_is_nan():
    with pytest.warns(UndefinedWarning, match="no content has 3 distinct scores"):
        mean, n = within_content_srcc([1, 2, 3], [1, 2, 3], list("abc"))
    assert math.isnan(mean) and n == 0
