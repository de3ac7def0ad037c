"""A short clip that anybody may publish: something to try a model on, where the Hub shows one."""

from importlib.resources import as_file, files
from pathlib import Path

from ..video.encoding import encode
from ..video.photographs import pan_and_zoom


EXAMPLE = "example.mp4"
PHOTOGRAPH = "chelsea.png"  # of scikit-image, by Stefan van der Walt, CC0


def write_example(path: Path, crf: int = 40) -> None:
    """Two seconds of a photograph, 384x216, by x264 at this CRF; the default shows what compression does."""
    with as_file(files("skimage").joinpath("data", PHOTOGRAPH)) as photograph:
        clip = pan_and_zoom(photograph, size=(384, 216), num_frames=50)
    encode((clip, 25.0), path, "x264", crf, preset="fast")
