"""A student on a backbone of transformers is saved, published and loaded like the others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub.test_push import SCORE
from loopback_hub import LoopbackHub
from real_clips import encode, panned
from tiny_student import save_tiny_student
from transformers import AutoModel, AutoModelForVideoClassification, AutoVideoProcessor, pipeline

from cvqa import VideoScorer
from cvqa.hub.folder import write_model_folder
from cvqa.models import (
    BackboneStudentConfig,
    BackboneStudentForVideoClassification,
    BackboneStudentForVideoQualityAssessment,
    InternVideo2VideoProcessor,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_student(tmp_path_factory.mktemp("saved") / "cvqa-student")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return str(encode(tmp_path_factory.mktemp("clip") / "movie.mp4", panned(60)))


@pytest.fixture(scope="module")
def expected(folder, clip) -> dict:
    """With the package, in this process."""
    model, processor = AutoModel.from_pretrained(folder), AutoVideoProcessor.from_pretrained(folder)
    assert type(model) is BackboneStudentForVideoQualityAssessment and type(model.config) is BackboneStudentConfig
    assert type(processor) is InternVideo2VideoProcessor and processor.patch_size == 32
    with torch.inference_mode():
        logits = model(**processor(clip, return_tensors="pt")).logits
    return {
        "logits": logits.tolist(),
        "quality": model.quality_score(logits).tolist(),
        "pipeline": pipeline("video-quality-assessment", model=str(folder), device="cpu")(clip)["score"],
    }


def test_scorer_and_pipelines_agree(folder, clip, expected):
    assert 0 < expected["quality"][0] < 100
    assert VideoScorer.from_pretrained(folder, device="cpu").score(clip).score == pytest.approx(expected["pipeline"])
    classify = pipeline("video-classification", model=str(folder), device="cpu", function_to_apply="none")
    assert type(classify.model) is BackboneStudentForVideoClassification
    assert classify(clip)[0]["score"] == pytest.approx(expected["quality"][0], abs=1e-3)
    shown = AutoModelForVideoClassification.from_pretrained(folder)
    assert shown.quality_score(torch.tensor([[37.5]])).tolist() == [37.5]


@pytest.mark.parametrize("place", ["folder", "hub"])
def test_without_the_package_it_gives_the_same(folder, clip, expected, place, tmp_path):
    with LoopbackHub() as hub:
        name = str(write_model_folder(folder, tmp_path / "ready" / "cvqa-student", "org/cvqa-student"))
        environment = {**os.environ, **hub.environment(tmp_path / "home")}
        if place == "hub":
            files = {str(p.relative_to(name)): p.read_bytes() for p in Path(name).rglob("*") if p.is_file()}
            name = "org/cvqa-student"
            hub.repos[f"models/{name}"], hub.commits[f"models/{name}"] = files, ["1" * 40]
        done = subprocess.run(
            [sys.executable, "-c", SCORE, name, clip, "without"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["logits"] == expected["logits"] and found["quality"] == expected["quality"]
    assert found["pipeline"] == pytest.approx(expected["pipeline"], abs=1e-4)
    assert found["many"] == pytest.approx([expected["pipeline"]] * 2, abs=1e-3)
    assert found["classified"][0]["label"] == "quality"
