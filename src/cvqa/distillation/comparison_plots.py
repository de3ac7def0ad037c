"""The pictures of a comparison: what each arm gains, and what quality costs."""

import io
from collections import Counter
from collections.abc import Sequence


# Colours of M. Okabe and K. Ito, "Color Universal Design", 2008, told apart with every kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "P", "v", "X")
INK, FAINT = "#333333", "#9A9A9A"


def gain_png(lines: Sequence) -> bytes:
    """SRCC of every student and arm beside its gain over the arm that it is compared with, both with intervals."""
    from matplotlib.figure import Figure

    lines = [line for line in lines if line.figures["srcc"].value is not None]
    height = 1.4 + 0.3 * max(len(lines), 1)
    figure = Figure(figsize=(9.6, height), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for place, line in enumerate(lines):
        colour = _colour(line.group)
        _bar(left, place, line.figures["srcc"], colour, filled=line.student is not None)
        if line.gains and line.gains["srcc"].value is not None:
            _bar(right, place, line.gains["srcc"], colour, filled=line.gains["srcc"].is_clear)
    names = [f"{line.student or f'mean of {line.students}'}  {line.arm}" for line in lines]
    left.set_yticks(range(len(lines)), names, parse_math=False)
    left.invert_yaxis()
    left.set_title("SRCC on test", loc="left", fontsize=10, color=INK)
    right.set_title("gain in SRCC, paired (filled: 0 is outside)", loc="left", fontsize=10, color=INK)
    right.axvline(0, color=FAINT, linewidth=1)
    for axes in (left, right):
        _dress(axes)
        axes.grid(axis="x", color="#E8E8E8", linewidth=0.7)
    return _png(figure)


def cost_png(lines: Sequence) -> bytes:
    """SRCC against the operations of one clip, one marker per arm; ablations, of fewer students, are left out."""
    from matplotlib.figure import Figure

    drawn = [line for line in lines if line.cost and line.figures["srcc"].value is not None]
    students = Counter(line.arm for line in drawn)
    drawn = [line for line in drawn if line.group == "teacher" or students[line.arm] == max(students.values())]
    figure = Figure(figsize=(7.2, 5), layout="constrained")
    axes = figure.subplots()
    arms = list(dict.fromkeys(line.arm for line in drawn))
    labelled = set()
    for line in drawn:
        at, estimate = line.cost["macs"] / 1e9, line.figures["srcc"]
        index = arms.index(line.arm)
        low, high = estimate.interval or (estimate.value, estimate.value)
        errors = [[max(estimate.value - low, 0)], [max(high - estimate.value, 0)]]
        axes.errorbar(
            at,
            estimate.value,
            errors,
            fmt=MARKERS[index % len(MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            capsize=3,
            label=None if line.arm in labelled else line.arm or "teacher",
        )
        labelled.add(line.arm)
    for student, line in {line.student: line for line in drawn}.items():
        axes.annotate(
            student,
            (line.cost["macs"] / 1e9, line.figures["srcc"].value),
            xytext=(6, 6),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            parse_math=False,
        )
    if drawn:
        axes.set_xscale("log")
        axes.legend(frameon=False, fontsize=9)
    axes.set_xlabel("GMACs per clip", color=INK)
    axes.set_ylabel("SRCC on test, 95% interval over contents", color=INK)
    _dress(axes)
    return _png(figure)


def _bar(axes, place: int, estimate, colour: str, filled: bool) -> None:
    if estimate.interval is not None:
        axes.plot(estimate.interval, (place, place), color=colour, linewidth=1.6)
    axes.plot(estimate.value, place, "o", color=colour, markerfacecolor=colour if filled else "white", markersize=6)


def _colour(group: str) -> str:
    colours = {"teacher": 6, "labels alone": 2, "homologous": 0, "heterogeneous": 1}
    return COLOURS[colours[group]]


def _dress(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK)
    axes.set_axisbelow(True)


def _png(figure) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=150, metadata={"Software": None})
    return image.getvalue()
