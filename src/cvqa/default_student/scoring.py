"""Encodes of a ladder, scored as `cvqa score` does it, and the interval that their errors allow to state."""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm

from ..data import get_scale
from ..evaluation import Summary, summarize
from ..inference import VideoScore, VideoScorer
from ..models.video_scores import Segment, calibrated_interval, half_width, mean_and_interval, one_line
from .score_store import ScoreStore, content_key


logger = logging.getLogger(__name__)

KNOTS = (0.0, 20.0, 40.0, 60.0, 75.0, 85.0, 92.0, 97.0, 100.0)
SECONDS_BETWEEN_REPORTS = 30  # where no progress bar can be shown
NEIGHBOURS = 0.25  # share of the videos that decide the margin at a knot


def score_files(model: Path, files: Sequence[str], workers: int, store: Path) -> list[VideoScore]:
    """Scores by the model in a folder, each as `cvqa score` gives it; what the store holds is not scored again.

    Several files at a time, each on one thread. Threads are enough, as network and decoder do without Python's lock. A
    file that cannot be scored becomes a result with `error`.
    """
    scorer = VideoScorer.from_pretrained(model)
    calibration, threads, started = scorer.model.config.score_interval, torch.get_num_threads(), time.monotonic()

    def score(file: str) -> VideoScore:
        try:
            views = known.find(key := content_key(file))
            if views is None:
                views = scorer.score(file).views
                known.add(key, views)
        except Exception as error:  # whatever a broken file provokes must not end the others
            return VideoScore(file=file, error=one_line(getattr(error, "reason", error)))
        values = distinct_scores(views)
        mean, spread = mean_and_interval(values)
        interval = calibrated_interval(values, calibration) if calibration else spread
        return VideoScore(file=file, score=mean, interval=interval, spread=spread, views=views)

    results: list[VideoScore] = []
    with ScoreStore(store, scorer) as known:
        before, told = len(known), started
        pool = ThreadPoolExecutor(max(workers, 1), initializer=torch.set_num_threads, initargs=(1,))
        try:
            progress = tqdm(pool.map(score, files), total=len(files), unit="file", disable=None, desc=model.name)
            for result in progress:
                results.append(result)
                if progress.disable and time.monotonic() - told > SECONDS_BETWEEN_REPORTS:
                    told = time.monotonic()
                    logger.info("%s: %d of %d files", model.name, len(results), len(files))
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)
        new = len(known) - before
    logger.info("%s: %d files, %d scored now, %.0f s", model.name, len(files), new, time.monotonic() - started)
    return results


def summarize_scores(results: Sequence[VideoScore], rows: Dataset, split: str, model: str) -> tuple[Summary, list]:
    """Figures of the scores as they are against VMAF (mapping `none`: what there is to fit was fitted on validation),
    and rows for `save_report`."""
    columns = {name: rows[name][:] for name in ("video", "content_id", "codec", "score")}
    table = [
        {**dict(zip(("file", "content_id", "codec", "score"), row)), "prediction": score, "quality": score}
        for *row, score in zip(*columns.values(), [np.nan if r.score is None else r.score for r in results])
    ]
    for result in results:
        if result.error:
            logger.warning("%s: %s", result.file, result.error)
    kept = [row for row in table if np.isfinite(row["prediction"])]
    summary = summarize(
        *([row[name] for row in kept] for name in ("prediction", "score", "content_id")),
        mapping="none",
        split=split,
        codecs=[row["codec"] for row in kept],
        model=model,
        dataset="ladder",
        label_kind=get_scale(rows).label_kind,
        model_label_kind=get_scale(rows).label_kind,
        failed=[Path(row["file"]).name for row in table if not np.isfinite(row["prediction"])],
    )
    return summary, [{**row, "file": "/".join(Path(row["file"]).parts[-2:])} for row in table]


def fit_interval(results: Sequence[VideoScore], truths: Sequence[float], coverage: float) -> dict:
    """`score_interval` of a configuration: the margins with which `coverage` of these videos' intervals hold the truth.

    The margin at a score is that share's quantile of what the error exceeds the spread of the views by, over the
    videos with the scores nearest to it; then all are scaled alike, so that the share is right over all videos.

    Args:
        results: of videos that the model has not learnt from.
        truths: their true scores, from 0 to 100.
    """
    scored = [(result, truth) for result, truth in zip(results, truths) if result.score is not None]
    scores = np.array([result.score for result, _ in scored])
    errors = np.abs(scores - [truth for _, truth in scored])
    widths = np.array([spread_of(result) for result, _ in scored])
    excess = np.sqrt(np.maximum(errors**2 - widths**2, 0))
    number = max(int(len(scores) * NEIGHBOURS), min(len(scores), 10))
    margins = np.array(
        [np.quantile(excess[np.argsort(np.abs(scores - knot), kind="stable")[:number]], coverage) for knot in KNOTS]
    )
    margins = np.maximum(margins, 0.1)  # never sure to the last digit
    scale = np.quantile(excess / np.interp(scores, KNOTS, margins), coverage, method="higher")
    return {
        "coverage": coverage,
        "scores": list(KNOTS),
        "margins": [float(np.ceil(margin * scale * 100) / 100) for margin in margins],  # rounded up, to hold the last
    }


def distinct_scores(views: Sequence[Segment]) -> list[float]:
    """Of a video with too few frames several views are the same one, which must not count as agreement."""
    return list(dict.fromkeys(view.score for view in views))


def spread_of(result: VideoScore) -> float:
    """Half-width of the interval that the spread of the views gives, not cut to the scale; 0 of a single view."""
    distinct = distinct_scores(result.views)
    return half_width(distinct) if len(distinct) > 1 else 0.0


def covered(results: Sequence[VideoScore], truths: Sequence[float]) -> float:
    """Share of the videos whose interval holds the truth."""
    inside = [r.interval[0] <= truth <= r.interval[1] for r, truth in zip(results, truths) if r.interval]
    return float(np.mean(inside))
