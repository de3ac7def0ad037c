"""Publish a model, a data set or a Space on the Hub.

    python scripts/push_to_hub.py runs/student org/cvqa-student
    python scripts/push_to_hub.py org/cvqa-student org/cvqa-space --space
    python scripts/push_to_hub.py ladder org/cvqa-ladder --dataset --license cc-by-4.0

What is uploaded stands alone and holds nothing private; look at it first with --output DIR, which publishes nothing.
Exit code: 0 published, 1 the Hub refused or could not be reached, 2 the folder cannot be published.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from huggingface_hub.utils import disable_progress_bars

from cvqa.hub.folder import STALE, write_model_folder
from cvqa.hub.push import HubError, push_folder


def write_folder(args: argparse.Namespace, target: Path) -> dict:
    """Writes what is to be published, and returns the options of `push_folder` for its kind."""
    if args.space:
        from cvqa.hub.space import write_space_folder

        write_space_folder(args.source, target, args.repo_id)
        return {"repo_type": "space", "space_sdk": "gradio", "replaces": ("cvqa/", "examples/", "model/")}
    if args.dataset:
        from cvqa import load_quality_dataset
        from cvqa.hub.dataset import write_dataset_folder

        name = "ladder" if Path(args.source, "ladder.json").is_file() else None
        splits = load_quality_dataset(name, args.source) if name else load_quality_dataset(args.source)
        write_dataset_folder(splits, target, repo_id=args.repo_id, license=args.license)
        return {"repo_type": "dataset", "replaces": ("data/*.parquet",)}
    write_model_folder(args.source, target, args.repo_id)
    return {"repo_type": "model", "replaces": STALE}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="FOLDER", help="model folder; ladder or score table; model of the Space")
    parser.add_argument("repo_id", metavar="org/name", help="where it goes")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--space", action="store_true", help="a Space that runs the web page with this model")
    kind.add_argument("--dataset", action="store_true", help="a data set as Parquet")
    parser.add_argument("--license", default="unknown", help="of the data set, an SPDX name (default: %(default)s)")
    parser.add_argument("--private", action="store_true", default=None, help="if the repository is new")
    parser.add_argument("--revision", help="branch (default: main)")
    parser.add_argument("--message", default="Upload with cvqa", help="of the commit")
    parser.add_argument("--output", type=Path, metavar="DIR", help="only write the folder, publish nothing")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            target = args.output or Path(scratch, "folder")
            options = write_folder(args, target)
            if args.output:
                print(f"{target}: ready, nothing was published")
            else:
                print(push_folder(target, args.repo_id, private=args.private, revision=args.revision,
                                  commit_message=args.message, **options))  # fmt: skip
    except HubError as error:
        print(f"push_to_hub: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"push_to_hub: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
