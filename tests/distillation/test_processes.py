"""One process and two, sharded or not, give the same up to rounding: same clips, same augmentation, same loss."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file


ROOT = Path(__file__).parents[2]
DDP, FSDP2 = ROOT / "accelerate_config.yaml", ROOT / "scripts" / "accelerate_fsdp2.yaml"


def train(folder: Path, processes: int, config: Path = DDP, **settings) -> dict:
    settings |= {"per_device_train_batch_size": 6 // processes, "per_device_eval_batch_size": 6 // processes}
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(config)]
    launch += ["--mixed_precision", "no", "--num_processes", str(processes), "--main_process_port", "0"]
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, *launch, str(Path(__file__).with_name("train_tiny.py")), str(folder), json.dumps(settings)],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads((folder / "facts.json").read_text())


def settings_of(mode: str) -> dict:
    weights = {"student_regression": 1.0, "feature": {"weight": 1.0, "warmup": 0.5}, "plcc": 0.5, "rank": 0.3}
    weights |= {"relational_distance": 1.0, "teacher_score": 1.0}
    weights |= {"teacher_regression": 1.0} if mode == "joint" else {}
    weights |= {"hidden_states": 0.3} if mode != "cached" else {}
    settings = {"teacher_mode": mode, "loss_weights": weights, "num_train_epochs": 3, "views": 2}
    # Else Adam scales up a gradient that is only rounding (of a bias of the keys, which softmax ignores).
    return settings | {"learning_rate": 0.01, "adam_epsilon": 1e-3}


def assert_same_logs(log: list[dict], other: list[dict]) -> None:
    timing = ("runtime", "per_second", "total_flos")
    for a, b in zip(log, other, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            if not any(word in key for word in timing):
                assert a[key] == pytest.approx(b[key], rel=1e-3, abs=1e-4), key


def assert_same_models(folder: Path, other: Path, mode: str) -> None:
    for name in ("", "teacher") if mode != "cached" else ("",):
        a, b = (load_file(each / name / "model.safetensors") for each in (folder, other))
        assert a.keys() == b.keys()
        for key in a:
            assert (a[key] - b[key]).abs().max() < 1e-5, key


@pytest.mark.slow
@pytest.mark.parametrize("mode, stream", [("joint", False), ("frozen", False), ("cached", False), ("joint", True)])
def test_two_processes_train_the_same_models_as_one(tmp_path, mode, stream):
    one, two = (train(tmp_path / str(n), n, **settings_of(mode), stream=stream) for n in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert_same_logs(one["log"], two["log"])
    assert_same_models(tmp_path / "1", tmp_path / "2", mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["joint", "frozen", "cached"])
def test_sharded_models_train_save_resume_and_end_with_the_best_as_whole_ones(tmp_path, mode):
    settings = settings_of(mode) | {"save_total_limit": None}
    whole = train(tmp_path / "whole", 1, **settings)
    sharded = train(tmp_path / "sharded", 2, FSDP2, **settings)
    assert sharded["sharded"] and not whole["sharded"]
    assert_same_logs(whole["log"], sharded["log"])
    assert_same_models(tmp_path / "whole", tmp_path / "sharded", mode)
    resumed = train(
        tmp_path / "resumed", 2, FSDP2, **settings, resume_from_checkpoint=str(tmp_path / "sharded" / "checkpoint-2")
    )
    assert resumed["resumed"]
    assert_same_logs(whole["log"][:-1], resumed["log"][:-1])
    assert_same_models(tmp_path / "whole", tmp_path / "resumed", mode)
