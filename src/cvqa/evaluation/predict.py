"""A model's predictions on a data set."""

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..models.video_reader import VideoError
from .mapping import apply_score_mapping


logger = logging.getLogger(__name__)


@torch.inference_mode()
def predict_dataset(
    model: torch.nn.Module,
    dataset,
    collator: Callable,
    batch_size: int = 8,
    device: str | torch.device | None = None,
    num_workers: int = 0,
) -> np.ndarray:
    """The model's raw outputs for every row, in order.

    Args:
        model: takes `pixel_values_videos` (B, T, C, H, W), returns an object with `logits` (B, 1). It computes in the
            precision of its weights; load it in float32 for figures that are to be compared.
        dataset: rows for the collator, of known length.
        collator: makes {"pixel_values_videos": ...} of a list of rows, without augmentation
            (`cvqa.data.QualityCollator(processor)`).
        device: the model is moved there; by default it stays where it is.
        num_workers: processes that read and decode.

    Returns:
        (n,) float64 logits, on the 0-1 label scale of the model's training data, before `config.score_mapping`. NaN for
        a video that cannot be read; it is logged with its reason, and the others are still predicted.

    Raises:
        ValueError: the data set is empty.
        VideoError: no video at all can be read; the reason is that of the first.
    """
    if not len(dataset):
        raise ValueError("the data set has no rows to predict")
    if device is not None:
        model.to(device)
    weights = next(model.parameters())
    loader = DataLoader(dataset, batch_size, collate_fn=_SkipUnreadable(collator), num_workers=num_workers)
    logits, first_error = [], None
    was_training = model.training
    model.eval()
    try:
        with tqdm(total=len(dataset), desc="predicting", unit="video", disable=None) as progress:
            for pixel_values, readable, errors in loader:
                batch = np.full(len(readable), np.nan)
                if pixel_values is not None:
                    outputs = model(pixel_values_videos=pixel_values.to(weights.device, weights.dtype))
                    batch[readable] = outputs.logits.double().flatten().cpu().numpy()
                for error in errors:
                    logger.warning("%s: %s; left out", *error)
                first_error = first_error or (errors[0] if errors else None)
                logits.append(batch)
                progress.update(len(batch))
    finally:
        model.train(was_training)
    logits = np.concatenate(logits)
    if first_error and np.isnan(logits).all():
        raise VideoError(*first_error)
    return logits


def native_predictions(logits: np.ndarray, config, scale) -> np.ndarray:
    """Logits (n,) on the native scale of a data set's scores, in its direction, not clipped (clipping would make ties).

    The model's `config.score_mapping` takes them to its label scale. If the data set's scores point the other way (a
    model trained on MOS, scores that are DMOS), the label is turned round; so good predictions correlate positively.

    Args:
        config: the model's configuration, with `score_mapping` and `higher_is_better`.
        scale: `cvqa.data.QualityScale` of the data set.
    """
    labels = apply_score_mapping(logits, config.score_mapping)
    if config.higher_is_better != scale.higher_is_better:
        labels = 1 - labels
    return scale.score_min + labels * (scale.score_max - scale.score_min)


class _SkipUnreadable:
    """Collates the rows whose video can be read: (pixel values or None, which rows, [(path, reason)] of the others).

    It runs inside the loader's workers, so that one broken file does not end the loop over all.
    """

    def __init__(self, collator: Callable):
        self.collator = collator

    def __call__(self, rows: list[dict]) -> tuple[torch.Tensor | None, np.ndarray, list[tuple[str, str]]]:
        try:
            return self.collator(rows)["pixel_values_videos"], np.ones(len(rows), dtype=bool), []
        except VideoError:
            pass
        values, readable, errors = [], np.zeros(len(rows), dtype=bool), []
        for index, row in enumerate(rows):
            try:
                values.append(self.collator([row])["pixel_values_videos"])
                readable[index] = True
            except VideoError as error:
                errors.append((error.path, error.reason))
        return (torch.cat(values) if values else None), readable, errors
