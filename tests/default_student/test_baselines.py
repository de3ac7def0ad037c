"""Baselines without a model: of real encodes, only what an encode tells, and none of them stops the others."""

from io import BytesIO

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image
from real_clips import encode, panned, photograph
from scipy.ndimage import gaussian_filter

from cvqa.default_student import baselines
from cvqa.default_student.baselines import baseline_summaries
from cvqa.default_student.niqe import niqe, niqe_features


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Dataset:
    """Three contents at four qualities; VMAF is made up, and falls with CRF."""
    folder, found = tmp_path_factory.mktemp("encodes"), []
    for content, name in enumerate(("coffee", "chelsea", "rocket")):
        for crf in (18, 28, 38, 48):
            path = encode(folder / f"{name}{crf}.mp4", panned(8, name=name), crf=crf)
            row = {"video": str(path), "content_id": name, "score": 110.0 - 2 * crf + content, "fps": 25.0}
            row |= {"bitrate_kbps": path.stat().st_size * 8 / 0.32 / 1000, "encoded_width": 192, "encoded_height": 128}
            found.append(row | {"encoder": "x264", "rate_control": "crf", "level": str(crf)})
    return Dataset.from_list(found)


def test_each_baseline_says_how_it_does_on_the_rows_that_have_it(rows):
    summaries, reasons = baseline_summaries(rows, "test", workers=1, resamples=0)
    found = {summary.model: summary for summary in summaries}
    assert {"bits per pixel (log)", "sharpness (log)", "CRF of x264"} <= set(found)
    assert {"BRISQUE", "NIQE"} <= set(found) | set(reasons), "each is measured, or it is said why not"
    crf = found["CRF of x264"].figure("srcc")
    assert (crf.n, crf.n_contents, crf.split) == (12, 3, "test") and crf.value > 0.95
    assert found["bits per pixel (log)"].figure("within_content_srcc").value == pytest.approx(1)


def test_a_baseline_that_fails_stops_nothing_and_is_named_with_its_reason(rows, monkeypatch):
    def broken(frame):
        raise TypeError("only 0-dimensional arrays can be converted\nto Python scalars")

    def of_some(frame):
        if frame.mean() < 100:
            raise ValueError("too dark")
        return float(frame.mean())

    kept = {"sharpness (log)": baselines.OF_A_FRAME["sharpness (log)"], "broken": broken, "of some": of_some}
    monkeypatch.setattr(baselines, "OF_A_FRAME", kept)
    summaries, reasons = baseline_summaries(rows, "test", workers=1, resamples=0)
    assert reasons == {"broken": "only 0-dimensional arrays can be converted to Python scalars"}
    counts = {summary.model: summary.figure("srcc").n for summary in summaries}
    assert counts["sharpness (log)"] == 12 and 0 < counts["of some"] < 12


def luma(name: str) -> np.ndarray:
    return photograph(name, 480, 288) @ np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def pristine() -> tuple[np.ndarray, np.ndarray]:
    """The statistics of four photographs, which are pristine as far as they go."""
    names = ("astronaut", "coffee", "rocket", "immunohistochemistry")
    features = np.concatenate([niqe_features(luma(name)) for name in names])
    return features.mean(axis=0), np.cov(features.T)


def jpeg(values: np.ndarray, quality: int) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32)


def test_niqe_rises_with_blur_and_with_compression(pristine):
    sharp = luma("chelsea")
    assert niqe_features(sharp).shape == (15, 36)
    blurred = [niqe(values, *pristine) for values in (sharp, *(gaussian_filter(sharp, width) for width in (1, 3)))]
    compressed = [niqe(values, *pristine) for values in (sharp, jpeg(sharp, 30), jpeg(sharp, 5))]
    assert blurred == sorted(blurred) and compressed == sorted(compressed)
    assert blurred[1] > 1.2 * blurred[0] and compressed[2] > 1.2 * compressed[0]


def test_niqe_of_a_small_or_flat_picture(pristine):
    with pytest.raises(ValueError, match="120x150 pixels hold fewer than two blocks of 96x96"):
        niqe(np.zeros((150, 120)), *pristine)
    assert np.isfinite(niqe(np.full((288, 192), 128.0), *pristine))
