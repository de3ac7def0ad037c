"""A comparison from videos to its table: what is done is kept, what stopped goes on, what fails is named."""

import csv
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from distillation.tiny import CROP, FRAMES, make_table
from scipy.stats import spearmanr
from transformers import AutoModel, set_seed

from cvqa.data import QualityCollator
from cvqa.distillation import DistillationTrainer, QualityTrainer, comparison
from cvqa.distillation.comparison import OutOfTime, carry_out, perform
from cvqa.distillation.comparison_report import group_of, report
from cvqa.distillation.experiment import Experiment
from cvqa.distillation.weighted_loss import WeightedLoss
from cvqa.evaluation import apply_score_mapping
from cvqa.evaluation.intervals import draw_contents


TINY = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pooling_num_heads": 4,
    "feature_size": 32,
    "layer_scale_init_value": 0.1,
    "initializer_range": 0.1,
}


@pytest.fixture(scope="module")
def description(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("videos")
    table = make_table(folder)
    # A third test content, so that there are intervals.
    table.write_text(table.read_text().replace("rocket,train", "rocket,test"))
    return {
        "settings": {
            "dataset": "csv",
            "data_dir": str(table),
            "cache_dir": str(folder / "cache"),
            "num_frames": FRAMES,
            "image_size": CROP,
            "use_cpu": True,
            "per_device_train_batch_size": 3,
            "num_train_epochs": 2,
            "learning_rate": 1e-3,
            "model": "Ti",
            "config": TINY,
        },
        "teachers": {"Ti": {"num_train_epochs": 1, "config": {**TINY, "hidden_size": 64}}},
        "students": {"wide": {}, "narrow": {"config": {**TINY, "hidden_size": 32}}},
        "arms": {"plain": {"distill": False}, "distilled": {"teacher_mode": "frozen"}},
        "seeds": [0, 1],
        "test_views": 2,
    }


@pytest.fixture(scope="module")
def one_student(description) -> Experiment:
    return Experiment({**description, "students": {"wide": {}}})


@pytest.fixture(scope="module")
def output(one_student, tmp_path_factory) -> Path:
    """A comparison of one student in which one run fails at first; done in two calls."""
    folder = tmp_path_factory.mktemp("comparison")
    predict = comparison.predict

    def fail_once(run, *arguments):
        if run.name == "wide/plain/seed1-split0":
            raise ValueError("the disk is full")
        return predict(run, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "predict", fail_once)
        failed = carry_out(one_student, folder)
    assert failed == {"wide/plain/seed1-split0": "ValueError: the disk is full"}
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/**/run.json")}
    assert len(before) == 4, "the others go on"
    assert carry_out(one_student, folder) == {}
    assert len(list(folder.glob("*/**/run.json"))) == 5
    assert before == {path: path.stat().st_mtime_ns for path in before}, "what is done is left alone"
    return folder


def test_each_run_is_a_model_with_its_facts(output):
    folder = output / "wide" / "distilled" / "seed1-split0"
    model = AutoModel.from_pretrained(folder)
    assert (model.config.hidden_size, model.config.label_kind) == (48, "mos")
    facts = json.loads((folder / "run.json").read_text())
    assert (facts["seed"], facts["run"]["arm"], facts["teacher"]["start"]) == (1, "distilled", "teacher/Ti/split0")
    assert facts["teacher"]["parameters"] > facts["model"]["parameters"]
    assert any("eval_srcc" in entry for entry in facts["history"])
    assert not (folder / "checkpoints").exists()


def test_a_prediction_is_the_mean_over_views_that_are_the_same_for_all(one_student, output):
    run = next(run for run in one_student.runs() if run.name == "wide/plain/seed0-split0")
    model = AutoModel.from_pretrained(output / run.name)
    args = comparison.arguments(run, output / "unused")
    views = []
    for augment, epoch in ((None, 0), ("quality", 1)):
        collator = QualityCollator(comparison.processor_of(run), augment=augment, seed=0)
        collator.set_epoch(epoch)
        pixels = collator(list(comparison.splits_of(run)["test"]))["pixel_values_videos"]
        with torch.inference_mode():
            logits = model(pixel_values_videos=pixels).logits.flatten()
        views.append(1 + 4 * apply_score_mapping(logits, model.config.score_mapping))
    assert np.abs(views[0] - views[1]).max() > 1e-4
    expected = np.mean(views, axis=0)
    other_seed = dataclasses.replace(run, seed=7)
    for found in (comparison.predict(run, model, args), comparison.predict(other_seed, model, args)):
        np.testing.assert_allclose([row["prediction"] for row in found], expected, rtol=1e-4)


def test_first_what_others_wait_for_or_the_cores_then_seed_by_seed_the_longest(description):
    """However the description has them."""
    experiment = Experiment(
        {
            "settings": {"num_train_epochs": 2},
            "teachers": {"weak": {"model": "S"}, "strong": {"model": "B"}},
            "students": {"Ti": {}, "S": {}},
            "arms": {
                "plain": {"distill": False},
                "cached": {"teacher_mode": "cached"},
                "joint": {"teacher_mode": "joint", "teacher": "strong", "students": ["Ti"]},
                "published": {"distill": False, "augment": "published", "num_train_epochs": 1, "students": ["Ti"]},
                "long": {"distill": False, "num_train_epochs": 9, "students": ["Ti"]},
            },
            "seeds": [0, 1],
        }
    )
    runs = experiment.runs()
    macs = {"Ti": 1, "S": 3, "B": 9}
    costs = {comparison.subject_of(run): {"macs": macs[run.model]} for run in runs}
    names = [run.name.removesuffix("-split0") for run in comparison.in_order(runs, runs, costs)]
    assert names[:2] == ["teacher/strong/split0", "teacher/weak/split0"]
    assert names[2:4] == ["Ti/published/seed0", "Ti/published/seed1"]
    first = ["Ti/cached", "Ti/joint", "Ti/long", "S/plain", "S/cached", "Ti/plain"]
    then = ["Ti/joint", "Ti/long", "S/plain", "S/cached", "Ti/plain", "Ti/cached"]  # nobody waits for the cached one
    assert names[4:10] == [f"{name}/seed0" for name in first]
    assert names[10:] == [f"{name}/seed1" for name in then]


def test_loaders_live_through_a_run_and_share_the_cores_unless_the_description_says(one_student, tmp_path, monkeypatch):
    run = one_student.runs()[0]
    names = ("dataloader_num_workers", "dataloader_persistent_workers")

    def loading(run, jobs: int) -> list:
        arguments = comparison.arguments(run, tmp_path, jobs)
        return [getattr(arguments, name) for name in names]

    assert loading(run, 4) == [0, False]
    monkeypatch.setattr(comparison, "default_workers", lambda jobs: 28 // jobs)
    assert loading(run, 4) == [7, True]
    said = dataclasses.replace(run, training={**run.training, names[0]: 2, names[1]: False})
    assert loading(said, 4) == [2, False]


def test_the_experiment_of_this_repository_can_be_carried_out(tmp_path):
    """Every run has arguments, losses and settings that there are, and steps that end with an evaluation."""
    path = Path(__file__).parents[2] / "scripts" / "comparison.json"
    experiment = Experiment.from_file(path, use_cpu=True, bf16=False)
    for run in {(run.subject, run.arm): run for run in experiment.runs()}.values():
        args = comparison.arguments(run, tmp_path)
        parts = DistillationTrainer.loss_parts if run.is_distilled else QualityTrainer.loss_parts
        WeightedLoss(args.loss_weights, parts)
        assert (args.max_steps * args.eval_steps) % 1 == 0 and args.save_steps == args.eval_steps
        comparison.processor_of(run)
        if run.config:
            with torch.device("meta"):
                comparison.build(run)


def test_a_seed_is_the_same_start_with_and_without_a_teacher(one_student):
    starts = []
    for run in one_student.runs():
        if run.role == "student" and run.seed == 1:
            set_seed(run.seed)
            starts.append(comparison.build(run).state_dict())
    assert len(starts) == 2
    assert all(torch.equal(value, starts[1][name]) for name, value in starts[0].items())


def test_the_table_is_what_the_predictions_say(one_student, output):
    results = report(one_student, output, resamples=60)
    assert {path.name for path in results.iterdir()} == {
        "table.md", "table.csv", "results.json", "predictions.parquet", "gain.png", "cost.png",
    }  # fmt: skip
    predictions = pq.read_table(results / "predictions.parquet").to_pandas()
    assert len(predictions) == 5 * 9
    draws = draw_contents(3, 60, seed=0)

    def of_run(arm: str, seed: int) -> tuple[float, np.ndarray]:
        rows = predictions[(predictions.arm == arm) & (predictions.seed == seed) & (predictions.student == "wide")]
        contents = [rows[rows.content_id == content] for content in sorted(set(rows.content_id))]
        drawn = [[contents[place] for place in draw] for draw in draws]
        resampled = [srcc(np.concatenate([part[["prediction", "score"]] for part in parts])) for parts in drawn]
        return srcc(rows[["prediction", "score"]].to_numpy()), np.array(resampled)

    runs = {(arm, seed): of_run(arm, seed) for arm in ("plain", "distilled") for seed in (0, 1)}
    with (results / "table.csv").open() as file:
        lines = {(row["student"], row["arm"]): row for row in csv.DictReader(file)}
    assert list(lines) == [("Ti", ""), ("wide", "plain"), ("wide", "distilled")]
    for arm in ("plain", "distilled"):
        line = lines["wide", arm]
        assert float(line["srcc"]) == pytest.approx(np.mean([runs[arm, seed][0] for seed in (0, 1)]))
        means = np.mean([runs[arm, seed][1] for seed in (0, 1)], axis=0)
        assert float(line["srcc_low"]) == pytest.approx(np.quantile(means, 0.025))
        assert float(line["srcc_high"]) == pytest.approx(np.quantile(means, 0.975))
    gains = [runs["distilled", seed][0] - runs["plain", seed][0] for seed in (0, 1)]
    assert float(lines["wide", "distilled"]["gain_srcc"]) == pytest.approx(np.mean(gains))
    assert float(lines["wide", "distilled"]["gain_srcc_low"]) <= min(np.mean(gains), min(gains))
    assert lines["wide", "plain"]["gain_srcc"] == lines["wide", "plain"]["to_teacher_srcc"] == ""
    less_teacher = float(lines["wide", "distilled"]["srcc"]) - float(lines["Ti", ""]["srcc"])
    assert float(lines["wide", "distilled"]["to_teacher_srcc"]) == pytest.approx(less_teacher)
    assert [line["group"] for line in lines.values()] == ["teacher", "labels alone", "homologous"]
    assert int(lines["wide", "plain"]["parameters"]) < int(lines["Ti", ""]["parameters"])

    text = (results / "table.md").read_text()
    assert f"| wide | distilled | Ti | 2 | {float(lines['wide', 'distilled']['srcc']):.3f} [" in text
    assert "9 videos, 3 contents, labels MOS" in text and "NOT FINISHED" not in text
    facts = json.loads((results / "results.json").read_text())
    assert facts["missing"] == [] and len(facts["runs"]) == 5


def srcc(pairs: np.ndarray) -> float:
    return spearmanr(pairs[:, 0], pairs[:, 1]).statistic


def test_a_run_out_of_time_goes_on_from_its_checkpoint_to_the_same_end(one_student, output, tmp_path):
    run = next(run for run in one_student.runs() if run.name == "wide/plain/seed0-split0")
    with pytest.raises(OutOfTime):
        perform(run, tmp_path, deadline=0)
    assert [path.name for path in (tmp_path / run.name / "checkpoints").iterdir()] == ["checkpoint-1"]
    assert not (tmp_path / run.name / "run.json").exists()
    perform(run, tmp_path, deadline=math.inf)
    resumed, whole = (
        [float(row["prediction"]) for row in csv.DictReader((folder / run.name / "predictions.csv").open())]
        for folder in (tmp_path, output)
    )
    np.testing.assert_allclose(resumed, whole, rtol=1e-3)


def test_without_time_there_is_a_table_of_what_is_done(description, output):
    """Also when more is asked for: what is missing is named."""
    experiment = Experiment({**description, "seeds": [0, 1, 2], "students": {"wide": {}}})
    assert carry_out(experiment, output, time_limit=0) == {}
    text = (report(experiment, output, resamples=5) / "table.md").read_text()
    assert "NOT FINISHED, and so in no figure (2): wide/plain/seed2-split0, wide/distilled/seed2-split0" in text


@pytest.mark.parametrize(
    ("student", "teacher", "group"),
    [("vit", None, "labels alone"), ("vit", "vit", "homologous"), ("resnet", "vit", "heterogeneous")],
)
def test_what_a_student_is_to_its_teacher(one_student, student, teacher, group):
    run = one_student.runs()[-1]
    assert group_of(run, {"model": {"family": student}, "teacher": teacher and {"family": teacher}}) == group


def test_other_settings_are_refused(description, output):
    changed = {**description, "students": {"wide": {"learning_rate": 0.5}}}
    with pytest.raises(
        ValueError, match=r"seed0-split0: was made with training .* now it is .*0\.5.*; remove that folder"
    ):
        carry_out(Experiment(changed), output)


def test_a_teacher_of_another_split_is_refused(description, output, tmp_path):
    facts = json.loads((output / "teacher" / "Ti" / "split0" / "run.json").read_text())
    teacher = tmp_path / "teacher"
    AutoModel.from_pretrained(output / "teacher" / "Ti" / "split0").save_pretrained(teacher)
    facts["data"]["fingerprint"] = "another"
    (teacher / "run.json").write_text(json.dumps(facts))
    experiment = Experiment(
        {**description, "teachers": {"Ti": {"model": str(teacher)}}, "students": {"wide": {}}, "seeds": [0]}
    )
    failed = carry_out(experiment, tmp_path / "out")
    assert set(failed) == {"teacher/Ti/split0", "wide/distilled/seed0-split0"}
    assert all("may have seen the test contents" in error for error in failed.values())


@pytest.mark.slow
def test_killed_in_the_middle_with_several_processes_and_gone_on(description, tmp_path):
    """As a user does it: the script, two runs at a time, kill -9, the same command again."""
    (tmp_path / "experiment.json").write_text(json.dumps(description))
    script = Path(__file__).parents[2] / "scripts" / "compare_students.py"
    command = [sys.executable, str(script), str(tmp_path / "experiment.json"), str(tmp_path / "out"), "--jobs", "2"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while len(list((tmp_path / "out").glob("*/**/run.json"))) < 3 and time.monotonic() < until:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/**/run.json")}
    assert 3 <= len(before) < 9
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(list((tmp_path / "out").glob("*/**/run.json"))) == 9
    assert "*mean of 2*" in done.stdout and "NOT FINISHED" not in done.stdout
