"""An evaluation as files: `results.json`, `table.md`, `predictions.csv`, `scatter.png`."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from ..files import csv_text, json_text, write_bytes, write_text
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
    cells = ({name: _cell(row[name]) for name in COLUMNS} for row in rows)
    write_text(folder / "results.json", json_text(summary.to_dict()))
    write_text(folder / "table.md", markdown_table(summary))
    write_text(folder / "predictions.csv", csv_text(COLUMNS, cells))
    write_bytes(folder / "scatter.png", _scatter(summary, rows))
    return folder


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
