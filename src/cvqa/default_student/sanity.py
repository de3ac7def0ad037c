"""What users try first, scored: whether falling quality scores lower, pristine clips high, and where it goes wrong."""

import csv
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..files import csv_text, write_text
from .sanity_set import COLUMNS, PRISTINE
from .scoring import score_files
from .weak_spots import APART, GOOD, ordered_pairs, weak_kinds


def score_sanity_set(table: Path, model: Path, folder: Path, workers: int, store: Path) -> str:
    """Scores the files of a sanity set, and returns what to tell of it in Markdown.

    Args:
        table: as `make_sanity_set` leaves it.
        model: folder of the model.
        folder: gets `sanity.csv` with the scores, and `sanity.md`.
        store: see `score_files`.
    """
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    results = score_files(model, [str(table.parent / row["file"]) for row in rows], workers, store)
    for row, result in zip(rows, results):
        row["vmaf"] = float(row["vmaf"])
        row["predicted"], (row["low"], row["high"]) = result.score, result.interval or (None, None)
    write_text(folder / "sanity.csv", csv_text((*COLUMNS, "predicted", "low", "high"), rows))
    text = sanity_text([row for row in rows if row["predicted"] is not None])
    write_text(folder / "sanity.md", text)
    return text


def sanity_text(rows: Sequence[dict]) -> str:
    """The facts, the weak spots, and a row for each kind, the worst first: error, share of pairs in the right order,
    the scores of the pristine."""
    kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in sorted({row["kind"] for row in rows})}
    lines = sorted((_error(own), kind, own) for kind, own in kinds.items())[::-1]
    return "\n".join(
        [
            f"{len(rows)} encodes of {len({row['content_id'] for row in rows})} contents, next to lossless (pristine) "
            "and at falling quality, against VMAF.",
            "",
            *_falling(rows),
            *_pristine(rows),
            *_other_sizes(kinds),
            *_half_rate(kinds),
            *weak_kinds(kinds),
            "",
            "The weakest kinds first. Error is score less VMAF. A pair is two encodes of one content and kind that are "
            f"{APART:g} points of VMAF or more apart.",
            "",
            "| kind | encodes | mean absolute error | mean error | pairs in the right order | pristine: score, VMAF |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *(_line(kind, own) for _, kind, own in lines),
            "",
        ]
    )


def _falling(rows: Sequence[dict]) -> list[str]:
    """Ladders whose VMAF falls strictly from level to level."""
    ladders: dict[tuple, list[dict]] = {}
    for row in sorted(rows, key=lambda row: -1 if row["level"] == PRISTINE else float(row["level"])):
        ladders.setdefault((row["content_id"], row["kind"], row["encoder"]), []).append(row)
    falling = [own for own in ladders.values() if len(own) > 1 and _falls(own, "vmaf")]
    if not falling:
        return []
    right = sum(_falls(own, "predicted") for own in falling)
    return [
        f"- Falling quality: of {len(falling)} ladders, each of one clip and encoder at {min(map(len, falling))} to "
        f"{max(map(len, falling))} levels with falling VMAF, the scores fall strictly in {right} "
        f"({right / len(falling):.0%})."
    ]


def _falls(rows: Sequence[dict], column: str) -> bool:
    return all(better[column] > worse[column] for better, worse in pairwise(rows))


def _pristine(rows: Sequence[dict]) -> list[str]:
    pristine = [row for row in rows if row["level"] == PRISTINE and "distortion" not in row["kind"]]
    if not pristine:
        return []
    low: dict[str, list[str]] = {}
    for row in pristine:
        if row["predicted"] <= GOOD:
            low.setdefault(row["kind"], []).append(f"{row['predicted']:.0f}")
    high = len(pristine) - sum(map(len, low.values()))
    told = "; not so " + ", ".join(f"{kind} ({', '.join(scores)})" for kind, scores in low.items()) if low else ""
    return [f"- Pristine clips: {high} of {len(pristine)} ({high / len(pristine):.0%}) score above {GOOD:g}{told}."]


def _other_sizes(kinds: Mapping[str, Sequence[dict]]) -> list[str]:
    """Of each content that comes at several sizes: mean score and mean VMAF at each."""
    sizes: dict[str, list[str]] = {}
    for kind in sorted(filter(_is_size, kinds), key=lambda kind: -int(kind.split("x")[0])):
        for content in dict.fromkeys(row["content_id"] for row in kinds[kind]):
            own = [row for row in kinds[kind] if row["content_id"] == content]
            sizes.setdefault(content, []).append(f"{kind}: {_means(own)}")
    return [
        f"- One clip at several sizes ({content}), mean score and mean VMAF: {'; '.join(told)}."
        for content, told in sizes.items()
        if len(told) > 1
    ]


def _half_rate(kinds: Mapping[str, Sequence[dict]]) -> list[str]:
    half = kinds.get("half frame rate", ())
    if not half:
        return []
    same = {(row["content_id"], row["encoder"], row["level"]) for row in half}
    full = [row for row in kinds.get("plain", ()) if (row["content_id"], row["encoder"], row["level"]) in same]
    beside = f"; at the full rate, same contents and levels: {_means(full)}" if full else ""
    return [f"- Half the frame rate, mean score and mean VMAF: {_means(half)}{beside}."]


def _is_size(kind: str) -> bool:
    return kind.replace("x", "", 1).isdigit()


def _means(rows: Sequence[dict]) -> str:
    return ", ".join(f"{np.mean([row[name] for row in rows]):.0f}" for name in ("predicted", "vmaf"))


def _error(rows: Sequence[dict]) -> float:
    return float(np.mean([abs(row["predicted"] - row["vmaf"]) for row in rows]))


def _line(kind: str, rows: Sequence[dict]) -> str:
    right, pairs = ordered_pairs(rows)
    pristine = [row for row in rows if row["level"] == PRISTINE]
    bias = float(np.mean([row["predicted"] - row["vmaf"] for row in rows]))
    means = _means(pristine) if pristine else "-"
    return f"| {kind} | {len(rows)} | {_error(rows):.1f} | {bias:+.1f} | {right} of {pairs} | {means} |"
