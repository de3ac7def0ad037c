"""Say in about a minute whether a data set is complete and readable.

    python scripts/check_dataset.py waterloo-ivc-4k DOWNLOAD_FOLDER
    python scripts/check_dataset.py scores.csv

Exit code: 0 complete, 1 videos are missing or cannot be read (each is named), 2 no score table.
"""

import argparse
import json
import logging
import sys

from cvqa.data.check import check_dataset


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="bvi-hd, waterloo-ivc-4k, ladder, or the path of a score table")
    parser.add_argument("data_dir", nargs="?", help="where the data lie")
    parser.add_argument(
        "--options", type=json.loads, default={}, help='of the loader, as JSON: \'{"scores": "X.csv"}\''
    )
    parser.add_argument("--seconds", type=float, default=60, help="open videos for so long (default: %(default)g)")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        found = check_dataset(args.name, args.data_dir, seconds=args.seconds, **args.options)
    except (ValueError, OSError) as error:
        print(f"check_dataset: {error}", file=sys.stderr)
        return 2
    print(found)
    return 0 if found.is_complete else 1


if __name__ == "__main__":
    sys.exit(main())
