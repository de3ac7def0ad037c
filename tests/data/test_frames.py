import logging
import pickle
import shutil

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from photo_clips import pan, write_clip

import cvqa.data.frames
from cvqa.data.frames import cache_frames, frames_of
from cvqa.data.schema import QualityScale, get_scale, with_scale
from cvqa.models import InternVideo2VideoProcessor
from cvqa.models.video_reader import VideoReader


SIZES = {"a": (120, 90), "b": (90, 120), "c": (101, 77)}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Lossless clips of 24 frames, by name, and the folder they lie in."""
    folder = tmp_path_factory.mktemp("originals")
    frames = {name: pan("astronaut", *size) for name, size in SIZES.items()}
    for name in frames:
        write_clip(folder / f"{name}.mkv", frames[name])
    return folder, frames


@pytest.fixture
def clips(originals, tmp_path):
    """Own copy of the clips, as {name: path}, and their frames."""
    folder, frames = originals
    return {name: shutil.copy(folder / f"{name}.mkv", tmp_path) for name in frames}, frames


@pytest.fixture
def decoded(monkeypatch):
    """Names of the videos that are decoded in this process, as they are."""
    names = []
    get_batch = VideoReader.get_batch

    def spy(self, indices):
        names.append(self.path)
        return get_batch(self, indices)

    monkeypatch.setattr(VideoReader, "get_batch", spy)
    return names


def table(*paths, **columns):
    return Dataset.from_dict({"video": [str(path) for path in paths], "score": [50.0] * len(paths), **columns})


def native(**options):
    return InternVideo2VideoProcessor(spatial_mode="fragments", **options)


def test_adds_the_sampled_frames_at_native_resolution(clips, tmp_path):
    paths, frames = clips
    dataset = with_scale(table(*paths.values(), content_id=list(paths)), QualityScale(0, 100, True, "vmaf"))
    cached = cache_frames(dataset, native(), tmp_path / "cache", num_proc=1)
    assert cached.column_names[:-3] == dataset.column_names and cached["content_id"][:] == list(paths)
    for row, name in zip(cached, paths):
        assert np.array_equal(frames_of(row), frames[name][[1, 4, 7, 10, 13, 16, 19, 22]])
        assert frames_of(row).dtype == np.uint8 and row["frames_shape"] == [8, *frames[name].shape[1:]]
    assert get_scale(cached) == get_scale(dataset)
    assert len(pickle.dumps(cached)) < 10_000 < frames["a"].nbytes, "frames stay on disk"


def test_resized_frames_are_kept_for_resizing(clips, tmp_path):
    paths, _ = clips
    processor = InternVideo2VideoProcessor(size=64, crop_size=56)
    row = cache_frames(table(paths["a"]), processor, tmp_path / "cache", num_proc=1)[0]
    assert row["frames_shape"] == [8, 64, 85, 3]


def test_nothing_is_decoded_twice(clips, tmp_path, decoded):
    paths, _ = clips
    cache = tmp_path / "cache"
    cache_frames(table(paths["a"], paths["b"], paths["a"]), native(), cache, num_proc=1)
    assert sorted(decoded) == sorted([paths["a"], paths["b"]])
    decoded.clear()
    # Another order, another column, and one video more, as when splits are drawn anew.
    again = cache_frames(table(*reversed(paths.values()), level=["1", "2", "3"]), native(), cache, num_proc=1)
    assert decoded == [paths["c"]]
    assert [row["frames_shape"][1:3] for row in again] == [[77, 101], [120, 90], [90, 120]]


def test_rows_keep_their_order_and_may_repeat_a_video(clips, tmp_path):
    paths, frames = clips
    names = ["b", "a", "b", "c", "a"]
    dataset = table(*[paths[name] for name in names]).map(lambda row, i: {"place": i}, with_indices=True)
    cached = cache_frames(dataset.shuffle(seed=1), native(), tmp_path / "cache", num_proc=1)
    assert sorted(cached["place"]) == [0, 1, 2, 3, 4] and cached["place"][:] != [0, 1, 2, 3, 4]
    for row in cached.shuffle(seed=2):
        assert np.array_equal(frames_of(row)[0], frames[names[row["place"]]][1])


def test_a_changed_file_is_decoded_again(clips, tmp_path, decoded):
    paths, frames = clips
    before = cache_frames(table(paths["a"], paths["b"]), native(), tmp_path / "cache", num_proc=1)
    decoded.clear()
    write_clip(paths["a"], frames["a"][::-1])
    after = cache_frames(table(paths["a"], paths["b"]), native(), tmp_path / "cache", num_proc=1)
    assert decoded == [paths["a"]]
    assert np.array_equal(frames_of(after[0]), frames["a"][::-1][[1, 4, 7, 10, 13, 16, 19, 22]])
    assert np.array_equal(frames_of(after[1]), frames_of(before[1]))


@pytest.mark.parametrize(
    "changed",
    [
        {"processor": native(num_frames=4)},
        {"processor": native(frame_sampling="window")},
        {"processor": InternVideo2VideoProcessor()},
        {"windows": 2},
        {"max_pixels": 5000},
    ],
)
def test_other_settings_are_other_frames(clips, tmp_path, decoded, changed):
    paths, _ = clips
    settings = {"processor": native(), "cache_dir": tmp_path / "cache", "num_proc": 1}
    cache_frames(table(paths["a"]), **settings)
    cache_frames(table(paths["a"]), **(settings | changed))
    cache_frames(table(paths["a"]), **settings)
    assert len(decoded) == 2


def test_settings_that_do_not_touch_the_frames_share_them(clips, tmp_path, decoded):
    paths, _ = clips
    for processor in (native(), native(fragment_size=56), native(frame_stride=2), native(do_normalize=False)):
        cache_frames(table(paths["a"]), processor, tmp_path / "cache", num_proc=1)
    assert len(decoded) == 1


def test_windows_begin_with_the_central_one_and_spread(clips, tmp_path):
    paths, frames = clips
    processor = native(num_frames=2, frame_sampling="window", frame_stride=2)
    row = cache_frames(table(paths["a"]), processor, tmp_path / "cache", windows=4, num_proc=1)[0]
    windows = frames_of(row).reshape(4, 2, *frames["a"].shape[1:])
    for window, first in zip(windows, [10, 15, 0, 5]):  # of the 21 places of 4 frames in 24
        assert np.array_equal(window, frames["a"][[first, first + 3]])


def test_max_pixels_keeps_the_centre(clips, tmp_path):
    paths, frames = clips
    cached = cache_frames(table(*paths.values()), native(), tmp_path / "cache", max_pixels=8000, num_proc=1)
    shapes = [row["frames_shape"][1:3] for row in cached]
    assert shapes == [[77, 103], [103, 77], [77, 101]], "the last is small enough"
    for row, name in zip(cached, paths):
        height, width = row["frames_shape"][1:3]
        top, left = (frames[name].shape[1] - height) // 2, (frames[name].shape[2] - width) // 2
        assert np.array_equal(frames_of(row)[0], frames[name][1, top : top + height, left : left + width])


def test_broken_files_are_left_out_with_their_reason(clips, tmp_path, caplog):
    paths, _ = clips
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    absent = tmp_path / "absent.mp4"
    with caplog.at_level(logging.WARNING):
        cached = cache_frames(table(paths["a"], broken, absent, paths["b"]), native(), tmp_path / "cache", num_proc=1)
    assert cached["video"][:] == [paths["a"], paths["b"]]
    assert f"{absent}: No such file" in caplog.text and f"{broken}: " in caplog.text
    assert "2 of 4 videos are left out" in caplog.text
    write_clip(tmp_path / "mended.mkv", pan("astronaut", 90, 90)).replace(broken)
    assert len(cache_frames(table(paths["a"], broken), native(), tmp_path / "cache", num_proc=1)) == 2


def test_a_file_that_could_not_be_decoded_is_tried_again(clips, tmp_path, monkeypatch, caplog):
    """The reason may have passed, as with a file system that was away."""
    paths, _ = clips
    with monkeypatch.context() as patch:
        patch.setattr(cvqa.data.frames, "open_video", refuse)
        for _ in range(2):
            with pytest.raises(ValueError, match="None of the 1 videos can be decoded"):
                cache_frames(table(paths["a"]), native(), tmp_path / "cache", num_proc=1)
    assert f"{paths['a']}: away" in caplog.text
    assert len(cache_frames(table(paths["a"]), native(), tmp_path / "cache", num_proc=1)) == 1


def refuse(video, hdr):
    raise cvqa.data.frames.VideoError(video, "away")


def test_after_an_interruption_it_goes_on(clips, tmp_path, decoded, monkeypatch):
    paths, _ = clips
    monkeypatch.setattr(cvqa.data.frames, "VIDEOS_PER_FILE", 1)
    with monkeypatch.context() as patch:
        get_batch = VideoReader.get_batch

        def interrupted(self, indices):
            if len(decoded) == 2:
                raise KeyboardInterrupt
            return get_batch(self, indices)

        patch.setattr(VideoReader, "get_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache_frames(table(*paths.values()), native(), tmp_path / "cache", num_proc=1)
    decoded.clear()
    assert len(cache_frames(table(*paths.values()), native(), tmp_path / "cache", num_proc=1)) == 3
    assert decoded == [paths["c"]]


@pytest.fixture
def two_threads():
    """With a pool of threads in this process, in which a forked one would hang."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("processor", [native(), InternVideo2VideoProcessor()])
