"""The published sets: every row of the real tables, the published split, whatever part of the videos is there."""

import logging
from pathlib import Path

import pytest
from real_clips import encode, panned

from cvqa import VideoReader, load_quality_dataset
from cvqa.data import get_scale
from cvqa.data.check import check_dataset
from cvqa.data.published import BVI_HD_TEST, load_waterloo_ivc_4k


@pytest.fixture
def labels(shared) -> Path:
    return shared / "labels"


def rows_of(table: Path) -> int:
    return len(table.read_text().strip().splitlines()) - 1


def test_every_row_of_bvi_hd_is_read_and_split_as_published(labels, tmp_path):
    table = labels / "bvi_hd_hevc_dmos.csv"
    data = load_quality_dataset("bvi-hd", tmp_path, scores=table, check_files=False)
    assert sum(map(len, data.values())) == rows_of(table) == 192
    assert set(data["test"]["content_id"]) == set(BVI_HD_TEST)
    assert {name: len(set(split["content_id"])) for name, split in data.items()}["test"] == 6
    assert len({content for split in data.values() for content in split["content_id"]}) == 32
    assert str(get_scale(data)) == "DMOS from 0 to 100, higher is worse"
    first = data["test"][0]
    assert (first["score"], first["label"]) == pytest.approx((7.4444, 0.074444))
    assert (first["codec"], first["level"], first["width"], first["height"]) == ("hevc", "1", 1920, 1080)


@pytest.mark.parametrize("has_header", [True, False])
def test_every_row_of_waterloo_is_read_and_split_as_published(labels, tmp_path, has_header):
    lines = (labels / "waterloo_ivc_4k_scores.txt").read_text().splitlines()
    (tmp_path / "scores.txt").write_text("\n".join(lines if has_header else lines[1:]))
    data = load_quality_dataset("waterloo-ivc-4k", tmp_path, check_files=False)
    assert sum(map(len, data.values())) == len(lines) - 1 == 1200
    assert set(data["test"]["content_id"]) == {"1", "2", "3", "4"} and len(data["test"]) == 240
    assert not {"1", "2", "3", "4"} & (set(data["train"]["content_id"]) | set(data["validation"]["content_id"]))
    row = next(row for row in data["test"] if row["video"].endswith("HEVC/01/960x540_1.mp4"))
    assert (row["score"], row["codec"], row["width"], row["height"]) == (18.21, "hevc", 960, 540)


def test_videos_are_found_in_both_layouts_and_missing_ones_are_told_by_content(labels, tmp_path, caplog):
    clip = encode(tmp_path / "clip.mp4", panned(8)).read_bytes()
    for number in range(1, 11):
        flat = number % 2
        path = tmp_path / (f"h264_{number}_540p_3.mp4" if flat else f"H264/{number:02d}/960x540_3.mp4")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip)
    with caplog.at_level(logging.WARNING):
        data = load_quality_dataset("waterloo-ivc-4k", tmp_path, scores=labels / "waterloo_ivc_4k_scores.txt")
    assert {name: len(split) for name, split in data.items()}["test"] == 4
    assert sum(map(len, data.values())) == 10
    assert "missing videos by content: 1 59 of 60, 10 59 of 60, 11 60 of 60" in caplog.text


def test_a_split_without_any_video_is_an_error(labels, tmp_path):
    (tmp_path / "BallUnderWater_1920x1080_60fps_HEVC_QP22.yuv").write_bytes(b"\0" * 10)
    with pytest.raises(ValueError, match="no usable row is left in split train"):
        load_quality_dataset("bvi-hd", tmp_path, scores=labels / "bvi_hd_hevc_dmos.csv")


def test_both_halves_of_bvi_hd_and_their_raw_videos(labels, tmp_path):
    frame = bytes(1920 * 1080 * 3 // 2)
    names = []
    for half, contents in (("HEVC", ("Music", "Lamp")), ("HEVC-SYNTH", ("Music", "Flag"))):
        (tmp_path / half).mkdir()
        rows = [f"{c},{c}_1920x1080_60fps_{half}_QP22.yuv,7.5,{half},1" for c in contents]
        header = "original_name,name,dmos,encoder,distortion_level\n"
        (tmp_path / f"{half}_dmos.csv").write_text(header + "\n".join(rows))
        names += [row.split(",")[1] for row in rows]
        for name in names[-2:]:
            (tmp_path / half / name).write_bytes(frame)
    data = load_quality_dataset("bvi-hd", tmp_path, split="all", probe=True)
    assert sorted(Path(video).name for video in data["video"]) == sorted(names)
    assert set(data["codec"]) == {"hevc"}
    with VideoReader(data["video"][0]) as reader:
        assert (reader.width, reader.height, len(reader)) == (1920, 1080, 1) and round(reader.fps) == 60


def test_avs2_that_cannot_be_decoded_is_told_for_each_file_and_raw_avs2_is_read(labels, tmp_path, caplog):
    content = encode(tmp_path / "clip.mp4", panned(8, 96, 64)).read_bytes()
    folder = tmp_path / "AVS2" / "05"
    folder.mkdir(parents=True)
    (folder / "960x540_1.mp4").write_bytes(content.replace(b"avc1", b"avs2"))
    (folder / "960x540_2.yuv").write_bytes(bytes(960 * 540 * 3 // 2))
    (folder / "960x540_3.mp4").write_bytes(content)
    table = labels / "waterloo_ivc_4k_scores.txt"
    with caplog.at_level(logging.WARNING):
        data = load_waterloo_ivc_4k(tmp_path, scores=one_split(table, tmp_path), probe=True)
    assert [Path(video).name for video in data["video"]] == ["960x540_2.yuv", "960x540_3.mp4"]
    assert "AVS2/05/960x540_1.mp4: " in caplog.text and "missing videos by content: 5 9 of 11" in caplog.text
    checked = check_dataset("waterloo-ivc-4k", tmp_path, scores=table)
    (problem,) = checked.unreadable
    assert "AVS2/05/960x540_1.mp4: " in problem and len(checked.missing) == 1197


def one_split(table: Path, folder: Path) -> Path:
    """The rows of one content alone, which has no rows of the test split to miss."""
    lines = [line for line in table.read_text().splitlines() if ", 5, " in line and line.startswith("AVS2")]
    (folder / "scores.txt").write_text("\n".join(lines))
    return folder / "scores.txt"


def test_a_missing_table_is_named_with_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no score table here .*scores="):
        load_quality_dataset("bvi-hd", tmp_path)
