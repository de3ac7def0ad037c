"""The figures of one evaluation: what stands beside each, and how they are written out."""

import json
import warnings

import numpy as np
import pytest

from cvqa.evaluation import Summary, bootstrap_interval, figures_of_merit, markdown_table, srcc, summarize, text_table


@pytest.fixture(scope="module")
def summary(ladder):
    predictions, scores, contents, codecs = ladder
    return summarize(
        predictions,
        scores,
        contents,
        codecs=codecs,
        model="student",
        dataset="ladder",
        label_kind="vmaf",
        resamples=200,
    )


def test_figures_are_those_of_the_metrics_with_all_that_must_stand_beside_them(ladder, summary):
    predictions, scores, _, codecs = ladder
    for subset, rows in [("all", slice(None)), ("codec=vp9", codecs == "vp9")]:
        expected = figures_of_merit(predictions[rows], scores[rows], "logistic4")
        for name, value in expected.items():
            figure = summary.figure(name, subset)
            assert figure.value == pytest.approx(value)
            assert figure.interval[0] < value < figure.interval[1]
            assert (figure.split, figure.n, figure.n_contents) == ("test", len(scores[rows]), 10)
            assert figure.mapping == ("logistic4" if name in ("plcc", "rmse") else "none")
    assert summary.subsets == ["all", "codec=av1", "codec=h264", "codec=hevc", "codec=vp9"]
    assert summary.figure("within_content_srcc").value > summary.figure("srcc").value


def test_intervals_are_those_of_bootstrap_interval(ladder, summary):
    predictions, scores, contents, _ = ladder
    expected = bootstrap_interval(srcc, predictions, scores, contents, n=200)
    assert summary.figure("srcc").interval == pytest.approx(expected, abs=1e-12)


def test_the_same_figures_come_back_from_json(summary):
    text = json.dumps(summary.to_dict(), allow_nan=False)
    assert Summary.from_dict(json.loads(text)) == summary


def test_one_codec_is_not_broken_down(ladder):
    predictions, scores, contents, _ = ladder
    assert summarize(predictions, scores, contents, codecs=["av1"] * 160, resamples=0).subsets == ["all"]


def test_no_figure_without_its_interval_mapping_split_and_n(summary):
    table = markdown_table(summary)
    header, _, first, *_ = table.splitlines()
    cells = dict(zip(*[[cell.strip() for cell in line.strip("|").split("|")] for line in (header, first)]))
    low, high = summary.figure("srcc").interval
    assert cells["SRCC"] == f"{summary.figure('srcc').value:.3f} [{low:.3f}, {high:.3f}]"
    assert (cells["model"], cells["data"], cells["split"]) == ("student", "ladder", "test")
    assert (cells["mapping"], cells["videos"], cells["contents"]) == ("logistic4", "160", "10")
    assert "4-parameter logistic" in table and "200 resamples of contents" in table
    assert text_table(summary).splitlines()[0] == "model: student, data: ladder, split: test, mapping: logistic4"


def test_models_are_compared_in_one_table(ladder, summary):
    predictions, scores, contents, _ = ladder
    other = summarize(-predictions, scores, contents, mapping="rescale", model="a|b", dataset="ladder", resamples=0)
    table = markdown_table(summary, other)
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 5 + 1
    assert rows[-1].startswith("| a\\|b | ladder | test | rescale | all | 160 | 10 | -0.")
    assert "a|b: predictions run against the scores" in table


def test_constant_predictions_are_reported_as_undefined_not_as_a_number(ladder):
    _, scores, contents, _ = ladder
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the reasons stand in the notes
        summary = summarize(np.full(160, 50.0), scores, contents, resamples=50)
    for name in ("srcc", "plcc", "krcc", "rmse"):
        figure = summary.figure(name)
        assert figure.value is None and figure.interval is None
        assert figure.note == "all 160 predictions are equal (50)"
    assert summary.figure("within_content_srcc").value is None
    assert summary.mapping is None
    assert "undefined" in text_table(summary) and "all 160 predictions are equal (50)" in text_table(summary)


def test_too_few_contents_leave_the_interval_out_and_say_why(ladder):
    predictions, scores, contents, _ = ladder
    summary = summarize(predictions[:32], scores[:32], contents[:32])
    for figure in summary.figures:
        assert figure.value is not None and figure.interval is None
        assert figure.note == "no interval: too few contents to resample (2, at least 3 are needed)"


def test_too_few_scores_for_the_mapping_leave_the_other_figures(ladder):
    predictions, scores, contents, _ = ladder
    rows = [0, 20, 40, 63]
    summary = summarize(predictions[rows], scores[rows], contents[rows], resamples=50)
    assert summary.figure("plcc").note == "logistic4 has 4 parameters, 4 scores are too few to fit them"
    assert summary.figure("srcc").value == pytest.approx(srcc(predictions[rows], scores[rows]))


def test_what_is_special_about_an_evaluation_is_said_below_its_table(ladder):
    predictions, scores, contents, _ = ladder
    summary = summarize(
        predictions[:80],
        scores[:80],
        contents[:80],
        label_kind="dmos",
        higher_is_better=False,
        model_label_kind="vmaf",
        failed=["broken.mp4"],
        resamples=50,
    )
    text = text_table(summary)
    assert "DMOS: higher is worse; predictions are on the same scale, so good ones correlate positively" in text
    assert "trained on VMAF, compared with DMOS" in text
    assert "only 5 contents" in text
    assert "no prediction, and so in no figure (1): broken.mp4" in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codecs": ["av1"]}, "1 codecs for 160 scores"),
        ({"content_ids": ["a"]}, "1 content ids for 160 scores"),
        ({"content_ids": [""] * 160}, "row 0 has no content id"),
        ({"mapping": "cubic"}, "unknown mapping 'cubic'"),
    ],
)
def test_wrong_input_is_an_error(ladder, changes, reason):
    predictions, scores, contents, _ = ladder
    with pytest.raises(ValueError, match=reason):
        summarize(**{"predictions": predictions, "scores": scores, "content_ids": contents, **changes})
