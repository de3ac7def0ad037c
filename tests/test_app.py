"""The page: scores, comparison, worst moments, and words for what is wrong with a file."""

from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from real_clips import bad_files, encode, panned, save_tiny_model

from cvqa.app import build_app, judge, summary_html, timeline, verdict_html, worst_moments
from cvqa.inference import VideoScore, VideoScorer


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
    assert any(caption.startswith(f"{lowest:.0f} at 0:") for _, caption in pictures)
    assert all(frame.dtype == np.uint8 and frame.shape[2] == 3 for frame, _ in pictures)
    lines = timeline(results).axes[0].lines
    assert len(lines) == 2 and lines[0].get_xdata()[-1] == pytest.approx(4)


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


def test_the_page_answers_over_http(scorer, clips):
    page = build_app(scorer, examples=clips)
    _, url, _ = page.queue().launch(prevent_thread_lock=True, quiet=True)
    try:
        client = Client(url, verbose=False)
        html, plot, pictures = client.predict(handle_file(clips[0]), handle_file(clips[1]), api_name="/show")
        assert html.count('class="score"') == 2 and plot["type"] == "matplotlib"
        assert len(pictures["value"] if isinstance(pictures, dict) else pictures) == 6
    finally:
        page.close()


def test_a_large_file_is_refused_before_it_is_read(scorer, tmp_path, monkeypatch):
    monkeypatch.setattr("cvqa.app.MAX_BYTES", 10)
    path = Path(encode(tmp_path / "a.mp4", panned(8)))
    assert "cut out the part" in judge(scorer, str(path)).error
