import csv
import json
import os

import pytest
from PIL import Image

from cvqa.inference.report import check_target, write_csv, write_json, write_plot
from cvqa.models.video_scores import Segment, VideoScore


SEGMENTS = (Segment(0.0, 1.0, 70.123456), Segment(1.0, 2.5, 50.0))
GOOD = VideoScore("clips/été 1.mp4", 60.06173, (55.00004, 65.0), SEGMENTS, "student", views=SEGMENTS, duration=2.5)
NO_SEGMENTS = VideoScore("_$b.mkv", 12.0, (0.0, 100.0), (), "student", views=(Segment(0, 1, 12.0),), duration=1.0)
FAILED = VideoScore("broken.mp4", model="student", error="no video stream")


def test_json_is_a_list_with_one_object_of_seven_keys_per_file(tmp_path):
    write_json([GOOD, FAILED], tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text("utf-8")) == [
        {
            "file": "clips/été 1.mp4",
            "score": 60.0617,
            "interval": [55.0, 65.0],
            "segments": [{"start": 0.0, "end": 1.0, "score": 70.1235}, {"start": 1.0, "end": 2.5, "score": 50.0}],
            "model": "student",
            "warnings": [],
            "error": None,
        },
        {
            "file": "broken.mp4",
            "score": None,
            "interval": None,
            "segments": [],
            "model": "student",
            "warnings": [],
            "error": "no video stream",
        },
    ]


def test_a_name_that_is_no_text_survives_json(tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    write_json([VideoScore(name, error="x")], tmp_path / "a.json")
    write_csv([VideoScore(name, error="x")], tmp_path / "a.csv")
    assert json.loads((tmp_path / "a.json").read_bytes())[0]["file"] == name


def test_csv_has_a_row_per_video_and_one_per_segment(tmp_path):
    write_csv([GOOD, FAILED, NO_SEGMENTS], tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["video", "segment", "segment", "video", "video"]
    assert rows[0]["file"] == "clips/été 1.mp4"
    assert [float(rows[0][name]) for name in ("start", "end", "score", "low", "high")] == [0, 2.5, 60.0617, 55, 65]
    assert [float(rows[2][name]) for name in ("start", "end", "score")] == [1, 2.5, 50]
    assert rows[3]["error"] == "no video stream" and rows[3]["score"] == ""


@pytest.mark.parametrize("suffix", [".png", ".svg", ".jpg"])
def test_plot_is_a_picture_whatever_the_files_are_called(tmp_path, suffix):
    path = tmp_path / f"timeline{suffix}"
    write_plot([GOOD, FAILED, NO_SEGMENTS], path)
    if suffix == ".svg":
        assert "<svg" in path.read_text()
    else:
        with Image.open(path) as picture:
            assert len(picture.convert("RGB").getcolors(2**20)) > 10


def test_plot_of_failures_only_is_empty_but_there(tmp_path):
    write_plot([FAILED], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


def test_a_report_replaces_the_old_one_whole_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_json([GOOD] * 50, path)
    write_json([FAILED], path)
    assert len(json.loads(path.read_text())) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_when_writing_fails_the_old_report_stays(tmp_path):
    path = tmp_path / "a.json"
    write_json([GOOD], path)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json([VideoScore("a.mp4", float("nan"), (0.0, 1.0))], path)
    assert json.loads(path.read_text())[0]["file"] == GOOD.file


def test_a_link_stays_a_link_and_a_device_a_device(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_json([FAILED], tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "real.json").is_file()
    write_json([FAILED], "/dev/null")
    assert not os.path.isfile("/dev/null")  # noqa: PTH113


def test_targets_that_cannot_be_written_are_refused_with_the_reason(tmp_path):
    check_target(tmp_path / "new.json")
    with pytest.raises(ValueError, match="nowhere does not exist"):
        check_target(tmp_path / "nowhere" / "a.json")
    with pytest.raises(ValueError, match="is a folder"):
        check_target(tmp_path)
    with pytest.raises(ValueError, match=r"\.png"):
        check_target(tmp_path / "a.txt", (".png", ".svg"))
