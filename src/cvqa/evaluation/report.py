"""An evaluation as files: `results.json`, `table.md`, `predictions.csv`, `scatter.png`."""

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

from .summary import Summary
from .tables import markdown_table


COLUMNS = ("file", "content_id", "codec", "score", "prediction", "quality")


def save_report(folder: str | os.PathLike, summary: Summary, rows: Sequence[dict]) -> Path:
    """Writes the four files into a folder, which is made if need be. Each file appears complete or not at all.

    Args:
        summary: the figures, as `summarize` gives them.
        rows: one per video, with the keys `COLUMNS`: `score` and `prediction` on the native scale, `quality` from 0 to
            100, higher is better. A video without a prediction has NaN or None there, an empty cell in the table.

    Returns:
        The folder.

    Raises:
        ValueError: a row lacks a column.
        OSError: the folder cannot be written, for example because a file has its name.
    """
    for number, row in enumerate(rows):
        missing = [name for name in COLUMNS if name not in row]
        if missing:
            raise ValueError(f"row {number} of the report lacks {', '.join(missing)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    results = json.dumps(summary.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    _write(folder / "results.json", results.encode("utf-8", "backslashreplace"))
    _write(folder / "table.md", markdown_table(summary).encode("utf-8", "backslashreplace"))
    _write(folder / "predictions.csv", _csv(rows).encode("utf-8", "backslashreplace"))
    _write(folder / "scatter.png", _scatter(summary, rows))
    return folder


def _csv(rows: Sequence[dict]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows({name: _cell(row[name]) for name in COLUMNS} for row in rows)
    return text.getvalue()


def _cell(value):
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return value


def _scatter(summary: Summary, rows: Sequence[dict]) -> bytes:
    from .scatter import scatter_png

    predictions = [math.nan if row["prediction"] is None else row["prediction"] for row in rows]
    codecs = [row["codec"] or "unknown" for row in rows]
    return scatter_png(
        predictions, [row["score"] for row in rows], codecs if any(r["codec"] for r in rows) else None, summary
    )


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
