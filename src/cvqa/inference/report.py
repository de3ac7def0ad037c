"""Scores as files: `write_json`, `write_csv`, `write_plot`. Each appears complete or not at all."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

from .. import files
from ..models.video_scores import VideoScore


PLOT_SUFFIXES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp")
CSV_COLUMNS = ("file", "kind", "start", "end", "score", "low", "high", "model", "error")


def json_text(scores: Sequence[VideoScore]) -> str:
    """A JSON list with one object per file, see `VideoScore.to_dict`."""
    return files.json_text([score.to_dict() for score in scores])


def write_json(scores: Sequence[VideoScore], path: str | os.PathLike) -> None:
    files.write_text(path, json_text(scores))


def csv_text(scores: Sequence[VideoScore]) -> str:
    """A table with one row of kind "video" per file, followed by its rows of kind "segment" if it has any."""
    rows = []
    for score in scores:
        item = score.to_dict()
        low, high = item["interval"] or (None, None)
        same = {"file": item["file"], "model": item["model"]}
        span = {} if score.duration is None else {"start": 0.0, "end": round(score.duration, 4)}
        row = {"kind": "video", "score": item["score"], "low": low, "high": high, "error": item["error"]}
        rows.append(same | span | row)
        rows.extend(same | {"kind": "segment"} | segment for segment in item["segments"])
    return files.csv_text(CSV_COLUMNS, rows)


def write_csv(scores: Sequence[VideoScore], path: str | os.PathLike) -> None:
    files.write_text(path, csv_text(scores))


def write_plot(scores: Sequence[VideoScore], path: str | os.PathLike) -> None:
    """Quality over time, one line per scored file: steps for its segments or, without, a point for each view.

    The suffix of `path` names the format (PLOT_SUFFIXES).
    """
    from matplotlib.figure import Figure

    scored = [score for score in scores if score.score is not None]
    figure = Figure(figsize=(9, max(4.5, 0.25 * len(scored))), layout="constrained")
    axes = figure.subplots()
    lines = []
    for score in scored:
        if score.segments:
            seconds = [moment for segment in score.segments for moment in (segment.start, segment.end)]
            values = [segment.score for segment in score.segments for _ in range(2)]
        else:
            seconds = [(view.start + view.end) / 2 for view in score.views]
            values = [view.score for view in score.views]
        lines += axes.plot(seconds, values, linewidth=1.8, marker="" if score.segments else "o")
    axes.set(ylim=(0, 100), xlabel="seconds", ylabel="quality (0 to 100, higher is better)")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    if lines:
        legend = figure.legend(lines, [str(n) for n in range(len(lines))], loc="outside right upper", fontsize="small")
        # Names are set afterwards: as labels, a leading "_" would hide a file and "$" would be read as mathematics.
        for text, score in zip(legend.get_texts(), scored):
            text.set_parse_math(False)
            text.set_text(f"{score.score:5.1f}  {Path(score.file).name}")
    image = io.BytesIO()
    figure.savefig(image, format=Path(path).suffix[1:].lower(), dpi=120)
    files.write_bytes(path, image.getvalue())


def check_target(path: str | os.PathLike, suffixes: Sequence[str] = ()) -> None:
    """Raises ValueError with the reason if a report cannot be written to `path`: better known before hours of work."""
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"{path}: is a folder; name a file")
    if not target.parent.is_dir():
        raise ValueError(f"{path}: the folder {target.parent} does not exist; create it first")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise ValueError(f"{path}: not allowed to write there")
    if suffixes and target.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: unknown kind of picture; end the name with one of {', '.join(suffixes)}")
