"""The command `cvqa`: results on stdout, messages on stderr; exit 0 all well, 1 some files failed, 2 wrong usage.

What a command does not need, it does not import.
"""

import argparse
import glob
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from logging import ERROR, getLogger
from pathlib import Path

from .inference.load import BACKENDS, PRECISIONS, load_scorer


EMBEDDED_MODEL = Path(__file__).parent / "assets" / "student"
VIDEO_SUFFIXES = tuple(
    f".{name}"
    for name in (
        *("mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "m2ts", "mts", "mpg", "mpeg", "flv", "wmv", "ivf", "y4m"),
        *("3gp", "ogv", "mxf", "obu", "yuv", "h264", "264", "h265", "265", "hevc"),
    )
)
LABELS = {"mos": "opinion scores (MOS)", "dmos": "opinion scores (DMOS)", "vmaf": "VMAF"}

EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 0, 1, 2, 130, 141


class UsageError(Exception):
    """The command cannot start as it was given; the text is shown and the exit code is 2."""


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
        _say(str(error))
        return EXIT_USAGE
    except KeyboardInterrupt:
        _say("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:  # a full disk, a folder that may not be written
        _say(str(error))
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
        overlaps = [str(n) for n, other in enumerate(ranked, 1) if n != rank and _overlap(result, other)]
        behind = f"{ranked[0].score - result.score:6.1f}" if rank > 1 else "     -"
        print(
            f"{rank:4}  {result.score:5.1f}  {behind}  {_interval(result)}  {','.join(overlaps) or '-':8}  "
            f"{_printable(result.file)}"
        )
    if any(_overlap(better, worse) for better, worse in pairwise(ranked)):
        print("Where the intervals of two files overlap, their order is not certain.")
    return _status(results)


def run_check(args: argparse.Namespace) -> int:
    from .data.check import check_dataset

    try:
        found = check_dataset(args.name, args.data_dir, seconds=args.seconds, **json.loads(args.options))
    except (ValueError, TypeError, OSError) as error:
        raise UsageError(str(error)) from error
    print(found)
    return EXIT_OK if found.is_complete else EXIT_SOME_FAILED


def run_cache(args: argparse.Namespace) -> int:
    from .data.frame_store import frame_caches, remove_cache

    caches = frame_caches(args.dir)
    unknown = set(args.remove or ()) - {cache.path.name for cache in caches} - {"all"}
    if unknown:
        raise UsageError(f"no cache of frames is called {', '.join(sorted(unknown))}; `cvqa cache` lists them")
    for cache in caches:
        removed = args.remove and (cache.path.name in args.remove or "all" in args.remove)
        if removed:
            remove_cache(cache)
        facts = {
            **cache.facts["settings"],
            **{name: cache.facts[name] for name in ("windows", "regions", "max_pixels")},
        }
        print(
            f"{cache.path.name}  {cache.bytes / 1e6:10,.0f} MB  {cache.videos:6} videos  used {date(cache.used)}  "
            f"{', '.join(f'{name} {value}' for name, value in facts.items() if value is not None)}"
            f"{'  removed' if removed else ''}"
        )
    return EXIT_OK


def date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def run_ladder_build(args: argparse.Namespace) -> int:
    from .data.ladder import build_ladder

    try:
        summary = build_ladder(
            args.sources,
            args.output,
            families=args.families,
            workers=args.workers,
            limit=args.limit,
            report=_say,
            recipe=args.recipe,
            encodes_per_source=args.encodes_per_source,
            seed=args.seed,
        )
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error
    print(summary)
    return EXIT_SOME_FAILED if summary.failures else EXIT_OK


def run_ladder_label(args: argparse.Namespace) -> int:
    from .data.ladder import label_encodes

    status = EXIT_OK
    print(" VMAF  lowest   PSNR    SSIM  file")
    for row in label_encodes([(path, args.reference) for path in args.paths], model=args.vmaf_model):
        if row["error"] is None:
            scores = f"{row['score']:5.1f}   {row['vmaf_min']:5.1f}  {row['psnr']:5.1f}  {row['ssim']:6.4f}"
            print(f"{scores}  {_printable(row['video'])}")
        else:
            _say(row["error"] if row["video"] in row["error"] else f"{row['video']}: {row['error']}")
            status = EXIT_SOME_FAILED
    return status


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
        description="Prints score, 95% interval and name of each file. The interval tells how far the score would "
        "move had other moments of the video been looked at.",
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

    check = commands.add_parser(
        "check",
        help="say in a minute whether a data set is complete and readable",
        description="Names the videos of a data set that are missing, damaged or unreadable.",
        epilog="Exit code: 0 complete, 1 videos are missing or cannot be read, 2 no score table.",
    )
    check.add_argument("name", help="bvi-hd, waterloo-ivc-4k, kvq, cvqad, lsvq, konvid-1k, ladder, or a score table")
    check.add_argument("data_dir", nargs="?", help="where the data lie")
    check.add_argument("--options", default="{}", metavar="JSON", help='of the loader: \'{"scores": "X.csv"}\'')
    check.add_argument("--seconds", type=float, default=60, help="open videos for so long (default: %(default)g)")
    check.set_defaults(run=run_check)

    cache = commands.add_parser(
        "cache",
        help="list or remove the frames that training keeps on disk",
        description="Lists the caches of decoded frames, the one used last at the end: name, size, videos, settings.",
    )
    cache.add_argument("--dir", help="folder of the caches (default: the one that training uses)")
    cache.add_argument("--remove", nargs="+", metavar="NAME", help="remove these, or all")
    cache.set_defaults(run=run_cache)

    ladder = commands.add_parser("ladder", help="make encodes labelled with VMAF, or label those that exist")
    ladders = ladder.add_subparsers(title="commands", metavar="COMMAND", required=True)
    build = ladders.add_parser(
        "build",
        help="encode sources at many qualities and label each encode",
        description="Encodes clips and photographs at many qualities and labels every encode with its VMAF. The "
        "same command goes on where a run that was stopped left off. More options: scripts/build_ladder.py.",
    )
    build.add_argument("sources", help="a folder of clips and photographs, a file, or a CSV table with a column file")
    build.add_argument("output", help="folder of the ladder")
    build.add_argument("--families", metavar="CSV", help="table content_id,family of sources that belong together")
    build.add_argument("--recipe", default="mixed", help="mixed, crf, or a JSON file (default: %(default)s)")
    build.add_argument("--encodes-per-source", type=int, default=16, metavar="N", help="default: %(default)s")
    build.add_argument("--workers", type=int, help="encodes at a time (default: all cores)")
    build.add_argument("--limit", type=int, help="take only so many sources")
    build.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    build.set_defaults(run=run_ladder_build)
    label = ladders.add_parser(
        "label", help="VMAF, PSNR and SSIM of encodes against their source", description="Prints the scores of encodes."
    )
    label.add_argument("reference", help="the source that they were encoded from")
    label.add_argument("paths", nargs="+", metavar="PATH", help="an encode of it")
    label.add_argument("--vmaf-model", default="vmaf_v0.6.1", help="default: %(default)s")
    label.set_defaults(run=run_ladder_label)
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
    model = args.model or os.environ.get("CVQA_MODEL")
    if not model:
        if not (EMBEDDED_MODEL / "config.json").is_file():
            raise UsageError(
                "no model: this version comes without one; name a folder or Hub repository with --model or in "
                "CVQA_MODEL (`cvqa demo` trains a small one)"
            )
        model = EMBEDDED_MODEL
    try:
        scorer, label_kind = load_scorer(model, args.backend, args.device, args.precision, args.hdr)
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from error
    labels = LABELS.get(label_kind, label_kind)
    _say(f"quality from 0 to 100, higher is better, learnt from {labels}; model {scorer.name}")
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
            with tqdm(desc=_printable(Path(file).name), unit="clip", leave=False, disable=None) as bar, _unlogged():

                def progress(done: int, total: int, bar=bar) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                (result,) = scorer.score_many([file], segments, progress)
        if result.error is not None:
            _say(f"{file}: {result.error}")
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
    print(f"{result.score:5.1f}  {_interval(result)}  {_printable(result.file)}", flush=True)
    for segment in result.segments:
        print(f"{segment.score:5.1f}  {segment.start:9.2f} - {segment.end:.2f} s")


def _interval(result) -> str:
    low, high = result.interval
    return f"[{low:5.1f}, {high:5.1f}]"


def _overlap(one, other) -> bool:
    return one.interval[0] <= other.interval[1] and other.interval[0] <= one.interval[1]


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


def _printable(text: str) -> str:
    """Text in one line: a file name may hold line breaks, terminal codes or bytes that are no text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _say(message: str) -> None:
    print(f"cvqa: {_printable(message)}", file=sys.stderr, flush=True)


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
