"""Train the student that comes with the package: from sources over ladder, teacher, student and report to its card.

    python scripts/train_default.py SOURCES OUTPUT --workers 12
    python scripts/train_default.py SOURCES OUTPUT --phases teacher,student    # only these; what they need is there
    accelerate launch --num_processes 2 scripts/train_default.py none OUTPUT --phases teacher,student    # on two GPUs

The same command goes on where a run that was stopped left off: a phase whose output is there is skipped. The numbers
are in src/cvqa/default_student/settings.py. SOURCES may be `none` where OUTPUT/ladder exists.
"""

import argparse
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

from cvqa.default_student.recipe import ASSETS, PHASES, Recipe
from cvqa.default_student.settings import Settings


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", help="clips and photographs, as for build_ladder.py; or none")
    parser.add_argument("output", type=Path, help="folder of ladder, frames, models and report")
    parser.add_argument("--phases", default=",".join(PHASES), help="default: %(default)s")
    parser.add_argument("--recipe", default=str(Path(__file__).with_name("default_ladder.json")), help="of the ladder")
    parser.add_argument("--teacher", help=f"name of the teacher's network (default: {Settings.teacher})")
    parser.add_argument("--student", help=f"name of the student's network (default: {Settings.student})")
    parser.add_argument("--max_steps", type=int, help="training steps of every stage")
    parser.add_argument("--batch_size", type=int, help="clips of a step of every stage")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    parser.add_argument("--assets", type=Path, default=ASSETS, help="folder of the shipped model")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    given = {name: getattr(arguments, name) for name in ("recipe", "teacher", "student")}
    settings = replace(Settings(), **{name: value for name, value in given.items() if value is not None})
    of_stage = {"steps": arguments.max_steps, "batch_size": arguments.batch_size}
    of_stage = {name: value for name, value in of_stage.items() if value is not None}
    for name in ("teacher_stages", "student_stages"):
        settings = replace(settings, **{name: tuple(replace(stage, **of_stage) for stage in getattr(settings, name))})
    sources = None if arguments.sources == ["none"] else arguments.sources
    recipe = Recipe(sources, arguments.output, settings, arguments.workers, arguments.assets)
    try:
        recipe.run(arguments.phases.split(","))
    except (ValueError, OSError) as error:
        print(f"train_default: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
