import json

import numpy as np
import pytest


@pytest.fixture(scope="session")
def reference(fixtures):
    """The reference numbers, see `tolerance` and `conventions` in the file."""
    return json.loads((fixtures / "metrics_golden.json").read_text())


@pytest.fixture(params=["smooth", "ties", "nearly_constant"])
def case(request, reference):
    """One set of predictions and scores with its expected figures."""
    values = reference["sets"][request.param]
    arrays = {key: np.array(values[key]) for key in ("prediction", "mos")}
    return {**values, **arrays, "name": request.param}


@pytest.fixture(scope="session")
def ladder():
    """Predictions, scores, contents and codecs of a made-up ladder: 10 contents of 16 encodes, contents judged off."""
    rng = np.random.default_rng(7)
    contents = np.repeat([f"clip{number}" for number in range(10)], 16)
    codecs = np.tile(np.repeat(["h264", "hevc", "vp9", "av1"], 4), 10)
    scores = np.tile(np.tile([90.0, 75.0, 55.0, 30.0], 4), 10) + rng.normal(0, 4, 160)
    predictions = 0.6 * scores + 20 + np.repeat(rng.normal(0, 12, 10), 16) + rng.normal(0, 2, 160)
    return predictions, scores, contents, codecs
