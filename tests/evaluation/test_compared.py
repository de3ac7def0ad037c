"""Means over runs and paired differences, against the same computed from resamples that are written out."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from cvqa.evaluation.compared import (
    COMPARED,
    ContentResamples,
    Estimate,
    RunFigures,
    mean_difference,
    mean_of_differences,
    mean_over_runs,
)
from cvqa.evaluation.intervals import draw_contents


CONTENTS, ENCODES, RESAMPLES = 7, 6, 200


def make_run(noise: float, seed: int, contents=range(CONTENTS)):
    generator = np.random.default_rng(seed)
    content_ids = [f"content{content}" for content in contents for _ in range(ENCODES)]
    scores = np.concatenate([np.random.default_rng(100 + content).uniform(20, 100, ENCODES) for content in contents])
    return scores + generator.normal(0, noise, len(scores)), scores, content_ids


def resampled(metric, predictions, scores, content_ids, all_contents=CONTENTS) -> np.ndarray:
    """The metric on every resample, each as the list of its videos."""
    values = []
    for draw in draw_contents(all_contents, RESAMPLES, seed=0):
        rows = [row for place in draw for row, name in enumerate(content_ids) if name == f"content{place}"]
        values.append(metric(predictions[rows], scores[rows]) if rows else np.nan)
    return np.array(values)


@pytest.fixture(scope="module")
def resamples():
    return ContentResamples([f"content{content}" for content in range(CONTENTS)], RESAMPLES)


def test_the_figures_of_a_run_are_those_of_its_resamples(resamples):
    run = make_run(20, 1)
    figures = resamples.figures(*run, mapping="none")
    assert set(figures.values) == set(COMPARED)
    for name, metric in (
        ("srcc", lambda p, t: spearmanr(p, t).statistic),
        ("krcc", lambda p, t: kendalltau(p, t).statistic),
        ("plcc", lambda p, t: np.corrcoef(p, t)[0, 1]),
        ("rmse", lambda p, t: np.sqrt(np.mean((p - t) ** 2))),
    ):
        assert figures.values[name] == pytest.approx(metric(*run[:2]))
        np.testing.assert_allclose(figures.resamples[name], resampled(metric, *run), atol=1e-9)


def test_within_content_draws_contents(resamples):
    predictions, scores, content_ids = make_run(20, 1)
    blocks = [slice(start, start + ENCODES) for start in range(0, len(scores), ENCODES)]
    each = np.array([spearmanr(predictions[block], scores[block]).statistic for block in blocks])
    figures = resamples.figures(predictions, scores, content_ids)
    assert figures.values["within_content_srcc"] == pytest.approx(each.mean())
    expected = each[draw_contents(CONTENTS, RESAMPLES, seed=0)].mean(axis=1)
    np.testing.assert_allclose(figures.resamples["within_content_srcc"], expected)


def test_runs_on_other_splits_share_the_draws(resamples):
    """A content that two splits test is in a resample of both or of neither."""
    run = make_run(20, 2, contents=(1, 3, 4, 6))
    figures = resamples.figures(*run)
    expected = resampled(lambda p, t: spearmanr(p, t).statistic, *run)
    np.testing.assert_allclose(figures.resamples["srcc"], expected, atol=1e-9)


def test_a_mean_over_runs(resamples):
    runs = [resamples.figures(*make_run(20, seed)) for seed in range(3)]
    found = mean_over_runs(runs, "srcc")
    values = [run.values["srcc"] for run in runs]
    assert found.value == pytest.approx(np.mean(values))
    assert found.spread == pytest.approx(np.std(values, ddof=1))
    assert found.runs == 3
    expected = np.quantile(np.mean([run.resamples["srcc"] for run in runs], axis=0), [0.025, 0.975])
    np.testing.assert_allclose(found.interval, expected)


def test_what_is_common_to_a_content_cancels_in_a_difference(resamples):
    """Both runs misjudge the same contents: the figures are uncertain, their difference is not."""
    predictions, scores, content_ids = make_run(8, 3)
    offsets = np.repeat(np.random.default_rng(5).normal(0, 40, CONTENTS), ENCODES)
    better = resamples.figures(predictions + offsets, scores, content_ids)
    less = predictions + offsets + np.random.default_rng(6).normal(0, 2, len(scores))
    worse = resamples.figures(less, scores, content_ids)
    difference = mean_difference([(better, worse)], "srcc", np.random.default_rng(0))
    assert difference.value == pytest.approx(better.values["srcc"] - worse.values["srcc"])
    low, high = mean_over_runs([better], "srcc").interval
    assert difference.interval[1] - difference.interval[0] < (high - low) / 3


def test_a_difference_that_differs_between_pairs_is_uncertain():
    """The same on all contents, but not from seed to seed: the interval must hold the seeds."""

    def flat(value):
        return RunFigures({"srcc": value}, {"srcc": np.full(1000, value)})

    pairs = [(flat(0.8), flat(0.5)), (flat(0.6), flat(0.7)), (flat(0.75), flat(0.65))]
    found = mean_difference(pairs, "srcc", np.random.default_rng(0))
    assert found.value == pytest.approx(0.1)
    assert found.interval == pytest.approx((-0.1, 0.3))  # all three draws the worst, or the best, pair: 1 in 27 each
    assert not found.is_clear
    assert mean_difference(pairs[:1], "srcc", np.random.default_rng(0)).is_clear


def test_every_student_counts_alike_in_a_mean_of_differences():
    def flat(value):
        return RunFigures({"srcc": value}, {"srcc": np.full(50, value)})

    groups = [[(flat(0.9), flat(0.5))], [(flat(0.5), flat(0.5))] * 3]
    found = mean_of_differences(groups, "srcc", np.random.default_rng(0))
    assert (found.value, found.runs) == (pytest.approx(0.2), 2)


def test_one_run_without_a_figure_leaves_the_mean_undefined(resamples):
    predictions, scores, content_ids = make_run(20, 1)
    runs = [resamples.figures(p, scores, content_ids) for p in (predictions, np.full(len(scores), 3.0))]
    assert mean_over_runs(runs, "srcc") == Estimate(None, None, 2, pytest.approx(float("nan"), nan_ok=True))
    assert mean_over_runs(runs, "within_content_srcc").value is None


def test_two_contents_give_figures_without_intervals():
    run = make_run(20, 1, contents=(0, 1))
    figures = ContentResamples(set(run[2]), RESAMPLES).figures(*run)
    found = mean_over_runs([figures], "srcc")
    assert found.value == pytest.approx(spearmanr(*run[:2]).statistic)
    assert found.interval is None and found.spread is None
