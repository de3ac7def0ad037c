"""A saved folder is all that is needed: it loads and scores alike where the package is not installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from real_clips import encode, panned, save_tiny_model
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoVideoProcessor

import cvqa


WITHOUT_THE_PACKAGE = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cvqa":
            raise ModuleNotFoundError("No module named 'cvqa'", name=name)

sys.meta_path.insert(0, Refuse())
import torch
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoVideoProcessor

folder, clip = sys.argv[1:]
config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
processor = AutoVideoProcessor.from_pretrained(folder, trust_remote_code=True)
pixels = processor(clip, return_tensors="pt")
found = {"config": config.to_dict(), "pixels": pixels["pixel_values_videos"].double().sum().item()}
for auto in (AutoModel, AutoModelForVideoClassification):
    model = auto.from_pretrained(folder, trust_remote_code=True)
    with torch.inference_mode():
        logits = model(**pixels).logits
    found[auto.__name__] = {
        "class": type(model).__name__,
        "module": type(model).__module__,
        "logits": logits.tolist(),
        "quality": model.quality_score(logits).tolist(),
    }
assert "cvqa" not in sys.modules
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("saved") / "cvqa-student")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return str(encode(tmp_path_factory.mktemp("clip") / "clip.mp4", panned(30)))


CLASSES = {
    AutoModel: cvqa.InternVideo2ForVideoQualityAssessment,
    AutoModelForVideoClassification: cvqa.models.InternVideo2ForVideoClassification,
}


def with_the_package(auto, folder: Path, clip: str) -> dict:
    model = auto.from_pretrained(folder)
    assert type(model) is CLASSES[auto]
    with torch.inference_mode():
        logits = model(**AutoVideoProcessor.from_pretrained(folder)(clip, return_tensors="pt")).logits
    return {"logits": logits.tolist(), "quality": model.quality_score(logits).tolist()}


def test_without_the_package_the_folder_gives_the_same_to_the_last_bit(folder, clip, tmp_path):
    alone = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "HF_MODULES_CACHE": str(tmp_path / "modules")}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PACKAGE, str(folder), clip],
        env={**os.environ, **alone},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for auto in (AutoModel, AutoModelForVideoClassification):
        there = found[auto.__name__]
        assert there["class"] == CLASSES[auto].__name__
        assert there["module"].startswith("transformers_modules.")
        here = with_the_package(auto, folder, clip)
        assert there["logits"] == here["logits"]
        assert there["quality"] == here["quality"]
    config = AutoConfig.from_pretrained(folder)
    assert type(config) is cvqa.InternVideo2Config
    assert {name: found["config"][name] for name in ("model_type", "label_kind", "score_max")} == {
        "model_type": "internvideo2",
        "label_kind": "vmaf",
        "score_max": 100.0,
    }


def test_the_folder_is_safe_and_flat(folder):
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "video_preprocessor_config.json", "video_reader.py"} <= names
    assert {Path(name).suffix for name in names} <= {".json", ".py", ".safetensors", ".md"}
    assert not any(path.is_dir() for path in folder.iterdir())
    assert not any("cvqa" in line for path in folder.glob("*.py") for line in import_lines(path))


def test_the_folder_tells_every_auto_class_where_its_code_is(folder):
    config = json.loads((folder / "config.json").read_text())
    assert {"AutoConfig", "AutoModel", "AutoModelForVideoClassification"} <= set(config["auto_map"])
    processor = json.loads((folder / "video_preprocessor_config.json").read_text())
    for place in [*config["auto_map"].values(), *processor.get("auto_map", {}).values()]:
        module, _, name = place.partition(".")
        assert f"class {name}" in (folder / f"{module}.py").read_text()


def test_saved_again_the_folder_says_the_same(folder, tmp_path):
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path)
    AutoVideoProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    for name in ("config.json", "video_preprocessor_config.json"):
        assert json.loads((tmp_path / name).read_text()) == json.loads((folder / name).read_text())


def import_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.lstrip().startswith(("import ", "from "))]
