"""The demo: in small with every step, and, slow, as users run it."""

import json

import pytest

from cvqa import demo


SMALL_LADDER = {
    "recipe": [{"encoder": ["x264", "vp9"]}],
    "encodes_per_source": 4,
    "size": (128, 96),
    "num_frames": 4,
}


def check_what_it_leaves(folder, told):
    for model in ("teacher", "student"):
        assert (folder / model / "model.safetensors").is_file()
        assert json.loads((folder / model / "config.json").read_text())["label_kind"] == "vmaf"
        assert (folder / model / "test" / "scatter.png").stat().st_size > 10_000
        assert not list((folder / model).glob("checkpoint*"))
    assert (folder / "falling_quality.png").stat().st_size > 10_000
    assert "| teacher |" in (folder / "table.md").read_text() and "| student |" in (folder / "table.md").read_text()
    assert "SRCC" in told and f"cvqa score --model {folder / 'student'}" in told


def scores_at_falling_quality(told):
    lines = told.split("CRF   student   default    VMAF\n")[1].splitlines()[: len(demo.FALLING_QUALITY)]
    return [tuple(map(float, line.split())) for line in lines]


def test_every_step_in_small(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "PHOTOGRAPHS", demo.PHOTOGRAPHS[:5])
    monkeypatch.setattr(demo, "LADDER", SMALL_LADDER)
    monkeypatch.setattr(demo, "TRAINING", {**demo.TRAINING, "num_train_epochs": 2, "eval_steps": 1, "save_steps": 1})
    monkeypatch.setattr(demo, "FALLING_QUALITY", (20, 51))
    summaries = demo.run_demo(tmp_path / "demo")
    told = capsys.readouterr().out
    check_what_it_leaves(tmp_path / "demo", told)
    assert summaries["student"].figure("srcc").n == 4
    best, worst = scores_at_falling_quality(told)  # what the demo's own student has learnt here is nothing
    assert best[3] > worst[3] + 20 and best[2] > worst[2] + 20

    demo.run_demo(tmp_path / "demo")
    assert "20 were there before" in capsys.readouterr().out


@pytest.mark.slow
def test_the_student_sees_quality_fall(tmp_path, capsys):
    demo.run_demo(tmp_path / "demo")
    told = capsys.readouterr().out
    check_what_it_leaves(tmp_path / "demo", told)
    _, student, default, _ = zip(*scores_at_falling_quality(told))
    for scores in (student, default):
        assert list(scores) == sorted(scores, reverse=True) and scores[0] > scores[-1] + 5
