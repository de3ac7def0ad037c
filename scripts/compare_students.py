"""Compare students, with and without distillation: an experiment as one command, which goes on where it was stopped.

    python scripts/compare_students.py scripts/comparison.json runs/comparison --data_dir ladder --jobs 3

The experiment says which students are trained in which ways (arms), with which seeds on which splits; see
`cvqa.distillation.experiment`. Every run has a folder; the table, its numbers and two pictures are in results/.
"""

import argparse
import sys

import cvqa  # noqa: F401 registers the models with the Auto classes
from cvqa.distillation.comparison import carry_out
from cvqa.distillation.comparison_report import report
from cvqa.distillation.experiment import Experiment
from cvqa.distillation.run import wrong_input_in_one_line


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="JSON file")
    parser.add_argument("output", help="folder of the comparison; finished runs in it are kept")
    parser.add_argument("--dataset", help="name of the data set or path of a table (default: as the experiment says)")
    parser.add_argument("--data_dir", help="where the data set lies")
    parser.add_argument("--cache_dir", help="folder of the frame cache")
    parser.add_argument("--teacher", help="folder of a trained model, as the first teacher (default: as it says)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, spread over the GPUs (default: 1)")
    parser.add_argument(
        "--time_limit", type=float, help="seconds after which runs stop at a checkpoint; 0: only report"
    )
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    given = {name: getattr(arguments, name) for name in ("dataset", "data_dir", "cache_dir")}
    with wrong_input_in_one_line("compare_students"):
        experiment = Experiment.from_file(
            arguments.experiment, arguments.teacher, **{name: value for name, value in given.items() if value}
        )
        try:
            failed = carry_out(experiment, arguments.output, arguments.jobs, arguments.time_limit)
        except KeyboardInterrupt:
            print("stopped; the same command goes on", file=sys.stderr)
            return 130
        folder = report(experiment, arguments.output)
    print((folder / "table.md").read_text(encoding="utf-8"))
    for name, error in failed.items():
        print(f"{name}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
