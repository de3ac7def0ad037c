"""Videos decoded as they are wanted: each once in an epoch over all processes, in one order with any workers."""

import functools
import http.server
import logging
import threading

import pytest
import torch
from datasets import Dataset, load_dataset
from photo_clips import pan, write_clip
from torch.utils.data import DataLoader

from cvqa import load_quality_dataset
from cvqa.data import QualityCollator, StreamedVideos, cache_frames
from cvqa.models import InternVideo2VideoProcessor


PROCESSOR = InternVideo2VideoProcessor(size=56, crop_size=56, num_frames=2)
ROWS = Dataset.from_dict({"video": [f"{n}.mp4" for n in range(50)], "label": [n / 50 for n in range(50)]})


def names(rows: list[dict]) -> list[str]:
    return [row["video"] for row in rows]


def epoch_of(stream: StreamedVideos, epoch: int, **options) -> list[list[str]]:
    stream.set_epoch(epoch)
    return list(stream.loader(names, **options))


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_process_gets_as_many_whole_batches_and_no_row_twice(processes):
    streams = [StreamedVideos(ROWS, 4, rank=rank, processes=processes) for rank in range(processes)]
    seen = [epoch_of(stream, 0) for stream in streams]
    assert {len(batches) for batches in seen} == {50 // (4 * processes)} == {len(stream) // 4 for stream in streams}
    assert all(len(batch) == 4 for batches in seen for batch in batches)
    rows = [row for batches in seen for batch in batches for row in batch]
    assert len(set(rows)) == len(rows) > 50 - 4 * processes


def test_epochs_and_seeds_differ_and_come_back():
    stream = StreamedVideos(ROWS, 4, seed=1)
    first, second = epoch_of(stream, 0), epoch_of(stream, 1)
    assert first != second and first == epoch_of(StreamedVideos(ROWS, 4, seed=1), 0)
    assert first != epoch_of(StreamedVideos(ROWS, 4, seed=2), 0)
    left_out = [set(ROWS["video"]) - {row for batch in epoch for row in batch} for epoch in (first, second)]
    assert left_out[0] != left_out[1] and all(len(rows) == 2 for rows in left_out)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(workers):
    stream = StreamedVideos(ROWS, 4)
    expected = [epoch_of(stream, epoch) for epoch in (0, 1)]
    loader = stream.loader(names, num_workers=workers, persistent_workers=True)
    for epoch in (0, 1):
        stream.set_epoch(epoch)
        assert list(loader) == expected[epoch]


def test_too_few_videos_are_an_error():
    with pytest.raises(ValueError, match="50 videos are too few for a batch of 32 in each of 2 process"):
        StreamedVideos(ROWS, 32, processes=2)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name in ("coffee", "astronaut"):
        write_clip(folder / f"{name}.mp4", pan(name, 96, 64, count=6), "libx264", "yuv420p")
    return folder


def served(folder) -> str:
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_a_table_of_urls_trains_without_a_copy_on_the_disk(clips, tmp_path, caplog):
    address = served(clips)
    table = tmp_path / "scores.csv"
    table.write_text(f"url,mos,content\n{address}/coffee.mp4,4,a\n{address}/astronaut.mp4,2,b\n")
    rows = load_quality_dataset(table, split="all", video_column="url")
    assert rows["video"][:] == [f"{address}/coffee.mp4", f"{address}/astronaut.mp4"]
    (batch,) = StreamedVideos(rows, 2).loader(QualityCollator(PROCESSOR))
    local = {4.0: "coffee", 2.0: "astronaut"}
    for clip, label in zip(batch["pixel_values_videos"], batch["labels"], strict=True):
        path = clips / f"{local[float(1 + 4 * label)]}.mp4"
        assert torch.equal(clip, PROCESSOR(path)["pixel_values_videos"][0])
    with pytest.raises(ValueError, match="None of the 2 videos"):
        cache_frames(rows, PROCESSOR, tmp_path / "cache", num_proc=1)
    assert "a URL, of which frames are not cached; download it, or train without a cache" in caplog.text


def test_files_within_a_streamed_data_set_are_decoded(clips, tmp_path):
    paths = [str(clips / f"{name}.mp4") for name in ("coffee", "astronaut")]
    content = [{"bytes": (clips / name).read_bytes(), "path": name} for name in ("coffee.mp4", "astronaut.mp4")]
    Dataset.from_dict({"video": content, "label": [0.5, 0.25]}).to_parquet(tmp_path / "train.parquet")
    streamed = load_dataset("parquet", data_files=str(tmp_path / "train.parquet"), split="train", streaming=True)
    collate = QualityCollator(PROCESSOR, augment="quality", seed=3)
    collate.set_epoch(0)
    (batch,) = DataLoader(streamed, 2, collate_fn=collate)
    assert batch["pixel_values_videos"].shape == (2, 2, 3, 56, 56) and batch["labels"].tolist() == [0.5, 0.25]
    plain = QualityCollator(PROCESSOR)
    assert torch.equal(
        plain(list(streamed))["pixel_values_videos"], plain([{"video": path} for path in paths])["pixel_values_videos"]
    )


def test_a_video_that_cannot_be_read_makes_room_for_another(clips, tmp_path, caplog):
    rows = [
        {"video": str(clips / "coffee.mp4"), "label": 0.5},
        {"video": str(tmp_path / "gone.mp4"), "label": 0.75},
        {"video": str(clips / "astronaut.mp4"), "label": 0.25},
    ]
    collate = QualityCollator(PROCESSOR, replace_unreadable=True)
    with caplog.at_level(logging.WARNING):
        batch = collate(rows)
    clips_seen = batch["pixel_values_videos"]
    assert batch["labels"].tolist() == [0.5, 0.5, 0.25] and torch.equal(clips_seen[0], clips_seen[1])
    assert rows[1] is rows[0] and "gone.mp4: no such file; another video is taken instead" in caplog.text
    with pytest.raises(ValueError, match=r"gone\.mp4: no such file"):
        collate([{"video": str(tmp_path / "gone.mp4"), "label": 0.75}])
