"""Predictions on a data set."""

import logging

import numpy as np
import pytest
import torch
from datasets import Dataset

from cvqa import InternVideo2Config, InternVideo2ForVideoQualityAssessment
from cvqa.data import QualityScale
from cvqa.evaluation import native_predictions, predict_dataset
from cvqa.models.video_reader import VideoError


class NoiseCollator:
    """Clips of noise, seeded by the row; a row called "broken" cannot be read."""

    def __call__(self, rows):
        for row in rows:
            if row["video"] == "broken":
                raise VideoError(row["video"], "no video stream")
        clips = [torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(row["seed"])) for row in rows]
        return {"pixel_values_videos": torch.stack(clips), "labels": torch.zeros(len(rows))}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = InternVideo2Config(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=56, num_frames=2, pooling_num_heads=4
    )
    model = InternVideo2ForVideoQualityAssessment(config)
    torch.nn.init.normal_(model.head.weight)
    return model


def rows(*videos):
    return Dataset.from_dict({"video": list(videos), "seed": list(range(len(videos)))})


def test_predictions_are_the_logits_in_order_whatever_the_batches(model):
    dataset = rows(*"abcde")
    logits = predict_dataset(model, dataset, NoiseCollator(), batch_size=2)
    assert logits.shape == (5,) and logits.dtype == np.float64 and np.ptp(logits) > 1e-3
    assert predict_dataset(model, dataset, NoiseCollator(), batch_size=5) == pytest.approx(logits, abs=1e-4)
    assert predict_dataset(model, dataset, NoiseCollator(), batch_size=2, num_workers=1) == pytest.approx(logits)
    with torch.no_grad():
        single = model.eval()(NoiseCollator()([dataset[3]])["pixel_values_videos"]).logits.item()
    assert logits[3] == pytest.approx(single, abs=1e-4)


def test_the_model_is_left_as_it_was(model):
    model.train()
    predict_dataset(model, rows("a"), NoiseCollator())
    assert model.training


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_video_that_cannot_be_read_is_nan_and_named_and_the_rest_goes_on(model, caplog, num_workers):
    whole = predict_dataset(model, rows("a", "b", "c", "d"), NoiseCollator(), batch_size=2)
    with caplog.at_level(logging.WARNING):
        partly = predict_dataset(
            model, rows("a", "broken", "broken", "d"), NoiseCollator(), batch_size=2, num_workers=num_workers
        )
    assert np.isnan(partly).tolist() == [False, True, True, False]
    assert partly[[0, 3]] == pytest.approx(whole[[0, 3]], abs=1e-4)
    assert [record.getMessage() for record in caplog.records] == 2 * ["broken: no video stream; left out"]


def test_nothing_readable_is_an_error_with_the_reason(model):
    with pytest.raises(VideoError, match="broken: no video stream"):
        predict_dataset(model, rows("broken", "broken"), NoiseCollator())
    with pytest.raises(ValueError, match="no rows"):
        predict_dataset(model, rows(), NoiseCollator())


def test_other_faults_are_not_swallowed(model):
    with pytest.raises(KeyError, match="seed"):
        predict_dataset(model, Dataset.from_dict({"video": ["a"]}), NoiseCollator())


def test_native_predictions_follow_scale_mapping_and_direction():
    logits = np.array([-1.0, 0.0, 2.0])
    mos = QualityScale(1, 5, higher_is_better=True, label_kind="mos")
    dmos = QualityScale(-10, 90, higher_is_better=False, label_kind="dmos")
    config = InternVideo2Config(score_mapping={"name": "linear", "parameters": [0.5, 0.25]})  # labels -0.25, 0.25, 1.25
    assert native_predictions(logits, config, mos).tolist() == [0.0, 2.0, 6.0]
    assert native_predictions(logits, config, dmos).tolist() == [115.0, 65.0, -35.0]  # a good video has a low DMOS
    trained_on_dmos = InternVideo2Config(higher_is_better=False, label_kind="dmos")
    assert native_predictions(logits, trained_on_dmos, dmos).tolist() == [-110.0, -10.0, 190.0]
