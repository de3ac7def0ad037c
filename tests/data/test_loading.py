"""`load_quality_dataset`: names, splits that do not leak, ladders."""

import csv
import json

import pytest
from datasets import Dataset, DatasetDict

from cvqa.data import get_scale, load_quality_dataset
from cvqa.data.ladder import COLUMNS
from cvqa.data.schema import FEATURES, QualityScale


PUBLISHED_TEST = {"BallUnderWater", "Bookcase", "BricksLeaves", "Music", "PlasmaSlowRandom", "TreeGrassFamily"}


def contents(splits):
    return {name: set(split["content_id"]) for name, split in splits.items()}


@pytest.fixture
def scores(tmp_path):
    """A table of `n` contents with three encodes each, and a stand-in for every video."""

    def write(n=5, split=None):
        lines = ["path,mos,content" + (",split" if split else "")]
        for i in range(n):
            for level in range(3):
                (tmp_path / f"c{i}_{level}.mp4").write_bytes(b"stand-in")
                side = f",{split(i, level)}" if split else ""
                lines.append(f"c{i}_{level}.mp4,{1 + level + i / 10},c{i}{side}")
        path = tmp_path / "scores.csv"
        path.write_text("\n".join(lines))
        return path

    return write


def test_a_table_by_name_and_by_path(scores):
    path = scores()
    by_name = load_quality_dataset("csv", data_dir=path)
    assert isinstance(by_name, DatasetDict) and list(by_name) == ["train", "validation", "test"]
    assert [len(split) for split in by_name.values()] == [9, 3, 3]
    by_path = load_quality_dataset(str(path))
    assert contents(by_path) == contents(by_name)
    assert get_scale(by_name) == QualityScale(1, 5)
    assert by_name["train"].column_names == list(FEATURES)


def test_one_split_all_rows_and_other_seeds(scores):
    path = scores(10)
    test = load_quality_dataset(path, split="test")
    assert isinstance(test, Dataset)
    assert set(test["content_id"]) == contents(load_quality_dataset(path))["test"]
    assert len(load_quality_dataset(path, split="all")) == 30
    assert contents(load_quality_dataset(path, seed=1)) != contents(load_quality_dataset(path))
    quarters = load_quality_dataset(path, fractions=(0.5, 0, 0.5))
    assert {name: len(side) for name, side in contents(quarters).items()} == {"train": 5, "test": 5}


def test_split_of_the_table_is_honoured(scores):
    path = scores(6, split=lambda i, _: ("train", "train", "train", "val", "test", "test")[i])
    splits = load_quality_dataset(path)
    assert contents(splits) == {"train": {"c0", "c1", "c2"}, "validation": {"c3"}, "test": {"c4", "c5"}}
    assert "split" not in splits["train"].column_names
    assert "split" not in load_quality_dataset(path, split="all").column_names


def test_validation_is_taken_from_training_contents_if_the_table_has_none(scores):
    path = scores(6, split=lambda i, _: "test" if i < 2 else "train")
    sides = contents(load_quality_dataset(path))
    assert sides["test"] == {"c0", "c1"} and len(sides["validation"]) == 1 and len(sides["train"]) == 3


def test_table_of_test_rows_alone(scores):
    path = scores(2, split=lambda i, _: "test")
    assert list(load_quality_dataset(path)) == ["test"]
    with pytest.raises(ValueError, match="has no train rows; its splits are test"):
        load_quality_dataset(path, split="train")


def test_leak_in_the_split_of_the_table_is_refused(scores):
    path = scores(5, split=lambda i, level: "test" if (i, level) == (2, 0) or i == 4 else "train")
    with pytest.raises(ValueError, match=r"content.*c2 is in test and"):
        load_quality_dataset(path)


def test_too_few_contents(scores):
    path = scores(2)
    with pytest.raises(ValueError, match=r'cannot fill 3 splits.*split="all"'):
        load_quality_dataset(path)
    assert len(load_quality_dataset(path, split="all")) == 6


def test_wrong_calls_say_what_is_right(scores, tmp_path):
    for arguments, message in (
        (("nothing",), "known are csv, ladder"),
        (("csv",), "needs data_dir"),
        ((scores(), tmp_path), "video_dir"),
        ((scores(), None, "dev"), "split is one of train, validation, test, all"),
    ):
        with pytest.raises(ValueError, match=message):
            load_quality_dataset(*arguments)


def test_published_test_contents_give_the_published_split(shared):
    splits = load_quality_dataset(
        shared / "labels" / "bvi_hd_hevc_dmos.csv",
        split_column=lambda row: "test" if row["original_name"] in PUBLISHED_TEST else "train",
        check_files=False,
    )
    sides = contents(splits)
    assert sides["test"] == PUBLISHED_TEST and len(splits["test"]) == 36
    assert sum(map(len, sides.values())) == 32 and len(splits["train"]) + len(splits["validation"]) == 156
    assert not get_scale(splits).higher_is_better


