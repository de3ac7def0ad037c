"""Evaluate a model on scored videos: prints a table and saves table, figures, predictions and a scatter plot.

Examples:
    python scripts/evaluate.py runs/student ladder/
    python scripts/evaluate.py org/cvqa-student scores.csv --split all --mapping rescale --output runs/on-my-videos
"""

import argparse
import os
import sys
from pathlib import Path

import torch
from transformers import AutoModel, AutoVideoProcessor
from transformers.utils import logging

import cvqa  # registers the models with the Auto classes
from cvqa.data.hub_dataset import is_published
from cvqa.data.rows import TABLE_SUFFIXES
from cvqa.evaluation import MAPPINGS, evaluate_dataset, save_report, text_table


ABOUT_TABLE = ("content_pattern", "score_min", "score_max", "higher_is_better", "label_kind")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="folder or Hub repository of the model")
    parser.add_argument("data", metavar="DATA", type=Path, help="table of videos and scores, or folder of a data set")
    parser.add_argument("--name", help="kind of data set (default: told by what lies there)")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test", "all"), help="default: test")
    parser.add_argument("--split-seed", type=int, default=0, help="seed of the split, as in training (default: 0)")
    parser.add_argument(
        "--mapping", default="logistic4", choices=MAPPINGS, help="before PLCC and RMSE (default: logistic4)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/evaluation"), help="folder (default: runs/evaluation)"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="clips (default: 8)")
    parser.add_argument("--num-workers", type=int, default=min(4, os.cpu_count() or 1), help="reading processes")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: the first that is there)")
    parser.add_argument("--resamples", type=int, default=1000, help="for the intervals; 0 for none (default: 1000)")
    table = parser.add_argument_group("what a table does not say itself (csv only; default: guessed and logged)")
    table.add_argument("--content-pattern", help="regular expression whose group finds the content in a video's path")
    table.add_argument("--score-min", type=float, help="lower end of the scale of scores")
    table.add_argument("--score-max", type=float, help="upper end of the scale of scores")
    table.add_argument("--higher-is-better", action=argparse.BooleanOptionalAction, help="direction of the scores")
    table.add_argument("--label-kind", choices=("mos", "dmos", "vmaf"))
    arguments = parser.parse_args()
    arguments.name = arguments.name or kind_of(arguments.data)
    values = {key: getattr(arguments, key) for key in ABOUT_TABLE}
    arguments.options = {key: value for key, value in values.items() if value is not None}
    if arguments.options and arguments.name != "csv":
        parser.error(
            f"{', '.join(arguments.options)}: only for a table, a data set of kind {arguments.name} knows itself"
        )
    return arguments


def kind_of(data: Path) -> str:
    if data.is_file() or data.suffix.lower() in TABLE_SUFFIXES:
        return "csv"
    return "hub" if is_published(data) else "ladder"


def main() -> int:
    arguments = parse_arguments()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        evaluate(arguments)
    except KeyboardInterrupt:
        print("stopped; nothing was saved", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def evaluate(arguments: argparse.Namespace) -> None:
    arguments.output.mkdir(parents=True, exist_ok=True)  # better refused now than after the work
    dataset = cvqa.load_quality_dataset(
        arguments.name, arguments.data, arguments.split, seed=arguments.split_seed, **arguments.options
    )
    try:
        model = AutoModel.from_pretrained(arguments.model, dtype=torch.float32)
        processor = AutoVideoProcessor.from_pretrained(arguments.model)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{arguments.model}: no model can be loaded from this folder or repository: {error}"
        ) from error
    summary, rows = evaluate_dataset(
        model,
        processor,
        dataset,
        mapping=arguments.mapping,
        split=arguments.split,
        # Reports are published: they carry names, not where things lie on this machine.
        model_name=Path(arguments.model).resolve().name if Path(arguments.model).is_dir() else arguments.model,
        dataset_name=arguments.data.resolve().name,
        batch_size=arguments.batch_size,
        device=arguments.device or default_device(),
        num_workers=arguments.num_workers,
        resamples=arguments.resamples,
    )
    print(text_table(summary))
    folder = save_report(arguments.output, summary, rows)
    print(f"saved results.json, table.md, predictions.csv and scatter.png in {folder}", file=sys.stderr)


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


if __name__ == "__main__":
    sys.exit(main())
