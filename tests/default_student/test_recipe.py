"""The recipe of the default student: who learns and who tests, what is said of missing input, and all in small."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_recipe import SETTINGS, tiny_recipe
from transformers import AutoModel, AutoVideoProcessor

from cvqa import VideoScorer
from cvqa.data.ladder import COLUMNS
from cvqa.default_student.recipe import PHASES, Recipe
from cvqa.default_student.settings import Settings
from cvqa.default_student.training import load_rows, repeated, shipped_processor, training_processor


@pytest.fixture
def ladder(tmp_path):
    """A manifest of 20 contents in 10 families, six encodes each; the files are there, but are no videos."""
    kinds = [("h264", "x264", "medium"), ("hevc", "x265", "ultrafast"), ("vvc", "vvenc", "faster")]
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()
        for content in range(20):
            for number, (codec, encoder, preset) in enumerate(kinds * 2):
                name = f"c{content}_{number}.mp4"
                (tmp_path / name).write_text(name)
                row = {"video": name, "score": 90 - 7 * number - content, "content_id": f"c{content}"}
                row |= {"family": f"f{content // 2}", "codec": codec, "encoder": encoder, "preset": preset}
                table.writerow(row | {"rate_control": "crf", "level": 20 + number, "width": 64, "height": 64})
    return tmp_path


def test_left_out_kinds_are_in_no_other_set_and_of_test_contents_alone(ladder):
    rows = load_rows(ladder, Settings())
    assert set(rows) == {"train", "validation", "test", "codec:vvc", "preset:ultrafast"}
    families = {name: set(split["family"]) for name, split in rows.items()}
    assert not families["train"] & families["validation"] and not families["train"] & families["test"]
    for name in ("codec:vvc", "preset:ultrafast"):
        column, value = name.split(":")
        assert set(rows[name][column]) == {value} and families[name] <= families["test"]
        assert all(value not in rows[other][column] for other in ("train", "validation", "test"))


def test_the_split_is_always_the_same(ladder):
    once, again = (load_rows(ladder, Settings())["test"]["video"][:] for _ in range(2))
    assert once == again


def test_rows_are_repeated_each_with_its_number(ladder):
    rows = repeated(load_rows(ladder, Settings())["train"].select(range(3)), 2)
    assert rows["repeat"][:] == [0, 0, 0, 1, 1, 1] and rows["video"][:3] == rows["video"][3:]


@pytest.mark.parametrize(("width", "height"), [(480, 270), (320, 140), (64, 64), (1920, 1080)])
def test_the_shipped_processor_takes_frames_of_any_size(width, height):
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, height, width), dtype=np.uint8))
    assert shipped_processor(Settings()).spatial_views(frames).shape == (2, 3, 448, 448)


def test_the_shipped_processor_sees_all_of_a_small_frame():
    """Each pixel of a 480x270 frame but a narrow strip between the fragments."""
    place = torch.arange(270 * 480).reshape(1, 1, 270, 480).expand(1, 3, -1, -1)
    seen = shipped_processor(Settings()).spatial_views(place)
    assert len(seen.unique()) / (270 * 480) > 0.9


def test_frames_of_training_serve_the_shipped_processor():
    from cvqa.data.frames import frame_settings

    settings = Settings()
    for crop in (128, 256):
        assert frame_settings(training_processor(settings, crop)) == frame_settings(shipped_processor(settings))


def test_a_phase_without_its_input_says_which_comes_first(tmp_path):
    recipe = Recipe(None, tmp_path, SETTINGS, assets=tmp_path / "assets")
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "config.json").write_text("{}")  # what is left of saving that was killed
    with pytest.raises(ValueError, match=r"teacher: no trained model there; run the phase teacher first"):
        recipe.run(["student"])
    with pytest.raises(ValueError, match="no ladder there; name the sources"):
        recipe.run(["ladder"])
    with pytest.raises(ValueError, match="no phase is called 'train'; there are ladder, frames, teacher"):
        recipe.run(["train"])


@pytest.mark.slow
def test_two_processes_train_one_teacher_and_one_student(tmp_path):
    tiny_recipe(tmp_path, tmp_path / "assets").run(["ladder"])
    tests = Path(__file__).parents[1]
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(tests.parent / "accelerate_config.yaml")]
    launch += ["--mixed_precision", "no", "--num_processes", "2", "--main_process_port", "0"]

    def run(phases: str) -> subprocess.CompletedProcess:
        command = [sys.executable, *launch, str(tests / "small_recipe.py"), str(tmp_path), phases]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)

    result = run("frames,teacher,student")
    assert result.returncode == 0, result.stderr[-3000:]
    for name, stages in (("teacher", 1), ("student", 2)):
        facts = json.loads((tmp_path / name / "run.json").read_text())
        assert facts["processes"] == 2 and len(facts["stages"]) == stages
        assert facts["clips_per_update"] == facts["stages"][-1]["batch_size"]
        assert torch.isfinite(AutoModel.from_pretrained(tmp_path / name).head.weight).all()
    refused = run("calibrate")
    assert refused.returncode and "calibrate is for one process" in refused.stderr


@pytest.mark.slow
def test_from_photographs_to_a_folder_that_scores(tmp_path):
    recipe = tiny_recipe(tmp_path / "out", tmp_path / "assets")
    recipe.run()
    assets, output = tmp_path / "assets", tmp_path / "out"
    model = AutoModel.from_pretrained(assets)
    assert AutoVideoProcessor.from_pretrained(assets).fragment_size == SETTINGS.fragment
    assert model.dtype == torch.float16 and model.config.label_kind == "vmaf"
    assert model.config.score_interval["coverage"] == SETTINGS.coverage
    result = VideoScorer.from_pretrained(assets).score(next((output / "ladder").rglob("encodes/*/*.mp4")))
    assert 0 <= result.interval[0] <= result.score <= result.interval[1] <= 100
    report = json.loads((output / "report" / "report.json").read_text())
    assert set(report["coverage"]) == {"validation", "test", "preset:ultrafast"}
    assert report["bd_rate"]["x265 against x264"]["contents"] + len(report["bd_rate"]["x265 against x264"]["undefined"])
    card = (assets / "README.md").read_text()
    for told in ("It is not an opinion score", "BD-rate", "views of 4 frames, as `cvqa score` looks", "### Weak spots"):
        assert told in card
    assert "Falling quality: " in card and "| screen, text scrolling | 5 |" in card
    facts = json.loads((assets / "run.json").read_text())
    assert [(stage["steps"], stage["crop"]) for stage in facts["stages"]] == [(4, 64), (2, 96)] and facts["steps"] == 2
    written = {
        path: path.stat().st_mtime_ns for name in ("teacher", "student") for path in (output / name).glob("*.saf*")
    }
    recipe.run(PHASES)
    assert (assets / "README.md").read_text() == card, "the same card from the same model"
    assert {path: path.stat().st_mtime_ns for path in written} == written, "what is there is not made again"
