"""The files of an evaluation."""

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image

from cvqa.evaluation import Summary, markdown_table, save_report, summarize


def report_rows(ladder):
    columns = zip(*ladder)
    return [
        {
            "file": f"{n}.mp4",
            "content_id": c,
            "codec": k,
            "score": float(s),
            "prediction": float(p),
            "quality": float(p),
        }
        for n, (p, s, c, k) in enumerate(columns)
    ]


@pytest.fixture
def rows(ladder):
    return report_rows(ladder)


@pytest.fixture(scope="module")
def summary(ladder):
    predictions, scores, contents, codecs = ladder
    return summarize(predictions, scores, contents, codecs=codecs, label_kind="vmaf", resamples=20)


def test_all_four_files_are_there_and_nothing_else(tmp_path, summary, rows):
    folder = save_report(tmp_path / "new" / "report", summary, rows)
    names = ["predictions.csv", "results.json", "scatter.png", "table.md"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert Summary.from_dict(json.loads((folder / "results.json").read_text())) == summary
    assert (folder / "table.md").read_text() == markdown_table(summary)


def test_a_video_without_a_prediction_keeps_its_row(tmp_path, summary, rows):
    rows[3].update(prediction=math.nan, quality=math.nan, file="räv, 3.mp4")
    folder = save_report(tmp_path, summary, rows)
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 160
    assert table[3]["file"] == "räv, 3.mp4" and table[3]["prediction"] == table[3]["quality"] == ""
    assert float(table[4]["prediction"]) == pytest.approx(rows[4]["prediction"], rel=1e-5)
    assert list(table[0]) == ["file", "content_id", "codec", "score", "prediction", "quality"]


def colours(path):
    """The colours that cover at least 30 pixels, as (r, g, b)."""
    with Image.open(path) as image:
        counts = image.convert("RGB").getcolors(maxcolors=image.width * image.height)
    return {colour for count, colour in counts if count >= 30}


def is_bluish(colour):
    return colour[2] > colour[0] + 60


def test_the_picture_tells_codecs_apart(tmp_path, ladder, summary, rows):
    save_report(tmp_path / "four", summary, rows)
    for row in rows:
        row["codec"] = "h264"
    save_report(tmp_path / "one", summary, rows)
    only_blue, many = (
        {colour for colour in colours(tmp_path / name / "scatter.png") if max(colour) - min(colour) > 60}
        for name in ("one", "four")
    )
    assert only_blue and all(map(is_bluish, only_blue))
    assert any(map(is_bluish, many)) and not all(map(is_bluish, many))


@pytest.mark.parametrize("kind", ["constant", "all failed", "one video", "no codec", "unknown codecs", "odd name"])
def test_every_evaluation_can_be_drawn(tmp_path, ladder, kind):
    rows = report_rows(ladder)[: 1 if kind == "one video" else None]
    for row in rows:
        row["prediction"] = {"constant": 0.5, "all failed": math.nan}.get(kind, row["prediction"])
        row["codec"] = {"no codec": "", "unknown codecs": f"codec{row['content_id']}"}.get(kind, row["codec"])
    kept = [row for row in rows if math.isfinite(row["prediction"])]
    values = ([row[key] for row in kept] for key in ("prediction", "score", "content_id"))
    model = "_$x^{" + 50 * "WIDE" if kind == "odd name" else None
    save_report(tmp_path, summarize(*values, codecs=[row["codec"] for row in kept], model=model, resamples=20), rows)
    with Image.open(tmp_path / "scatter.png") as image:
        assert 600 < image.width < 2000 and 600 < image.height < 2000
        pixels = np.asarray(image.convert("L"))
    margin = np.concatenate([pixels[:5].flat, pixels[-5:].flat, pixels[:, :5].flat, pixels[:, -5:].flat])
    assert margin.min() == 255, "something is cut off at the edge"
    json.loads((tmp_path / "results.json").read_text())


def test_an_old_report_survives_a_failure(tmp_path, summary, rows, monkeypatch):
    save_report(tmp_path, summary, rows)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("pathlib.Path.replace", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_report(tmp_path, summary, rows[:5])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_rows_must_be_complete(tmp_path, summary, rows):
    del rows[2]["quality"]
    with pytest.raises(ValueError, match="row 2 of the report lacks quality"):
        save_report(tmp_path, summary, rows)
    assert not list(tmp_path.iterdir())
