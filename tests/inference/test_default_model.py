"""The model that comes with the package, on real encodes; none of this depends on its exact weights."""

import json
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from real_clips import encode
from skimage import data
from transformers import AutoModel, AutoVideoProcessor, pipeline

from cvqa import VideoScorer
from cvqa.inference.default_model import DEFAULT_MODEL, DEFAULT_NAME, default_model
from cvqa.inference.scorer import ModelError


needs_assets = pytest.mark.skipif(
    not (DEFAULT_MODEL / "model.safetensors").is_file(),
    reason="this checkout has no default model; make it with scripts/train_default.py",
)
CRFS = (12, 30, 38, 46)


@pytest.fixture(scope="module")
def falling(tmp_path_factory) -> list:
    """A photograph that the camera moves over, at falling quality; the first one next to lossless."""
    folder, image = tmp_path_factory.mktemp("falling"), data.chelsea()
    frames = np.stack([image[10 + step :][:252, 3 * step :][:, :400] for step in range(16)])
    return [encode(folder / f"{crf}.mp4", frames, crf=crf) for crf in CRFS]


@needs_assets
def test_re_encodes_at_falling_quality_score_strictly_lower_at_clearly_different_levels(falling):
    scorer = VideoScorer.from_pretrained()
    scores = [scorer.score(path).score for path in falling]
    assert all(better > worse for better, worse in pairwise(scores)), scores
    assert scores[0] > 85, "next to lossless"
    assert scores[1] - scores[-1] > 20, scores


@needs_assets
def test_its_interval_says_how_far_off_it_may_be(falling):
    result = VideoScorer.from_pretrained().score(falling[1])
    low, high = result.interval
    assert low < result.score < high and high - low > result.spread[1] - result.spread[0]


@needs_assets
def test_the_folder_loads_with_the_auto_classes_and_scores_alike(falling):
    model, processor = AutoModel.from_pretrained(DEFAULT_MODEL), AutoVideoProcessor.from_pretrained(DEFAULT_MODEL)
    assert model.config.label_kind == "vmaf" and model.config.score_interval and model.config.domain
    with torch.inference_mode():
        output = model.float()(**processor(str(falling[1]), return_tensors="pt"))
    whole = VideoScorer.from_pretrained().score(falling[1])
    assert model.quality_score(output.logits).item() == pytest.approx(whole.score, abs=10)
    assessed = pipeline("video-quality-assessment", model=str(DEFAULT_MODEL), dtype=torch.float32)(str(falling[1]))
    assert assessed["score"] == pytest.approx(whole.score, abs=1e-3)
    assert assessed["interval"] == pytest.approx(whole.interval, abs=1e-3)


@needs_assets
def test_it_is_small_and_its_card_says_what_it_predicts():
    assert (DEFAULT_MODEL / "model.safetensors").stat().st_size <= 16_000_000
    card = (DEFAULT_MODEL / "README.md").read_text(encoding="utf-8")
    assert "VMAF" in card and "not an opinion score" in card


@needs_assets
def test_the_command_scores_without_naming_a_model_or_a_network(falling, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "CVQA_MODEL"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "cvqa", "score", str(falling[0]), str(falling[-1]), "--json", "-"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    good, bad = json.loads(found.stdout)
    assert good["score"] > bad["score"] and good["model"] == DEFAULT_NAME


def test_a_copy_without_it_says_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setattr("cvqa.inference.default_model.DEFAULT_MODEL", tmp_path)
    with pytest.raises(ValueError, match=r"config\.json is missing.*scripts/train_default\.py.*--model"):
        default_model()
    with pytest.raises(ModelError, match="has no default model"):
        VideoScorer.from_pretrained()
