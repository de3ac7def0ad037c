"""Files that appear complete or not at all: whoever reads them sees the old one or the new one."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A name beside `path` to write to, with the same suffix; the block's end renames it, an error removes it.

    The name has a dot and the process in it: nobody takes it for a finished file, two processes do not share it. A link
    stays, and what it stands for is replaced.
    """
    target = Path(path).resolve()
    partial = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    if Path(path).exists() and not Path(path).is_file():  # a device or a pipe must not be replaced by a file
        Path(path).write_bytes(content)
        return
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: str | os.PathLike, text: str) -> None:
    """UTF-8; what is no text, as in the name of a file, is escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def json_text(value: Any) -> str:
    """Raises ValueError for NaN and infinity, which JSON does not know."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def csv_text(columns: Sequence[str], rows: Iterable[dict]) -> str:
    """A table with a header; a key that a row lacks is an empty cell, one that is no column is left out."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
