"""`cvqa app`: a page where a person drops one or two videos and sees how good they look, and where they look worst."""

import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import gradio as gr
import numpy as np
from matplotlib.figure import Figure

from .inference import VideoScore, VideoScorer
from .models.video_scores import one_line
from .video import VideoError, VideoReader


os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

LABELS = {
    "vmaf": "It predicts VMAF without the reference: what VMAF would say if it had the source. No opinion score.",
    "mos": "It predicts the mean opinion score (MOS) of viewers.",
    "dmos": "It predicts the differential opinion score (DMOS) of viewers, turned so that higher is better.",
}
GRADES = ((90, "looks like the source"), (75, "good, losses are hard to see"), (60, "fair, losses can be seen"))
GRADES += ((40, "poor, losses disturb"), (0, "bad, losses dominate"))
COLOURS = ("#2563eb", "#d97706")
WORST_MOMENTS = 3
MAX_STEPS = 60  # points of the timeline: longer videos get longer steps
MAX_BYTES = 2**30
EXTENSIONS = (".mkv", ".webm", ".ivf", ".y4m", ".ts", ".hevc", ".h264", ".obu")
THUMBNAIL = 640  # pixels of the longer side
CSS = """
.gradio-container { max-width: 1080px !important; margin: 0 auto; }
.score { font-size: 3.2rem; font-weight: 700; line-height: 1.1; font-variant-numeric: tabular-nums; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; }
.card { flex: 1 1 260px; border: 1px solid var(--border-color-primary); border-radius: 12px; padding: 1rem 1.25rem; }
.card .name { overflow-wrap: anywhere; opacity: .75; }
.card.failed { border-color: #dc2626; }
.verdict { margin: .75rem 0 0; font-size: 1.05rem; }
"""


def build_app(scorer: VideoScorer, examples: Sequence[str | os.PathLike] = ()) -> gr.Blocks:
    """The page for a model. `examples` are video files that a visitor may try."""
    examples = [str(path) for path in examples]

    def show(first: str | None, second: str | None, progress: gr.Progress = gr.Progress()):  # noqa: B008
        paths = [path for path in (first, second) if path]
        if not paths:
            raise gr.Error("Drop a video first.", duration=5)
        results = []
        for number, path in enumerate(paths):

            def tell(done: int, total: int, number: int = number) -> None:
                progress((number + done / total) / len(paths), desc=f"video {number + 1} of {len(paths)}")

            progress(number / len(paths), desc=f"opening video {number + 1}")
            results.append(judge(scorer, path, tell))
        scored = [result for result in results if result.error is None]
        pictures = gr.Gallery(worst_moments(scored), columns=len(scored) if len(scored) > 1 else WORST_MOMENTS)
        return summary_html(results), timeline(scored) if scored else None, pictures

    with gr.Blocks(title="cvqa: quality of compressed video", analytics_enabled=False) as app:
        gr.Markdown(
            "# How good does this video look?\n"
            "Quality of compressed video from **0 to 100**, higher is better, without its original. "
            + LABELS.get(scorer.model.config.label_kind, "")
        )
        with gr.Row():
            kinds = ["video", *EXTENSIONS]
            first = gr.File(label="Video", file_types=kinds, type="filepath")
            second = gr.File(label="Another encode, to compare", file_types=kinds, type="filepath")
        button = gr.Button("Score", variant="primary")
        summary = gr.HTML(label="Result")
        plot = gr.Plot(show_label=False)
        gr.Markdown("### The worst moments")
        gallery = gr.Gallery(show_label=False, columns=WORST_MOMENTS, object_fit="contain", height="auto")
        if examples:
            pairs = [[examples[0], examples[-1]]] if len(examples) > 1 else []
            gr.Examples([*pairs, *([path, None] for path in examples)], [first, second], label="Examples")
        with gr.Accordion("What the score means, and what it does not", open=False):
            gr.Markdown(meaning(scorer))
        button.click(show, [first, second], [summary, plot, gallery], concurrency_limit=1)
    return app


