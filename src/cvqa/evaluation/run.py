"""One evaluation from model and data set to figures."""

from pathlib import Path

import numpy as np
import torch

from ..data import QualityCollator, get_scale
from .predict import native_predictions, predict_dataset
from .summary import Summary, summarize


def evaluate_dataset(
    model,
    processor,
    dataset,
    mapping: str = "logistic4",
    split: str = "test",
    model_name: str | None = None,
    dataset_name: str | None = None,
    batch_size: int = 8,
    device=None,
    num_workers: int = 0,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Summary, list[dict]]:
    """Predicts every video of a data set and compares with the scores.

    Args:
        model: a video quality model; it computes in the precision of its weights.
        processor: its video processor.
        dataset: one split, as `cvqa.data.load_quality_dataset` gives it, frames cached or not.
        mapping, resamples, seed: see `summarize`.
        split, model_name, dataset_name: what stands beside the figures.
        batch_size, device, num_workers: see `predict_dataset`.

    Returns:
        The figures, and one row per video for `save_report`. A video that cannot be read has NaN in its row, is named
        in `Summary.failed` and is in no figure.
    """
    scale = get_scale(dataset)
    logits = predict_dataset(model, dataset, QualityCollator(processor), batch_size, device, num_workers)
    predictions = native_predictions(logits, model.config, scale)
    qualities = model.quality_score(torch.from_numpy(logits)).tolist()
    columns = {name: dataset[name][:] for name in ("video", "content_id", "codec", "score")}
    keys = ("file", "content_id", "codec", "score", "prediction", "quality")
    rows = [dict(zip(keys, values)) for values in zip(*columns.values(), predictions.tolist(), qualities)]

    kept = np.flatnonzero(~np.isnan(logits))
    summary = summarize(
        predictions[kept],
        [columns["score"][row] for row in kept],
        [columns["content_id"][row] for row in kept],
        mapping=mapping,
        split=split,
        codecs=[columns["codec"][row] or "unknown" for row in kept],
        model=model_name,
        dataset=dataset_name,
        label_kind=scale.label_kind,
        model_label_kind=model.config.label_kind,
        higher_is_better=scale.higher_is_better,
        resamples=resamples,
        seed=seed,
        failed=[Path(row["file"]).name for row in rows if np.isnan(row["prediction"])],
    )
    return summary, rows
