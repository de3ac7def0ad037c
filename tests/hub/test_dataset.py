"""Published data sets: `load_dataset` reads them where cvqa is not, `load_quality_dataset` trains on them as before."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import skimage.data
import torch
from datasets import Dataset, DatasetDict
from huggingface_hub import DatasetCard
from loopback_hub import LoopbackHub
from PIL import Image
from real_clips import encode, panned, tiny_model

from cvqa import VideoReader, load_quality_dataset
from cvqa.data import QualityCollator, cache_frames, get_scale
from cvqa.data import hub_dataset as reading
from cvqa.data.hub_dataset import MEDIA
from cvqa.data.ladder import build_ladder
from cvqa.data.schema import QualityScale
from cvqa.data.splits import fingerprint
from cvqa.hub import dataset as writing
from cvqa.hub.dataset import write_dataset_folder
from cvqa.hub.dataset_card import _levels


WITHOUT_THE_PACKAGE = """
import json, sys

sys.modules["cvqa"] = sys.modules["torchcodec"] = None  # as if not installed
from datasets import load_dataset

found = {}
for split, rows in load_dataset(sys.argv[1]).items():
    found[split] = [
        {"path": row["video"]["path"], "bytes": len(row["video"]["bytes"]), "frame": row["frame"].size,
         "score": row["score"], "label": row["label"], "content_id": row["content_id"]}
        for row in rows
    ]
    found["scale"] = json.loads(rows.features["label"].id)
