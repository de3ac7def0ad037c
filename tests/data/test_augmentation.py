"""Augmentation by name: the published one against Pillow, on which its definition rests, and both over whole clips."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from real_clips import photograph

from cvqa.data.augmentation import OPERATIONS, get_augmentation, luma, rand_augment, random_erasing, random_resized_crop
from cvqa.data.collator import QualityCollator
from cvqa.data.frames import frame_settings
from cvqa.models import InternVideo2VideoProcessor


PROCESSOR = InternVideo2VideoProcessor(size=56, crop_size=56, num_frames=4)
PHOTOGRAPH = photograph("coffee", 120, 80)
GREY = (124, 116, 104)


def still(count: int = 4) -> torch.Tensor:
    """A clip in which nothing moves: what is the same for all frames keeps it so."""
    return torch.from_numpy(PHOTOGRAPH.copy()).permute(2, 0, 1).expand(count, 3, 80, 120).contiguous()


def affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GREY)


# As timm has them, at 7 of 10; a shear moves lines in proportion to their distance from the first.
EXPECTED = {
    "auto_contrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
    "rotate": lambda image: image.rotate(-21, Image.Resampling.BILINEAR, fillcolor=GREY),
    "posterize": lambda image: ImageOps.posterize(image, 2),
    "solarize": lambda image: ImageOps.solarize(image, 256 - 179),
    "solarize_add": lambda image: image.point([min(255, v + 77) if v < 128 else v for v in range(256)] * 3),
    "color": lambda image: ImageEnhance.Color(image).enhance(1.63),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.63),
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(1.63),
    "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(1.63),
    "shear_x": lambda image: affine(image, 1, 0.21, 0, 0, 1, 0),
    "shear_y": lambda image: affine(image, 1, 0, 0, 0.21, 1, 0),
    "translate_x": lambda image: affine(image, 1, 0, -38, 0, 1, 0),
    "translate_y": lambda image: affine(image, 1, 0, 0, 0, 1, -25),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_those_of_pillow(name):
    got = OPERATIONS[name](still(1), 0.7, 1)[0].permute(1, 2, 0).numpy().astype(int)
    expected = np.asarray(EXPECTED[name](Image.fromarray(PHOTOGRAPH))).astype(int)
    changed = np.abs(expected - PHOTOGRAPH).mean()
    assert np.abs(got - expected).mean() < 0.05 * changed + 0.5 and changed > 0.5


def test_the_other_sign_goes_the_other_way():
    brighter, darker = (OPERATIONS["brightness"](still(1), 0.7, sign).float().mean() for sign in (1, -1))
    assert darker < still(1).float().mean() < brighter


@pytest.mark.parametrize("name", ["quality", "luma", "published"])
def test_all_frames_of_a_clip_undergo_the_same(name):
    view, rng = get_augmentation(name).view, np.random.default_rng(0)
    for _ in range(10):
        seen = view(still(), PROCESSOR, rng)
        assert seen.shape == (4, 3, 56, 56) and seen.dtype == torch.uint8
        erased = (seen != seen[:1]).any(dim=1).any(dim=0).float().mean()
        assert erased == 0 or (name == "published" and 0.01 < erased < 0.34), "noise alone differs between frames"


def test_luma_views_keep_the_luma_of_what_the_processor_shows():
    seen = {"grey": 0, "coloured": 0}
    turned = set()
    for seed in range(60):
        # The same draws first: the same crop and mirroring, then what "luma" adds.
        plain = get_augmentation("quality").view(still(), PROCESSOR, np.random.default_rng(seed))
        view = get_augmentation("luma").view(still(), PROCESSOR, np.random.default_rng(seed))
        assert view.shape == plain.shape and view.dtype == torch.uint8
        turns = {(flip, swap): turn(luma(plain), flip, swap) for flip in (False, True) for swap in (False, True)}
        same = [name for name, expected in turns.items() if torch.equal(luma(view), expected)]
        assert same, "luma is that of the plain view, upside down or transposed"
        turned |= set(same)
        is_grey = torch.equal(view[:, 0], view[:, 1]) and torch.equal(view[:, 1], view[:, 2])
        seen["grey" if is_grey else "coloured"] += 1
    assert min(seen.values()) > 15 and len(turned) == 4


def turn(view: torch.Tensor, flip: bool, swap: bool) -> torch.Tensor:
    view = view.flip(-2) if flip else view
    return view.transpose(-1, -2) if swap else view


def test_luma_is_that_of_pillow():
    grey = luma(still(1))[0, 0].int()
    assert (grey - torch.from_numpy(np.array(Image.fromarray(PHOTOGRAPH).convert("L"))).int()).abs().max() <= 1


def test_half_of_the_operations_are_left_out():
    rng = np.random.default_rng(0)
    same = np.mean([torch.equal(rand_augment(still(1), rng), still(1)) for _ in range(300)])
    assert 0.03 < same < 0.12  # 1/16, and a few operations that happen to change nothing


def test_resized_crops_cover_the_published_range_of_areas():
    ramp = torch.arange(256, dtype=torch.uint8).expand(1, 3, 256, 256).contiguous()  # a column tells where it was
    rng = np.random.default_rng(0)
    widths, heights = [], []
    for _ in range(300):
        for side, clip in ((widths, ramp), (heights, ramp.mT)):
            state = rng.bit_generator.state
            piece = random_resized_crop(clip.contiguous(), (56, 56), rng).float()[0, 0]
            line = piece[28] if side is widths else piece[:, 28]
            side.append(float(line[-8] - line[8]) * 56 / 40)
            if side is widths:
                rng.bit_generator.state = state
    areas, ratios = np.multiply(widths, heights) / 256**2, np.divide(widths, heights)
    assert 0.06 < areas.min() < 0.15 and 0.85 < areas.max() < 1.1
    assert 0.70 < ratios.min() < 0.85 and 1.2 < ratios.max() < 1.42


def test_erased_pixels_are_noise_of_the_training_statistics():
    grey = torch.full((4, 3, 56, 56), 7, dtype=torch.uint8)
    pixels = []
    for seed in range(20):
        erased = random_erasing(grey, PROCESSOR, np.random.default_rng(seed))
        changed = (erased != 7).any(dim=1).any(dim=0)
        assert 0.01 < changed.float().mean() < 0.35
        pixels.append(erased[:, :, changed].float())
    pixels = torch.cat(pixels, dim=-1).transpose(0, 1).flatten(1)
    assert pixels.mean(1) == pytest.approx(255 * np.array(PROCESSOR.image_mean), abs=4)
    assert bool((grey == 7).all())


def cached_row(native: bool) -> dict:
    frames = still().permute(0, 2, 3, 1).numpy()
    return {
        "video": "still.mp4",
        "label": 0.25,
        "frames": frames.tobytes(),
        "frames_shape": frames.shape,
        "frames_settings": frame_settings(PROCESSOR, native=native),
    }


def test_the_published_preset_takes_two_clips_of_each_video_and_is_reproducible():
    rows = [cached_row(native=True), {**cached_row(native=True), "video": "other.mp4", "label": 0.75}]
    collate = QualityCollator(PROCESSOR, augment="published", seed=1)
    collate.set_epoch(0)
    batch, again = collate(rows), collate(rows)
    assert batch["labels"].tolist() == [0.25, 0.25, 0.75, 0.75]
    clips = batch["pixel_values_videos"]
    assert clips.shape == (4, 4, 3, 56, 56) and torch.equal(clips, again["pixel_values_videos"])
    assert not any(torch.equal(clips[a], clips[b]) for a in range(4) for b in range(a))
    collate.set_epoch(1)
    assert not torch.equal(clips, collate(rows)["pixel_values_videos"])


def test_the_published_preset_refuses_frames_that_were_resized():
    collate = QualityCollator(PROCESSOR, augment="published")
    with pytest.raises(ValueError, match=r"cached for .*\"size\".*native=True, which this augmentation needs"):
        collate([cached_row(native=False)])


def test_native_frames_serve_a_processor_that_resizes():
    seen = QualityCollator(PROCESSOR, as_uint8=True)([cached_row(native=True)])["pixel_values_videos"][0]
    assert torch.equal(seen, PROCESSOR.spatial_views(still()))


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="no augmentation is called 'strong'; choose one of quality, luma, published"):
        QualityCollator(PROCESSOR, augment="strong")
    assert QualityCollator(PROCESSOR).augmentation is None
    assert QualityCollator(PROCESSOR, augment=True).augmentation is get_augmentation("quality")