def judge(scorer: VideoScorer, path: str, progress=None) -> VideoScore:
    """The result of a file, with its course over time; what is wrong with it stands in `error`."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise VideoError(path, f"larger than {MAX_BYTES / 2**30:g} GiB; cut out the part in question")
        with VideoReader(path) as reader:
            step = math.ceil(reader.duration / MAX_STEPS) if reader.duration >= 3 else reader.duration / 4
            step = max(step, 2 / reader.fps)
        return scorer.score(path, segments=step, progress=progress)
    except Exception as error:  # whatever a broken file provokes is told in words
        return VideoScore(file=path, model=scorer.name, error=one_line(getattr(error, "reason", error)))


def worst_moments(results: Sequence[VideoScore]) -> list[tuple[np.ndarray, str]]:
    """Frames with captions where the worst of the videos is at its worst, of all of them side by side."""
    if not results:
        return []
    worst = min(results, key=lambda result: result.score)
    segments = sorted(sorted(worst.segments, key=lambda segment: segment.score)[:WORST_MOMENTS])
    times = [(segment.start + segment.end) / 2 for segment in segments]
    columns = [moments(result, times) for result in results]
    return [moment for row in zip(*columns) for moment in row]


def moments(result: VideoScore, times: Sequence[float]) -> list[tuple[np.ndarray, str]]:
    """What a video shows at these seconds, with the score of the segment around each."""
    with VideoReader(result.file) as reader:
        shown = reader.timestamps - reader.timestamps[0]
        frames = reader.get_batch([max(int(np.searchsorted(shown, time, side="right")) - 1, 0) for time in times])
    found = []
    for frame, time in zip(frames, times):
        scores = [segment.score for segment in result.segments if segment.start <= time < segment.end]
        caption = f"{scores[0]:.0f} at {clock(time)}" if scores else f"after its end, {clock(time)}"
        found.append((shrink(frame), f"{caption} · {Path(result.file).stem[:24]}"))
    return found


def shrink(frame: np.ndarray) -> np.ndarray:
    """A frame (height, width, 3) by whole-number steps, so that artefacts are not smoothed away by resampling twice."""
    step = max(1, max(frame.shape[:2]) // THUMBNAIL)
    return np.ascontiguousarray(frame[::step, ::step])


def summary_html(results: Sequence[VideoScore]) -> str:
    """The scores as cards, and which is better if there are two."""
    cards = "".join(card_html(result, colour) for result, colour in zip(results, COLOURS))
    return f'<div class="cards">{cards}</div>{verdict_html([r for r in results if r.error is None])}'


def card_html(result: VideoScore, colour: str) -> str:
    name = escape(Path(result.file).name)
    if result.error is not None:
        return (
            f'<div class="card failed"><div class="name">{name}</div>'
            f"<p><b>This file cannot be scored.</b><br>{escape(result.error)}</p></div>"
        )
    low, high = result.interval
    grade = next(words for floor, words in GRADES if result.score >= floor)
    return (
        f'<div class="card"><div class="name">{name}</div>'
        f'<div class="score" style="color:{colour}">{result.score:.1f}</div>'
        f"<div><b>{grade}</b></div><div>between {low:.1f} and {high:.1f} by its views, "
        f"{result.width}×{result.height}, {result.duration:.1f} s, {escape(result.codec or '')}</div></div>"
    )


def verdict_html(scored: Sequence[VideoScore]) -> str:
    """Which of two is better, or that it is not certain; empty of fewer."""
    if len(scored) < 2:
        return ""
    better, worse = sorted(scored, key=lambda result: -result.score)
    gap = better.score - worse.score
    if worse.interval[1] >= better.interval[0]:
        words = f"The two are {gap:.1f} points apart, but their intervals overlap: which is better is not certain."
    else:
        words = f"<b>{escape(Path(better.file).name)}</b> is better by {gap:.1f} points."
    return f'<p class="verdict">{words}</p>'


def timeline(scored: Sequence[VideoScore]) -> Figure:
    """Quality over time of each video, as steps."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    for result, colour in zip(scored, COLOURS):
        seconds = [moment for segment in result.segments for moment in (segment.start, segment.end)]
        values = [segment.score for segment in result.segments for _ in range(2)]
        (line,) = axes.plot(seconds, values, color=colour, linewidth=2)
        line.set_label(Path(result.file).name.lstrip("_").replace("$", r"\$"))
    axes.set(ylim=(0, 100), xlabel="seconds", ylabel="quality", title="Quality over time")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", frameon=False)
    return figure


def meaning(scorer: VideoScorer) -> str:
    """In words for a person: scale, labels, interval, limits."""
    config = scorer.model.config
    grades = "; ".join(f"from {floor} {words}" for floor, words in GRADES)
    return f"""
- **0 to 100, higher is better.** Roughly: {grades}.
- The model `{Path(scorer.name).name}` learnt from {config.label_kind.upper()}. {LABELS.get(config.label_kind, "")}
- The two bounds tell how far the score would move had other moments been looked at, not how far the model may be wrong.
- Standard dynamic range only; HDR video is refused. Content unlike what the model was trained on is scored without a
  warning.
"""


def clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def launch(scorer: VideoScorer, examples: Sequence[str | os.PathLike] = (), **options) -> None:
    """Serve the page until interrupted; `options` are those of `gradio.Blocks.launch`."""
    options = {"theme": gr.themes.Soft(font=["system-ui", "sans-serif"]), "css": CSS, **options}
    folders = sorted({str(Path(path).resolve().parent) for path in examples})
    page = build_app(scorer, examples).queue(max_size=32)
    page.launch(allowed_paths=folders, max_file_size=MAX_BYTES, **options)
