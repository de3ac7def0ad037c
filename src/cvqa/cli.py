"""The command `cvqa`: results on stdout, messages on stderr; exit 0 all well, 1 some files failed, 2 wrong usage.

What a command does not need, it does not import.
"""

import argparse
import glob
import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from logging import ERROR, getLogger
from pathlib import Path

from . import cli_data
from .console import (
    EXIT_BROKEN_PIPE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_SOME_FAILED,
    EXIT_USAGE,
    UsageError,
    printable,
    say,
)
from .inference.load import BACKENDS, PRECISIONS, load_scorer


VIDEO_SUFFIXES = tuple(
    f".{name}"
    for name in (
        *("mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "m2ts", "mts", "mpg", "mpeg", "flv", "wmv", "ivf", "y4m"),
        *("3gp", "ogv", "mxf", "obu", "yuv", "h264", "264", "h265", "265", "hevc"),
    )
)
LABELS = {"mos": "opinion scores (MOS)", "dmos": "opinion scores (DMOS)", "vmaf": "VMAF"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments, by default those of the process, and returns its exit code."""
    try:
        args = _parser().parse_args(argv)
    except SystemExit as leaving:  # argparse has shown the help or what is wrong
        return leaving.code if isinstance(leaving.code, int) else EXIT_OK
    try:
        with _quiet_libraries():
            status = args.run(args)
        sys.stdout.flush()
        return status
    except UsageError as error:
        say(str(error))
        return EXIT_USAGE
    except KeyboardInterrupt:
        say("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:  # a full disk, a folder that may not be written
        say(str(error))
        return EXIT_SOME_FAILED


def run_score(args: argparse.Namespace) -> int:
    from .inference import report

    outputs = [
        (args.json, report.json_text, report.write_json, ()),
        (args.csv, report.csv_text, report.write_csv, ()),
        (args.plot, None, report.write_plot, report.PLOT_SUFFIXES),
    ]
    outputs = [output for output in outputs if output[0]]
    for path, as_text, _, suffixes in outputs:
        if path == "-" and as_text:
            continue
        _check_output(path, suffixes)
    talk = not any(path == "-" for path, *_ in outputs)

    results = []
    try:
        for result in _score_files(_load_scorer(args), _expand(args.paths), args.segments):
            results.append(result)
            if talk and result.error is None:
                _show(result)
    finally:  # when interrupted, what has been scored is kept
        if results:
            for path, as_text, write, _ in outputs:
                if path == "-":
                    sys.stdout.write(as_text(results))
                else:
                    write(results, path)
    return _status(results)


def run_compare(args: argparse.Namespace) -> int:
    files = _expand(args.paths)
    if len(files) < 2:
        raise UsageError("compare needs two files or more")
    results = list(_score_files(_load_scorer(args), files))
    ranked = sorted((result for result in results if result.error is None), key=lambda result: -result.score)
    if ranked:
        print("rank  score  behind       interval  overlaps  file")
    for rank, result in enumerate(ranked, 1):
        overlaps = [str(n) for n, other in enumerate(ranked, 1) if n != rank and result.overlaps(other)]
        behind = f"{ranked[0].score - result.score:6.1f}" if rank > 1 else "     -"
        print(
            f"{rank:4}  {result.score:5.1f}  {behind}  {_bounds(result.spread)}  {','.join(overlaps) or '-':8}  "
            f"{printable(result.file)}"
        )
    if any(better.overlaps(worse) for better, worse in pairwise(ranked)):
        print("Where the intervals of two files overlap, their order is not certain.")
    return _status(results)


def run_demo(args: argparse.Namespace) -> int:
    from .demo import run_demo

    run_demo(args.output, seed=args.seed)
    return EXIT_OK


def run_app(args: argparse.Namespace) -> int:
    try:
        from .app import launch
    except ModuleNotFoundError as error:
        raise UsageError(f"the page needs {error.name}: pip install 'cvqa[app]'") from error
    launch(_load_scorer(args), server_name=args.host, server_port=args.port, quiet=not sys.stdout.isatty())
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cvqa", description="Quality of compressed video from 0 to 100, higher is better, without its reference."
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    scoring = argparse.ArgumentParser(add_help=False)
    scoring.add_argument(
        "--model",
        metavar="M",
        help="folder or Hub repository of the model (default: $CVQA_MODEL, else the one that comes with cvqa)",
    )
    scoring.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    scoring.add_argument("--backend", choices=BACKENDS, default="torch", help="onnx: what scripts/export_onnx.py wrote")
    scoring.add_argument(
        "--hdr",
        choices=("refuse", "bt2390"),
        help="what to do with PQ and HLG video: refuse it, or map it to SDR and score that rendition (default: as the "
        "model says, which is to refuse)",
    )
    scoring.add_argument("--precision", choices=PRECISIONS, help="of the exported model (default: fp32)")

    score = commands.add_parser(
        "score",
        parents=[scoring],
        help="score video files",
        description="Prints score, interval and name of each file. The interval of the model that comes with cvqa held "
        "VMAF for 90% of videos that it had not seen; that of others tells how far the score would move had other "
        "moments of the video been looked at (95%).",
        epilog="Exit code: 0 all scored, 1 some files failed (named on stderr), 2 wrong usage.",
    )
    score.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a video file, or a folder for the video files in it; behind -- if its name begins with -",
    )
    score.add_argument(
        "--segments", type=_seconds, metavar="SECONDS", help="also score every step of this many seconds"
    )
    score.add_argument("--json", metavar="FILE", help="write the results as JSON; - for stdout")
    score.add_argument("--csv", metavar="FILE", help="write the results as a table; - for stdout")
    score.add_argument("--plot", metavar="FILE", help="draw quality over time (png, svg, pdf, ...)")
    score.set_defaults(run=run_score)

    compare = commands.add_parser(
        "compare",
        parents=[scoring],
        help="rank video files by quality",
        description="Ranks files by the score of one model and says which of them are too close to tell apart.",
    )
    compare.add_argument("paths", nargs="+", metavar="PATH", help="two video files or more")
    compare.set_defaults(run=run_compare)

    demo = commands.add_parser(
        "demo",
        help="the whole path in minutes: encode, train a teacher, distil a student, evaluate, score",
        description="Builds a small ladder of real encodes, fine-tunes a tiny teacher, distils a tiny student, "
        "evaluates both on held-out content and scores an encode at falling quality. Needs no network and no GPU.",
    )
    demo.add_argument("--output", default="cvqa-demo", metavar="DIR", help="where to put it all (default: cvqa-demo)")
    demo.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    demo.set_defaults(run=run_demo)

    app = commands.add_parser(
        "app",
        parents=[scoring],
        help="a web page to drop videos on",
        description="Serves a page on this machine where one or two videos are scored and compared.",
    )
    app.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine alone)")
    app.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    app.set_defaults(run=run_app)

    cli_data.add_commands(commands)
    return parser


class _Version(argparse.Action):
    """Prints the version when asked, so that reading the package's metadata costs nothing otherwise."""

    def __init__(self, option_strings, dest):
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser, namespace, values, option_string=None):
        from importlib.metadata import version

        print(f"cvqa {version('cvqa')}")
        parser.exit()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _load_scorer(args: argparse.Namespace):
    model = args.model or os.environ.get("CVQA_MODEL") or None
    try:
        scorer, label_kind = load_scorer(model, args.backend, args.device, args.precision, args.hdr)
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from error
    labels = LABELS.get(label_kind, label_kind)
    say(f"quality from 0 to 100, higher is better, learnt from {labels}; model {scorer.name}")
    return scorer


def _expand(paths: Sequence[str]) -> list[str]:
    """Folders become the video files in them, patterns that the shell left alone what they match, both sorted."""
    files = []
    for path in paths:
        if Path(path).is_dir():
            found = sorted(
                str(entry)
                for entry in Path(path).iterdir()
                if entry.suffix.lower() in VIDEO_SUFFIXES and not entry.name.startswith(".") and entry.is_file()
            )
        else:
            found = [] if os.path.lexists(path) else sorted(glob.glob(path, recursive=True))  # noqa: PTH207 (any root)
        files += found or [path]
    return files


def _score_files(scorer, files: Sequence[str], segments: float | None = None) -> Iterator:
    """The result of each file in order. A failure is named on stderr in one line, and the rest goes on."""
    from tqdm import tqdm

    from .inference import VideoScore

    for file in files:
        if Path(file).is_dir():  # what `_expand` found nothing in
            result = VideoScore(file=file, model=scorer.name, error="no video files in this folder")
        else:
            with tqdm(desc=printable(Path(file).name), unit="clip", leave=False, disable=None) as bar, _unlogged():

                def progress(done: int, total: int, bar=bar) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                (result,) = scorer.score_many([file], segments, progress)
        for message in result.warnings if result.error is None else [result.error]:
            say(f"{file}: {message}" if result.error else f"{file}: warning: {message}")
        yield result


@contextmanager
def _unlogged():
    """Holds back log lines of the reader: what is wrong with a file is told once, as its error."""
    logger = getLogger("cvqa")
    level = logger.level
    logger.setLevel(ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _show(result) -> None:
    print(f"{result.score:5.1f}  {_bounds(result.interval)}  {printable(result.file)}", flush=True)
    for segment in result.segments:
        print(f"{segment.score:5.1f}  {segment.start:9.2f} - {segment.end:.2f} s")


def _bounds(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"[{low:5.1f}, {high:5.1f}]"


def _status(results: Sequence) -> int:
    return EXIT_SOME_FAILED if any(result.error is not None for result in results) else EXIT_OK


def _check_output(path: str, suffixes: Sequence[str]) -> None:
    from .inference.report import check_target

    if Path(path).suffix.lower() in VIDEO_SUFFIXES:  # `cvqa score --json a.mp4 b.mp4` must not destroy a.mp4
        raise UsageError(f"{path}: looks like a video; the option needs the name of a file to write")
    try:
        check_target(path, suffixes)
    except ValueError as error:
        raise UsageError(str(error)) from error


@contextmanager
def _quiet_libraries():
    """Keeps warnings and log lines of libraries off stderr, unless asked for: there it is our messages that matter."""
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder: errors only
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a file's name
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        yield


if __name__ == "__main__":
    sys.exit(main())
