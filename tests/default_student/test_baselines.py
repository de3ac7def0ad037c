"""Baselines without a model: of real encodes, and only what an encode tells."""

import pytest
from datasets import Dataset
from real_clips import encode, panned

from cvqa.default_student.baselines import baseline_summaries


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
    found = {summary.model: summary for summary in baseline_summaries(rows, "test", workers=1, resamples=0)}
    assert {"bits per pixel (log)", "sharpness (log)", "CRF of x264"} <= set(found)
    crf = found["CRF of x264"].figure("srcc")
    assert (crf.n, crf.n_contents, crf.split) == (12, 3, "test") and crf.value > 0.95
    assert found["bits per pixel (log)"].figure("within_content_srcc").value == pytest.approx(1)
