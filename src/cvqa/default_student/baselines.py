"""What can be known of an encode without a model: what a no-reference score has to beat."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..evaluation import Summary, summarize
from ..video import VideoReader
from ..video.photographs import sharpness


def baseline_summaries(rows: Dataset, split: str, workers: int, resamples: int = 1000) -> list[Summary]:
    """Figures of bits per pixel and of sharpness over all rows, and of CRF and QP over those of each encoder that have
    it; all after a logistic that is fitted on these very rows, which flatters them.

    CRF and QP mean something to one encoder only, and are rarely known of a file; bits per pixel are those of the
    encode, also where it was scaled down and is stored scaled back. BRISQUE (A. Mittal et al., 2012) is measured where
    the package `brisque` is installed, which brings its weights.
    """
    table = rows.select_columns(
        ["video", "content_id", "score", "bitrate_kbps", "fps", "encoded_width", "encoded_height"]
        + ["encoder", "rate_control", "level"]
    ).to_list()
    pixels = [float(row["encoded_width"]) * float(row["encoded_height"]) * float(row["fps"]) for row in table]
    density = np.array([1000 * float(row["bitrate_kbps"]) for row in table]) / pixels
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        fineness = np.array(list(pool.map(sharpness_of, [row["video"] for row in table])))
    every = np.ones(len(table), bool)
    baselines: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "bits per pixel (log)": (np.log(density), every),
        "sharpness (log)": (np.log(fineness + 1e-6), every),
    }
    with suppress(ImportError):
        baselines["BRISQUE"] = np.array([-score for score in brisque_scores(row["video"] for row in table)]), every
    for control in ("crf", "qp"):
        for encoder in sorted({row["encoder"] for row in table}):
            own = np.array([(row["rate_control"], row["encoder"]) == (control, encoder) for row in table])
            if own.sum() >= 10:
                levels = np.array([-float(row["level"]) if mine else 0.0 for row, mine in zip(table, own)])
                baselines[f"{control.upper()} of {encoder}"] = (levels, own)
    return [
        summarize(
            values[kept],
            [row["score"] for row, keep in zip(table, kept) if keep],
            [row["content_id"] for row, keep in zip(table, kept) if keep],
            split=split,
            model=name,
            dataset="ladder",
            label_kind="vmaf",
            resamples=resamples,
        )
        for name, (values, kept) in baselines.items()
    ]


def brisque_scores(videos: Iterable[str | Path]) -> Iterator[float]:
    """Of the frame in the middle of each; lower is better. Raises ImportError where the package is not installed."""
    from brisque import BRISQUE

    brisque = BRISQUE(url=False)
    for video in videos:
        with VideoReader(video) as reader:
            yield float(brisque.score(reader.get_batch([len(reader) // 2])[0]))


def sharpness_of(video: str | Path) -> float:
    """Of the frame in the middle."""
    with VideoReader(video) as reader:
        return sharpness(reader.get_batch([len(reader) // 2]))
