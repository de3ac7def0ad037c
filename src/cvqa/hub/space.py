"""A Space that stands alone: the page, the package that it needs, examples, and the model or its name on the Hub."""

import shutil
from pathlib import Path

import gradio
from huggingface_hub import SpaceCardData

from .. import __file__ as package
from ..files import write_text
from .cards import render
from .example import write_example
from .folder import REQUIREMENTS, check_public, replacing_folder, write_model_folder


# What of the package the page needs; training, evaluation and data sets stay at home.
PARTS = ("__init__.py", "lazy.py", "app.py", "app_html.py", "files.py", "models", "video", "inference")
EXAMPLES = (26, 46)  # CRF of x264
APP = '''"""The page of this Space."""

from pathlib import Path

from cvqa.app import launch
from cvqa.inference import VideoScorer


HERE = Path(__file__).parent

if __name__ == "__main__":
    launch(VideoScorer.from_pretrained({model}), sorted((HERE / "examples").glob("*.mp4")))
'''


def write_space_folder(model: str | Path, target: str | Path, repo_id: str | None = None) -> Path:
    """Writes a Space.

    Args:
        model: a folder, which is copied into the Space, or "org/name" on the Hub, which the Space loads.
        target: made or replaced as a whole.
        repo_id: where it will be published.

    Returns `target`. Raises FileNotFoundError, ValueError as `write_model_folder`.
    """
    is_folder = Path(model).is_dir()
    if not is_folder and str(model).count("/") != 1:
        raise FileNotFoundError(f"{model}: no such folder, nor the name of a repository (organisation/model)")
    target = Path(target)
    with replacing_folder(target, marker="app.py") as fresh:
        if is_folder:
            write_model_folder(model, fresh / "model")
        source = Path(package).parent
        for part in PARTS:
            if (source / part).is_dir():
                shutil.copytree(source / part, fresh / "cvqa" / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (fresh / "cvqa").mkdir(exist_ok=True)
                shutil.copyfile(source / part, fresh / "cvqa" / part)
        write_text(fresh / "app.py", APP.format(model='str(HERE / "model")' if is_folder else repr(str(model))))
        requirements = REQUIREMENTS.read_text(encoding="utf-8") + f"gradio>={gradio.__version__}\n"
        write_text(fresh / "requirements.txt", requirements)
        (fresh / "examples").mkdir()
        for crf in EXAMPLES:
            write_example(fresh / "examples" / f"crf{crf}.mp4", crf)
        name = (repo_id or target.resolve().name).split("/")[-1]
        metadata = SpaceCardData(
            title=name,
            emoji="🎞️",
            sdk="gradio",
            sdk_version=gradio.__version__,
            app_file="app.py",
            license="apache-2.0",
            models=None if is_folder else [str(model)],
            tags=["video-quality-assessment"],
        )
        named = "the model in its folder `model`" if is_folder else f"[{model}](https://huggingface.co/{model})"
        labels = "which tells what it learnt from on the page itself"
        write_text(fresh / "README.md", render("space", metadata, name=name, model=named, labels=labels))
        check_public(fresh)
    return target
