"""Runs that are followed by a tracker get what is logged, loss parts and all."""

import json

import pytest
from distillation.tiny import distillation_trainer, quality_trainer
from transformers import TrainerCallback


PARTS = {"student_regression": 1.0, "feature": {"weight": 1.0, "schedule": "cosine"}}
WANTED = ("loss", "student_regression_loss", "feature_loss", "feature_weight", "grad_norm", "learning_rate")


def train(folder, clips, tracker):
    settings = {"teacher_mode": "frozen", "loss_weights": PARTS, "report_to": tracker, "save_strategy": "no"}
    trainer = distillation_trainer(folder, clips, load_best_model_at_end=False, **settings)
    trainer.train()
    return trainer


def test_tensorboard(tmp_path, clips, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = train(tmp_path / "run", clips, "tensorboard")
    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {f"train/{name}" for name in WANTED} <= tags
    assert {"eval/srcc", "eval/teacher_srcc", "eval/feature_loss"} <= tags
    logged = [entry["feature_weight"] for entry in trainer.state.log_history if "feature_weight" in entry]
    assert [event.value for event in events.Scalars("train/feature_weight")] == pytest.approx(logged)


def test_trackio_without_the_network(tmp_path, clips, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "tracked"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("trackio", reason="trackio is not installed")
    from trackio.sqlite_storage import SQLiteStorage

    trainer = train(tmp_path / "run", clips, "trackio")
    assert SQLiteStorage.get_runs("huggingface") == [trainer.args.output_dir]  # one, fitting the mapping included
    names = set().union(*SQLiteStorage.get_logs("huggingface", trainer.args.output_dir))
    assert {f"train/{name}" for name in WANTED} | {"eval/srcc", "eval/teacher_srcc"} <= names
    assert not any(name.startswith("test/") for name in names)


def test_what_is_said_of_validation_when_the_mapping_is_fitted_does_not_pass_for_a_test(tmp_path, clips):
    class Tracker(TrainerCallback):
        def on_predict(self, args, state, control, metrics, **kwargs):
            told.update(metrics)

    told, trainer = {}, quality_trainer(tmp_path, clips)
    trainer.add_callback(Tracker())
    trainer.fit_score_mapping(clips["validation"])
    assert "eval_srcc" in told and all(name.startswith("eval_") for name in told)


def test_the_weights_that_change_are_in_the_log(tmp_path, clips):
    log = train(tmp_path, clips, "none").state.log_history
    weights = [entry["feature_weight"] for entry in log if "feature_weight" in entry]
    assert len(weights) == 4 and weights == sorted(weights, reverse=True) and weights[-1] == pytest.approx(0)
    assert not any("student_regression_weight" in entry for entry in log)
    json.dumps(log)  # plain numbers
