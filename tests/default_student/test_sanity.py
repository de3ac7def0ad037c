"""What users try first: the clips are what their names say, and the text tells where scores are off or out of order."""

import csv
from fractions import Fraction
from itertools import islice, pairwise

import numpy as np
import pytest
from PIL import Image
from real_clips import encode, panned
from scipy.ndimage import gaussian_filter

from cvqa.default_student import sanity_set
from cvqa.default_student.sanity import sanity_text
from cvqa.default_student.sanity_clips import (
    DRAWN,
    GUISES,
    SIZES,
    SanityClip,
    at_size,
    photograph_wall,
    sanity_clips,
)
from cvqa.default_student.sanity_set import make_sanity_set
from cvqa.video.photographs import SHARPNESS_THRESHOLD, pan_and_zoom, sharpness


def row(kind: str, level: str, vmaf: float, predicted: float, content: str = "a") -> dict:
    own = {"kind": kind, "level": level, "vmaf": vmaf, "predicted": predicted, "content_id": content}
    return own | {"encoder": "x264"}


PLAIN = [row("plain", level, vmaf, vmaf - 1) for level, vmaf in (("pristine", 99.0), ("30", 80.0), ("45", 40.0))]


def test_the_weakest_kind_comes_first_with_its_error_and_order():
    rows = [
        *PLAIN,
        row("noisy", "pristine", 98.0, 60.0),
        row("noisy", "30", 80.0, 70.0),
        row("noisy", "31", 78.0, 75.0),  # too near to the one above to be a pair
        row("noisy", "45", 40.0, 30.0, content="b"),  # of another content: no pair
    ]
    text = sanity_text(rows)
    assert [line for line in text.splitlines() if line.startswith(("| noisy", "| plain"))] == [
        "| noisy | 4 | 15.2 | -15.2 | 0 of 2 | 60, 98 |",
        "| plain | 3 | 1.0 | -1.0 | 3 of 3 | 98, 99 |",
    ]
    assert (
        "- **Sensor noise in the source** (4 encodes of 2 contents): scores are 15 points too low on average, and off "
        "by 15; pristine ones score 60, where VMAF is 98; the order is right for 0 of 2 pairs."
    ) in text
    assert "**Plain clips**" not in text


def test_ladders_that_fall_and_pristine_clips_that_score_high_are_counted():
    flat = [row("dark", "pristine", 99.0, 88.0), row("dark", "30", 80.0, 89.0)]
    still = [row("screen", "pristine", 99.0, 99.0), row("screen", "30", 99.0, 99.0)]  # VMAF does not fall either
    text = sanity_text([*PLAIN, *flat, *still])
    assert "of 2 ladders, each of one clip and encoder at 2 to 3 levels with falling VMAF" in text
    assert "the scores fall strictly in 1 (50%)." in text
    assert "2 of 3 (67%) score above 90; not so dark (88)." in text


def test_other_sizes_and_rates_stand_beside_the_same_levels():
    rows = [*PLAIN, row("1280x720", "30", 82.0, 90.0), row("320x180", "30", 78.0, 70.0)]
    text = sanity_text([*rows, row("half frame rate", "30", 81.0, 60.0)])
    assert "One clip at several sizes (a), mean score and mean VMAF: 1280x720: 90, 82; 320x180: 70, 78." in text
    assert "mean score and mean VMAF: 60, 81; at the full rate, same contents and levels: 79, 80." in text


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return panned(6, 192, 128, "coffee")


def fine_detail(frames: np.ndarray) -> float:
    luma = frames.mean(axis=3)
    return float((luma - gaussian_filter(luma, (0, 1, 1))).std())


def test_guises_are_what_their_names_say(clip):
    seen = {name: guise(clip) for name, guise in GUISES.items()}
    assert all(frames.shape == clip.shape and frames.dtype == np.uint8 for frames in seen.values())
    assert not seen["letterboxed"][:, [0, -1]].any() and not seen["pillarboxed"][:, :, [0, -1]].any()
    assert np.array_equal(seen["letterboxed"][:, 64], clip[:, 64]), "the middle stays"
    assert seen["dark"].mean() < 0.3 * clip.mean()
    assert not np.diff(seen["static"].astype(int), axis=0).any()
    assert np.std(seen["noisy"] - clip.astype(float)) == pytest.approx(8, abs=1)
    grain = (seen["film grain"] - clip.astype(float))[..., 0]
    assert np.corrcoef(grain[:, :, :-1].ravel(), grain[:, :, 1:].ravel())[0, 1] > 0.3, "grain is larger than a pixel"
    assert fine_detail(seen["half size and back"]) < 0.7 * fine_detail(clip)


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_drawn_moves_and_is_always_the_same(kind):
    frames = DRAWN[kind](3)
    assert frames.shape == (3, 360, 640, 3) and np.array_equal(frames, DRAWN[kind](3))
    assert all((one != other).any() for one, other in pairwise(frames))


def test_the_large_picture_is_sharp_and_fills_all_sizes():
    frames = pan_and_zoom(Image.fromarray(photograph_wall()), SIZES[0], 1)
    assert sharpness(frames) > 2 * SHARPNESS_THRESHOLD


def test_nothing_is_enlarged(clip):
    plain = SanityClip("coffee", "plain", clip, Fraction(25))
    assert at_size(plain, (320, 180)) is None and at_size(plain, (192, 128)) is None
    assert at_size(plain, (96, 54)).frames.shape == (6, 54, 96, 3)


def test_the_set_is_made_once_and_labelled(tmp_path, monkeypatch):
    """Of one content in two guises and a distortion."""
    reference = encode(tmp_path / "coffee.mp4", panned(6, 192, 128, "coffee"), crf=2)

    def few(*arguments):
        chosen = ("plain", "half frame rate", "noisy, as a distortion")
        return islice((c for c in sanity_clips(*arguments) if c.content == "cup" and c.kind in chosen), len(chosen))

    monkeypatch.setattr(sanity_set, "sanity_clips", few)
    monkeypatch.setattr(sanity_set, "QUALITIES", (0.15, 0.9))
    monkeypatch.setattr(sanity_set, "MORE_ENCODERS", ("x265",))
    table = make_sanity_set({"cup": reference}, tmp_path / "set", 1, 6, 3)
    with table.open(newline="") as file:
        rows = {(row["kind"], row["encoder"], row["level"]): row for row in csv.DictReader(file)}
    assert set(rows) == {
        *(("plain", encoder, level) for encoder in ("x264", "x265") for level in ("24", "48")),
        *(("half frame rate", "x264", level) for level in ("pristine", "24", "48")),
        ("plain", "x264", "pristine"),
        ("noisy, as a distortion", "x264", "pristine"),
    }
    assert all((table.parent / row["file"]).is_file() for row in rows.values())
    vmaf = {key: float(row["vmaf"]) for key, row in rows.items()}
    assert vmaf["plain", "x264", "pristine"] > vmaf["plain", "x264", "24"] > vmaf["plain", "x264", "48"]
    assert vmaf["noisy, as a distortion", "x264", "pristine"] < vmaf["plain", "x264", "pristine"]
    assert float(rows["half frame rate", "x264", "24"]["fps"]) == 12.5
    monkeypatch.setattr(sanity_set, "sanity_clips", None)
    assert make_sanity_set({}, tmp_path / "set", 1, 6, 3) == table
