"""A download is complete and readable, or it is told what is not."""

import runpy
import sys
from pathlib import Path

import pytest
from real_clips import encode, panned

from cvqa.data.check import check_dataset


@pytest.fixture
def table(tmp_path) -> Path:
    whole = encode(tmp_path / "a.mp4", panned(12)).read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole)
    (tmp_path / "c.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "scores.csv").write_text("video,mos,content\na.mp4,3,x\nb.mp4,4,y\nc.mp4,2,z\nd.mp4,1,z\n")
    return tmp_path / "scores.csv"


def test_what_is_missing_and_what_cannot_be_read_is_named(table):
    found = check_dataset(table)
    assert (found.videos, found.opened) == (4, 3) and not found.is_complete
    assert [Path(name).name for name in found.missing] == ["d.mp4"]
    assert len(found.unreadable) == 1 and "c.mp4: its index (moov) is missing" in found.unreadable[0]
    assert str(found).startswith("3 of 4 videos are there; 3 were opened, 1 of these cannot be read")


def test_time_is_limited_and_the_rest_is_told(table):
    found = check_dataset(table, seconds=0)
    assert 1 <= found.opened <= 3
    if found.opened < 3:
        assert f"{3 - found.opened} were not opened for want of time" in str(found)


@pytest.mark.parametrize("rows, status", [(2, 0), (4, 1)])
def test_the_script_says_it_by_its_exit_code(table, rows, status, monkeypatch, capsys):
    table.write_text("\n".join(table.read_text().splitlines()[: rows + 1]))
    script = Path(__file__).parents[2] / "scripts" / "check_dataset.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(table)])
    with pytest.raises(SystemExit) as leaving:
        runpy.run_path(str(script), run_name="__main__")
    assert leaving.value.code == status
    assert f"{min(rows, 3)} of {rows} videos are there" in capsys.readouterr().out
