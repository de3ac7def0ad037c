"""Caching that is killed at any moment goes on where it was, and leaves no process behind."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from datasets import Dataset
from photo_clips import pan, write_clip

from cvqa.data.frame_store import complete_files, frame_caches
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


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
