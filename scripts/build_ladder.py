"""Encode clips and photographs at many qualities and label every encode with its VMAF: `cvqa ladder build`.

    python scripts/build_ladder.py SOURCES OUT --recipe mixed --encodes-per-source 18

The same command goes on where a run that was stopped left off.
"""

import sys

from cvqa.cli import main


if __name__ == "__main__":
    sys.exit(main(["ladder", "build", *sys.argv[1:]]))
