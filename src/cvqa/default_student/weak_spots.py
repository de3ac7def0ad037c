"""Where a model is weak, in sentences: each is said because of figures that were measured, and says them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np


NOTABLE_BIAS = 5.0  # points that scores of a group are too high or too low on average
NOTABLE_ERROR = 1.3  # mean absolute error of a group, beside that of all
FEWEST = 10  # videos of a group of held-out encodes
MOST = 8  # groups of held-out encodes that are told
LOW = 40.0  # VMAF below which an encode is plainly bad
GOOD = 90.0  # score that a pristine video should be above
APART = 5.0  # points of VMAF from which on two encodes are to be told apart
ORDERED = 0.9  # share of pairs in the right order that is expected
EDGES = (0, 20, 40, 60, 80, 90, 101)

Row = Mapping[str, object]
"""A scored video: `vmaf`, `predicted`, `content_id`, and the columns that the groups ask for."""

GROUPS: dict[str, Callable[[Row], object]] = {
    "Soft sources, which look compressed before they are": lambda row: _number(row, "soft"),
    "Encodes that were scaled down and back": lambda row: row.get("scaler"),
    "Second generations": lambda row: row.get("first_encoder"),
    "Half the frame rate": lambda row: _number(row, "frame_step") > 1,
    "10 bit": lambda row: _number(row, "bit_depth") > 8,
    "Encodes at a bit rate": lambda row: row.get("rate_control") == "bitrate",
    "Encodes at a constant quantizer": lambda row: row.get("rate_control") == "qp",
}
LEFT_OUT = {"codec:vvc": "VVC", "preset:ultrafast": "The preset `ultrafast`"}
KINDS = {
    "plain": "Plain clips",
    "half frame rate": "Half the frame rate",
    "letterboxed": "Letterboxed video",
    "pillarboxed": "Pillarboxed video",
    "screen, text scrolling": "Screen content, a text that scrolls",
    "animated": "Drawn animation",
    "half size and back": "Soft but pristine video, scaled to half its size and back before it was encoded",
    "dark": "Dark video",
    "static": "A clip that stands still",
    "noisy": "Sensor noise in the source",
    "film grain": "Film grain in the source",
    "noisy, as a distortion": "Noise that the source did not have",
    "film grain, as a distortion": "Grain that the source did not have",
    "half size and back, as a distortion": "A picture that was scaled to half its size and back",
}


def weak_groups(test: Sequence[Row], left_out: Mapping[str, Sequence[Row]]) -> list[str]:
    """Sentences on held-out encodes: every kind that training left out, then the groups of the test split that are
    farther off than the rest, at most `MOST`, the worst first."""
    sentences = []
    for name, rows in left_out.items():
        low = [row for row in rows if row["vmaf"] < LOW]
        worse = f"; where VMAF is below {LOW:g} ({_counted(low)}), {_error(low)}" if low else ""
        words = f"**{LEFT_OUT.get(name, f'`{name}`')}**, which training left out"
        if rows:
            sentences.append(f"- {words} ({_counted(rows)}): {_error(rows)}{worse}.")
    weak = {words: rows for words, rows in _groups(test).items() if len(rows) >= FEWEST and _is_off(rows, test)}
    worst_first = sorted(weak.items(), key=lambda group: -abs(_bias(group[1])))[:MOST]
    return sentences + [f"- **{words}** ({_counted(rows)}): {_error(rows)}." for words, rows in worst_first]


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows by every property that may matter; a row is in several groups."""
    groups = {words: [row for row in rows if belongs(row)] for words, belongs in GROUPS.items()}
    for row in rows:
        names = [f"Codec {row['codec']}"] if row.get("codec") else []
        names += [f"Preset `{row['preset']}` of {row['encoder']}"] if row.get("preset") and row.get("encoder") else []
        names += [f"VMAF of {low} to {min(high, 100)}" for low, high in pairwise(EDGES) if low <= row["vmaf"] < high]
        for name in names:
            groups.setdefault(name, []).append(row)
    return groups


def _is_off(rows: Sequence[Row], beside: Sequence[Row]) -> bool:
    expected = NOTABLE_ERROR * _mean_absolute_error(beside)
    return abs(_bias(rows)) >= NOTABLE_BIAS or _mean_absolute_error(rows) >= expected


def weak_kinds(kinds: Mapping[str, Sequence[Row]]) -> list[str]:
    """Sentences on the kinds of the sanity set that are farther off than the rest, the worst first.

    Of a kind it is said how far off its scores are, and, where that is so, that the pristine ones score low or that
    encodes are in the wrong order.
    """
    every, sentences = [row for rows in kinds.values() for row in rows], []
    for kind, rows in kinds.items():
        pristine = [row for row in rows if row["level"] == "pristine" and "distortion" not in kind]
        right, pairs = ordered_pairs(rows)
        clauses = []
        if pristine and np.mean([row["predicted"] for row in pristine]) < GOOD:
            score, vmaf = (np.mean([row[name] for row in pristine]) for name in ("predicted", "vmaf"))
            clauses.append(f"pristine ones score {score:.0f}, where VMAF is {vmaf:.0f}")
        if pairs and right < ORDERED * pairs:
            clauses.append(f"the order is right for {right} of {pairs} pairs")
        if clauses or _is_off(rows, every):
            words = KINDS.get(kind, f"Video of {kind}")
            sentence = f"- **{words}** ({_counted(rows)}): {'; '.join([_error(rows), *clauses])}."
            sentences.append((-_mean_absolute_error(rows), sentence))
    return [sentence for _, sentence in sorted(sentences)]


def ordered_pairs(rows: Iterable[Row]) -> tuple[int, int]:
    """How many pairs of encodes of one content whose VMAF is `APART` or more apart are in the right order, of all."""
    right = [
        (one["vmaf"] - other["vmaf"]) * (one["predicted"] - other["predicted"]) > 0
        for one, other in combinations(rows, 2)
        if one["content_id"] == other["content_id"] and abs(one["vmaf"] - other["vmaf"]) >= APART
    ]
    return sum(right), len(right)


def _error(rows: Sequence[Row]) -> str:
    bias, size = round(_bias(rows)), _mean_absolute_error(rows)
    if not bias:
        return f"scores are off by {size:.0f} points, too high as much as too low"
    points, side = "points" if abs(bias) > 1 else "point", "high" if bias > 0 else "low"
    return f"scores are {abs(bias)} {points} too {side} on average, and off by {size:.0f}"


def _counted(rows: Sequence[Row]) -> str:
    contents = len({row["content_id"] for row in rows})
    return f"{len(rows)} encode{'s'[: len(rows) > 1]} of {contents} content{'s'[: contents > 1]}"


def _bias(rows: Sequence[Row]) -> float:
    return float(np.mean([row["predicted"] - row["vmaf"] for row in rows]))


def _mean_absolute_error(rows: Sequence[Row]) -> float:
    return float(np.mean([abs(row["predicted"] - row["vmaf"]) for row in rows]))


def _number(row: Row, column: str) -> float:
    return float(row.get(column) or 0)
