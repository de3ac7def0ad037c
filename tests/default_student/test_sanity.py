"""The table of what users try first tells where scores are off and where the order is wrong."""

import pytest

from cvqa.default_student.sanity import sanity_text, score_sanity_set


def row(kind: str, level: str, vmaf: float, predicted: float, content: str = "a") -> dict:
    return {"kind": kind, "level": level, "vmaf": vmaf, "predicted": predicted, "content_id": content}


def test_the_weakest_kind_comes_first_with_its_error_and_order():
    rows = [
        *(row("plain", level, vmaf, vmaf - 1) for level, vmaf in (("pristine", 99.0), ("30", 80.0), ("45", 40.0))),
        row("noisy", "pristine", 98.0, 60.0),
        row("noisy", "30", 80.0, 70.0),
        row("noisy", "31", 78.0, 75.0),  # too near to the one above to be a pair
        row("noisy", "45", 40.0, 30.0, content="b"),  # of another content: no pair
    ]
    lines = [line for line in sanity_text(rows).splitlines() if line.startswith(("| noisy", "| plain"))]
    assert lines == [
        "| noisy | 4 | 15.2 | -15.2 | 0 of 2 | 60, 98 |",
        "| plain | 3 | 1.0 | -1.0 | 3 of 3 | 98, 99 |",
    ]


def test_a_table_without_its_columns_is_refused(tmp_path):
    (tmp_path / "sanity.csv").write_text("file,vmaf\na.mp4,90\n")
    with pytest.raises(ValueError, match="lacks the columns content_id, kind, level, encoder"):
        score_sanity_set(tmp_path / "sanity.csv", tmp_path, tmp_path, 1)