def test_processes_give_the_same(clips, tmp_path, processor, two_threads):
    paths, _ = clips
    one = cache_frames(table(*paths.values()), processor, tmp_path / "one", num_proc=1)
    two = cache_frames(table(*paths.values()), processor, tmp_path / "two", num_proc=2)
    assert all(np.array_equal(frames_of(a), frames_of(b)) for a, b in zip(one, two, strict=True))


def test_dataset_dict(clips, tmp_path):
    paths, _ = clips
    splits = DatasetDict(train=table(paths["a"], paths["b"]), test=table(paths["c"]))
    cached = cache_frames(splits, native(), tmp_path / "cache", num_proc=1)
    assert {name: len(split) for name, split in cached.items()} == {"train": 2, "test": 1}
    assert "frames" in cached["test"].column_names


def test_says_how_much_disk_it_takes(tmp_path, capsys):
    bigger = write_clip(tmp_path / "bigger.mkv", pan(count=8))
    cache_frames(table(bigger), native(), tmp_path / "cache", windows=40, num_proc=1)
    assert "1 videos, about 108 MB, in " in capsys.readouterr().err  # 40 * 8 * 448 * 252 * 3 bytes
    cache_frames(table(bigger), native(), tmp_path / "cache", windows=40, num_proc=1)
    assert capsys.readouterr().err == ""


