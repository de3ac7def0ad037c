"""What users try first, scored: a table by kind of video that shows where the model is weak."""

import csv
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from ..files import csv_text, write_text
from .scoring import score_files


COLUMNS = ("file", "content_id", "kind", "level", "encoder", "vmaf", "predicted", "low", "high")
APART = 5.0  # points of VMAF from which on two encodes are to be told apart


def score_sanity_set(table: Path, model: Path, folder: Path, workers: int) -> str:
    """Scores the files that a CSV table names, and returns what to tell of it in Markdown.

    Args:
        table: with the columns file (relative to the table), content_id, kind, level ("pristine" for the encodes next
            to lossless), encoder and vmaf.
        model: folder of the model.
        folder: gets `sanity.csv` with the scores, and `sanity.md`.

    Raises FileNotFoundError, ValueError: no such table, or one that lacks a column.
    """
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in COLUMNS[:6] if not rows or name not in rows[0]]
    if missing:
        raise ValueError(f"{table}: has no rows, or lacks the columns {', '.join(missing)}")
    results = score_files(model, [str(table.parent / row["file"]) for row in rows], workers)
    for row, result in zip(rows, results):
        row["vmaf"] = float(row["vmaf"])
        row["predicted"], (row["low"], row["high"]) = result.score, result.interval or (None, None)
    write_text(folder / "sanity.csv", csv_text(COLUMNS, rows))
    text = sanity_text([row for row in rows if row["predicted"] is not None])
    write_text(folder / "sanity.md", text)
    return text


def sanity_text(rows: Sequence[dict]) -> str:
    """A row for each kind, the worst first: error, share of pairs in the right order, the scores of the pristine."""
    kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in {row["kind"] for row in rows}}
    lines = sorted((_error(own), kind, own) for kind, own in kinds.items())[::-1]
    return "\n".join(
        [
            f"{len(rows)} encodes of {len({row['content_id'] for row in rows})} contents, the weakest kinds first. "
            "Error is score less VMAF. A pair is two encodes of one content and kind that are "
            f"{APART:g} points of VMAF or more apart.",
            "",
            "| kind | encodes | mean absolute error | mean error | pairs in the right order | pristine: score, VMAF |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *(_line(kind, own) for _, kind, own in lines),
            "",
        ]
    )


def _error(rows: Sequence[dict]) -> float:
    return float(np.mean([abs(row["predicted"] - row["vmaf"]) for row in rows]))


def _line(kind: str, rows: Sequence[dict]) -> str:
    pairs = [
        (one["vmaf"] - other["vmaf"]) * (one["predicted"] - other["predicted"]) > 0
        for one, other in combinations(rows, 2)
        if one["content_id"] == other["content_id"] and abs(one["vmaf"] - other["vmaf"]) >= APART
    ]
    pristine = [(row["predicted"], row["vmaf"]) for row in rows if row["level"] == "pristine"]
    means = " ".join(f"{value:.0f}," for value in np.mean(pristine, axis=0)).rstrip(",") if pristine else "-"
    bias = float(np.mean([row["predicted"] - row["vmaf"] for row in rows]))
    return f"| {kind} | {len(rows)} | {_error(rows):.1f} | {bias:+.1f} | {sum(pairs)} of {len(pairs)} | {means} |"
