"""The picture of an evaluation: predictions against scores."""

import io
from collections.abc import Sequence

import numpy as np

from .summary import Summary
from .tables import format_figure


# Colours of M. Okabe and K. Ito, "Color Universal Design", 2008, told apart with every kind of colour vision.
_STYLES = {
    "": ("#0072B2", "o"),
    "h264": ("#0072B2", "o"),
    "hevc": ("#D55E00", "s"),
    "vp9": ("#009E73", "^"),
    "av1": ("#CC79A7", "D"),
    "vvc": ("#56B4E9", "v"),
}
_OTHER_STYLES = (("#E69F00", "P"), ("#000000", "X"), ("#999999", "*"))
_INK, _FAINT = "#333333", "#9A9A9A"
_LINE = 50  # characters of the small print that fit


def scatter_png(predictions, scores, codecs: Sequence[str] | None, summary: Summary) -> bytes:
    """A scatter plot as PNG: one point per video, coloured by codec, with the identity line and the fitted mapping.

    Args:
        predictions, scores: (n,) on the native scale. Videos without a (finite) prediction are not drawn.
        codecs: (n,) names, or None.
        summary: of the same videos; gives the title and the mapping's curve.
    """
    from matplotlib.figure import Figure

    predictions, scores = np.asarray(predictions, dtype=float), np.asarray(scores, dtype=float)
    drawn = np.isfinite(predictions)
    predictions, scores = predictions[drawn], scores[drawn]
    codecs = [str(codec) for codec, keep in zip(codecs, drawn) if keep] if codecs is not None else [""] * len(scores)

    figure = Figure(figsize=(6.4, 7.1))
    axes = figure.add_axes((0.115, 0.08, 0.86, 0.86 * 6.4 / 7.1))  # a square
    if len(scores):
        _points(axes, predictions, scores, codecs)
        _lines(axes, predictions, scores, summary)
    _frame(axes, summary)
    _titles(axes, summary)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=150, metadata={"Software": None})
    return image.getvalue()


def _points(axes, predictions, scores, codecs) -> None:
    size, alpha = (34, 0.8) if len(scores) <= 300 else (20, 0.65)
    others = iter(_OTHER_STYLES * (1 + len(set(codecs))))
    order = [*_STYLES, *sorted(set(codecs) - set(_STYLES))]
    for name in [name for name in order if name in codecs]:
        colour, marker = _STYLES.get(name) or next(others)
        rows = [row for row, codec in enumerate(codecs) if codec == name]
        label = f"{name} ({len(rows)})" if name else None
        axes.scatter(
            predictions[rows],
            scores[rows],
            s=size,
            c=colour,
            marker=marker,
            alpha=alpha,
            linewidths=0.4,
            edgecolors="white",
            label=label,
            zorder=3,
        )


def _lines(axes, predictions, scores, summary) -> None:
    """Both axes cover the same range, unless that would press the points of a weak model into a stripe."""
    x_low, x_high, y_low, y_high = predictions.min(), predictions.max(), scores.min(), scores.max()
    low, high = min(x_low, y_low), max(x_high, y_high)
    if x_high - x_low >= 0.25 * (y_high - y_low) and high - low <= 2 * (y_high - y_low):
        x_low, x_high, y_low, y_high = low, high, low, high
    x_margin, y_margin = 0.05 * ((x_high - x_low) or 1), 0.05 * ((y_high - y_low) or 1)
    axes.set(xlim=(x_low - x_margin, x_high + x_margin), ylim=(y_low - y_margin, y_high + y_margin), autoscale_on=False)
    axes.axline(
        (low, low), slope=1, color=_FAINT, linewidth=1, linestyle=(0, (4, 3)), label="prediction = score", zorder=1
    )
    if summary.mapping is not None and summary.mapping.name != "none":
        x = np.linspace(predictions.min(), predictions.max(), 400)
        axes.plot(x, summary.mapping(x), color=_INK, linewidth=1.6, label=f"mapping {summary.mapping.name}", zorder=2)


def _frame(axes, summary) -> None:
    direction = "higher is better" if summary.higher_is_better else "higher is worse"
    kind = summary.label_kind.upper() if summary.label_kind else "score"
    axes.set_xlabel(f"predicted {kind}", color=_INK)
    axes.set_ylabel(f"{kind} ({direction})", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.tick_params(color=_FAINT, labelcolor=_INK)
    axes.grid(color="#E8E8E8", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9, labelcolor=_INK)


def _titles(axes, summary) -> None:
    srcc, plcc, rmse = (summary.figure(name) for name in ("srcc", "plcc", "rmse"))
    intervals = f"; {summary.confidence:.0%} intervals over contents" if srcc.interval else ""
    lines = [
        f"PLCC {format_figure(plcc)}, RMSE {format_figure(rmse)}, mapping {plcc.mapping}",
        f"{srcc.split} split, {srcc.n} videos of {srcc.n_contents} contents{intervals}",
    ]
    what = " on ".join(name for name in (summary.model, summary.dataset) if name)
    if what:
        lines.append(what if len(what) <= _LINE else f"...{what[-_LINE:]}")
    # File names may hold "$", which is not mathematics here.
    axes.set_title("\n".join(lines), loc="left", fontsize=9, color=_INK, parse_math=False)
    above = {"xycoords": "axes fraction", "textcoords": "offset points", "xytext": (0, 9 + 12.5 * len(lines))}
    axes.annotate(f"SRCC {format_figure(srcc)}", (0, 1), **above, fontsize=15, fontweight="bold", color=_INK)
