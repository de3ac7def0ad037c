"""`cvqa app`: a page where a person drops one or two videos and sees how good they look, and where they look worst."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
import numpy as np

from .app_html import CSS, GRADES, WORST_MOMENTS, clock, summary_html, worst_segments
from .inference import VideoScore, VideoScorer
from .models.video_scores import one_line
from .video import VideoError, VideoReader


os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

LABELS = {
    "vmaf": "It predicts VMAF without the reference: what VMAF would say if it had the source. No opinion score.",
    "mos": "It predicts the mean opinion score (MOS) of viewers.",
    "dmos": "It predicts the differential opinion score (DMOS) of viewers, turned so that higher is better.",
}
MAX_STEPS = 60  # points of the timeline: longer videos get longer steps
MAX_BYTES = 2**30
EXTENSIONS = (".mkv", ".webm", ".ivf", ".y4m", ".ts", ".hevc", ".h264", ".obu")
THUMBNAIL = 640  # pixels of the longer side


def build_app(scorer: VideoScorer, examples: Sequence[str | os.PathLike] = ()) -> gr.Blocks:
    """The page for a model. `examples` are video files that a visitor may try."""
    examples = [str(path) for path in examples]

    def show(first: str | None, second: str | None, progress: gr.Progress = gr.Progress()):  # noqa: B008
        paths = [path for path in (first, second) if path]
        if not paths:
            gr.Warning("Drop a video first.", duration=5)
            return "", gr.Column(visible=False), None
        results = []
        for number, path in enumerate(paths):

            def tell(done: int, total: int, number: int = number) -> None:
                progress((number + done / total) / len(paths), desc=f"video {number + 1} of {len(paths)}")

            progress(number / len(paths), desc=f"opening video {number + 1}")
            results.append(judge(scorer, path, tell))
        scored = [result for result in results if result.error is None]
        pictures = gr.Gallery(worst_moments(scored), columns=2 if len(scored) > 1 else WORST_MOMENTS)
        return summary_html(results), gr.Column(visible=bool(scored)), pictures

    with gr.Blocks(title="cvqa: quality of compressed video", analytics_enabled=False) as app:
        gr.Markdown(
            "# How good does this video look?\n"
            "Quality of compressed video from **0 to 100**, higher is better, without its original. "
            + LABELS.get(scorer.model.config.label_kind, "")
        )
        with gr.Row(equal_height=True):
            kinds = ["video", *EXTENSIONS]
            first = gr.File(label="Video", file_types=kinds, type="filepath", min_width=280)
            second = gr.File(label="Second, to compare", file_types=kinds, type="filepath", min_width=280)
        button = gr.Button("Score", variant="primary")
        summary = gr.HTML(elem_classes="result")
        with gr.Column(visible=False) as worst:
            gr.Markdown("### The worst moments")
            gallery = gr.Gallery(show_label=False, object_fit="contain", height="auto", elem_classes="moments")
        if examples:
            pairs = [[examples[0], examples[-1]]] if len(examples) > 1 else []
            gr.Examples([*pairs, *([path, None] for path in examples)], [first, second], label="Examples")
        with gr.Accordion("What the score means, and what it does not", open=False):
            gr.Markdown(meaning(scorer))
        outputs = [summary, worst, gallery]
        button.click(show, [first, second], outputs, concurrency_limit=1, show_progress_on=summary)
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
    segments = sorted(worst_segments(min(results, key=lambda result: result.score)))
    times = [(segment.start + segment.end) / 2 for segment in segments]
    names = ("1: ", "2: ") if len(results) > 1 else ("",)
    columns = [moments(result, times, name) for result, name in zip(results, names)]
    return [moment for row in zip(*columns) for moment in row]


def moments(result: VideoScore, times: Sequence[float], name: str) -> list[tuple[np.ndarray, str]]:
    """What a video shows at these seconds, with the score of the segment around each."""
    with VideoReader(result.file) as reader:
        shown = reader.timestamps - reader.timestamps[0]
        frames = reader.get_batch([max(int(np.searchsorted(shown, time, side="right")) - 1, 0) for time in times])
    found = []
    for frame, time in zip(frames, times):
        scores = [segment.score for segment in result.segments if segment.start <= time < segment.end]
        caption = f"{scores[0]:.0f} at {clock(time)}" if scores else f"after its end, {clock(time)}"
        found.append((shrink(frame), name + caption))
    return found


def shrink(frame: np.ndarray) -> np.ndarray:
    """A frame (height, width, 3) by whole-number steps, so that artefacts are not smoothed away by resampling twice."""
    step = max(1, max(frame.shape[:2]) // THUMBNAIL)
    return np.ascontiguousarray(frame[::step, ::step])


def meaning(scorer: VideoScorer) -> str:
    """In words for a person: scale, labels, interval, limits."""
    config = scorer.model.config
    grades = "; ".join(f"from {floor} {words}" for floor, words in GRADES)
    moved = "how far the score would move had other moments been looked at"
    bounds = f"tell {moved}, not how far the model may be wrong."
    if config.score_interval:
        held = f"{config.score_interval['coverage']:.0%} of the held-out videos that they were made on"
        bounds = f"held {config.label_kind.upper()} of {held}. Which of two is better is told by {moved}."
    return f"""
- **0 to 100, higher is better.** Roughly: {grades}.
- The model `{Path(scorer.name).name}` learnt from {config.label_kind.upper()}. {LABELS.get(config.label_kind, "")}
- The two bounds {bounds}
- Standard dynamic range only; HDR video is refused. A size, a frame rate or a standstill that the model has not learnt
  from brings a warning; other content unlike what it was trained on does not.
"""


def launch(scorer: VideoScorer, examples: Sequence[str | os.PathLike] = (), **options) -> None:
    """Serve the page until interrupted; `options` are those of `gradio.Blocks.launch`."""
    options = {"theme": gr.themes.Soft(font=["system-ui", "sans-serif"]), "css": CSS, **options}
    folders = sorted({str(Path(path).resolve().parent) for path in examples})
    page = build_app(scorer, examples).queue(max_size=32)
    # Without `_frontend`: then Gradio gives up where the first answer to itself takes 3 s, as on a busy machine.
    page.launch(allowed_paths=folders, max_file_size=MAX_BYTES, _frontend=False, **options)
