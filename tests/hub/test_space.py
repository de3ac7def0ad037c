"""A Space folder stands alone: its page starts where the package is not installed, and scores an example."""

import os
import subprocess
import sys

import pytest
from huggingface_hub import SpaceCard
from real_clips import save_tiny_model

from cvqa.hub.space import write_space_folder


START = """
import sys
sys.path = [path for path in sys.path if "cvqa" not in path]
sys.path.insert(0, ".")

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("evaluate", "imageio_ffmpeg", "skimage"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
import pathlib
import cvqa, cvqa.app
from cvqa.inference import VideoScorer

assert pathlib.Path(cvqa.__file__).parent == pathlib.Path("cvqa").resolve(), cvqa.__file__
scorer = VideoScorer.from_pretrained("model")
examples = sorted(pathlib.Path("examples").glob("*.mp4"))
cvqa.app.build_app(scorer, examples)
print([cvqa.app.judge(scorer, str(example)).score for example in examples])
compile(open("app.py").read(), "app.py", "exec")
"""


def test_the_folder_stands_alone(tmp_path):
    model = save_tiny_model(tmp_path / "cvqa-student")
    space = write_space_folder(model, tmp_path / "space", "org/cvqa-space")
    names = {path.name for path in space.iterdir()}
    assert names == {"README.md", "app.py", "requirements.txt", "cvqa", "examples", "model"}
    card = SpaceCard.load(space / "README.md")
    assert (card.data.sdk, card.data.app_file, card.data.title) == ("gradio", "app.py", "cvqa-space")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", START], cwd=space, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(eval(done.stdout.splitlines()[-1])) == 2


def test_a_model_on_the_hub_is_named_and_not_copied(tmp_path):
    space = write_space_folder("org/cvqa-student", tmp_path / "space")
    assert not (space / "model").exists()
    assert "'org/cvqa-student'" in (space / "app.py").read_text()
    assert SpaceCard.load(space / "README.md").data.models == ["org/cvqa-student"]
    with pytest.raises(FileNotFoundError, match="no such folder, nor the name of a repository"):
        write_space_folder(str(tmp_path / "absent"), tmp_path / "other")
