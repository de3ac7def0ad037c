"""KVQ, CVQAD, LSVQ, KoNViD-1k: lists with and without a header, videos wherever they lie, contents known or refused."""

import logging
from pathlib import Path

import pytest

from cvqa import load_quality_dataset
from cvqa.data import get_scale


LSVQ = "yfcc-batch1/747.mp4, -1, -1, 67.75\nyfcc-batch2/747.mp4, -1, -1, 50.9\nia-batch1/x.mp4, -1, -1, 74.8\n"


def write(folder: Path, **lists: str) -> Path:
    for name, text in lists.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_lines_of_path_duration_fps_and_mos_need_no_header(tmp_path):
    (tmp_path / "labels.txt").write_text(LSVQ)
    data = load_quality_dataset("lsvq", tmp_path, split="all", check_files=False)
    assert data["score"][:] == [67.75, 50.9, 74.8] and str(get_scale(data)) == "MOS from 0 to 100, higher is better"
    assert len(set(data["content_id"])) == 3, "the same name in two folders is two videos"
    assert [Path(video).parts[-2] for video in data["video"]] == ["yfcc-batch1", "yfcc-batch2", "ia-batch1"]


def test_konvid_is_on_its_own_scale(tmp_path):
    (tmp_path / "labels.txt").write_text("KoNViD_1k_videos/4542323058.mp4, 8.008, 29.97, 3.22\n")
    row = load_quality_dataset("konvid-1k", tmp_path, split="all", check_files=False)[0]
    assert row["label"] == pytest.approx((3.22 - 1) / 4) and row["fps"] == 29.97


def test_videos_are_found_by_folder_and_name_wherever_they_lie(tmp_path):
    (tmp_path / "labels.txt").write_text(LSVQ)
    touch(tmp_path, "a/yfcc-batch1/747.mp4", "b/yfcc-batch2/747.mp4", "x.mp4")
    data = load_quality_dataset("lsvq", tmp_path, split="all")
    assert [Path(video).relative_to(tmp_path).as_posix() for video in data["video"]] == [
        "a/yfcc-batch1/747.mp4", "b/yfcc-batch2/747.mp4", "x.mp4",
    ]  # fmt: skip


@pytest.mark.parametrize("header", ["filename,score\n", ""])
def test_the_published_lists_of_kvq_are_its_split(tmp_path, header, caplog):
    rows = {split: "".join(f"{split}/{n}.mp4,{1 + n}\n" for n in range(3)) for split in ("train", "val", "test")}
    write(tmp_path, **{f"{split}_data": header + text for split, text in rows.items()})
    with caplog.at_level(logging.WARNING):
        data = load_quality_dataset("kvq", tmp_path, check_files=False)
    assert {name: len(split) for name, split in data.items()} == {"train": 3, "validation": 3, "test": 3}
    assert data["test"]["label"][:] == pytest.approx([0.2, 0.4, 0.6])
    assert "contents are not known; taken as split by whoever published it" in caplog.text


def test_contents_that_nothing_tells_are_refused_where_a_split_is_to_be_drawn(tmp_path):
    write(tmp_path, train="filename,score\n1.mp4,3\n2.mp4,4\n", test="filename,score\n3.mp4,3\n")
    with pytest.raises(ValueError, match=r"\.csv: does not tell which videos share a content.*content_pattern"):
        load_quality_dataset("kvq", tmp_path, check_files=False)
    data = load_quality_dataset("kvq", tmp_path, check_files=False, content_pattern=r"(\d+)\.mp4$")
    assert {name: len(split) for name, split in data.items()} == {"train": 1, "validation": 1, "test": 1}


def test_cvqad_by_sequence(tmp_path):
    rows = [
        f"{name}_{codec}.mp4,{name},{codec},{score}" for name in "abcde" for codec, score in (("x265", 3.5), ("av1", 8))
    ]
    write(tmp_path, scores="video,sequence,codec,mos\n" + "\n".join(rows))
    data = load_quality_dataset("cvqad", tmp_path, check_files=False)
    assert sum(map(len, data.values())) == 10 and set(data["train"]["codec"]) == {"hevc", "av1"}
    assert set(data["train"]["content_id"]).isdisjoint(data["test"]["content_id"])
    assert data["train"]["label"][0] in (0.35, 0.8)
    held_out = load_quality_dataset("cvqad", tmp_path, check_files=False, left_out={"codec": "av1"})
    assert set(held_out["test"]["codec"]) == {"av1"} and set(held_out["train"]["codec"]) == {"hevc"}


def test_folds_are_reached_by_name(tmp_path):
    (tmp_path / "labels.txt").write_text("".join(f"{n}.mp4, -1, -1, {10 * n}\n" for n in range(10)))
    tested = []
    for place in range(5):
        data = load_quality_dataset("lsvq", tmp_path, check_files=False, fold=(place, 5))
        assert {name: len(split) for name, split in data.items()} == {"train": 6, "validation": 2, "test": 2}
        tested += data["test"]["content_id"][:]
    assert len(set(tested)) == 10
    with pytest.raises(ValueError, match="0 <= i < k, not"):
        load_quality_dataset("lsvq", tmp_path, check_files=False, fold=(5, 5))


def test_which_list_is_meant_must_be_clear(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"one list of scores is wanted.*found: none.*scores="):
        load_quality_dataset("lsvq", tmp_path)
    write(tmp_path, train="a.mp4,1\n", train_2="b.mp4,2\n")
    with pytest.raises(ValueError, match=r"train\.csv and train_2\.csv are both train; choose with scores="):
        load_quality_dataset("lsvq", tmp_path)
    data = load_quality_dataset("lsvq", tmp_path, split="all", check_files=False, scores=tmp_path / "train_2.csv")
    assert data["score"][:] == [2]
