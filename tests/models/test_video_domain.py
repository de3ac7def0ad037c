"""Warnings of videos outside what a model was made for: of real encodes, few and clear."""

import numpy as np
import pytest
from real_clips import encode, panned

from cvqa.models.video_domain import Motion, warnings_of


DOMAIN = {"short_side": [252, 360], "long_side": [448, 640], "fps": [24, 30]}


def told(width=480, height=270, fps=25.0, num_frames=24, was_hdr=False, motion=None, domain=DOMAIN) -> tuple[str, ...]:
    return warnings_of(width, height, fps, num_frames, was_hdr, motion or Motion(), domain)


@pytest.mark.parametrize(
    ("width", "height", "fps"), [(480, 270, 25), (640, 360, 30), (360, 640, 23.976), (720, 404, 24)]
)
def test_an_ordinary_video_has_none(width, height, fps):
    assert told(width, height, fps) == ()


@pytest.mark.parametrize(
    ("given", "begin"),
    [
        ({"width": 96, "height": 64}, "96x64 is tiny"),
        (
            {"width": 1920, "height": 1080},
            "1920x1080 is large: the model has learnt from videos with sides of 252 to 640",
        ),
        ({"width": 256, "height": 144}, "256x144 is small"),
        ({"fps": 60.0}, "60 frames per second: the model has learnt from 24 to 30"),
        ({"fps": 12.0}, "12 frames per second"),
        ({"was_hdr": True}, "HDR, mapped to SDR"),
        ({"num_frames": 1}, "a single frame"),
    ],
)
def test_each_reason_is_one_line(given, begin):
    (warning,) = told(**given)
    assert warning.startswith(begin)


def test_without_a_known_domain_only_what_holds_for_all_models_is_told():
    assert told(1920, 1080, 60.0, domain=None) == ()
    assert len(told(96, 64, domain=None)) == 1


def decoded(path) -> np.ndarray:
    from cvqa.video import VideoReader

    with VideoReader(path) as reader:
        return reader.get_batch(range(len(reader)))


def test_a_still_picture_is_noticed_however_it_was_encoded_and_a_pan_is_not(tmp_path):
    for crf in (20, 45):
        for frames, is_still in ((np.repeat(panned(1), 16, axis=0), True), (panned(16), False)):
            motion = Motion()
            motion.see(decoded(encode(tmp_path / f"{crf}{is_still}.mp4", frames, crf=crf)))
            assert motion.is_still == is_still
            assert told(motion=motion) == (
                ("nothing moves: the model has learnt from moving pictures",) if is_still else ()
            )


def test_motion_is_noticed_over_several_pieces():
    motion = Motion()
    for frame in panned(2):
        motion.see(frame[None])
    assert not motion.is_still and not Motion().is_still
