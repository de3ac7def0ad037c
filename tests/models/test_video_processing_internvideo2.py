import http.server
import json
import os
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from photo_clips import pan, write_clip
from PIL import Image
from real_clips import encode, panned
from transformers import AutoVideoProcessor

import cvqa
from cvqa.models import InternVideo2VideoProcessor
from cvqa.models.video_processing_internvideo2 import VideoError
from cvqa.models.video_reader import VideoReader


MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A lossless file of 24 frames of 448x252, and these frames."""
    frames = pan()
    return write_clip(tmp_path_factory.mktemp("clips") / "lossless.mkv", frames), frames


def pixels_of(processor, videos, **options):
    return processor(videos, **options)["pixel_values_videos"]


def back_to_uint8(pixels):
    """(..., 3, height, width) model input -> (..., height, width, 3) as stored."""
    values = (np.moveaxis(pixels.numpy().astype(float), -3, -1) * STD + MEAN) * 255
    assert np.abs(values - values.round()).max() < 1e-3
    return values.round().astype(np.uint8)


def channels_first(frames):
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


class TestFrameIndices:
    def test_uniform_takes_the_middles_of_equal_stretches(self):
        processor = InternVideo2VideoProcessor()
        assert processor.frame_indices(80).tolist() == [5, 15, 25, 35, 45, 55, 65, 75]
        assert processor.frame_indices(300, start=100, end=116).tolist() == list(range(101, 117, 2))

    def test_window_is_central_and_spread_from_end_to_end(self):
        processor = InternVideo2VideoProcessor(frame_sampling="window")
        assert processor.frame_indices(100).tolist() == [18, 27, 36, 45, 54, 63, 72, 81]
        assert processor.frame_indices(64).tolist() == [0, 9, 18, 27, 36, 45, 54, 63]
        dense = InternVideo2VideoProcessor(frame_sampling="window", frame_stride=1)
        assert dense.frame_indices(100, start=20, end=40).tolist() == list(range(26, 34))

    @pytest.mark.parametrize("sampling", ["uniform", "window"])
    def test_short_videos_repeat_frames(self, sampling):
        processor = InternVideo2VideoProcessor(frame_sampling=sampling)
        assert processor.frame_indices(1).tolist() == [0] * 8
        assert set(processor.frame_indices(3)) == {0, 1, 2}

    @given(data=st.data(), total=st.integers(1, 400), sampling=st.sampled_from(["uniform", "window"]))
    def test_always_rising_and_within_the_range(self, data, total, sampling):
        start = data.draw(st.integers(0, total - 1))
        end = data.draw(st.integers(start + 1, total))
        processor = InternVideo2VideoProcessor(
            num_frames=data.draw(st.integers(1, 20)), frame_stride=data.draw(st.integers(1, 9)), frame_sampling=sampling
        )
        generator = np.random.default_rng(data.draw(st.integers(0, 99)))
        last_phase = np.nextafter(1, 0)
        for indices in (
            processor.frame_indices(total, start, end),
            processor.frame_indices(total, start, end, generator),
            processor.frame_indices(total, start, end, phase=last_phase),
        ):
            assert indices.dtype == np.int64 and len(indices) == processor.num_frames
            assert start <= indices[0] and indices[-1] < end and (np.diff(indices) >= 0).all()

    def test_random_windows_reach_every_position_and_repeat_with_their_seed(self):
        processor = InternVideo2VideoProcessor(frame_sampling="window", frame_stride=2)
        generator = np.random.default_rng(0)
        drawn = [tuple(processor.frame_indices(20, generator=generator)) for _ in range(200)]
        assert {indices[0] for indices in drawn} == {0, 1, 2, 3, 4}
        assert all(indices[-1] - indices[0] == 15 for indices in drawn)
        assert tuple(processor.frame_indices(20, generator=np.random.default_rng(0))) == drawn[0]

    def test_an_impossible_range_is_refused(self):
        with pytest.raises(ValueError, match="frames 5 to 30 of a video of 24"):
            InternVideo2VideoProcessor().frame_indices(24, 5, 30)


class TestResize:
    @pytest.mark.parametrize("size", [(448, 252), (252, 448), (333, 251), (120, 90)])
    def test_short_side_then_centre_as_with_pillow(self, size):
        """Both round to integers after each direction, with weights of different precision: single steps differ."""
        frames = pan("astronaut", *size, count=8)
        got = back_to_uint8(pixels_of(InternVideo2VideoProcessor(), frames, do_sample_frames=False)[0])
        scale = 224 / min(size)
        width, height = (int(side * scale) if side != min(size) else 224 for side in size)
        left, top = (width - 224) // 2, (height - 224) // 2
        for frame, view in zip(frames, got):
            image = Image.fromarray(frame).resize((width, height), Image.BICUBIC)
            expected = np.asarray(image.crop((left, top, left + 224, top + 224)))
            difference = np.abs(view.astype(int) - expected)
            assert difference.max() <= 2 and difference.mean() < 0.02

    def test_a_generator_moves_the_crop_along_the_long_side(self):
        processor, frames = InternVideo2VideoProcessor(), channels_first(pan(count=8))
        resized = processor.resize(frames, processor.size, processor.resample)
        view = processor.spatial_views(frames, np.random.default_rng(3))
        places = [left for left in range(398 - 223) if torch.equal(resized[..., left : left + 224], view)]
        assert len(places) == 1 and places[0] != (398 - 224) // 2

    def test_without_resize_too_small_frames_are_refused(self):
        with pytest.raises(ValueError, match="224x224 pixels of frames of 448x100"):
            InternVideo2VideoProcessor(do_resize=False)(pan(height=100))


class TestFragments:
    @pytest.mark.parametrize("fragment", [14, 28, 56, 112])
    @pytest.mark.parametrize("size", [(448, 252), (252, 448), (333, 251), (224, 224)])
    def test_every_cell_is_the_centre_of_its_region_at_native_resolution(self, size, fragment):
        frames = pan("astronaut", *size, count=8)
        processor = InternVideo2VideoProcessor(spatial_mode="fragments", fragment_size=fragment)
        got = back_to_uint8(pixels_of(processor, frames, do_sample_frames=False)[0])
        grid, (width, height) = 224 // fragment, size
        for row in range(grid):
            for column in range(grid):
                # Half of what is left of the region on either side, region borders rounded down.
                top = (row * height // grid + (row + 1) * height // grid - fragment) // 2
                left = (column * width // grid + (column + 1) * width // grid - fragment) // 2
                cell = got[:, row * fragment :, column * fragment :][:, :fragment, :fragment]
                assert np.array_equal(cell, frames[:, top : top + fragment, left : left + fragment])

    def test_as_large_as_the_crop_it_is_one_native_crop(self):
        frames = pan(count=8)
        processor = InternVideo2VideoProcessor(spatial_mode="fragments", fragment_size=224)
        got = back_to_uint8(pixels_of(processor, frames, do_sample_frames=False)[0])
        assert np.array_equal(got, frames[:, 14:238, 112:336])

    def test_random_cells_stay_in_their_regions_and_move_together_in_time(self):
        processor = InternVideo2VideoProcessor(spatial_mode="fragments", fragment_size=56)
        # Values tell the place: row in the first channel, column in the second, half of it each; time in the third.
        frames = torch.zeros(8, 3, 300, 480, dtype=torch.uint8)
        frames[:, 0] += (torch.arange(300) // 2).to(torch.uint8)[:, None]
        frames[:, 1] += (torch.arange(480) // 2).to(torch.uint8)
        frames[:, 2] += torch.arange(8, dtype=torch.uint8)[:, None, None]
        views = [processor.spatial_views(frames, np.random.default_rng(seed)) for seed in range(20)]
        for view in views:
            assert (view[:, :2] == view[:1, :2]).all(), "the same place in all frames"
            assert (view[:, 2] == torch.arange(8)[:, None, None]).all()
            for row in range(4):
                for column in range(4):
                    cell = view[0, :, row * 56 :, column * 56 :][:, :56, :56].int() * 2
                    assert row * 75 - 1 <= cell[0].min() and cell[0].max() < (row + 1) * 75
                    assert column * 120 - 1 <= cell[1].min() and cell[1].max() < (column + 1) * 120
        assert not all(torch.equal(view, views[0]) for view in views)
        assert torch.equal(processor.spatial_views(frames, np.random.default_rng(0)), views[0])

    def test_frames_smaller_than_the_mosaic_overlap_and_are_not_scaled(self):
        frames = pan(width=128, height=96, count=8)
        processor = InternVideo2VideoProcessor(spatial_mode="fragments", fragment_size=56)
        got = back_to_uint8(pixels_of(processor, frames, do_sample_frames=False)[0])
        for row, top in enumerate([0, 13, 26, 40]):
            for column, left in enumerate([0, 24, 48, 72]):
                cell = got[:, row * 56 :, column * 56 :][:, :56, :56]
                assert np.array_equal(cell, frames[:, top : top + 56, left : left + 56])

    def test_frames_smaller_than_a_fragment_are_continued_by_their_mirror_image(self):
        frames = pan(width=60, height=20, count=8)
        processor = InternVideo2VideoProcessor(spatial_mode="fragments")
        got = back_to_uint8(pixels_of(processor, frames, do_sample_frames=False)[0, :1])[0]
        continued = np.pad(frames[0], ((4, 4), (0, 0), (0, 0)), mode="symmetric")
        assert got.shape == (224, 224, 3)
        assert np.array_equal(got[:28, :28], continued[:, :28])
        assert np.array_equal(got[-28:, -28:], continued[:, -28:])

    @pytest.mark.parametrize("fragment", [0, 16, 30, 32, 42, 448])
    def test_fragments_that_would_split_a_patch_are_refused(self, fragment):
        message = r"multiple of the patch size 14 that divides the crop of 224x224.*\[14, 28, 56, 112, 224\], not"
        with pytest.raises(ValueError, match=message):
            InternVideo2VideoProcessor(spatial_mode="fragments", fragment_size=fragment)
        with pytest.raises(ValueError, match=message):
            InternVideo2VideoProcessor()(pan(count=8), spatial_mode="fragments", fragment_size=fragment)

    def test_other_patch_sizes(self):
        processor = InternVideo2VideoProcessor(spatial_mode="fragments", patch_size=16, fragment_size=32)
        assert pixels_of(processor, pan()).shape == (1, 8, 3, 224, 224)

    def test_a_single_fragment_has_no_seams_that_a_patch_could_straddle(self):
        crop = {"height": 112, "width": 112}
        processor = InternVideo2VideoProcessor(
            spatial_mode="fragments", patch_size=32, fragment_size=112, crop_size=crop, num_frames=2
        )
        assert processor(pan(count=2))["pixel_values_videos"].shape == (1, 2, 3, 112, 112)


class TestInputs:
    def test_every_way_in_gives_the_same_pixels(self, clip):
        path, frames = clip
        processor = InternVideo2VideoProcessor()
        expected = pixels_of(processor, frames)
        assert expected.shape == (1, 8, 3, 224, 224) and expected.dtype == torch.float32
        for video in (
            str(path),
            path,
            path.read_bytes(),
            np.moveaxis(frames, -1, 1),
            torch.from_numpy(frames),
            channels_first(frames),
            [Image.fromarray(frame) for frame in frames],
            list(frames),
        ):
            assert torch.equal(pixels_of(processor, video), expected), type(video)

    def test_batches(self, clip):
        path, frames = clip
        processor = InternVideo2VideoProcessor()
        one = pixels_of(processor, frames)[0]
        assert torch.equal(pixels_of(processor, np.stack([frames, frames])), torch.stack([one] * 2))
        mixed = [path, str(path), frames, channels_first(frames), path.read_bytes()]
        assert torch.equal(pixels_of(processor, mixed, return_tensors="pt"), torch.stack([one] * 5))

    def test_sizes_may_differ_within_a_batch(self, clip):
        assert pixels_of(InternVideo2VideoProcessor(), [clip[0], pan(width=100, height=300)]).shape[0] == 2

    def test_url(self, clip):
        path, frames = clip
        handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(path.parent))
        handler.log_message = lambda *args: None
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        processor = InternVideo2VideoProcessor()
        try:
            assert torch.equal(pixels_of(processor, f"{address}/{path.name}"), pixels_of(processor, frames))
            with pytest.raises(VideoError, match="404") as error:
                processor(f"{address}/missing.mp4")
            assert error.value.path == f"{address}/missing.mp4"
        finally:
            server.shutdown()

    @pytest.mark.parametrize(
        "name, codec, options",
        [
            ("h264.mp4", "libx264", {}),
            ("hevc.mp4", "libx265", {"x265-params": "log-level=none"}),
            ("vp9.webm", "libvpx-vp9", {"deadline": "realtime"}),
            ("av1.mp4", "libsvtav1", {"preset": "12"}),
        ],
    )
    def test_lossy_codecs_come_close_to_their_source(self, tmp_path, name, codec, options):
        frames = pan()
        path = write_clip(tmp_path / name, frames, codec, "yuv420p", crf="20", **options)
        processor = InternVideo2VideoProcessor(frame_sampling="window", frame_stride=2)
        difference = pixels_of(processor, path) - pixels_of(processor, frames)
        assert difference.abs().mean() < 0.1

    def test_only_the_sampled_frames_are_decoded(self, clip, monkeypatch):
        path, _ = clip
        asked = []
        get_batch = VideoReader.get_batch
        monkeypatch.setattr(VideoReader, "get_batch", lambda self, i: asked.append(list(i)) or get_batch(self, i))
        InternVideo2VideoProcessor(num_frames=4)(path)
        assert asked == [[3, 9, 15, 21]]

    def test_all_frames_as_they_are(self, clip):
        path, frames = clip
        processor = InternVideo2VideoProcessor()
        everything = pixels_of(processor, path, do_sample_frames=False)
        assert everything.shape[1] == len(frames)
        different = pixels_of(processor, [frames, frames[:5]], do_sample_frames=False)
        assert [len(video) for video in different] == [24, 5]

    def test_metadata(self, clip):
        path, frames = clip
        processor = InternVideo2VideoProcessor()
        metadata = processor([path, frames], return_metadata=True)["video_metadata"]
        assert (metadata[0].width, metadata[0].height) == (448, 252)
        assert metadata[0].fps == pytest.approx(25)
        for entry in metadata:
            assert entry.total_num_frames == 24
            assert list(entry.frames_indices) == [1, 4, 7, 10, 13, 16, 19, 22]
        given = {"total_num_frames": 24, "fps": 50.0}
        assert processor(frames, video_metadata=given, return_metadata=True)["video_metadata"][0].fps == 50

    def test_unreadable_files_are_named_with_the_reason(self, tmp_path):
        processor = InternVideo2VideoProcessor()
        text = tmp_path / "text.mp4"
        text.write_text("not a video")
        for video, name in ((text, str(text)), (str(tmp_path / "absent.mp4"), "absent.mp4"), (b"junk", "<4 bytes>")):
            with pytest.raises(VideoError) as error:
                processor(video)
            assert name in error.value.path and error.value.reason
            assert str(error.value) == f"{error.value.path}: {error.value.reason}"

    @pytest.mark.parametrize(
        "video, message",
        [
            (np.zeros((8, 40, 40, 3), np.float32), r"uint8 RGB .* not float32 \(8, 40, 40, 3\)"),
            (np.zeros((8, 40, 40, 4), np.uint8), r"uint8 RGB .* not uint8 \(8, 40, 40, 4\)"),
            (np.zeros((40, 40, 3), np.uint8), "4 dimensions"),
            ([], "not list"),
            (7, "not int 7"),
        ],
    )
    def test_other_things_are_refused(self, video, message):
        with pytest.raises(ValueError, match=message):
            InternVideo2VideoProcessor()(video)


class TestOptions:
    def test_round_trip(self, tmp_path):
        processor = InternVideo2VideoProcessor(
            num_frames=4, frame_sampling="window", frame_stride=3, spatial_mode="fragments", fragment_size=56
        )
        processor.save_pretrained(tmp_path)
        saved = json.loads((tmp_path / "video_preprocessor_config.json").read_text())
        assert saved["frame_sampling"] == "window" and saved["fragment_size"] == 56
        for cls in (InternVideo2VideoProcessor, AutoVideoProcessor):
            loaded = cls.from_pretrained(tmp_path)
            assert isinstance(loaded, InternVideo2VideoProcessor) and loaded.to_dict() == processor.to_dict()
        assert InternVideo2VideoProcessor.from_pretrained(tmp_path, num_frames=16).num_frames == 16

    def test_options_of_a_call(self):
        frames, plain = pan(), InternVideo2VideoProcessor()
        options = {"num_frames": 4, "frame_sampling": "window", "frame_stride": 2, "spatial_mode": "fragments"}
        changed = InternVideo2VideoProcessor(**options)
        assert torch.equal(pixels_of(plain, frames, **options), pixels_of(changed, frames))
        assert pixels_of(plain, frames, size=112, crop_size=112).shape[-2:] == (112, 112)
        raw = pixels_of(plain, frames, do_normalize=False)
        assert raw.min() >= 0 and 0.9 < raw.max() <= 1

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"frame_sampling": "random"}, "frame_sampling"),
            ({"spatial_mode": "crop"}, "spatial_mode"),
            ({"num_frames": 0}, "num_frames"),
            ({"frame_stride": 0}, "frame_stride"),
            ({"orientations": 0}, "orientations"),
            ({"orientations": 5}, "orientations"),
        ],
    )
    def test_wrong_options_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            InternVideo2VideoProcessor(**options)
        with pytest.raises(Exception, match=message):
            InternVideo2VideoProcessor()(pan(), **options)

    def test_fps_is_refused(self):
        with pytest.raises(ValueError, match="`fps` is not supported"):
            InternVideo2VideoProcessor()(pan(), fps=2)

    def test_travels_to_where_the_package_is_not_imported(self, clip, tmp_path):
        InternVideo2VideoProcessor(num_frames=4).save_pretrained(tmp_path / "saved")
        code = """
import sys
from transformers import AutoVideoProcessor
processor = AutoVideoProcessor.from_pretrained(sys.argv[1], trust_remote_code=True)
pixels = processor(sys.argv[2])["pixel_values_videos"]
assert "cvqa" not in sys.modules and type(processor).__module__.startswith("transformers_modules")
print(list(pixels.shape), pixels.double().sum().item())
"""
        result = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "saved"), str(clip[0])],
            capture_output=True,
            text=True,
            env=os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        )
        assert result.returncode == 0, result.stderr
        expected = pixels_of(cvqa.InternVideo2VideoProcessor(num_frames=4), clip[0])
        assert result.stdout.split("\n")[-2] == f"{list(expected.shape)} {expected.double().sum().item()}"


@pytest.mark.parametrize("number, name", [("16", "PQ"), ("18", "HLG")])
def test_hdr_is_refused_before_it_could_look_washed_out(tmp_path, number, name):
    clip = encode(tmp_path / "hdr.mp4", panned(6), "libx265", "yuv420p10le", color_trc=number)
    with pytest.raises(VideoError, match=rf"hdr.mp4: HDR video \({name}\).* tone-map it"):
        InternVideo2VideoProcessor()(str(clip))
