"""Say in about a minute whether a data set is complete and readable; the same as `cvqa check`.

    python scripts/check_dataset.py waterloo-ivc-4k DOWNLOAD_FOLDER
    python scripts/check_dataset.py scores.csv

Exit code: 0 complete, 1 videos are missing or cannot be read (each is named), 2 no score table.
"""

import sys

from cvqa.cli import main


if __name__ == "__main__":
    sys.exit(main(["check", *sys.argv[1:]]))
