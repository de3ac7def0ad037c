"""The parts of the command that make, check and keep data: `cvqa check`, `cache`, `ladder build`, `ladder label`."""

import argparse
import json
import time

from .console import EXIT_OK, EXIT_SOME_FAILED, UsageError, printable, say


def add_commands(commands) -> None:
    """Add the parsers of these commands to those of the command."""
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
        "same command goes on where a run that was stopped left off.",
    )
    build.add_argument("sources", help="a folder of clips and photographs, a file, or a CSV table with a column file")
    build.add_argument("output", help="folder of the ladder")
    build.add_argument("--families", metavar="CSV", help="table content_id,family of sources that belong together")
    build.add_argument("--recipe", default="mixed", help="mixed, crf, or a JSON file (default: %(default)s)")
    build.add_argument("--encodes-per-source", type=int, default=16, metavar="N", help="default: %(default)s")
    build.add_argument(
        "--size",
        type=sizes,
        default="480x270",
        help="of clips made from photographs; several, by comma, are drawn from (default: %(default)s)",
    )
    build.add_argument(
        "--takes",
        type=int,
        default=1,
        metavar="N",
        help="clips from every photograph, by different cameras (default: 1)",
    )
    build.add_argument("--frames", type=int, default=24, help="of clips made from photographs (default: %(default)s)")
    build.add_argument("--max-frames", type=int, default=64, help="of other clips (default: %(default)s)")
    build.add_argument("--vmaf-model", default="vmaf_v0.6.1", help="default: %(default)s")
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


def sizes(text: str) -> list[tuple[int, ...]]:
    """Of "480x270" or "480x270,640x360"; ValueError otherwise, which the parser turns into its message."""
    return [tuple(map(int, size.split("x"))) for size in text.lower().split(",")]


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
            report=say,
            recipe=args.recipe,
            encodes_per_source=args.encodes_per_source,
            size=args.size,
            takes=args.takes,
            num_frames=args.frames,
            max_frames=args.max_frames,
            seed=args.seed,
            model=args.vmaf_model,
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
            print(f"{scores}  {printable(row['video'])}")
        else:
            say(row["error"] if row["video"] in row["error"] else f"{row['video']}: {row['error']}")
            status = EXIT_SOME_FAILED
    return status
