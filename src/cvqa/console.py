"""What all parts of the command share: exit codes, wrong usage, messages."""

import sys


EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 0, 1, 2, 130, 141


class UsageError(Exception):
    """The command cannot start as it was given; the text is shown and the exit code is 2."""


def printable(text: str) -> str:
    """Text in one line: a file name may hold line breaks, terminal codes or bytes that are no text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(message: str) -> None:
    print(f"cvqa: {printable(message)}", file=sys.stderr, flush=True)
