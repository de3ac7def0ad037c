"""Summaries as tables: for a terminal (`text_table`) and for Markdown (`markdown_table`).

One row per model and subset. With every row stand its split, mapping and numbers of videos and contents, with every
figure its interval. What stands below says how to read them and why a figure is missing.
"""

from collections.abc import Sequence

from .intervals import MIN_CONTENTS
from .metrics import FIGURES
from .summary import WITHIN_CONTENT, Figure, Summary


TITLES = {"srcc": "SRCC", "plcc": "PLCC", "krcc": "KRCC", "rmse": "RMSE", WITHIN_CONTENT: "SRCC within content"}

_DESCRIPTIONS = ("model", "data", "split", "mapping")
_FEW_CONTENTS = 10
EFFECT = {
    "none": "of the predictions as they are",
    "rescale": "after the predictions' mean and spread are set to those of the scores",
    "logistic4": "after a 4-parameter logistic fit of predictions to scores",
    "logistic5": "after a 5-parameter logistic fit of predictions to scores",
}


def format_figure(figure: Figure) -> str:
    """The value and its interval, "0.912 [0.874, 0.941]"; "undefined" without a value."""
    digits = 2 if figure.metric == "rmse" else 3
    if figure.value is None:
        return "undefined"
    if figure.interval is None:
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} [{figure.interval[0]:.{digits}f}, {figure.interval[1]:.{digits}f}]"


def markdown_table(*summaries: Summary) -> str:
    """A Markdown table of one or several summaries, with its remarks."""
    header, *rows = _rows(summaries)
    numeric = ["---" if not right else "---:" for right in _aligned_right(header)]
    lines = ["| " + " | ".join(_escape(cell) for cell in row) + " |" for row in (header, numeric, *rows)]
    return "\n".join([*lines, "", *(f"- {remark}" for remark in _remarks(summaries)), ""])


def text_table(*summaries: Summary) -> str:
    """The same in columns of fixed width; what is the same in all rows stands above them."""
    header, *rows = _rows(summaries)
    same = [title in _DESCRIPTIONS and len({row[c] for row in rows}) == 1 for c, title in enumerate(header)]
    caption = ", ".join(f"{title}: {cell}" for title, cell, once in zip(header, rows[0], same) if once)
    table = [[cell for cell, once in zip(row, same) if not once] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    right = _aligned_right([cell for cell, once in zip(header, same) if not once])

    def line(row):
        return "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right)).rstrip()

    rule = ["-" * width for width in widths]
    return "\n".join([caption, "", line(table[0]), line(rule), *map(line, table[1:]), "", *_remarks(summaries)])


def _rows(summaries: Sequence[Summary]) -> list[list[str]]:
    """The header and one row per model and subset."""
    rows = [["model", "data", "split", "mapping", "subset", "videos", "contents", *TITLES.values()]]
    for summary in summaries:
        for subset in summary.subsets:
            figures = [summary.figure(name, subset) for name in (*FIGURES, WITHIN_CONTENT)]
            mapped = summary.figure("plcc", subset)
            names = [summary.model or "", summary.dataset or "", mapped.split, mapped.mapping, subset]
            rows.append([*names, str(mapped.n), str(mapped.n_contents), *map(format_figure, figures)])
    kept = [column for column in range(len(rows[0])) if column > 1 or any(row[column] for row in rows[1:])]
    return [[row[column] for column in kept] for row in rows]


def _aligned_right(header: list[str]) -> list[bool]:
    return [title in ("videos", "contents") for title in header]


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _remarks(summaries: Sequence[Summary]) -> list[str]:
    """How to read the figures, and what is missing from them, each thing once."""
    lines = []
    for mapping in dict.fromkeys(s.figure("plcc").mapping for s in summaries):
        lines.append(f"{mapping}: PLCC and RMSE {EFFECT[mapping]}; rank correlations need no mapping.")
    if any(figure.interval for s in summaries for figure in s.figures):
        settings = dict.fromkeys(f"{s.resamples} resamples of contents, seed {s.seed}" for s in summaries)
        lines.append(f"[ ]: {summaries[0].confidence:.0%} percentile bootstrap interval, {' or '.join(settings)}.")
    for summary in summaries:
        lines += [text for text in _summary_remarks(summary) if text not in lines]
    return lines


def _summary_remarks(summary: Summary) -> list[str]:
    lines, name = [], f"{summary.model}: " if summary.model else ""
    kind = (summary.label_kind or "score").upper()
    if not summary.higher_is_better:
        lines.append(f"{kind}: higher is worse; predictions are on the same scale, so good ones correlate positively.")
    if summary.model_label_kind not in (None, summary.label_kind):
        lines.append(f"{name}trained on {summary.model_label_kind.upper()}, compared with {kind}.")
    everything = summary.figure("srcc")
    if everything.value is not None and everything.value < 0:
        lines.append(f"{name}predictions run against the scores; PLCC after a logistic does not show it.")
    if MIN_CONTENTS <= everything.n_contents < _FEW_CONTENTS:
        lines.append(f"{name}with only {everything.n_contents} contents the intervals are too narrow.")
    lines += [f"{name}{text}" for text in _notes(summary)]
    if summary.failed:
        shown = ", ".join(summary.failed[:5]) + (", ..." if len(summary.failed) > 5 else "")
        lines.append(f"{name}no prediction, and so in no figure ({len(summary.failed)}): {shown}.")
    return lines


def _notes(summary: Summary) -> list[str]:
    """The notes on single figures, the same note on several of them said once."""
    titles, subsets = {}, {}
    for figure in summary.figures:
        if figure.note:
            titles.setdefault((figure.note, figure.subset), []).append(TITLES[figure.metric])
    for (note, subset), names in titles.items():
        subsets.setdefault((note, ", ".join(names)), []).append(subset)
    return [f"{names} ({', '.join(found)}): {note}." for (note, names), found in subsets.items()]
