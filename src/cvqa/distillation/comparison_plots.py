"""The pictures of a comparison: what each arm gains, and what quality costs."""

import io
from collections import Counter
from collections.abc import Sequence


# Colours of M. Okabe and K. Ito, "Color Universal Design", 2008, told apart with every kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "P", "v", "X")
INK, FAINT = "#333333", "#9A9A9A"
GROUP_COLOURS = {"teacher": 6, "labels alone": 2, "homologous": 0, "heterogeneous": 1}


def gain_png(lines: Sequence) -> bytes:
    """SRCC of every model and arm beside its gain over the arm that it is compared with, both with intervals."""
    from matplotlib.figure import Figure

    lines = [line for line in lines if line.figures["srcc"].value is not None]
    figure = Figure(figsize=(9.6, 1.6 + 0.26 * len(lines)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for place, line in enumerate(lines):
        _bar(left, place, line.figures["srcc"], COLOURS[GROUP_COLOURS[line.group]])
        if line.gains and (gain := line.gains["srcc"]).value is not None:
            _bar(right, place, gain, COLOURS[GROUP_COLOURS[line.group]], filled=gain.is_clear)
            _note(right, f"less {line.against}", (1.02, place), right.get_yaxis_transform(), va="center")
    names = [f"{line.student or f'mean of {line.students}'}  {line.arm}" for line in lines]
    left.set_yticks(range(len(lines)), names, parse_math=False)
    left.set_ylim(len(lines) - 0.4, -0.6)
    left.set_title("SRCC on test", loc="left", fontsize=10, color=INK)
    right.set_title("gain in SRCC, paired (filled: 0 is outside)", loc="left", fontsize=10, color=INK)
    right.axvline(0, color=FAINT, linewidth=1)
    groups = [line.group for line in lines]
    for axes in (left, right):
        _dress(axes)
        axes.grid(axis="x", color="#E8E8E8", linewidth=0.7)
        for place in range(1, len(groups)):
            if groups[place] != groups[place - 1]:
                axes.axhline(place - 0.5, color="#D0D0D0", linewidth=0.7)
    for group in dict.fromkeys(groups):
        left.plot([], [], "o-", color=COLOURS[GROUP_COLOURS[group]], label=group)
    if groups:
        figure.legend(loc="outside upper left", ncols=len(GROUP_COLOURS), frameon=False, fontsize=9)
    return _png(figure)


def cost_png(lines: Sequence) -> bytes:
    """SRCC against the operations of one clip, one marker per arm; ablations, of less than half of the students, are
    left out."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    drawn = [line for line in lines if line.cost and line.figures["srcc"].value is not None]
    students = Counter(line.arm for line in drawn if line.group != "teacher")
    half = max(students.values(), default=0) / 2
    drawn = [line for line in drawn if line.group == "teacher" or students[line.arm] >= half]
    figure = Figure(figsize=(7.6, 5), layout="constrained")
    axes = figure.subplots()
    labels = {id(line): "teacher" if line.group == "teacher" else line.arm for line in drawn}
    arms = list(dict.fromkeys(labels.values()))
    tops: dict[tuple, float] = {}  # of all that stands at one place
    for line in drawn:
        estimate, index = line.figures["srcc"], arms.index(labels[id(line)])
        low, high = estimate.interval or (estimate.value, estimate.value)
        axes.errorbar(
            line.cost["macs"] / 1e9 * 1.025 ** (index - (len(arms) - 1) / 2),  # side by side
            estimate.value,
            [[max(estimate.value - low, 0)], [max(high - estimate.value, 0)]],
            fmt=MARKERS[index % len(MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            capsize=2,
            markersize=5,
        )
        place = (line.student, line.cost["macs"] / 1e9)
        tops[place] = max(tops.get(place, high), high)
    for (student, macs), top in tops.items():
        _note(axes, student, (macs, top), "data", xytext=(0, 4), textcoords="offset points", ha="center", va="bottom")
    for index, arm in enumerate(arms):
        axes.plot([], [], MARKERS[index % len(MARKERS)], color=COLOURS[index % len(COLOURS)], label=arm)
    if drawn:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_locator(NullLocator())
        figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    axes.margins(0.1)
    axes.set_xlabel("GMACs per clip", color=INK)
    axes.set_ylabel("SRCC on test, 95% interval over contents", color=INK)
    _dress(axes)
    return _png(figure)


def _bar(axes, place: int, estimate, colour: str, filled: bool = True) -> None:
    if estimate.interval is not None:
        axes.plot(estimate.interval, (place, place), color=colour, linewidth=1.6)
    axes.plot(estimate.value, place, "o", color=colour, markerfacecolor=colour if filled else "white", markersize=6)


def _note(axes, text: str, place: tuple, coordinates, **options) -> None:
    axes.annotate(text, place, xycoords=coordinates, fontsize=8, color=INK, parse_math=False, **options)


def _dress(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK)
    axes.set_axisbelow(True)


def _png(figure) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=150, metadata={"Software": None})
    return image.getvalue()
