import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageFilter

from cvqa.video.photographs import (
    SHARPNESS_THRESHOLD,
    camera_path,
    fit_size,
    open_photograph,
    overlap,
    pan_and_zoom,
    sharpness,
)


@pytest.fixture(scope="module")
def astronaut():
    return Image.fromarray(skimage.data.astronaut())


@pytest.mark.parametrize("image_size", [(480, 270), (481, 700), (888, 500), (590, 888), (4000, 3000)])
def test_camera_stays_in_the_photograph_and_never_enlarges(image_size):
    for seed in range(20):
        boxes = camera_path(image_size, (480, 270), 24, seed)
        assert boxes.shape == (24, 4)
        assert boxes.min() >= 0 and (boxes[:, 2:] <= image_size).all()
        scale = (boxes[:, 2:] - boxes[:, :2]) / (480, 270)
        assert scale.min() >= 1 - 1e-9
        np.testing.assert_allclose(scale[:, 0], scale[:, 1])  # pixels stay square


def test_camera_moves_smoothly():
    for seed in range(20):
        boxes = camera_path((1280, 960), (480, 270), 24, seed)
        scale = (boxes[:, 2] - boxes[:, 0])[:, None] / 480
        steps = np.diff(boxes[:, :2] + boxes[:, 2:], axis=0) / 2 / scale[1:]
        speed = np.hypot(*steps.T)
        assert 0.02 < speed.mean() < 10
        assert abs(np.diff(steps, axis=0)).max() < 2


def test_every_frame_shows_its_box_to_a_fraction_of_a_pixel():
    def waves(x):
        return 128 + 100 * np.sin(2 * np.pi * x / 40)  # changes by up to 16 levels per pixel

    image = Image.fromarray(np.tile(waves(np.arange(640)), (480, 1)).round().astype(np.uint8))
    boxes = camera_path(image.size, (320, 180), 12, seed=4)
    clip = pan_and_zoom(image, (320, 180), 12, seed=4)
    for box, frame in zip(boxes, clip):
        x = box[0] + (np.arange(320) + 0.5) * (box[2] - box[0]) / 320 - 0.5
        assert abs(frame[90, 8:-8, 0] - waves(x)[8:-8]).max() < 2
    steps = np.diff(boxes[:, 0]) / np.diff(boxes[0, [0, 2]]) * 320
    assert abs(steps - steps.round()).max() > 0.2


def test_seed_decides_the_clip(astronaut):
    first, same, other = (pan_and_zoom(astronaut, (160, 90), 3, seed) for seed in (1, 1, 2))
    assert first.shape == (3, 90, 160, 3) and first.dtype == np.uint8
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_another_take_shows_other_parts_of_the_photograph():
    independent, chosen = [], []
    for seed in range(12):
        first = camera_path((1600, 1200), (480, 270), 24, seed)
        independent.append(overlap(first, camera_path((1600, 1200), (480, 270), 24, 100 + seed)))
        second = camera_path((1600, 1200), (480, 270), 24, 100 + seed, takes=[first])
        np.testing.assert_array_equal(second, camera_path((1600, 1200), (480, 270), 24, 100 + seed, takes=[first]))
        chosen.append(overlap(first, second))
        third = camera_path((1600, 1200), (480, 270), 24, 100 + seed, takes=[first, second])
        assert max(overlap(third, first), overlap(third, second)) < 0.9
    assert np.mean(chosen) < 0.6 * np.mean(independent)


def test_overlap_is_the_share_of_the_smaller_view():
    wide = np.array([[0.0, 0, 100, 50]])
    for other, share in (
        ([0, 0, 100, 50], 1),
        ([20, 10, 60, 30], 1),  # all of it is in the wide one
        ([50, 0, 150, 50], 0.5),
        ([100, 0, 200, 50], 0),
        ([150, 60, 200, 90], 0),
    ):
        assert overlap(wide, np.array([other], float)) == pytest.approx(share)
    moving = np.array([[0.0, 0, 100, 50], [100, 0, 200, 50]])
    assert overlap(wide, moving) == overlap(moving, wide) == pytest.approx(0.5)


def test_single_frame(astronaut):
    assert pan_and_zoom(astronaut, (160, 90), 1).shape == (1, 90, 160, 3)


def test_enlarging_is_refused_and_fit_size_helps(astronaut, tmp_path):
    astronaut.save(tmp_path / "small.png")
    with pytest.raises(ValueError, match=r"small\.png.* 512x512 .*enlarged.* 640x360"):
        pan_and_zoom(tmp_path / "small.png", (640, 360), 4)
    size = fit_size(astronaut.size, (640, 360))
    assert size == (464, 260)
    assert pan_and_zoom(tmp_path / "small.png", size, 4).shape == (4, 260, 464, 3)
    assert fit_size((4000, 3000), (640, 360)) == (640, 360)


def test_photograph_is_turned_upright(tmp_path):
    stored = Image.new("RGB", (80, 60), "blue")
    stored.paste("red", (0, 0, 40, 60))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned to the right: what was left is now on top
    stored.save(tmp_path / "phone.png", exif=exif)
    image, name = open_photograph(tmp_path / "phone.png")
    assert name.endswith("phone.png") and image.size == (60, 80)
    assert image.getpixel((30, 10)) == (255, 0, 0) and image.getpixel((30, 70)) == (0, 0, 255)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
def test_all_modes_become_rgb(mode, tmp_path):
    grey = skimage.data.camera()
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.tif")
    else:
        Image.fromarray(grey).convert(mode).save(tmp_path / "a.tif")
    clip = pan_and_zoom(tmp_path / "a.tif", (128, 72), 2)
    assert clip.shape == (2, 72, 128, 3)
    assert 40 < clip.mean() < 215 and clip.std() > 20


def test_unreadable_photograph_is_named(tmp_path):
    (tmp_path / "text.jpg").write_text("not a photograph")
    with pytest.raises(ValueError, match=r"text\.jpg: can't be read"):
        open_photograph(tmp_path / "text.jpg")
    with pytest.raises(ValueError, match=r"gone\.jpg: can't be read"):
        open_photograph(tmp_path / "gone.jpg")


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket", "chelsea"])
def test_sharpness_tells_reduced_from_enlarged_photographs(name):
    image = Image.fromarray(getattr(skimage.data, name)())
    reduced = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    enlarged = image.crop((0, 0, 240, 160)).resize((400, 267), Image.Resampling.BICUBIC)
    blurred = reduced.filter(ImageFilter.GaussianBlur(1.5))
    assert sharpness(np.asarray(reduced)[None]) > SHARPNESS_THRESHOLD
    assert sharpness(np.asarray(enlarged)[None]) < SHARPNESS_THRESHOLD
    assert sharpness(np.asarray(blurred)[None]) < SHARPNESS_THRESHOLD / 4


def test_sharpness_does_not_depend_on_contrast_or_brightness():
    grey = skimage.data.camera()[None].astype(np.float32)
    assert sharpness(grey * 0.25 + 90) == pytest.approx(sharpness(grey), rel=1e-3)


def test_sharpness_is_one_for_the_spectrum_of_nature():
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512))
    spectrum = np.fft.rfft2(rng.standard_normal((512, 512))) / np.maximum(frequency, 1 / 512)
    assert sharpness(np.fft.irfft2(spectrum)[None]) == pytest.approx(1, abs=0.1)
    assert sharpness(np.zeros((1, 64, 64))) == 0
