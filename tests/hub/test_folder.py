"""The folder that is published: complete, current, and silent about the machine that it was made on."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from exported_model import exported_tiny_model
from real_clips import save_tiny_model
from safetensors.numpy import load_file, save_file

from cvqa import VideoReader
from cvqa.hub.folder import write_model_folder
from cvqa.models.configuration_internvideo2 import AUTO_MAP


PRIVATE = ("training_args.bin", "optimizer.pt", "trainer_state.json", "notes.txt", ".secret", "pytorch_model.bin")


@pytest.fixture
def run(tmp_path) -> Path:
    """A run folder with what training leaves beside the model."""
    folder = save_tiny_model(tmp_path / "run")
    for name in PRIVATE:
        (folder / name).write_text("/home/alice/secret")
    (folder / "checkpoint-7").mkdir()
    (folder / "checkpoint-7" / "optimizer.pt").write_bytes(b"state")
    return folder


def change(path: Path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_loads_and_serves_is_there_and_nothing_else(run, tmp_path):
    folder = write_model_folder(run, tmp_path / "out")
    found = names(folder)
    assert {"config.json", "model.safetensors", "video_preprocessor_config.json", "README.md"} <= found
    assert {"handler.py", "requirements.txt", "modeling_internvideo2.py", "video_reader.py"} <= found
    assert not found & set(PRIVATE)
    assert not any(name.startswith("checkpoint") for name in found)
    assert {Path(name).suffix for name in found} == {".json", ".safetensors", ".py", ".md", ".txt", ".mp4"}


def test_an_example_to_try_the_model_on_is_there(run, tmp_path):
    with VideoReader(write_model_folder(run, tmp_path / "out") / "example.mp4") as reader:
        assert (len(reader), reader.width, reader.height) == (50, 384, 216)
    (run / "example.mp4").write_bytes(b"my own")
    assert (write_model_folder(run, tmp_path / "out") / "example.mp4").read_bytes() == b"my own"


def test_an_export_is_published_with_the_code_that_runs_it(tmp_path):
    exported = exported_tiny_model()
    folder = write_model_folder(exported, tmp_path / "out", "org/cvqa-student")
    assert names(folder / "onnx") == names(exported / "onnx") > {"cvqa_onnx/__init__.py", "requirements.txt"}
    assert "--backend onnx" in (folder / "README.md").read_text()


def test_every_import_of_a_published_file_is_in_the_folder(run, tmp_path):
    folder = write_model_folder(run, tmp_path / "out")
    for path in folder.glob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith("from ."):
                assert (folder / f"{line.split()[1][1:]}.py").is_file(), f"{path.name}: {line}"


def test_a_folder_of_an_older_version_names_the_classes_of_this_one(run, tmp_path):
    config = json.loads((run / "config.json").read_text())
    del config["auto_map"]
    (run / "config.json").write_text(json.dumps(config))
    change(run / "video_preprocessor_config.json", auto_map={"AutoVideoProcessor": "org/old--old.Processor"})
    (run / "modeling_internvideo2.py").write_text("raise RuntimeError('stale')\n")
    folder = write_model_folder(run, tmp_path / "out")
    assert json.loads((folder / "config.json").read_text())["auto_map"] == AUTO_MAP
    processor = json.loads((folder / "video_preprocessor_config.json").read_text())
    assert processor["auto_map"] == {"AutoVideoProcessor": AUTO_MAP["AutoVideoProcessor"]}
    assert "stale" not in (folder / "modeling_internvideo2.py").read_text()


def test_paths_are_taken_out_where_they_are_known_to_stand(run, tmp_path):
    change(run / "config.json", _name_or_path="/home/alice/runs/teacher")
    (run / "test").mkdir()
    (run / "test" / "predictions.csv").write_text(
        "file,score\n/home/alice/clips/a.mp4,1\nC:\\clips\\b.mp4,2\n../c, d.mp4,3\n".replace(
            "../c, d", '"../c, d'
        ).replace("d.mp4,3", 'd.mp4",3')
    )
    folder = write_model_folder(run, tmp_path / "out")
    assert "_name_or_path" not in (folder / "config.json").read_text()
    assert (folder / "test" / "predictions.csv").read_text() == 'file,score\na.mp4,1\nb.mp4,2\n"c, d.mp4",3\n'


@pytest.mark.parametrize(
    "text",
    [
        "/home/alice/runs",
        "--data_dir=/mnt/data/ladder",
        "file:///srv/clips/a.mp4",
        "host:/srv/clips",
        "a /tmp/x",
        "C:\\Users\\alice",
        "\\\\server\\share\\x",
        "/home/ünï/clips",
        "('/srv/a', 1)",
        "/data/",
        "/data",
        "C:/Users/alice",
    ],
)
def test_any_other_absolute_path_is_refused_with_its_line(run, tmp_path, text):
    (run / "run.json").write_text(json.dumps({"seed": 0, "note": text}, indent=1))
    with pytest.raises(ValueError, match=r"run\.json: line 3 .*absolute path"):
        write_model_folder(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


@pytest.mark.parametrize(
    "text",
    [
        "https://arxiv.org/abs/2502.19026",
        "runs/student",
        "../ladder",
        "./a/b",
        "8 frames/s",
        "and/or",
        "1/2",
        "a / b / c",
        "~/runs/x",
        "**/*/x",
    ],
)
def test_what_is_no_absolute_path_passes(run, tmp_path, text):
    (run / "run.json").write_text(json.dumps({"note": text}))
    write_model_folder(run, tmp_path / "out")


def test_shards_go_with_their_index_and_no_others(run, tmp_path):
    weights = load_file(run / "model.safetensors")
    halves = [dict(list(weights.items())[i::2]) for i in range(2)]
    shards = [f"model-0000{i + 1}-of-00002.safetensors" for i in range(2)]
    for name, half in zip(shards, halves):
        save_file(half, run / name, {"format": "pt"})
    where = {key: name for name, half in zip(shards, halves) for key in half}
    (run / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    save_file({"x": np.zeros(1)}, run / "model-00001-of-00003.safetensors")
    (run / "model.safetensors").unlink()
    found = names(write_model_folder(run, tmp_path / "out"))
    assert {name for name in found if "safetensors" in name} == {*shards, "model.safetensors.index.json"}
    (run / shards[1]).unlink()
    with pytest.raises((ValueError, OSError), match=shards[1]):
        write_model_folder(run, tmp_path / "again")


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda run: (run / "config.json").unlink(), "no config.json"),
        (lambda run: (run / "config.json").write_text("{"), "config.json: is not JSON"),
        (lambda run: change(run / "config.json", model_type="bert"), "'bert' is not a model of this package"),
        (lambda run: (run / "video_preprocessor_config.json").unlink(), "processor.save_pretrained"),
        (lambda run: (run / "model.safetensors").unlink(), "only pytorch_model.bin"),
        (lambda run: os.truncate(run / "model.safetensors", 1000), "not a complete safetensors file"),
        (lambda run: (run / "model.safetensors").write_bytes(b"\x80\x02}q\x00."), "not a complete safetensors file"),
    ],
)
def test_what_cannot_be_published_is_told_and_leaves_nothing(run, tmp_path, broken, told):
    broken(run)
    with pytest.raises((ValueError, OSError), match=told):
        write_model_folder(run, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_an_earlier_output_is_replaced_as_a_whole(run, tmp_path):
    folder = write_model_folder(run, tmp_path / "out")
    (folder / "stale.txt").write_text("old")
    assert "stale.txt" not in names(write_model_folder(run, folder))
    assert {path.name for path in tmp_path.iterdir()} == {"run", "out"}


def test_what_is_no_earlier_output_stays(run, tmp_path):
    other = save_tiny_model(tmp_path / "other run")
    (other / "checkpoint-9").mkdir()
    before = names(run), names(other)
    for target in (run, other):
        with pytest.raises(ValueError, match="name a new folder"):
            write_model_folder(run, target)
    assert (names(run), names(other)) == before


def test_the_card_is_called_as_the_folder_or_the_repository(run, tmp_path):
    assert "# cvqa-tiny\n" in (write_model_folder(run, tmp_path / "cvqa-tiny") / "README.md").read_text()
    card = (write_model_folder(run, tmp_path / "out", "org/cvqa-small") / "README.md").read_text()
    assert "# cvqa-small\n" in card and '"org/cvqa-small"' in card


def test_links_become_files(run, tmp_path):
    (run / "model.safetensors").rename(tmp_path / "blob")
    (run / "model.safetensors").symlink_to(tmp_path / "blob")
    folder = write_model_folder(run, tmp_path / "out")
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "blob").read_bytes()