row = next(iter(load_dataset(sys.argv[1], streaming=True)["test"]))
found["streamed"] = row["video"]["path"]
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Videos of published sets are written here, not to the user's cache."""
    patch = pytest.MonkeyPatch()
    patch.setattr(reading.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def ladder(tmp_path_factory) -> DatasetDict:
    """Three photographs, x264 and VP9 at two levels, with VMAF."""
    folder = tmp_path_factory.mktemp("alice") / "ladder"
    photographs = folder.parent / "photographs"
    photographs.mkdir()
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(getattr(skimage.data, name)()).save(photographs / f"{name}.png")
    recipe = [{"encoder": "x264"}, {"encoder": "vp9"}]
    build_ladder(photographs, folder, recipe=recipe, encodes_per_source=4, size=(160, 90), num_frames=6, workers=2)
    return load_quality_dataset("ladder", folder)


@pytest.fixture(scope="module")
def published(ladder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "tiny-ladder"
    return write_dataset_folder(ladder, folder, license="cc-by-4.0")


@pytest.fixture(scope="module")
def opinions(tmp_path_factory) -> Path:
    """A table of MOS from 1 to 5: two videos of one name, one that cannot be read, absolute paths in a column."""
    folder = tmp_path_factory.mktemp("bob")
    rows = []
    for i, name in enumerate(("astronaut", "coffee", "chelsea", "rocket")):
        for level, crf in (("high", 20), ("low", 45)):
            (folder / level).mkdir(exist_ok=True)
            path = encode(folder / level / f"{name}.mp4", panned(8, 96, 64, name), crf=crf)
            mos = 4.1 - 0.1 * i - 2 * (level == "low")
            row = {"file": f"{level}/{name}.mp4", "mos": mos, "content": name, "master": str(path), "viewers": 24}
            rows.append(row)
    (folder / "low" / "rocket.mp4").write_text("no video")
    with (folder / "scores.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return folder / "scores.csv"


def run(code: str, *arguments: str, folder: Path, **environment: str) -> str:
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_name(splits) -> dict:
    """(split, content, file name) -> score."""
    return {
        (name, content, Path(video).name): score
        for name, split in splits.items()
        for content, video, score in zip(split["content_id"], split["video"], split["score"])
    }


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_loaded_elsewhere(found: dict, ladder: DatasetDict) -> None:
    assert found.pop("scale") == {"score_min": 0, "score_max": 100, "higher_is_better": True, "label_kind": "vmaf"}
    assert found.pop("streamed") == found["test"][0]["path"]
    assert set(found) == set(ladder)
    for name, split in ladder.items():
        assert len(found[name]) == len(split) == 4
        for there, here in zip(found[name], split):
            assert there["path"] == "/".join(Path(here["video"]).parts[-2:])
            assert there["bytes"] == Path(here["video"]).stat().st_size and there["frame"] == [160, 90]
            assert all(there[column] == here[column] for column in ("score", "label", "content_id"))


def test_a_folder_loads_without_the_package_and_without_torchcodec(published, ladder, tmp_path):
    check_loaded_elsewhere(json.loads(run(WITHOUT_THE_PACKAGE, str(published), folder=tmp_path)), ladder)


def test_from_the_hub_it_loads_without_and_with_the_package(published, ladder, tmp_path):
    push_and_load = """
import json, sys, cvqa
from cvqa.data import get_scale
from cvqa.data.splits import fingerprint
from cvqa.hub.push import push_folder
push_folder(sys.argv[1], "org/tiny-ladder", "dataset")
splits = cvqa.load_quality_dataset("org/tiny-ladder")
json.dump([fingerprint(splits), str(get_scale(splits))], sys.stdout)
"""
    with LoopbackHub() as hub:
        environment = hub.environment(tmp_path / "hf")
        trained = json.loads(run(push_and_load, str(published), folder=tmp_path, **environment))
        found = json.loads(run(WITHOUT_THE_PACKAGE, "org/tiny-ladder", folder=tmp_path, **environment))
    check_loaded_elsewhere(found, ladder)
    assert trained == [fingerprint(ladder), str(get_scale(ladder))]


def test_the_snippets_of_the_card_run(published, tmp_path, monkeypatch):
    alone, with_cvqa = re.findall(r"```python\n(.*?)```", (published / "README.md").read_text(), re.DOTALL)
    refuse = "import sys; sys.modules['cvqa'] = None\n"
    shown = run(refuse + alone, folder=published.parent, HF_HOME=str(tmp_path / "hf"))
    assert "(160, 90)" in shown and "6 (90, 160, 3)" in shown
    monkeypatch.chdir(published.parent)
    names = {}
    exec(with_cvqa, names)
    assert len(names["data"]["train"]) == 4


def test_read_back_it_is_the_same_data_set(published, ladder):
    again = load_quality_dataset(published)
    assert again.keys() == ladder.keys() and by_name(again) == by_name(ladder)
    assert get_scale(again) == get_scale(ladder)
    facts = json.loads((published / "dataset.json").read_text())
    assert fingerprint(again) == fingerprint(ladder) == facts["fingerprint"]
    for name, split in ladder.items():
        private = ["video", "reference"]
        assert again[name].remove_columns(private).to_dict() == split.remove_columns(private).to_dict()
        assert again[name].features == split.features
        assert set(again[name]["reference"]) == {None}
        for there, here in zip(again[name]["video"], split["video"]):
            assert Path(there).read_bytes() == Path(here).read_bytes()
    written = {path: Path(path).stat().st_mtime_ns for path in again["train"]["video"]}
    once_more = load_quality_dataset("hub", published)["train"]["video"]
    assert {path: Path(path).stat().st_mtime_ns for path in once_more} == written
    assert len(load_quality_dataset(published, split="all")) == 12


def test_training_sees_the_same_pixels(published, ladder, tmp_path):
    _, processor = tiny_model()
    batches = []
    for place, splits in (("files", ladder), ("published", load_quality_dataset(published))):
        rows = cache_frames(splits["train"], processor, tmp_path / place, windows=2, num_proc=1)
        for augment in (False, True):
            collator = QualityCollator(processor, augment=augment)
            collator.set_epoch(0)
            batches.append(collator(list(rows)))
    plain, augmented, plain_again, augmented_again = batches
    for here, there in ((plain, plain_again), (augmented, augmented_again)):
        assert torch.equal(here["pixel_values_videos"], there["pixel_values_videos"])
        assert torch.equal(here["labels"], there["labels"])
    assert not torch.equal(plain["pixel_values_videos"], augmented["pixel_values_videos"])


def test_the_frame_is_the_middle_one_without_loss(published, ladder):
    rows = pq.read_table(published / "data/test-00000-of-00001.parquet").to_pylist()
    for row, video in zip(rows, ladder["test"]["video"], strict=True):
        with VideoReader(video) as reader:
            expected = reader.get_batch([3])[0]  # of six
        picture = Image.open(io.BytesIO(row["frame"]["bytes"]))
        assert picture.format == "PNG" and np.array_equal(np.asarray(picture), expected)


def test_the_card_says_what_it_is(published, ladder):
    card = DatasetCard.load(published / "README.md")
    data = card.data.to_dict()
    assert data["license"] == "cc-by-4.0" and data["task_categories"] == ["video-classification"]
    assert data["size_categories"] == ["n<1K"] and {"vmaf", "h264", "vp9"} <= set(data["tags"])
    assert [part["split"] for part in data["configs"][0]["data_files"]] == ["train", "validation", "test"]
    assert [split["num_examples"] for split in data["dataset_info"]["splits"]] == [4, 4, 4]
    scores = [score for split in ladder.values() for score in split["score"]]
    for text in (
        "not a mean opinion score",
        "VMAF from 0 to 100, higher is better",
        "vmaf_v0.6.1",
        f"{min(scores):.4g} to {max(scores):.4g}",
        fingerprint(ladder),
        "| h264 | 6 | 3 |",
        "| 160x90 | 12 | 3 |",
        "cc-by-4.0, as stated",
    ):
        assert text in card.text, text
    assert "{{" not in card.content and "as in the score table" not in card.text  # every column of a ladder is told


def test_levels_are_told_by_what_they_are():
    columns = {"level": ["20", "30.5", "400", None], "rate_control": ["crf", "crf", "bitrate", "qp"]}
    assert _levels(columns) == "bitrate 400, crf 20 to 30.5"
    assert (
        _levels({"level": ["20", "40"]}) == _levels({"level": ["40", "20"], "rate_control": ["crf"] * 2}) == "20 to 40"
    )
    assert _levels({"level": ["low", "high"]}) == "high, low"
    assert _levels({"level": [None]}) == "not named"


def test_opinions_keep_their_scale_and_a_broken_video_is_named(opinions, tmp_path, caplog):
    splits = load_quality_dataset(opinions, fractions=(0.5, 0.25, 0.25))
    folder = write_dataset_folder(splits, tmp_path / "mos", name="Opinions", repo_id="org/opinions")
    again = load_quality_dataset(folder)
    assert get_scale(again) == QualityScale(1, 5, True, "mos")
    (broken,) = [video for split in splits.values() for video in split["video"] if video.endswith("low/rocket.mp4")]
    assert f"left out: {broken}" in caplog.text
    # Two videos of a content have the same file name here, and both are there.
    assert sorted(score for split in again.values() for score in split["score"]) == sorted(
        row["score"] for split in splits.values() for row in split if row["video"] != broken
    )
    assert {(row["width"], row["height"], row["codec"]) for row in again["train"]} == {(96, 64, "h264")}
    assert "the column master is left out" in caplog.text and "master" not in again["train"].column_names
    assert set(again["train"]["viewers"]) == {24}
    card = (folder / "README.md").read_text()
    assert "1 video was left out" in card and "**mean opinion score (MOS)**" in card and "VMAF" not in card
    assert "# Opinions" in card and 'load_dataset("org/opinions")' in card
    assert "license: unknown" in card and "**Not stated.**" in card


def test_nothing_tells_of_this_machine(published, opinions, tmp_path):
    mos = write_dataset_folder(load_quality_dataset(opinions), tmp_path / "mos")
    for folder in (published, mos):
        for name, content in files(folder).items():
            if name.endswith(".parquet"):  # as it would be read: the pages are compressed
                rows = pq.read_table(folder / name).to_pylist()
                content += repr([row | {cell: row[cell]["path"] for cell in MEDIA} for row in rows]).encode()
            for private in (str(opinions.parent), str(tmp_path.parent), str(Path.home()) + "/", "alice", "/tmp/"):
                assert private.encode() not in content, (name, private)


def test_contents_named_by_absolute_paths_become_names(opinions, tmp_path):
    def content(row):
        return f"/data/sources/{row['content']}.yuv"

    splits = load_quality_dataset(opinions, content_column=content)
    folder = write_dataset_folder(splits, tmp_path / "mos")
    contents = {value for split in load_quality_dataset(folder).values() for value in split["content_id"]}
    assert contents == {f"{name}.yuv" for name in ("astronaut", "coffee", "chelsea", "rocket")}

    clash = load_quality_dataset(opinions, content_column=lambda row: f"/data/{row['content']}/source.yuv")
    with pytest.raises(ValueError, match=r"content_id holds absolute paths.*content_pattern"):
        write_dataset_folder(clash, tmp_path / "clash")
    assert not (tmp_path / "clash").exists()


def test_large_splits_are_several_files_of_bounded_size(ladder, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "ROW_GROUP_BYTES", 1)
    monkeypatch.setattr(writing, "SHARD_BYTES", 1)
    folder = write_dataset_folder(ladder, tmp_path / "many")
    assert [path.name for path in sorted(folder.glob("data/train-*"))] == [
        f"train-0000{i}-of-00004.parquet" for i in range(4)
    ]
    assert by_name(load_quality_dataset(folder)) == by_name(ladder)
    (folder / "data" / "train-00002-of-00004.parquet").unlink()
    with pytest.raises(ValueError, match=r"3 files of train, whose names promise 00004"):
        load_quality_dataset(folder)


def test_a_leak_is_refused_and_nothing_is_left(ladder, tmp_path):
    leaky = DatasetDict({"train": ladder["train"], "test": ladder["train"].select([0])})
    with pytest.raises(ValueError, match="more than one side"):
        write_dataset_folder(leaky, tmp_path / "leaky")
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_if_writing_fails(published, ladder, tmp_path):
    target = write_dataset_folder(ladder, tmp_path / "set")
    before = files(target)
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    unreadable = ladder["test"].map(lambda row: {"video": str(broken)}).select([0])
    with pytest.raises(ValueError, match=r"none of the videos of the test split can be read: .*broken\.mp4"):
        write_dataset_folder(DatasetDict({**ladder, "test": unreadable}), target)
    assert files(target) == before
    assert {path.name for path in tmp_path.iterdir()} == {"set", "broken.mp4"}

    other = tmp_path / "precious"
    other.mkdir()
    (other / "README.md").write_text("mine")
    with pytest.raises(ValueError, match="precious: holds something else"):
        write_dataset_folder(ladder, other)
    assert (other / "README.md").read_text() == "mine"


def test_names_that_leave_the_cache_are_refused(published, tmp_path):
    (tmp_path / "data").mkdir()
    file = "data/test-00000-of-00001.parquet"
    rows = Dataset.from_parquet(str(published / file), cache_dir=str(tmp_path / "hf")).select([0])
    for name in ("../../evil.mp4", "/evil.mp4", "..\\evil.mp4"):
        escaping = rows.map(lambda row, name=name: {"video": {**row["video"], "path": name}})
        escaping.to_parquet(str(tmp_path / file))
        with pytest.raises(ValueError, match="no name within a data set"):
            load_quality_dataset(tmp_path)


def test_videos_that_are_only_named_or_share_a_name_are_refused(published, tmp_path):
    (tmp_path / "data").mkdir()
    file = "data/test-00000-of-00001.parquet"
    table = pq.read_table(published / file)
    for video, message in (({"bytes": None}, "only its name"), ({"path": "same.mp4"}, "have the same name")):
        rows = [row | {"video": row["video"] | video} for row in table.to_pylist()]
        pq.write_table(table.from_pylist(rows, schema=table.schema), tmp_path / file)
        with pytest.raises(ValueError, match=message):
            load_quality_dataset(tmp_path)


def test_what_is_no_published_data_set_says_so(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match=r"test-00000-of-00001\.parquet: cannot be read"):
        load_quality_dataset(tmp_path)
    Dataset.from_dict({"text": ["a"]}).to_parquet(str(tmp_path / "data" / "test-00000-of-00001.parquet"))
    with pytest.raises(ValueError, match="no data set of cvqa, it has no video"):
        load_quality_dataset(tmp_path)
    with pytest.raises(ValueError, match=r"test-00000-of-00001\.parquet: .*video"):  # the only table there
        load_quality_dataset("hub", tmp_path / "data")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no data"):
        load_quality_dataset("hub", tmp_path / "empty")

    def unknown(*_, **__):
        raise OSError("404: no such repository\nand more")

    monkeypatch.setattr(reading, "snapshot_download", unknown)
    with pytest.raises(FileNotFoundError, match=r"org/nothing: .* from the Hub: 404: no such repository$"):
        load_quality_dataset("org/nothing")
