"""Scores are those of `cvqa score` and made once; the interval holds the truth of others as often as it says."""

import json

import numpy as np
import pytest
from real_clips import encode, panned, save_tiny_model

from cvqa import VideoScorer
from cvqa.default_student.scoring import covered, fit_interval, score_files
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


def test_of_a_few_videos_it_holds_as_many_as_stated_too():
    for seed in range(20):
        results, truths = draw(7, seed)
        assert covered(calibrated(results, fit_interval(results, truths, coverage=0.9)), truths) >= 0.9


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, two encodes and a file that is no video."""
    folder = tmp_path_factory.mktemp("scored")
    save_tiny_model(folder / "model")
    for crf in (20, 45):
        encode(folder / f"{crf}.mp4", panned(30), crf=crf)
    (folder / "broken.mp4").write_text("not a video")
    return folder


def test_files_are_scored_as_by_the_scorer_and_not_twice(folder, monkeypatch):
    files = [str(folder / name) for name in ("20.mp4", "broken.mp4", "45.mp4")]
    scorer = VideoScorer.from_pretrained(folder / "model")
    expected = [scorer.score(files[number]) for number in (0, 2)]
    first = score_files(folder / "model", files, 2, folder / "scores.jsonl")
    assert first[1].score is None and first[1].error and files[1] not in first[1].error
    assert [(r.score, r.interval) for r in first[::2]] == [(r.score, r.interval) for r in expected]
    assert len(first[0].views) == 3

    asked, score = [], VideoScorer.score
    monkeypatch.setattr(VideoScorer, "score", lambda self, file: asked.append(file) or score(self, file))
    with (folder / "scores.jsonl").open("a") as file:
        file.write('{"model": "cut sho')  # as a kill leaves it
    (folder / "moved.mp4").write_bytes((folder / "20.mp4").read_bytes())
    again = score_files(folder / "model", [str(folder / "moved.mp4"), files[2]], 1, folder / "scores.jsonl")
    assert [result.score for result in again] == [result.score for result in first[::2]] and not asked

    config = json.loads((folder / "model" / "config.json").read_text())
    config["score_interval"] = {"coverage": 0.9, "scores": [0, 100], "margins": [5, 5]}
    (folder / "model" / "config.json").write_text(json.dumps(config))
    (result,) = score_files(folder / "model", files[:1], 1, folder / "scores.jsonl")
    assert result.interval != first[0].interval and not asked, "another interval needs no other scores"
    config["score_mapping"] = {"name": "linear", "parameters": [0.5, 0.1]}
    (folder / "model" / "config.json").write_text(json.dumps(config))
    score_files(folder / "model", files[:1], 1, folder / "scores.jsonl")
    assert asked == files[:1], "another mapping does"
