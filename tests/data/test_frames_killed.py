"""Caching that is killed at any moment goes on where it was, and leaves no process behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial

import numpy as np
import pytest
from datasets import Dataset
from photo_clips import pan, write_clip

from cvqa.data import frames
from cvqa.data.frame_store import complete_files, frame_caches, open_store
from cvqa.data.frames import cache_frames, frames_of
from cvqa.models import InternVideo2VideoProcessor


PROCESSOR = InternVideo2VideoProcessor(spatial_mode="fragments")
SCRIPT = """
import sys
from datasets import Dataset
import cvqa.data.frames
from cvqa.models import InternVideo2VideoProcessor
cvqa.data.frames.VIDEOS_PER_FILE = 1
rows = Dataset.from_dict({"video": sys.argv[2:]})
print("start", flush=True)
cvqa.data.frames.cache_frames(rows, InternVideo2VideoProcessor(spatial_mode="fragments"), sys.argv[1], num_proc=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be killed as on Unix")
def test_a_killed_run_goes_on_and_leaves_no_process(tmp_path):
    clips = [write_clip(tmp_path / f"{n}.mkv", np.roll(pan("coffee", count=12), n, axis=2)) for n in range(12)]
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "cache"), *map(str, clips)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    process.stdout.readline()
    while process.poll() is None and not any(map(complete_files, tmp_path.glob("cache/*"))):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (cache,) = frame_caches(tmp_path / "cache")
    assert 0 < cache.videos <= 12

    deadline = time.monotonic() + 30
    while group_lives(process.pid):
        assert time.monotonic() < deadline, "processes outlive the one that started them"
        time.sleep(0.1)
    cached = cache_frames(
        Dataset.from_dict({"video": list(map(str, clips))}), PROCESSOR, tmp_path / "cache", num_proc=1
    )
    for n, row in enumerate(cached):
        expected = np.roll(pan("coffee", count=12), n, axis=2)[PROCESSOR.frame_indices(12)]
        assert np.array_equal(frames_of(row), expected)


def decode_or_die(chunk, folder, deaths):
    """Frames of no content; the process that comes to video5 kills itself so many times."""
    if "key5" in chunk and len(list(folder.glob("death*"))) < deaths:
        tempfile.mkstemp(prefix="death", dir=folder)
        os.kill(os.getpid(), signal.SIGKILL)
    for key in chunk:
        yield key, np.zeros((1, 2, 2, 3), np.uint8), None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be killed as on Unix")
@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_what_a_killed_process_leaves_is_done_by_half_as_many(tmp_path, caplog, monkeypatch, deaths):
    monkeypatch.setattr(frames, "VIDEOS_PER_FILE", 1)
    videos = {f"key{n}": f"video{n}.mp4" for n in range(8)}
    decode = partial(decode_or_die, folder=tmp_path, deaths=deaths)
    if deaths < 3:
        frames.fill_store(tmp_path, videos, decode, 4)
        assert open_store(tmp_path).frames.keys() == videos.keys()
    else:
        with pytest.raises(RuntimeError, match=r"was killed.*video5\.mp4.*goes on where it was"):
            frames.fill_store(tmp_path, videos, decode, 4)
        frames.fill_store(tmp_path, {"key5": "video5.mp4"}, decode, 2)
        assert "key5" in open_store(tmp_path).frames
    assert [record.args[0] for record in caplog.records] == [2, 1][:deaths]


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
