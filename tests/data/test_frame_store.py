"""What is on disk: complete files only, whatever was killed, and a way to look at them and remove them."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from datasets import Dataset
from photo_clips import pan, write_clip

from cvqa.data.frame_store import frame_caches, open_store, remove_cache, write_store
from cvqa.data.frames import cache_frames, frames_of
from cvqa.models import InternVideo2VideoProcessor


WRITER = """
import sys, numpy as np
from pathlib import Path
from cvqa.data.frame_store import write_store
rng = np.random.default_rng(0)
def rows():
    for row in range(4):
        yield f"{row}", rng.integers(0, 256, (2, 500, 500, 3), np.uint8), None
        print(row, flush=True)
for number in range(10**6):
    write_store(Path(sys.argv[1], f"{number}.arrow"), ((f"{number}-{key}", *rest) for key, *rest in rows()))
"""


def killed_writer(folder, rows):
    """The folder after a process that writes to it was killed, having written so many rows."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE)
    for _ in range(rows):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("rows", [1, 3, 6])
def test_of_a_killed_process_only_complete_files_are_read(tmp_path, rows):
    killed_writer(tmp_path, rows)
    store = open_store(tmp_path)
    assert len(store.frames) % 4 == 0 and len(store.frames) >= rows - 4
    for frames in store.frames.values():
        pixels = frames_of({"frames": frames._asdict(), "frames_shape": frames.shape})
        assert pixels.shape == (2, 500, 500, 3) and 120 < pixels.mean() < 135


def test_what_a_killed_process_left_is_cleared_away_in_time(tmp_path):
    clip = write_clip(tmp_path / "a.mkv", pan("astronaut", 64, 48))
    data, processor = Dataset.from_dict({"video": [str(clip)]}), InternVideo2VideoProcessor(spatial_mode="fragments")
    cache_frames(data, processor, tmp_path / "cache", num_proc=1)
    (cache,) = frame_caches(tmp_path / "cache")
    old, fresh = cache.path / ".x.123.part.arrow", cache.path / ".y.123.part.arrow"
    for left in (old, fresh):
        left.write_bytes(b"half")
    os.utime(old, (time.time() - 86400,) * 2)
    cache_frames(data, processor, tmp_path / "cache", num_proc=1)
    assert fresh.exists() and not old.exists(), "another process may be writing the fresh one"


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.999])
def test_a_damaged_file_counts_as_absent(tmp_path, kept, caplog):
    write_store(tmp_path / "good.arrow", [("a", np.zeros((8, 20, 20, 3), np.uint8), None), ("b", None, "no video")])
    content = (tmp_path / "good.arrow").read_bytes()
    (tmp_path / "bad.arrow").write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    store = open_store(tmp_path)
    assert set(store.frames) == {"a"} and store.errors == {"b": "no video"}
    assert "bad.arrow: left out, it is damaged" in caplog.text


def test_caches_are_listed_with_what_they_hold_and_removed(tmp_path):
    clip = write_clip(tmp_path / "a.mkv", pan("astronaut", 64, 48))
    data, cache_dir = Dataset.from_dict({"video": [str(clip)]}), tmp_path / "cache"
    for mode in ("fragments", "resize"):
        cached = cache_frames(data, InternVideo2VideoProcessor(spatial_mode=mode), cache_dir, windows=2, num_proc=1)
    native, resized = frame_caches(cache_dir)
    assert native.videos == 1 and 0 <= native.bytes - 2 * 8 * 64 * 48 * 3 < 5000
    assert native.facts["windows"] == 2 and native.facts["settings"]["num_frames"] == 8
    assert frames_of(cached[0]).shape == (16, 224, 298, 3)
    remove_cache(resized)
    assert frame_caches(cache_dir) == [native]
    cached = cache_frames(data, InternVideo2VideoProcessor(spatial_mode="resize"), cache_dir, windows=2, num_proc=1)
    assert frames_of(cached[0]).shape == (16, 224, 298, 3)


def test_frames_that_were_removed_are_said_to_be(tmp_path):
    row = {"frames": {"file": str(tmp_path / "gone.arrow"), "offset": 0}, "frames_shape": [8, 2, 2, 3]}
    with pytest.raises(FileNotFoundError, match=r"gone\.arrow: was removed from the cache .*cache_frames again"):
        frames_of(row)
