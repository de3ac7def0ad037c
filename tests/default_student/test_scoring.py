"""The interval: made on some videos, it holds the truth of others as often as it says."""

import numpy as np
import pytest

from cvqa.default_student.scoring import covered, fit_interval
from cvqa.models.video_scores import Segment, VideoScore, calibrated_interval, mean_and_interval


def draw(number: int, seed: int) -> tuple[list[VideoScore], list[float]]:
    """Scores whose errors grow towards the middle of the scale, each of three views that differ a little."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(5, 98, number)
    truths = np.clip(scores + rng.normal(0, 2 + 10 * np.sin(scores / 100 * np.pi)), 0, 100)
    results = []
    for score in scores:
        views = tuple(Segment(0, 1, float(score + change)) for change in rng.normal(0, 0.5, 3))
        mean, spread = mean_and_interval([view.score for view in views])
        results.append(VideoScore(file="", score=mean, interval=spread, spread=spread, views=views))
    return results, truths.tolist()


def calibrated(results: list[VideoScore], calibration: dict) -> list[VideoScore]:
    return [
        VideoScore(file="", score=r.score, interval=calibrated_interval([v.score for v in r.views], calibration))
        for r in results
    ]


def test_the_interval_holds_the_truth_as_often_as_stated_on_videos_it_was_not_made_from():
    calibration = fit_interval(*draw(800, seed=0), coverage=0.9)
    results, truths = draw(2000, seed=1)
    assert 0.87 < covered(calibrated(results, calibration), truths) < 0.93
    assert covered(results, truths) < 0.5, "the spread of the views alone does not"


def test_it_is_wider_where_errors_are_larger():
    calibration = fit_interval(*draw(800, seed=0), coverage=0.9)
    margins = dict(zip(calibration["scores"], calibration["margins"]))
    assert margins[97.0] < 0.7 * margins[40.0]


def test_views_that_disagree_widen_it():
    calibration = {"coverage": 0.9, "scores": [0, 100], "margins": [5, 5]}
    low, high = calibrated_interval([50.0, 50.0, 50.0], calibration)
    assert (low, high) == pytest.approx((45, 55))
    wider = calibrated_interval([40.0, 50.0, 60.0], calibration)
    assert wider[0] < low and wider[1] > high
    assert calibrated_interval([99.0], calibration) == pytest.approx((94, 100)), "a single view has no spread"