def test_a_link_to_another_file_is_another_video(clips, tmp_path, decoded):
    paths, _ = clips
    link = tmp_path / "link.mkv"
    for name in ("a", "b"):
        link.unlink(missing_ok=True)
        link.symlink_to(paths[name])
        row = cache_frames(table(link), native(), tmp_path / "cache", num_proc=1)[0]
        assert row["frames_shape"][1:3] == list(SIZES[name][::-1])


def test_a_video_that_only_moves_is_not_decoded_again(clips, tmp_path, decoded):
    paths, _ = clips
    cache_frames(table(paths["a"]), native(), tmp_path / "cache", num_proc=1)
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(paths["a"], tmp_path / "elsewhere")
    row = cache_frames(table(moved), native(), tmp_path / "cache", num_proc=1)[0]
    assert len(decoded) == 1 and row["video"] == str(moved) and frames_of(row).shape[0] == 8


def test_regions_are_native_and_spread_over_the_frame(clips, tmp_path):
    paths, frames = clips
    settings = {"windows": 2, "max_pixels": 40 * 30, "num_proc": 1}
    one = cache_frames(table(paths["a"]), native(), tmp_path / "cache", **settings)[0]
    three = cache_frames(table(paths["a"]), native(), tmp_path / "cache", regions=3, **settings)[0]
    assert one["frames_shape"] == [16, 30, 40, 3] and three["frames_shape"] == [48, 30, 40, 3]
    regions = frames_of(three).reshape(3, 2, 8, 30, 40, 3)
    assert np.array_equal(regions[0].reshape(16, 30, 40, 3), frames_of(one)), "the first is the centre"
    places = {found for region in regions for found in [place_of(region[0, 0], frames["a"][1])]}
    assert len(places) == 3 and None not in places


def place_of(region, frame):
    height, width = region.shape[:2]
    for top in range(frame.shape[0] - height + 1):
        for left in range(frame.shape[1] - width + 1):
            if np.array_equal(frame[top : top + height, left : left + width], region):
                return top, left
    return None


def test_small_frames_are_not_kept_once_for_each_view(clips, tmp_path):
    paths, _ = clips
    row = cache_frames(table(paths["a"]), native(), tmp_path / "cache", max_pixels=10**6, regions=5, num_proc=1)[0]
    assert row["frames_shape"] == [8, 90, 120, 3]


@pytest.mark.parametrize("free", [None, 1000])
def test_more_than_fits_is_refused_with_the_way_out(clips, tmp_path, monkeypatch, decoded, free):
    paths, _ = clips
    if free:
        usage = shutil.disk_usage(tmp_path)._replace(free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    limit = {} if free else {"max_bytes": 1e5}
    what = "free on this disk" if free else r"the limit \(0.0 GB\)"
    with pytest.raises(ValueError, match=f"more than .*{what}.*max_pixels.*cvqa cache"):
        cache_frames(table(paths["a"]), native(), tmp_path / "cache", num_proc=1, **limit)
    assert decoded == []
