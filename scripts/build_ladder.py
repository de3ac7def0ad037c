"""Encode clips and photographs at many qualities and label every encode with its VMAF.

    python scripts/build_ladder.py SOURCES OUT --recipe mixed --encodes-per-source 18

The same command goes on where a run that was stopped left off.
"""

import argparse
import sys

from cvqa.data.ladder import build_ladder
from cvqa.data.ladder_recipe import RECIPES


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", help="folder of clips and photographs, a file, or a CSV table with a column `file`")
    parser.add_argument("out", help="folder of the ladder; an existing ladder is continued")
    parser.add_argument("--families", metavar="CSV", help="table content_id,family of sources that belong together")
    parser.add_argument(
        "--recipe", default="mixed", help=f"{', '.join(RECIPES)}, or a JSON file (default: %(default)s)"
    )
    parser.add_argument("--encodes-per-source", type=int, default=16, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--size", default="480x270", help="of clips made from photographs; several, by comma, are drawn from"
    )
    parser.add_argument(
        "--takes",
        type=int,
        default=1,
        metavar="N",
        help="clips from every photograph, by different cameras (default: 1)",
    )
    parser.add_argument("--frames", type=int, default=24, help="of clips made from photographs (default: %(default)s)")
    parser.add_argument("--max-frames", type=int, default=64, help="of other clips (default: %(default)s)")
    parser.add_argument("--model", default="vmaf_v0.6.1", help="VMAF model (default: %(default)s)")
    parser.add_argument("--workers", type=int, help="encodes at a time (default: all cores)")
    parser.add_argument("--limit", type=int, help="take only so many sources")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        arguments.size = [tuple(map(int, size.split("x"))) for size in arguments.size.lower().split(",")]
    except ValueError:
        parser.error("--size is WIDTHxHEIGHT, or several such by comma")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    try:
        summary = build_ladder(
            arguments.sources,
            arguments.out,
            families=arguments.families,
            workers=arguments.workers,
            limit=arguments.limit,
            report=lambda text: print(text, file=sys.stderr, flush=True),
            recipe=arguments.recipe,
            encodes_per_source=arguments.encodes_per_source,
            size=arguments.size,
            takes=arguments.takes,
            num_frames=arguments.frames,
            max_frames=arguments.max_frames,
            seed=arguments.seed,
            model=arguments.model,
        )
    except (ValueError, FileNotFoundError) as error:
        print(f"build_ladder: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("build_ladder: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    print(summary)
    return 1 if summary.failures else 0


if __name__ == "__main__":
    sys.exit(main())
