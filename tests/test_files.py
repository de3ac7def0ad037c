import json
import os

import pytest

from cvqa.files import csv_text, json_text, replacing, write_bytes, write_text


def test_a_file_appears_at_the_end_of_the_block_and_nothing_is_left_beside_it(tmp_path):
    with replacing(tmp_path / "clip.mkv") as partial:
        partial.write_bytes(b"new")
        assert partial.suffix == ".mkv" and not (tmp_path / "clip.mkv").exists()
    assert (tmp_path / "clip.mkv").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_when_writing_stops_the_old_file_stays(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(error), replacing(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_link_and_a_device_stay_what_they_are(tmp_path):
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    write_text(tmp_path / "link.txt", "text")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "text"
    write_bytes(os.devnull, b"text")
    assert not os.path.isfile(os.devnull)  # noqa: PTH113


def test_json_is_json_whatever_it_holds(tmp_path):
    value = {"name": "été", "broken name": os.fsdecode(b"caf\xe9")}
    write_text(tmp_path / "a.json", json_text(value))
    assert json.loads((tmp_path / "a.json").read_bytes()) == value
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text([float("nan")])


def test_a_table_has_a_cell_for_every_column():
    assert csv_text(("a", "b"), [{"a": "x,y", "c": 3}, {"b": 2.5}]) == 'a,b\n"x,y",\n,2.5\n'
