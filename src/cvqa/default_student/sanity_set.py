"""The encodes of what users try first, labelled: a ladder of the clips of `sanity_clips`, and a table of it."""

import csv
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..data import build_ladder
from ..data.ladder import label_encodes
from ..files import csv_text, write_text
from ..video.encoders import ENCODERS
from ..video.encoding import encode, store_reference
from .sanity_clips import PLAIN, sanity_clips


COLUMNS = ("file", "content_id", "kind", "encoder", "level", "vmaf", "width", "height", "fps")
"""Columns of sanity.csv. `file` is relative to it; `level` is "pristine" for the encodes next to lossless, else CRF;
`vmaf` is against the very clip that was encoded, of a distortion against the plain clip."""

PRISTINE, PRISTINE_CRF = "pristine", 4
ENCODER, MORE_ENCODERS = "x264", ("x265", "svtav1")
QUALITIES = (0.15, 0.4, 0.65, 0.9)  # places on the ladder of an encoder; of x264 CRF 24, 32, 40 and 48


def make_sanity_set(
    references: Mapping[str, str | Path], folder: Path, workers: int, num_frames: int, contents: int
) -> Path:
    """Makes FOLDER/sanity.csv and the files that it names, and returns it; what is there is not made again.

    Each clip of `sanity_clips` is encoded by x264 next to lossless and at four CRFs, the plain ones also by x265 and
    SVT-AV1 at four each. Files of a run that was stopped are used again.

    Args:
        references: pristine clips by content, which no model has learnt from.
        num_frames, contents: see `sanity_clips`.

    Raises ValueError: an encode failed or could not be labelled.
    """
    table = folder / "sanity.csv"
    if table.is_file():
        return table
    clips: dict[str, dict] = {}  # by the name of the file
    distortions: list[tuple[Path, Path, dict]] = []
    for number, clip in enumerate(sanity_clips(references, num_frames, contents)):
        name = re.sub(r"[^\w.-]+", "_", f"{number:02d}_{clip.content}_{clip.kind}")
        about = {"content_id": clip.content, "kind": clip.kind}
        source = folder / "sources" / f"{name}.mkv"
        if clip.judged_by is None:
            clips[name] = about
            _store(clip.frames, clip.fps, source)
            continue
        _store(clip.judged_by, clip.fps, source)
        encode((clip.frames, clip.fps), folder / f"distorted/{name}.mp4", ENCODER, PRISTINE_CRF)
        about |= {"encoder": ENCODER, "level": PRISTINE, "fps": float(clip.fps)}
        about |= {"height": clip.frames.shape[1], "width": clip.frames.shape[2]}
        distortions.append((folder / f"distorted/{name}.mp4", source, about))

    sources = [folder / "sources" / f"{name}.mkv" for name in clips]
    best, worst = ENCODERS[ENCODER].ladder
    pristine = (PRISTINE_CRF - best) / (worst + 1 - best)
    _encode(sources, folder, [(ENCODER, quality) for quality in (pristine, *QUALITIES)], num_frames, workers)
    plain = [source for source in sources if clips[source.stem]["kind"] == PLAIN]
    _encode(plain, folder, [(name, quality) for name in MORE_ENCODERS for quality in QUALITIES], num_frames, workers)

    rows = []
    with (folder / "ladder/manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            is_pristine = (row["encoder"], float(row["level"])) == (ENCODER, PRISTINE_CRF)
            row |= {"file": f"ladder/{row['video']}", "level": PRISTINE if is_pristine else row["level"]}
            rows.append(row | clips[row["content_id"]] | {"vmaf": row["score"]})
    labels = label_encodes([pair for *pair, _ in distortions], workers=workers or None)
    for (path, _, about), label in zip(distortions, labels):
        if label["error"]:
            raise ValueError(label["error"])
        rows.append(about | {"file": path.relative_to(folder), "vmaf": round(label["score"], 4)})
    write_text(table, csv_text(COLUMNS, rows))
    return table


def _store(frames: np.ndarray, fps: Fraction, target: Path) -> None:
    if not target.is_file():  # another time stamp would make another source of it
        store_reference((frames, fps), target)


def _encode(sources: list[Path], folder: Path, kinds: list[tuple[str, float]], num_frames: int, workers: int) -> None:
    """Adds an encode of each kind, an encoder and its quality, of every source to the ladder."""
    summary = build_ladder(
        sources,
        folder / "ladder",
        workers=workers or None,
        recipe=[{"encoder": encoder, "quality": [quality, quality]} for encoder, quality in kinds],
        encodes_per_source=len(kinds),
        max_frames=num_frames,
    )
    if summary.failures:
        raise ValueError(f"{folder}: {len(summary.failures)} encodes failed, first {summary.failures[0]}")
