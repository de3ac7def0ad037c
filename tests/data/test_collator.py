import shutil
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from photo_clips import pan, write_clip
from torch.utils.data import DataLoader

from cvqa.data.collator import QualityCollator
from cvqa.data.frames import cache_frames, frames_of
from cvqa.models import InternVideo2VideoProcessor
from cvqa.models.video_reader import VideoError


SMALL = {"size": 84, "crop_size": 84}
MODES = {
    "published": InternVideo2VideoProcessor(),
    "resize": InternVideo2VideoProcessor(**SMALL),
    "fragments": InternVideo2VideoProcessor(**SMALL, spatial_mode="fragments"),
    "native crop": InternVideo2VideoProcessor(**SMALL, spatial_mode="fragments", fragment_size=84),
    "window": InternVideo2VideoProcessor(**SMALL, frame_sampling="window", frame_stride=2, num_frames=4),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    paths = [
        write_clip(folder / "h264.mp4", pan("coffee", 160, 96), "libx264", "yuv420p", crf="35"),
        write_clip(folder / "vp9.webm", pan("astronaut", 96, 160), "libvpx-vp9", "yuv420p", deadline="realtime"),
        write_clip(folder / "odd.mkv", pan("rocket", 131, 93)),
    ]
    return Dataset.from_dict({"video": [str(path) for path in paths], "label": [0.2, 0.5, 0.9]})


@pytest.fixture(scope="module")
def cached(dataset, tmp_path_factory):
    """By mode; three windows per video."""
    folder = tmp_path_factory.mktemp("cache")
    return {mode: cache_frames(dataset, MODES[mode], folder, windows=3, num_proc=1) for mode in MODES}


@pytest.mark.parametrize("mode", MODES)
def test_the_pixels_of_inference_bit_for_bit(dataset, cached, mode):
    processor = MODES[mode]
    expected = processor(dataset["video"][:])["pixel_values_videos"]
    for rows in (list(cached[mode]), list(dataset)):
        batch = QualityCollator(processor)(rows)
        assert set(batch) == {"pixel_values_videos", "labels"}
        assert torch.equal(batch["pixel_values_videos"], expected) and expected.is_contiguous()
        assert batch["labels"].dtype == torch.float32 and batch["labels"].tolist() == pytest.approx([0.2, 0.5, 0.9])


def test_rows_without_label(dataset):
    assert set(QualityCollator(MODES["resize"])(list(dataset.remove_columns("label")))) == {"pixel_values_videos"}


@pytest.mark.parametrize("mode", MODES)
def test_bytes_normalised_later_are_the_same_pixels(cached, mode):
    rows, processor = list(cached[mode]), MODES[mode]
    batch = QualityCollator(processor, as_uint8=True)(rows)
    assert batch["pixel_values_videos"].dtype == torch.uint8
    expected = QualityCollator(processor)(rows)["pixel_values_videos"]
    assert processor.pixel_values(batch["pixel_values_videos"]).equal(expected)


@pytest.mark.parametrize("mode", ["resize", "native crop"])
def test_augmentation_moves_and_mirrors_and_changes_nothing_else(cached, mode):
    """Every view is found again in the cached frames: somewhere in one of the windows, mirrored or not."""
    processor, row = MODES[mode], cached[mode][0]
    windows = frames_of(row).reshape(3, 8, *row["frames_shape"][1:])
    collate, found = QualityCollator(processor, augment=True), set()
    for epoch in range(24):
        collate.set_epoch(epoch)
        view = collate([row])["pixel_values_videos"][0]
        found.add(locate(processor, view, windows))
    assert {window for window, *_ in found} == {0, 1, 2} and {mirrored for *_, mirrored in found} == {False, True}
    assert len({place for _, place, _ in found}) > 10


def locate(processor, view, windows):
    """(window, (top, left), mirrored) where `view` was cut."""
    frames = processor.pixel_values(torch.from_numpy(windows.copy()).permute(0, 1, 4, 2, 3))
    for mirrored in (False, True):
        upright = view.flip(-1) if mirrored else view
        for window, candidate in enumerate(frames):
            corners = (candidate[0] == upright[0, :, :1, :1]).all(0)
            for top, left in torch.nonzero(corners).tolist():
                if torch.equal(candidate[..., top : top + 84, left : left + 84], upright):
                    return window, (top, left), mirrored
    raise AssertionError("not a piece of the frames")


def test_augmented_fragments_are_native_and_in_their_regions(cached):
    processor, row = MODES["fragments"], cached["fragments"][2]
    windows = frames_of(row).reshape(3, 8, *row["frames_shape"][1:])[:, 0]
    frames = processor.pixel_values(torch.from_numpy(windows.copy()).permute(0, 3, 1, 2))
    height, width = frames.shape[-2:]
    collate = QualityCollator(processor, augment=True)

    def fits(view):
        """Whether every fragment is found in its region of one of the windows, the same for all."""
        return any(
            all(
                any(
                    torch.equal(frame[:, top : top + 28, left : left + 28], view[:, 28 * r :, 28 * c :][:, :28, :28])
                    for top in range(r * height // 3, (r + 1) * height // 3 - 27)
                    for left in range(c * width // 3, (c + 1) * width // 3 - 27)
                )
                for r in range(3)
                for c in range(3)
            )
            for frame in frames
        )

    for epoch in range(8):
        collate.set_epoch(epoch)
        view = collate([row])["pixel_values_videos"][0, 0]
        assert fits(view) or fits(view.flip(-1))


def test_decoded_videos_are_augmented_in_time(dataset):
    processor = MODES["window"]
    collate = QualityCollator(processor, augment=True)
    batches = []
    for epoch in range(6):
        collate.set_epoch(epoch)
        batches.append(collate([dataset[0]])["pixel_values_videos"])
    assert len({batch.double().sum().item() for batch in batches}) == 6


def epochs(loader, collate=None, count=2):
    results = []
    for epoch in range(count):
        if collate is not None:
            collate.set_epoch(epoch)
        results.append(torch.cat([batch["pixel_values_videos"] for batch in loader]))
    return results


@pytest.mark.parametrize("workers", [{}, {"num_workers": 2}, {"num_workers": 1, "persistent_workers": True}])
def test_with_epochs_set_draws_depend_on_seed_epoch_and_video_only(cached, workers):
    rows, processor = cached["fragments"], MODES["fragments"]
    reference = QualityCollator(processor, augment=True, seed=3)
    expected = epochs(DataLoader(rows, batch_size=3, collate_fn=reference), reference)
    collate = QualityCollator(processor, augment=True, seed=3)
    got = epochs(DataLoader(rows, batch_size=1, collate_fn=collate, **workers), collate)
    assert all(torch.equal(a, b) for a, b in zip(got, expected))
    assert not torch.equal(*expected)
    other = QualityCollator(processor, augment=True, seed=4)
    assert not torch.equal(epochs(DataLoader(rows, batch_size=3, collate_fn=other), other, 1)[0], expected[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_without_epochs_draws_follow_the_random_state_of_torch(cached, workers, monkeypatch):
    collate = QualityCollator(MODES["fragments"], augment=True)
    loader = DataLoader(cached["fragments"], batch_size=1, collate_fn=collate, num_workers=workers)

    def run(rank):
        monkeypatch.setenv("RANK", str(rank))
        torch.manual_seed(5)
        return epochs(loader)

    first, again, elsewhere = run(0), run(0), run(1)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], elsewhere[0])


def test_without_augmentation_nothing_is_drawn(cached):
    state = torch.get_rng_state()
    QualityCollator(MODES["fragments"])(list(cached["fragments"]))
    assert torch.equal(torch.get_rng_state(), state)


def test_frames_cached_for_another_processor_are_refused(cached):
    collate = QualityCollator(InternVideo2VideoProcessor(num_frames=4))
    with pytest.raises(ValueError, match=r"h264\.mp4 were cached for .*\"num_frames\": 8.*cache them again"):
        collate([cached["resize"][0]])
    with pytest.raises(ValueError, match="cache them again"):
        QualityCollator(MODES["fragments"])([cached["resize"][0]])


def test_an_unreadable_video_is_named(tmp_path):
    with pytest.raises(VideoError, match="absent"):
        QualityCollator(MODES["resize"])([{"video": str(tmp_path / "absent.mp4"), "label": 0.5}])


def test_draws_do_not_depend_on_where_the_data_lie(dataset, tmp_path):
    (tmp_path / Path(dataset["video"][0]).parent.name).mkdir()
    moved = [shutil.copy(video, tmp_path.joinpath(*Path(video).parts[-2:])) for video in dataset["video"]]
    collate = QualityCollator(MODES["native crop"], augment=True, seed=1)
    collate.set_epoch(3)
    here = collate([{"video": video} for video in dataset["video"]])["pixel_values_videos"]
    there = collate([{"video": str(video)} for video in moved])["pixel_values_videos"]
    assert torch.equal(here, there)


def test_repeated_rows_are_drawn_for_apart(cached):
    rows = [{**cached["native crop"][0], "repeat": repeat} for repeat in (0, 1, 1)]
    collator = QualityCollator(MODES["native crop"], augment="quality")
    collator.set_epoch(0)
    first, second, same = collator(rows)["pixel_values_videos"]
    assert torch.equal(second, same) and not torch.equal(first, second)
    assert torch.equal(first, collator([cached["native crop"][0]])["pixel_values_videos"][0])
