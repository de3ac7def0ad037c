"""One process and two give the same result, up to rounding: same clips, same augmentation, same loss."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file


ROOT = Path(__file__).parents[2]


def train(folder: Path, processes: int, **settings) -> dict:
    settings |= {"per_device_train_batch_size": 6 // processes, "per_device_eval_batch_size": 6 // processes}
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_config.yaml")]
    launch += ["--mixed_precision", "no", "--num_processes", str(processes), "--main_process_port", "0"]
    result = subprocess.run(
        [sys.executable, *launch, str(Path(__file__).with_name("train_tiny.py")), str(folder), json.dumps(settings)],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads((folder / "facts.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("mode, stream", [("joint", False), ("frozen", False), ("joint", True)])
def test_two_processes_train_the_same_models_as_one(tmp_path, mode, stream):
    weights = {"student_regression": 1.0, "feature": 1.0, "plcc": 0.5, "rank": 0.3}
    weights |= {"teacher_regression": 1.0} if mode == "joint" else {}
    settings = {"teacher_mode": mode, "loss_weights": weights, "num_train_epochs": 3, "stream": stream}
    # Not Adam, which scales up a gradient that is only rounding (of a bias of the keys, which softmax ignores).
    settings |= {"optim": "sgd", "learning_rate": 0.1}
    one, two = (train(tmp_path / str(n), n, **settings) for n in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)

    timing = ("runtime", "per_second", "total_flos")
    for a, b in zip(one["log"], two["log"], strict=True):
        assert a.keys() == b.keys()
        for key in a:
            if not any(word in key for word in timing):
                assert a[key] == pytest.approx(b[key], rel=1e-4, abs=1e-6), key
    for folder in ("", "teacher"):
        a, b = (load_file(tmp_path / n / folder / "model.safetensors") for n in ("1", "2"))
        for name in a:
            assert (a[name] - b[name]).abs().max() < 1e-5, name
