"""What the page shows of results, as HTML: cards, verdict and timeline, in light and dark, narrow and wide."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from .inference import Segment, VideoScore


GRADES = ((90, "looks like the source"), (75, "good, losses are hard to see"), (60, "fair, losses can be seen"))
GRADES += ((40, "poor, losses disturb"), (0, "bad, losses dominate"))
WORST_MOMENTS = 3
PLACES = ("first", "second")  # classes of the style sheet
TICKS = 5

CSS = """
.gradio-container { max-width: 1080px !important; margin: 0 auto; }
.first { --own: #2563eb; } .second { --own: #b45309; } .failed { --own: #dc2626; }
.dark .first { --own: #7aa7ff; } .dark .second { --own: #f5a742; } .dark .failed { --own: #f87171; }
.score { font-size: 3.2rem; font-weight: 700; line-height: 1.1; font-variant-numeric: tabular-nums; color: var(--own); }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; }
.card { flex: 1 1 260px; border: 1px solid var(--border-color-primary); border-radius: 12px; padding: 1rem 1.25rem; }
.card .name { overflow-wrap: anywhere; opacity: .8; }
.card.failed { border-color: var(--own); }
.verdict { margin: .75rem 0 0; font-size: 1.05rem; overflow-wrap: anywhere; }
.timeline { margin: 1.25rem 0 0; }
.timeline .key { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin-bottom: .75rem; overflow-wrap: anywhere; }
.timeline .key span { display: flex; align-items: center; gap: .5em; }
.timeline .key span::before { content: ""; flex: 0 0 1.2em; height: 3px; background: var(--own); }
.timeline .plot { display: flex; gap: .5rem; height: 240px; }
.timeline .scale { display: flex; flex-direction: column; justify-content: space-between; width: 1.8rem;
  margin: -.6em 0; line-height: 1.2; text-align: right; font-size: .85rem; }
.timeline svg { flex: 1; min-width: 0; height: 100%; }
.timeline .grid { stroke: currentColor; opacity: .15; }
.timeline path { fill: none; stroke: var(--own); stroke-width: 2.5; }
.timeline .worst { fill: var(--own); opacity: .13; }
.timeline .hover { fill: transparent; }
.timeline .seconds { display: flex; justify-content: space-between; margin: .35rem 0 0 2.3rem; font-size: .85rem; }
.timeline path, .timeline line { vector-effect: non-scaling-stroke; }
.result { min-height: 5rem; }
.moments .grid-wrap { min-height: 0 !important; max-height: none !important; overflow: visible !important; }
.moments .caption-label { font-size: .75rem; }
.moments .thumbnail-lg { aspect-ratio: 16 / 10 !important; }
"""


def summary_html(results: Sequence[VideoScore]) -> str:
    """The scores as cards, which is better if there are two, and quality over time."""
    cards = "".join(card_html(result, place) for result, place in zip(results, PLACES))
    scored = [(result, place) for result, place in zip(results, PLACES) if result.error is None]
    return f'<div class="cards">{cards}</div>{verdict_html([r for r, _ in scored])}{timeline_html(scored)}'


def card_html(result: VideoScore, place: str) -> str:
    name = escape(Path(result.file).name)
    if result.error is not None:
        return (
            f'<div class="card failed"><div class="name">{name}</div>'
            f"<p><b>This file cannot be scored.</b><br>{escape(result.error)}</p></div>"
        )
    low, high = result.interval
    grade = next(words for floor, words in GRADES if result.score >= floor)
    return (
        f'<div class="card {place}"><div class="name">{name}</div><div class="score">{result.score:.1f}</div>'
        f"<div><b>{grade}</b></div><div>between {low:.1f} and {high:.1f}</div>"
        f"<div>{result.width}×{result.height}, {result.duration:.1f} s, {escape(result.codec or '')}</div>"
        + "".join(f"<div>Mind: {escape(warning)}</div>" for warning in result.warnings)
        + "</div>"
    )


def verdict_html(scored: Sequence[VideoScore]) -> str:
    """Which of two is better, or that it is not certain; empty of fewer."""
    if len(scored) < 2:
        return ""
    better, worse = sorted(scored, key=lambda result: -result.score)
    gap = better.score - worse.score
    if better.overlaps(worse):
        words = f"The two are {gap:.1f} points apart, and scores move by as much with the moments looked at: "
        words += "which is better is not certain."
    else:
        words = f"<b>{escape(Path(better.file).name)}</b> is better by {gap:.1f} points."
    return f'<p class="verdict">{words}</p>'


def timeline_html(scored: Sequence[tuple[VideoScore, str]]) -> str:
    """Quality over time of each video as steps, the worst moments of the worse one shaded; empty without a video."""
    if not scored:
        return ""
    seconds = max(result.segments[-1].end for result, _ in scored)
    key = "".join(f'<span class="{place}">{escape(Path(r.file).name)}</span>' for r, place in scored)
    worst, place = min(scored, key=lambda entry: entry[0].score)
    shades = "".join(_column(segment, f"worst {place}") for segment in worst_segments(worst))
    lines = "".join(f'<path class="{place}" d="{_steps(r.segments)}"/>' for r, place in scored)
    hovers = "".join(_column(segment, "hover") for segment in worst.segments)
    grid = "".join(f'<line class="grid" x2="{seconds:.3f}" y1="{y}" y2="{y}"/>' for y in range(0, 101, 25))
    ticks = "".join(f"<span>{clock(seconds * i / (TICKS - 1))}</span>" for i in range(TICKS))
    return (
        f'<div class="timeline"><div class="key"><b>Quality over time</b>{key}</div><div class="plot">'
        '<div class="scale"><span>100</span><span>75</span><span>50</span><span>25</span><span>0</span></div>'
        f'<svg role="img" aria-label="quality over time" viewBox="0 0 {seconds:.3f} 100" preserveAspectRatio="none">'
        f'{grid}{shades}{lines}{hovers}</svg></div><div class="seconds">{ticks}</div></div>'
    )


def _steps(segments: Sequence[Segment]) -> str:
    moves = "".join(f"V{100 - s.score:.2f}H{s.end:.3f}" for s in segments)
    return f"M0,{100 - segments[0].score:.2f}{moves}"


def _column(segment: Segment, kind: str) -> str:
    title = f"{clock(segment.start)} to {clock(segment.end)}: {segment.score:.0f}"
    width = segment.end - segment.start
    return (
        f'<rect class="{kind}" x="{segment.start:.3f}" width="{width:.3f}" height="100"><title>{title}</title></rect>'
    )


def worst_segments(result: VideoScore) -> list[Segment]:
    """The `WORST_MOMENTS` segments of the lowest scores, lowest first."""
    return sorted(result.segments, key=lambda segment: segment.score)[:WORST_MOMENTS]


def clock(seconds: float) -> str:
    """Minutes and seconds, "1:02.5"."""
    tenths = math.floor(seconds * 10 + 0.5)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
