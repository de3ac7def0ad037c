"""The benchmark of the data path prints its table from any scored videos."""

import runpy
import sys
from pathlib import Path

import pytest
from real_clips import encode, panned


def test_it_prints_one_markdown_table(tmp_path, monkeypatch, capsys):
    clips = [encode(tmp_path / f"{crf}.mp4", panned(16), crf=crf) for crf in (20, 40)]
    table = tmp_path / "scores.csv"
    table.write_text("video,mos,content,width,height\n" + "".join(f"{clip},3,{clip.stem},192,128\n" for clip in clips))
    script = Path(__file__).parents[1] / "scripts" / "benchmark_data.py"
    options = ["--dataset", "csv", "--modes", "resize", "--workers", "0", "--batch_size", "2", "--seconds", "0.1"]
    monkeypatch.setattr(sys, "argv", [str(script), str(table), *options])
    with pytest.raises(SystemExit) as leaving:
        runpy.run_path(str(script), run_name="__main__")
    assert leaving.value.code == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("2 videos of 192x128; clips of 8 frames of 224x224, batches of 2, 4 windows per video.")
    cells = [line.strip("| ").split(" | ") for line in out if line.startswith("| resize")]
    assert [row[1].split(" (")[0] for row in cells] == ["decoded each time", "cache"]
    assert all(float(row[3].replace(",", "")) > 0 for row in cells)
