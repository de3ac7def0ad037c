"""Whatever the name and content of a raw file: frames of the size that the name tells, or an error that names it."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cvqa.models.raw_video_source import raw_format
from cvqa.models.video_reader import VideoError, VideoReader


FUZZ = settings(max_examples=120, deadline=None, derandomize=True)
PIECES = st.sampled_from(
    [
        "16x16",
        "17x9",
        "0x8",
        "64x2",
        "99999x99999",
        "60fps",
        "0fps",
        "1e3fps",
        "29.97hz",
        "10bit",
        "8bit",
        "3bits",
        "420p10",
    ]
    + ["_", "-", " ", "x", "é", "٣٢x٣٢", ".", "QP22", "1920x", "12x12x12", "007", "\u2028"]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@FUZZ
@given(st.lists(PIECES, max_size=6).map("".join), st.integers(0, 3000))
@example("16x16", 384)
@example("16x16_10bit", 768 * 2)
@example("17x9_420p10", 17 * 9 * 2 + 2 * 9 * 5 * 2)
def test_any_name_and_length(folder, name, length):
    path = folder / f"a{name}.yuv"
    content = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
    path.write_bytes(content)
    told = raw_format(path.name)
    try:
        with VideoReader(path) as reader:
            frames = reader.get_batch(range(len(reader)))
    except VideoError as error:
        assert str(path) in str(error) and error.reason
        assert (
            told is None
            or length < told.frame_bytes
            or not 0 < told.rate < 1000
            or told.depth not in (8, 10, 12, 14, 16)
        )
        return
    finally:
        path.unlink()
    assert frames.shape == (length // told.frame_bytes, told.height, told.width, 3)
    assert reader.damaged == (length % told.frame_bytes > 0)


@FUZZ
@given(st.text(max_size=40))
def test_any_text_tells_a_sane_format_or_none(name):
    told = raw_format(name)
    assert told is None or (told.width >= 0 and told.rate > 0 and told.depth >= 0 and told.frame_bytes >= 0)