def test_equal_loads_have_equal_fingerprints(scores):
    # `map` and `cache_frames` recognise the data by it.
    path = scores()
    assert load_quality_dataset(path)["train"]._fingerprint == load_quality_dataset(path)["train"]._fingerprint


# Ladders

ENCODE = {"codec": "av1", "encoder": "svtav1", "preset": "8", "width": 64, "height": 48, "fps": 25.0, "frames": 24}
ENCODE |= {"bit_depth": 8, "bytes": 900, "bitrate_kbps": 9.5, "psnr": "inf", "vmaf_min": 40.5, "sharpness": 0.3}


@pytest.fixture
def ladder(tmp_path):
    """A ladder folder of 8 contents in 4 families, two encodes each, one of them failed."""
    rows = []
    for i in range(8):
        for level in ("23", "51"):
            video = f"encodes/c{i}_{level}.mp4"
            row = {"video": video, "reference": f"sources/c{i}.mkv", "content_id": f"c{i}", "family": f"f{i // 2}"}
            rows.append(ENCODE | row | {"level": level, "score": 95 - int(level), "vmaf_model": "vmaf_v0.6.1"})
            (tmp_path / video).parent.mkdir(exist_ok=True)
            (tmp_path / video).write_bytes(b"stand-in")
    rows[3].update(score="", error="the encoder said no")
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "ladder.json").write_text(json.dumps({"label_kind": "vmaf"}))
    return tmp_path


def test_ladder(ladder, caplog):
    splits = load_quality_dataset("ladder", data_dir=ladder)
    assert sum(map(len, splits.values())) == 15
    assert "1 of 16 rows dropped: line 5: failed: the encoder said no" in caplog.text
    assert "guessed" not in caplog.text
    assert get_scale(splits) == QualityScale(0, 100, True, "vmaf")
    families = [set(split["family"]) for split in splits.values()]
    assert [len(side) for side in families] == [2, 1, 1] and len(set.union(*families)) == 4
    row = splits["train"][0]
    assert row["video"].startswith(str(ladder)) and row["reference"] == str(ladder / f"sources/{row['content_id']}.mkv")
    assert row["label"] == pytest.approx(row["score"] / 100)
    expected = {"codec": "av1", "encoder": "svtav1", "preset": "8", "width": 64, "height": 48, "num_frames": 24}
    assert {key: row[key] for key in expected} == expected
    assert row["bitrate_kbps"] == 9.5 and row["sharpness"] == 0.3 and row["psnr"] == float("inf")
    assert "frames" not in row and "error" not in row


def test_ladder_without_its_videos(ladder):
    for video in (ladder / "encodes").iterdir():
        video.unlink()
    with pytest.raises(ValueError, match=r"manifest\.csv: none of its 16 rows"):
        load_quality_dataset("ladder", data_dir=ladder)
    assert len(load_quality_dataset("ladder", data_dir=ladder, check_files=False, split="all")) == 15


def test_folder_that_is_no_ladder(ladder, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match="no ladder in this folder"):
        load_quality_dataset("ladder", data_dir=tmp_path_factory.mktemp("empty"))
    (ladder / "ladder.json").write_text('{"label_kind": "mos"}')
    with pytest.raises(ValueError, match="labelled with 'mos'"):
        load_quality_dataset("ladder", data_dir=ladder)


@pytest.mark.parametrize("name", ["folder", "org/videos"])
def test_a_data_set_of_videos_with_a_table_is_read_from_a_folder_or_the_hub(tmp_path, monkeypatch, name):
    asked = []

    def download(repo_id, revision, allow_patterns, **options):
        asked.append((repo_id, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("cvqa.data.hub_dataset.snapshot_download", download)
    rows = [f"clips/{content}_{n}.mp4,{n},{content}" for content in "abcdef" for n in (1, 5)]
    (tmp_path / "metadata.csv").write_text("file_name,mos,scene\n" + "\n".join(rows))
    (tmp_path / "other.csv").write_text("not,this\n1,2\n")
    (tmp_path / "clips").mkdir()
    for row in rows:
        (tmp_path / row.split(",")[0]).touch()
    data = load_quality_dataset(tmp_path if name == "folder" else name, higher_is_better=True)
    assert sum(map(len, data.values())) == 12 and get_scale(data).score_max == 5
    assert asked == ([] if name == "folder" else [(name, "data/*.parquet"), (name, None)])
    assert data["test"]["video"][0].startswith(str(tmp_path / "clips"))
