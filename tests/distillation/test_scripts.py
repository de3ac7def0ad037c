"""The two training scripts from videos and a table to a folder that can be used, resumed and explained."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from distillation.tiny import PROCESSOR, encode, make_table, tiny_model
from transformers import AutoModel, AutoVideoProcessor

from cvqa.distillation import QualityArguments
from cvqa.distillation.run import prepare


SCRIPTS = Path(__file__).parents[2] / "scripts"
README_LOSS = re.search(r"--loss_weights '(.*?)'", (SCRIPTS.parent / "README.md").read_text(), re.DOTALL)[1]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, model in (("student", tiny_model(0)), ("teacher", tiny_model(1, hidden_size=64, blocks=3))):
        model.save_pretrained(folder / name)
        PROCESSOR.save_pretrained(folder / name)
    return folder


@pytest.fixture
def run(monkeypatch, table, tmp_path):
    """Runs a script as from the command line, on the table."""

    def run(name: str, *arguments) -> None:
        spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
        script = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, script)  # where the argument parser looks up types
        spec.loader.exec_module(script)
        common = ["--dataset", "csv", "--data_dir", table, "--cache_dir", tmp_path / "cache", "--use_cpu"]
        common += ["--per_device_train_batch_size", "6", "--learning_rate", "1e-3"]
        monkeypatch.setattr(sys, "argv", [f"scripts/{name}.py", *map(str, [*common, *arguments])])
        script.main()

    return run


def test_teacher_then_student_then_resume(run, models, tmp_path, capsys):
    teacher, student = tmp_path / "runs" / "teacher", tmp_path / "runs" / "student"
    run("train_teacher", "--model", models / "teacher", "--output_dir", teacher, "--num_train_epochs", 1)
    distil = ["--teacher", teacher, "--student", models / "student", "--output_dir", student, "--save_teacher"]
    distil += ["--augment", "luma", "--orientations", 4]
    run("distill", *distil, "--num_train_epochs", 2)
    assert "SRCC" in capsys.readouterr().out

    for folder, width in ((teacher, 64), (student, 48), (student / "teacher", 64)):
        model = AutoModel.from_pretrained(folder)
        assert model.config.hidden_size == width
        assert (model.config.score_min, model.config.score_max, model.config.label_kind) == (1, 5, "mos")
        assert model.config.score_mapping is not None
        assert AutoVideoProcessor.from_pretrained(folder).num_frames == PROCESSOR.num_frames
    assert AutoVideoProcessor.from_pretrained(student).orientations == 4

    facts = json.loads((student / "run.json").read_text())
    assert facts["seed"] == 42
    assert facts["data"]["videos"] == {"train": 12, "validation": 6, "test": 6}
    assert facts["data"]["contents"] == {"train": 4, "validation": 2, "test": 2}
    assert facts["steps"] == 4
    assert "srcc" in facts["test"]
    assert {path.name for path in (student / "test").iterdir()} >= {"results.json", "table.md", "predictions.csv"}
    for path in (student / "run.json", student / "config.json", *(student / "test").glob("*.[jmc]*")):
        assert str(tmp_path.parent) not in path.read_text(), path.name

    with pytest.raises(SystemExit) as refused:
        run("distill", *distil, "--num_train_epochs", 3)
    assert refused.value.code == 2
    assert "go on with --resume_from_checkpoint last" in capsys.readouterr().err
    run("distill", *distil, "--num_train_epochs", 3, "--resume_from_checkpoint", "last")
    assert json.loads((student / "run.json").read_text())["steps"] == 6


def test_training_goes_without_a_cache(run, models, tmp_path):
    folder = tmp_path / "runs" / "streamed"
    streamed = ["--model", models / "teacher", "--output_dir", folder, "--stream", "--dataloader_num_workers", 2]
    run("train_teacher", *streamed, "--num_train_epochs", 1)
    run("train_teacher", *streamed, "--num_train_epochs", 2, "--resume_from_checkpoint", "last")
    assert not (tmp_path / "cache").exists()
    assert json.loads((folder / "run.json").read_text())["steps"] == 4


def test_videos_without_scores_are_distilled_too_and_an_unfinished_run_says_what_it_was(
    run, models, tmp_path, caplog, monkeypatch
):
    folder = tmp_path / "unlabelled" / "deeper"
    folder.mkdir(parents=True)
    for crf in (25, 45):
        (folder / f"other_{crf}.mp4").write_bytes(encode("retina", crf))
    (folder / "notes.txt").write_text("no video")
    distil = ["--teacher", models / "teacher", "--student", models / "student", "--teacher_mode", "frozen"]
    distil += ["--loss_weights", README_LOSS, "--hidden_layers", "[[-1, -1]]"]
    distil += ["--unlabelled", folder.parent, "--num_train_epochs", 1, "--output_dir", tmp_path / "run"]
    run("distill", *distil)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["data"]["videos"]["train"] == 14
    assert facts["data"]["unlabelled"] == 2
    assert facts["data"]["contents"]["train"] == 4
    assert facts["steps"] == 3 and "test" in facts
    assert "notes.txt" in caplog.text

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("transformers.Trainer.train", stop)
    with pytest.raises(SystemExit):
        run("distill", *distil[:-1], tmp_path / "stopped")
    stopped = json.loads((tmp_path / "stopped" / "run.json").read_text())
    assert stopped["steps"] == 0 and "test" not in stopped
    for name in ("versions", "data", "model", "teacher", "seed"):
        assert stopped[name] == facts[name]


def test_a_cached_teacher_is_asked_once_for_all_students(run, models, tmp_path):
    distil = ["--teacher", models / "teacher", "--teacher_mode", "cached", "--teacher_cache_dir", tmp_path / "asked"]
    for size in ("student", "teacher"):
        run("distill", *distil, "--student", models / size, "--output_dir", tmp_path / size, "--views", 2,
            "--num_train_epochs", 1)  # fmt: skip
        files = sorted(path.name for path in (tmp_path / "asked").rglob("*.parquet"))
        assert len(files) == 2  # of training and validation
        facts = json.loads((tmp_path / size / "run.json").read_text())
        assert facts["teacher"]["mode"] == "cached"
        assert facts["teacher"]["parameters"] > 0


def test_figures_that_do_not_exist_are_null_in_the_facts_of_a_run(run, tmp_path):
    model = tiny_model(0)
    torch.nn.init.zeros_(model.head.weight)  # one score for all, and so it stays
    model.save_pretrained(tmp_path / "flat")
    run("train_teacher", "--model", tmp_path / "flat", "--output_dir", tmp_path / "run", "--num_train_epochs", 1,
        "--learning_rate", 0)  # fmt: skip
    text = (tmp_path / "run" / "run.json").read_text()
    facts = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert facts["best_validation_srcc"] is None and facts["test"]["srcc"] is None


def test_what_starts_from_random_weights_says_so_and_is_made_for_the_clips_of_the_other(
    run, models, tmp_path, caplog, monkeypatch
):
    from cvqa.models import configuration_internvideo2

    tiny = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 3, "feature_size": 32}
    monkeypatch.setitem(configuration_internvideo2.SIZES, "Ti", {**tiny, "image_size": 56})
    monkeypatch.setitem(configuration_internvideo2.SIZES, "S", tiny)
    for teacher, student, fresh in (("Ti", models / "student", "Ti"), (models / "teacher", "S", "S")):
        folder = tmp_path / fresh
        run("distill", "--teacher", teacher, "--student", student, "--teacher_mode", "frozen", "--num_train_epochs", 1,
            "--output_dir", folder)  # fmt: skip
        assert f"{fresh} starts from RANDOM weights" in caplog.text
        config = AutoModel.from_pretrained(folder).config
        assert (config.hidden_size, config.num_frames, config.image_size) == (48, PROCESSOR.num_frames, 56)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "nope"], "unknown preset 'nope'"),
        (["--loss_weights", '{"featur": 1, "teacher_regression": 1}'], "unknown loss part 'featur'"),
        (["--resume_from_checkpoint", "nowhere"], "nowhere: is not a complete checkpoint"),
        (["--teacher_trainable_blocks", "9"], "the model has 3 blocks"),
        (["--dataset_options", "{no"], "is not a JSON object"),
        (["--data_dir", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(run, models, tmp_path, capsys, arguments, message):
    given = ["--teacher", models / "teacher", "--student", models / "student", "--output_dir", tmp_path / "run"]
    with pytest.raises(SystemExit) as refused:
        run("distill", *given, *arguments)
    assert refused.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("distill: ") and message in line


def test_processes_that_do_not_see_each_other_are_refused(tmp_path, monkeypatch):
    args = QualityArguments(str(tmp_path), use_cpu=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"2 processes were started but.*ACCELERATE_USE_CPU=true"):
        prepare(args)
