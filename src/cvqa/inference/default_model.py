"""The student that comes with the package."""

from importlib.resources import files
from pathlib import Path


DEFAULT_MODEL = Path(str(files("cvqa").joinpath("assets", "student")))
DEFAULT_NAME = "cvqa default student"


def default_model() -> Path:
    """The folder of the student that comes with the package.

    Raises ValueError where it is missing, as in a copy of the sources without it.
    """
    missing = [name for name in ("config.json", "model.safetensors") if not (DEFAULT_MODEL / name).is_file()]
    if missing:
        raise ValueError(
            f"this copy of cvqa has no default model ({DEFAULT_MODEL / missing[0]} is missing): install the wheel, "
            "make the model with scripts/train_default.py, or name another one (--model, CVQA_MODEL)"
        )
    return DEFAULT_MODEL
