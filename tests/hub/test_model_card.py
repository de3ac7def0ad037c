"""The card says what the run recorded, no more, and its snippets run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import CardData, ModelCard
from real_clips import encode, panned, save_tiny_model

from cvqa.evaluation import save_report, summarize
from cvqa.hub.cards import render
from cvqa.hub.folder import write_model_folder
from cvqa.hub.model_card import model_card, results_files


RUN = {
    "data": {
        "dataset": "ladder",
        "fingerprint": "0123456789abcdef",
        "videos": {"train": 30, "validation": 10, "test": 12},
        "contents": {"train": 6, "validation": 2, "test": 3},
        "codecs": ["av1", "h264"],
        "resolutions": ["448x256"],
    },
    "model": {"start": "random weights, size S", "parameters": 23046145},
    "teacher": {"start": "org/teacher", "parameters": 1021000000, "mode": "joint"},
    "loss_weights": {"teacher_regression": 1.0, "student_regression": 1.0, "feature": 1.0},
    "cost": {
        "parameters": 23046145, "macs": 83300000000, "clip": "8 frames", "latency_ms": 412.5, "machine": "a CPU"
    },
    "steps": 40, "clips_per_update": 16, "learning_rate": 1e-3, "seed": 0, "device": "cpu", "mixed_precision": "no",
    "best_validation_srcc": 0.5, "versions": {"torch": "2.14.1"},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = save_tiny_model(tmp_path_factory.mktemp("run") / "student")
    scores = [10, 20, 30, 40, 50, 60, 70, 80, 90, 35, 55, 75]
    predictions = [12, 25, 28, 45, 40, 66, 70, 70, 95, 30, 50, 80]
    contents = [*"aaaabbbbcccc"]
    summary = summarize(predictions, scores, contents, label_kind="vmaf", model_label_kind="vmaf", dataset="ladder")
    rows = [
        {"file": f"{i}.mp4", "content_id": c, "codec": "h264", "score": s, "prediction": p, "quality": p}
        for i, (s, p, c) in enumerate(zip(map(float, scores), map(float, predictions), contents))
    ]
    save_report(folder / "test", summary, rows)
    (folder / "run.json").write_text(json.dumps(RUN))
    return folder


def test_the_figures_are_those_of_the_evaluation(folder):
    figures = json.loads((folder / "test" / "results.json").read_text())["figures"]
    overall = {figure["metric"]: figure for figure in figures if figure["subset"] == "all"}
    card = ModelCard(model_card(folder, "org/student"))
    assert {r.metric_type: r.metric_value for r in card.data.eval_results} == {
        name: pytest.approx(figure["value"], abs=1e-6) for name, figure in overall.items()
    }
    for result in card.data.eval_results:
        figure = overall[result.metric_type]
        low, high = figure["interval"]
        for part in (f"mapping {figure['mapping']}", "n = 12 videos of 3 contents", f"[{low:.3f}, {high:.3f}]"):
            assert part in result.metric_name
        assert result.dataset_split == "test"
    entries = yaml.safe_load(results_files(folder)["video_quality.yaml"])
    assert len(entries) == len(overall) and all("VMAF" in entry["notes"] for entry in entries)


def test_the_card_says_what_happened(folder):
    text = model_card(folder, "org/student")
    for part in ("VMAF", "not an opinion score", "0123456789abcdef", "train: 30 videos of 6 contents", "av1, h264"):
        assert part in text
    for part in (
        "1.0 × feature",
        "1,021,000,000",
        "83.30",
        "412.5 ms",
        "a CPU",
        "2502.19026",
        "random weights, size S",
    ):
        assert part in text
    assert "MOS" not in text.split("## Results")[0].replace("SRCC", "")
    data = ModelCard(text).data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "transformers",
        "video-classification",
    )
    assert {"video-quality-assessment", "labels-vmaf", "internvideo2"} <= set(data.tags)


def test_weights_that_change_are_told_in_words(folder):
    weights = {"rank": 0.3, "teacher_score": {"weight": 1, "end": 0.8}, "student_huber": {"weight": 2, "delta": 0.1}}
    weights["feature"] = {"warmup": 0.1, "schedule": "cosine", "final": 0.2}
    (folder / "run.json").write_text(json.dumps(RUN | {"loss_weights": weights}))
    assert (
        "- Loss: 0.3 × rank + 1 × teacher_score (0 after 80% of the training) + 2 × student_huber (delta 0.1) + "
        "1.0 × feature (from 0 over the first 10% of the training, cosine to 0.2 at 100% of the training).\n"
    ) in model_card(folder)
    (folder / "run.json").write_text(json.dumps(RUN))


def test_a_base_model_is_named_only_if_the_weights_came_from_the_hub(folder):
    for repository in ("org/teacher", None):
        model = {"start": "mine/teacher", "repository": repository, "parameters": 1}
        (folder / "run.json").write_text(json.dumps(RUN | {"model": model}))
        assert ModelCard(model_card(folder)).data.base_model == repository
    (folder / "run.json").write_text(json.dumps(RUN))


def test_the_example_is_shown_where_the_hub_can(folder, tmp_path):
    published = ModelCard.load(write_model_folder(folder, tmp_path / "out", "org/student") / "README.md")
    (widget,) = published.data.widget
    assert widget["src"] == "https://huggingface.co/org/student/resolve/main/example.mp4"


def test_what_was_not_recorded_is_said_to_be_unknown(tmp_path):
    text = model_card(save_tiny_model(tmp_path / "bare"))
    assert "No evaluation is recorded" in text and "is not recorded in its folder" in text and "Not measured" in text
    assert ModelCard(text).data.eval_results is None
    assert results_files(tmp_path / "bare") == {}


def test_a_template_that_asks_for_more_than_there_is_is_an_error():
    with pytest.raises(ValueError, match=r"model.md: .* is undefined"):
        render("model", CardData())


def test_every_snippet_of_a_card_runs(folder, tmp_path):
    name = "student"
    shutil.copytree(folder, tmp_path / name)
    from cvqa.hub.folder import write_code

    write_code(tmp_path / name)
    encode(tmp_path / "movie.mp4", panned(60))
    text = model_card(tmp_path / name)
    snippets = re.findall(r"```(python|bash)\n(.*?)```", text, re.DOTALL)
    assert [language for language, _ in snippets] == ["python", "python", "python", "bash"]
    python = "\n".join(code for language, code in snippets if language == "python")
    alone = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    bash = next(code for language, code in snippets if language == "bash").replace(name, f"./{name}")
    for command in ([sys.executable, "-c", python], ["bash", "-ec", bash]):
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **alone}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert re.search(r"\d+\.\d", done.stdout)
