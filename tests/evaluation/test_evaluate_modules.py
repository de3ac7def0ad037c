"""The figures as `evaluate` metrics, without the network."""

import evaluate
import numpy as np
import pytest

from cvqa.evaluation import Krcc, Plcc, Rmse, Srcc, UndefinedWarning


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise AssertionError("an evaluate metric of cvqa asked for the network")

    monkeypatch.setattr("socket.socket.connect", refuse)


def make(metric, tmp_path):
    return metric(cache_dir=str(tmp_path))


def test_they_equal_the_reference(case, tmp_path):
    combined = evaluate.combine([make(metric, tmp_path) for metric in (Srcc, Plcc, Krcc, Rmse)])
    result = combined.compute(predictions=case["prediction"], references=case["mos"], mapping="logistic4")
    assert result["srcc"] == pytest.approx(case["raw"]["SRCC"], abs=1e-10)
    assert result["krcc"] == pytest.approx(case["raw"]["KRCC_tau_b"], abs=1e-10)
    assert result["plcc"] == pytest.approx(case["logistic4"]["PLCC"], abs=1e-6)
    assert result["rmse"] == pytest.approx(case["logistic4"]["RMSE"], rel=1e-6)
    assert result["plcc_mapping"] == result["rmse_mapping"] == "logistic4"


def test_batches_add_up_to_the_whole(case, tmp_path):
    combined = evaluate.combine([make(metric, tmp_path) for metric in (Srcc, Rmse)])
    for rows in np.array_split(np.arange(len(case["mos"])), 4):
        combined.add_batch(predictions=case["prediction"][rows], references=case["mos"][rows].tolist())
    result = combined.compute(mapping="rescale")
    assert result["srcc"] == pytest.approx(case["raw"]["SRCC"], abs=1e-10)
    assert result["rmse"] == pytest.approx(case["linear_rescale"]["RMSE"], rel=1e-10)


def test_without_a_mapping_the_figure_says_none(case, tmp_path):
    result = make(Plcc, tmp_path).compute(predictions=case["prediction"], references=case["mos"])
    assert result == {"plcc": pytest.approx(case["raw"]["PLCC"], abs=1e-10), "plcc_mapping": "none"}


def test_undefined_is_nan_with_a_warning(tmp_path):
    with pytest.warns(UndefinedWarning, match="equal"):
        assert np.isnan(make(Srcc, tmp_path).compute(predictions=[1, 1, 1], references=[1, 2, 3])["srcc"])


def test_a_metric_describes_itself(tmp_path):
    metric = make(Rmse, tmp_path)
    assert metric.name == "rmse" and "Video Quality Experts Group" in metric.citation
    assert "squared error" in metric.description and "logistic4" in metric.inputs_description
