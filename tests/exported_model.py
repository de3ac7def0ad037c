"""The tiny model with `onnx/` in every precision, exported once for all tests of a process."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from real_clips import save_tiny_model

from cvqa.inference.export_onnx import export_onnx


# The tiny model's weights are ten times those of a trained one, and so is what rounding them does.
TOLERANCES = {"fp16": 0.5, "int8": 5.0}


@functools.cache
def exported_tiny_model() -> Path:
    """Not to be changed: see `copy_of`."""
    folder = Path(tempfile.mkdtemp(prefix="cvqa-exported-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    export_onnx(save_tiny_model(folder / "cvqa-student", orientations=4), tolerances=TOLERANCES)
    return folder / "cvqa-student"


def copy_of(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))
