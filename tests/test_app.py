"""The page: scores, comparison, worst moments, and words for what is wrong with a file."""

import re
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from real_clips import bad_files, encode, panned, save_tiny_model

from cvqa.app import build_app, judge, meaning, worst_moments
from cvqa.app_html import card_html, clock, summary_html, timeline_html, verdict_html
from cvqa.inference import Segment, VideoScore, VideoScorer


@pytest.fixture(scope="module")
def scorer(tmp_path_factory) -> VideoScorer:
    return VideoScorer.from_pretrained(save_tiny_model(tmp_path_factory.mktemp("model")), device="cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("clips")
    return [str(encode(folder / f"crf<{crf}>.mp4", panned(100), crf=crf)) for crf in (20, 45)]


def test_two_encodes_are_scored_and_shown_side_by_side(scorer, clips):
    results = [judge(scorer, clip) for clip in clips]
    assert [result.score for result in results] == [scorer.score(clip).score for clip in clips]
    assert len(results[0].segments) == 4  # 4 seconds
    html = summary_html(results)
    assert f"{results[0].score:.1f}" in html and "crf&lt;20&gt;.mp4" in html and "<20>" not in html
    pictures = worst_moments(results)
    assert len(pictures) == 6  # three moments of both
    worst = min(results, key=lambda result: result.score)
    lowest = min(segment.score for segment in worst.segments)
    assert any(f": {lowest:.0f} at 0:" in caption for _, caption in pictures)
    assert all(frame.dtype == np.uint8 and frame.shape[2] == 3 for frame, _ in pictures)
    assert [caption.partition(":")[0] for _, caption in pictures] == ["1", "2"] * 3


def test_the_timeline_has_the_steps_of_every_video_and_shades_the_worst_moments():
    good = VideoScore("a<b>.mp4", 80.0, (78.0, 82.0), (Segment(0, 1, 90.0), Segment(1, 2.5, 70.0)))
    bad = VideoScore(
        "b.mp4", 30.0, (20.0, 40.0), tuple(Segment(i, i + 1, score) for i, score in enumerate([50, 10, 30, 20]))
    )
    html = timeline_html([(good, "first"), (bad, "second")])
    assert 'viewBox="0 0 4.000 100"' in html and "a&lt;b&gt;.mp4" in html
    assert '<path class="first" d="M0,10.00V10.00H1.000V30.00H2.500"/>' in html
    shaded = re.findall(r'<rect class="worst second" x="([\d.]+)" width="1.000" height="100"><title>(.*?)<', html)
    assert dict(shaded) == {
        "1.000": "0:01.0 to 0:02.0: 10",
        "3.000": "0:03.0 to 0:04.0: 20",
        "2.000": "0:02.0 to 0:03.0: 30",
    }
    assert timeline_html([]) == ""


def test_clock():
    assert [clock(seconds) for seconds in (0, 59.96, 62.5, 600)] == ["0:00.0", "1:00.0", "1:02.5", "10:00.0"]


def test_what_is_wrong_with_a_file_is_told_in_words(scorer, clips, tmp_path):
    for name, path in bad_files(tmp_path).items():
        result = judge(scorer, str(path))
        assert result.score is None and result.error, name
        html = summary_html([result, judge(scorer, clips[0])])
        assert "cannot be scored" in html and "Traceback" not in html
        assert html.count('class="score"') == 1, name  # the other is scored all the same


def test_a_winner_is_named_only_where_the_intervals_do_not_overlap():
    good = VideoScore(file="a.mp4", score=80.0, interval=(78.0, 82.0))
    bad = VideoScore(file="b.mp4", score=60.0, interval=(55.0, 65.0))
    near = VideoScore(file="c.mp4", score=79.0, interval=(70.0, 88.0))
    assert "<b>a.mp4</b> is better by 20.0 points" in verdict_html([bad, good])
    assert "not certain" in verdict_html([good, near])
    assert verdict_html([good]) == ""


def test_the_bounds_are_those_that_the_command_line_prints_and_are_explained():
    size = {"width": 64, "height": 48, "duration": 1.0}
    result = VideoScore(file="a.mp4", score=75.0, interval=(50.0, 100.0), spread=(70.0, 80.0), **size)
    assert "between 50.0 and 100.0" in card_html(result, "first")
    assert "held VMAF of 90% of the held-out videos" in meaning(VideoScorer.from_pretrained())


def test_the_page_answers_over_http(scorer, clips):
    page = build_app(scorer, examples=clips)
    _, url, _ = page.queue().launch(prevent_thread_lock=True, quiet=True)
    try:
        client = Client(url, verbose=False)
        html, pictures = client.predict(handle_file(clips[0]), handle_file(clips[1]), api_name="/show")
        assert html.count('class="score"') == 2 and html.count("<path") == 2
        assert len(pictures["value"] if isinstance(pictures, dict) else pictures) == 6
        assert client.predict(None, None, api_name="/show")[0] == ""
    finally:
        page.close()


def test_a_large_file_is_refused_before_it_is_read(scorer, tmp_path, monkeypatch):
    monkeypatch.setattr("cvqa.app.MAX_BYTES", 10)
    path = Path(encode(tmp_path / "a.mp4", panned(8)))
    assert "cut out the part" in judge(scorer, str(path)).error
