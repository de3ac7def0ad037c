"""`python -m cvqa` is the command `cvqa`."""

import sys

from .cli import main


if __name__ == "__main__":
    sys.exit(main())
