"""What is left of a run that was killed, and what goes on from there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from distillation.test_quality_trainer import assert_same_weights, weights
from distillation.tiny import distillation_trainer, quality_trainer, tiny_model, train_logs

from cvqa.distillation import QualityTrainer
from cvqa.distillation.run import last_checkpoint


EVERY_STEP = {
    "num_train_epochs": 3,
    "save_strategy": "steps",
    "eval_strategy": "steps",
    "save_steps": 1,
    "eval_steps": 1,
}


@pytest.mark.slow
def test_a_killed_run_loses_at_most_the_steps_since_its_last_checkpoint(tmp_path, clips):
    settings = EVERY_STEP | {"teacher_mode": "frozen"}
    whole = distillation_trainer(tmp_path / "whole", clips, **settings)
    whole.train()

    script = Path(__file__).with_name("train_tiny.py")
    path = os.pathsep.join([str(script.parents[1]), os.environ.get("PYTHONPATH", "")])
    killed = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "killed"), json.dumps(settings | {"killed_at": 4})],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=300,
    )
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "killed" / "checkpoint-4" / "model.safetensors").is_file()
    last = last_checkpoint(tmp_path / "killed")
    assert last.endswith("checkpoint-3")

    resumed = distillation_trainer(tmp_path / "killed", clips, tiny_model(7), **settings)
    resumed.train(resume_from_checkpoint=last)
    assert resumed.state.global_step == whole.state.global_step == 6
    losses = [[entry["loss"] for entry in train_logs(trainer)] for trainer in (whole, resumed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert_same_weights(weights(whole.student), weights(resumed.student), atol=1e-6, rtol=1e-5)


def test_a_checkpoint_whose_state_is_half_written_is_not_the_last(tmp_path):
    for step, state in ((8, '{"global_step": 8}'), (16, '{"global_step": 16'), (24, ""), (32, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-8")
    assert last_checkpoint(tmp_path / "checkpoint-8") is None


def test_training_stops_when_validation_does_not_get_better_and_resuming_goes_on_counting(tmp_path, clips, monkeypatch):
    def figures_are(*ranks):
        ranks = iter(ranks)
        monkeypatch.setattr(QualityTrainer, "compute_figures", lambda self, prediction: {"srcc": next(ranks, 0.0)})

    settings = {"num_train_epochs": 9, "early_stopping_patience": 3, "save_total_limit": None}
    figures_are(0.1, 0.5, 0.4, 0.3, 0.2, 0.9)
    whole = quality_trainer(tmp_path, clips, **settings)
    whole.train()
    assert whole.state.epoch == 5  # three after the best
    assert whole.state.best_model_checkpoint.endswith("checkpoint-4")

    figures_are(0.2, 0.9)
    resumed = quality_trainer(tmp_path, clips, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))  # two without a better one behind it
    assert resumed.state.epoch == 5
