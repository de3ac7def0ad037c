"""The tiny model with `onnx/` in every precision, exported once for all tests of a process."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from real_clips import save_tiny_model

from cvqa.inference.export_onnx import export_onnx


@functools.cache
def exported_tiny_model() -> Path:
    """Not to be changed: see `copy_of`."""
    folder = Path(tempfile.mkdtemp(prefix="cvqa-exported-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    export_onnx(save_tiny_model(folder / "cvqa-student"))
    return folder / "cvqa-student"


def copy_of(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))
