"""The recipe of the default student in small: a dozen photographs, real encodes, a few steps."""

import sys
from importlib.resources import as_file, files
from pathlib import Path

from cvqa.default_student.recipe import Recipe
from cvqa.default_student.settings import Settings, Stage
from cvqa.demo import PHOTOGRAPHS


LADDER_RECIPE = [
    {"encoder": ["x264", "x265"], "quality": [0, 1], "weight": 4},
    {"encoder": "x264", "preset": "ultrafast", "weight": 1},
]
SETTINGS = Settings(
    recipe=LADDER_RECIPE,
    ladder={"encodes_per_source": 5, "size": (192, 108), "num_frames": 8, "max_frames": 8},
    fractions=(0.5, 0.25, 0.25),
    left_out={"codec": "vvc", "preset": "ultrafast"},
    view=128,
    fragment=64,
    teacher="resnet_small",
    teacher_stages=(Stage(steps=4, batch_size=8, crop=64, learning_rate=1e-3),),
    student_stages=(
        Stage(steps=4, batch_size=8, crop=64, learning_rate=1e-3),
        Stage(steps=2, batch_size=4, crop=96, learning_rate=1e-4),
    ),
    evaluations=2,
    bd_encoders=("x264", "x265"),
    bd_contents=2,
    bd_levels=3,
    sanity_contents=1,
    sanity_frames=8,
    sanity_repeats=1,
)


def tiny_recipe(output: Path, assets: Path) -> Recipe:
    with as_file(files("skimage").joinpath("data")) as photographs:
        sources = [photographs / name for name in PHOTOGRAPHS[:12]]
    return Recipe(sources, output, SETTINGS, workers=1, assets=assets)


if __name__ == "__main__":  # python small_recipe.py OUTPUT PHASES
    tiny_recipe(Path(sys.argv[1]), Path(sys.argv[1], "assets")).run(sys.argv[2].split(","))
