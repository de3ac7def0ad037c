"""What can be known of an encode without a model of ours: what a no-reference score has to beat."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock

import numpy as np
from datasets import Dataset

from ..evaluation import Summary, summarize
from ..models.video_scores import one_line
from ..video import VideoReader
from ..video.photographs import sharpness
from .niqe import niqe, pristine_statistics


logger = logging.getLogger(__name__)

ONE_AT_A_TIME = Lock()  # libsvm, which BRISQUE asks, corrupts memory where two threads ask it


def baseline_summaries(
    rows: Dataset, split: str, workers: int, resamples: int = 1000
) -> tuple[list[Summary], dict[str, str]]:
    """Figures of bits per pixel and of `OF_A_FRAME` over all rows, and of CRF and QP over those of each encoder that
    have it; all after a logistic that is fitted on these very rows, which flatters them. And what was not measured,
    with the reason: a baseline stops nothing.

    CRF and QP mean something to one encoder only, and are rarely known of a file; bits per pixel are those of the
    encode, also where it was scaled down and is stored scaled back.
    """
    table = rows.select_columns(
        ["video", "content_id", "score", "bitrate_kbps", "fps", "encoded_width", "encoded_height"]
        + ["encoder", "rate_control", "level"]
    ).to_list()
    pixels = [float(row["encoded_width"]) * float(row["encoded_height"]) * float(row["fps"]) for row in table]
    density = np.array([1000 * float(row["bitrate_kbps"]) for row in table]) / pixels
    baselines = {"bits per pixel (log)": np.log(density)}
    measured, reasons = _of_frames([row["video"] for row in table], workers)
    baselines |= measured
    for control in ("crf", "qp"):
        for encoder in sorted({row["encoder"] for row in table}):
            own = np.array([(row["rate_control"], row["encoder"]) == (control, encoder) for row in table])
            if own.sum() >= 10:
                levels = [-float(row["level"]) if mine else np.nan for row, mine in zip(table, own)]
                baselines[f"{control.upper()} of {encoder}"] = np.array(levels)
    summaries = [
        summarize(
            values[np.isfinite(values)],
            [row["score"] for row, value in zip(table, values) if np.isfinite(value)],
            [row["content_id"] for row, value in zip(table, values) if np.isfinite(value)],
            split=split,
            model=name,
            dataset="ladder",
            label_kind="vmaf",
            resamples=resamples,
        )
        for name, values in baselines.items()
    ]
    return summaries, reasons


def _of_frames(videos: list[str], workers: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The measures of the frame in the middle of each video, NaN where one fails; and why one failed on all."""
    failed: dict[str, str] = {}

    def measure(video: str) -> dict[str, float]:
        with VideoReader(video) as reader:
            (frame,) = reader.get_batch([len(reader) // 2])
        values = {}
        for name, function in OF_A_FRAME.items():
            try:
                values[name] = function(frame)
            except Exception as error:  # other people's packages, on versions that they do not know
                failed[name], values[name] = one_line(error), np.nan
        return values

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        found = list(pool.map(measure, videos))
    columns = {name: np.array([values[name] for values in found]) for name in OF_A_FRAME}
    measured = {name: values for name, values in columns.items() if np.isfinite(values).sum() >= 2}
    reasons = {name: failed.get(name, "no value is finite") for name in columns if name not in measured}
    for name, reason in failed.items():
        missing = int((~np.isfinite(columns[name])).sum())
        logger.warning("%s: not measured on %d of %d videos: %s", name, missing, len(videos), reason)
    return measured, reasons


def brisque_score(frame: np.ndarray) -> float:
    """BRISQUE (A. Mittal, A. Moorthy, A. Bovik, 2012) by the package `brisque`, which brings its weights; lower is
    better. Raises ImportError where it is not installed."""
    with ONE_AT_A_TIME:
        return float(_brisque().score(frame))


@cache
def _brisque():
    from brisque import BRISQUE

    class Brisque(BRISQUE):
        def scale_features(self, features):
            """As in the package, of plain numbers: it makes arrays of one number, which numpy no longer takes."""
            return super().scale_features([np.ravel(value)[0] for value in features])

    return Brisque(url=False)


def niqe_score(frame: np.ndarray) -> float:
    """Lower is better. Raises ImportError without the statistics of pristine pictures, ValueError for a small frame."""
    return niqe(frame @ np.array([0.299, 0.587, 0.114], np.float32), *pristine_statistics())


OF_A_FRAME: dict[str, Callable[[np.ndarray], float]] = {
    "sharpness (log)": lambda frame: float(np.log(sharpness(frame[None]) + 1e-6)),
    "BRISQUE": lambda frame: -brisque_score(frame),
    "NIQE": lambda frame: -niqe_score(frame),
}
"""From a frame, uint8 RGB (H, W, 3), to a number that rises with quality."""
