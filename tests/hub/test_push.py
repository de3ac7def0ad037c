"""Publishing over real HTTP to a Hub on this machine: all or nothing, and what is loaded is what was pushed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from huggingface_hub import close_session
from loopback_hub import LoopbackHub
from real_clips import encode, panned, save_tiny_model
from transformers import AutoModel, AutoVideoProcessor

import cvqa  # noqa: F401 registers the models
from cvqa.hub import push
from cvqa.hub.folder import write_model_folder
from cvqa.hub.push import HubError, push_folder


ROOT = Path(__file__).parents[2]
PUSH = ROOT / "scripts" / "push_to_hub.py"
REPO = "org/cvqa-student"

SCORE = """
import json, sys
blocked = sys.argv[3] == "without"
if blocked:
    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "cvqa":
                raise ModuleNotFoundError("No module named 'cvqa'", name=name)
    sys.meta_path.insert(0, Refuse())
else:
    import cvqa
import torch
from transformers import AutoModel, AutoVideoProcessor, pipeline

repo, clip = sys.argv[1:3]
trust = {"trust_remote_code": True} if blocked else {}
model = AutoModel.from_pretrained(repo, **trust)
with torch.inference_mode():
    logits = model(**AutoVideoProcessor.from_pretrained(repo, **trust)(clip, return_tensors="pt")).logits
score = pipeline("video-quality-assessment", model=repo, **trust)
classify = pipeline("video-classification", model=repo, **trust)
assert ("cvqa" in sys.modules) != blocked
print(json.dumps({"logits": logits.tolist(), "quality": model.quality_score(logits).tolist(),
    "pipeline": score(clip)["score"], "many": [r["score"] for r in score([clip, clip], batch_size=3)],
    "classified": classify(clip, function_to_apply="none")}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("saved") / "cvqa-student")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return str(encode(tmp_path_factory.mktemp("clip") / "movie.mp4", panned(60)))


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        yield hub


def run(hub: LoopbackHub, home: Path, *command: object, **changes: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, **hub.environment(home), **changes}
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment, cwd=home, capture_output=True, text=True, timeout=300
    )


def test_pushed_then_loaded_with_and_without_the_package(hub, folder, clip, tmp_path):
    done = run(hub, tmp_path, PUSH, folder, REPO)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.url}/{REPO}"
    files = hub.repos[f"models/{REPO}"]
    assert len(hub.commits[f"models/{REPO}"]) == 1
    assert {"README.md", "config.json", "handler.py", "model.safetensors", "pipeline_video_quality.py"} <= set(files)
    assert {"requirements.txt", "video_preprocessor_config.json", "video_plan.py", "video_reader.py"} <= set(files)
    assert not any(str(folder.parent).encode() in content for content in files.values())

    with torch.inference_mode():
        model = AutoModel.from_pretrained(folder)
        logits = model(**AutoVideoProcessor.from_pretrained(folder)(clip, return_tensors="pt")).logits
    for kind in ("without", "with"):
        (tmp_path / kind).mkdir()
        found = run(hub, tmp_path / kind, "-c", SCORE, REPO, clip, kind)
        assert found.returncode == 0, found.stderr
        found = json.loads(found.stdout.splitlines()[-1])
        assert found["logits"] == logits.tolist()
        assert found["quality"] == model.quality_score(logits).tolist()
        assert found["classified"] == [{"label": "quality", "score": found["quality"][0]}]
        assert found["many"] == pytest.approx([found["pipeline"]] * 2, abs=1e-3)


@pytest.fixture(scope="module")
def ready(folder, tmp_path_factory) -> Path:
    return write_model_folder(folder, tmp_path_factory.mktemp("ready") / "model", REPO)


@pytest.fixture
def here(hub, monkeypatch):
    """Lets this process, too, talk to the Hub on this machine."""
    for name, value in {"ENDPOINT": hub.url, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.setenv("HF_TOKEN", "hf_loopback")
    monkeypatch.setattr(push, "WAIT_SECONDS", 0.01)
    close_session()
    return hub


@pytest.mark.parametrize(
    ("call", "status", "told"),
    [
        ("create", 401, "hf auth login"),
        ("create", 403, "may not write there"),
        ("preupload", 404, "no such place"),
        ("put", 403, "may not write there"),
        ("commit", 409, "run the command again"),
        ("commit", 403, "may not write there"),
    ],
)
def test_a_refusal_is_told_at_once_and_leaves_nothing(here, ready, call, status, told):
    here.fail(call, status)
    with pytest.raises(HubError, match=rf"^{REPO}: nothing was published: .*{status}.*{told}"):
        push_folder(ready, REPO)
    assert not here.repos.get(f"models/{REPO}")
    push_folder(ready, REPO)
    assert "model.safetensors" in here.repos[f"models/{REPO}"]


@pytest.mark.parametrize(("call", "status"), [("create", 429), ("preupload", 503), ("commit", 500), ("commit", 0)])
def test_what_may_pass_is_tried_again(here, ready, call, status):
    here.fail(call, status)
    push_folder(ready, REPO)
    assert here.calls.count(call) > 1
    assert len(here.commits[f"models/{REPO}"]) == 1


def test_what_does_not_pass_is_given_up_and_leaves_nothing(here, ready):
    here.fail("commit", 503, times=100)
    with pytest.raises(HubError, match="503: the Hub has a problem; run the command again later"):
        push_folder(ready, REPO)
    assert here.repos[f"models/{REPO}"] == {}


def test_what_is_wrong_here_is_told_before_anything_is_asked(here, ready, monkeypatch):
    with pytest.raises(HubError, match="is not the name of a repository"):
        push_folder(ready, "a/b/c")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        push_folder(ready / "absent", REPO)
    monkeypatch.setattr(push, "get_token", lambda: None)
    with pytest.raises(HubError, match="not logged in; run `hf auth login`"):
        push_folder(ready, REPO)
    assert here.calls == []


def test_pushed_again_it_is_one_more_commit_without_what_it_replaces(here, ready, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000-of-00002.parquet").write_bytes(b"old")
    push_folder(tmp_path, "org/set", "dataset", replaces=("data/*.parquet",))
    (tmp_path / "data" / "train-00000-of-00002.parquet").rename(tmp_path / "data" / "train-00000-of-00001.parquet")
    push_folder(tmp_path, "org/set", "dataset", replaces=("data/*.parquet",))
    assert list(here.repos["datasets/org/set"]) == ["data/train-00000-of-00001.parquet"]
    assert len(here.commits["datasets/org/set"]) == 2
