"""What may happen to a training clip: nothing that its label would not survive, or what was published.

`"quality"` leaves the quality as it is: another place in the frame, mirroring, and (by the collator) another moment.
`"luma"` also does what leaves luma as it is, for labels that see nothing else, such as VMAF, PSNR and SSIM of luma.
`"published"` is what InternVQA (arXiv 2502.19026) took over from action recognition. It rescales strongly and changes
colours, contrast and sharpness, and so the very quality that the label describes; it is here to compare with.

All frames of a clip undergo the same.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ..models.video_processing_internvideo2 import InternVideo2VideoProcessor


# frames uint8 (frames, 3, height, width), what draws -> uint8 (frames, 3, *crop_size)
View = Callable[[torch.Tensor, InternVideo2VideoProcessor, np.random.Generator], torch.Tensor]


class Augmentation(NamedTuple):
    """How training looks at a clip.

    Attributes:
        view: makes what the model sees.
        samples: clips taken of each video of a batch.
        native: whether it needs the frames as decoded, not resized.
    """

    view: View
    samples: int = 1
    native: bool = False


def quality_view(frames, processor, generator) -> torch.Tensor:
    """What the processor makes of it, anywhere in the frame, mirrored half of the time."""
    view = processor.spatial_views(frames, generator)
    return view.flip(-1) if generator.random() < 0.5 else view


def luma_view(frames, processor, generator) -> torch.Tensor:
    """As "quality", and half of the time each: upside down, turned by transposition (of a square view), in grey.

    Right for labels that are computed from luma and do not tell directions apart (VMAF, PSNR, SSIM); viewers do see
    colour, and know which way is up.
    """
    view = quality_view(frames, processor, generator)
    upside_down, transposed, grey = generator.random(3) < 0.5
    if upside_down:
        view = view.flip(-2)
    if transposed and view.shape[-1] == view.shape[-2]:
        view = view.transpose(-1, -2)
    return luma(view) if grey else view


def luma(frames: torch.Tensor) -> torch.Tensor:
    """Uint8 RGB (..., 3, height, width) to grey in the same shape: luma of BT.601, within a level."""
    red, green, blue = (frames.select(-3, channel).to(torch.int32) for channel in range(3))
    grey = (77 * red + 150 * green + 29 * blue + 128) >> 8
    return grey.to(torch.uint8).unsqueeze(-3).expand(frames.shape)


def published_view(frames, processor, generator) -> torch.Tensor:
    """RandAugment m7-n4-mstd0.5-inc1 at native size, random resized crop, mirroring, random erasing at 0.25."""
    size = (processor.crop_size.height, processor.crop_size.width)
    view = random_resized_crop(rand_augment(frames, generator), size, generator)
    view = view.flip(-1) if generator.random() < 0.5 else view
    return random_erasing(view, processor, generator) if generator.random() < 0.25 else view


AUGMENTATIONS = {
    "quality": Augmentation(quality_view),
    "luma": Augmentation(luma_view),
    "published": Augmentation(published_view, 2, native=True),
}


def get_augmentation(name: str | bool | None) -> Augmentation | None:
    """By its name; True is "quality", False and None are none. Raises ValueError for other names."""
    if name in (None, False):
        return None
    name = "quality" if name is True else name
    if name not in AUGMENTATIONS:
        raise ValueError(f"no augmentation is called {name!r}; choose one of {', '.join(AUGMENTATIONS)}, or none")
    return AUGMENTATIONS[name]


def random_resized_crop(
    frames: torch.Tensor, size: tuple[int, int], generator, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), attempts: int = 10
) -> torch.Tensor:
    """A piece of `scale` of the area and of `ratio` (width to height, even in its logarithm), resized to `size`.

    Where none fits in so many attempts, the largest central piece whose ratio is in the range, as in torchvision.
    """
    height, width = frames.shape[-2:]
    for _ in range(attempts):
        area = height * width * generator.uniform(*scale)
        aspect = math.exp(generator.uniform(*map(math.log, ratio)))
        h, w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < h <= height and 0 < w <= width:
            top, left = int(generator.integers(height - h + 1)), int(generator.integers(width - w + 1))
            break
    else:
        aspect = min(max(width / height, ratio[0]), ratio[1])
        h, w = min(height, round(width / aspect)), min(width, round(height * aspect))
        top, left = (height - h) // 2, (width - w) // 2
    piece = frames[..., top : top + h, left : left + w]
    return F.resize(piece, list(size), InterpolationMode.BICUBIC, antialias=True)


def random_erasing(view: torch.Tensor, processor: InternVideo2VideoProcessor, generator) -> torch.Tensor:
    """One rectangle of noise, of 2% to 33% of the area and a ratio of 0.3 to 3.3, at the same place in all frames.

    (arXiv 1708.04896.) The noise is normal around the mean of the normalisation, of its deviation, as bytes.
    """
    height, width = view.shape[-2:]
    for _ in range(10):
        area = height * width * generator.uniform(0.02, 1 / 3)
        aspect = math.exp(generator.uniform(math.log(0.3), math.log(1 / 0.3)))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if h < height and w < width:
            top, left = int(generator.integers(height - h + 1)), int(generator.integers(width - w + 1))
            mean, std = (np.reshape(values, (3, 1, 1)) for values in (processor.image_mean, processor.image_std))
            noise = mean + std * generator.standard_normal((len(view), 3, h, w))
            view = view.clone()
            view[..., top : top + h, left : left + w] = torch.from_numpy((255 * noise).round().clip(0, 255))
            break
    return view


def rand_augment(
    frames: torch.Tensor, generator, magnitude: float = 7, count: int = 4, std: float = 0.5
) -> torch.Tensor:
    """So many operations of `OPERATIONS` in a row, each left out half of the time (arXiv 1909.13719, as in timm).

    The strength of each, 0 to 10, is drawn from a normal distribution.
    """
    names = list(OPERATIONS)
    for name in generator.choice(len(names), count):
        if generator.random() < 0.5:
            strength = float(np.clip(generator.normal(magnitude, std), 0, 10)) / 10
            sign = -1 if generator.random() < 0.5 else 1
            frames = OPERATIONS[names[name]](frames, strength, sign)
    return frames


def _warp(angle: float = 0, shift=(0, 0), shear=(0, 0)) -> Callable[[torch.Tensor], torch.Tensor]:
    # Grey of the mean of ImageNet comes in from outside.
    options = {"interpolation": InterpolationMode.BILINEAR, "fill": [124, 116, 104]}

    def warp(frames: torch.Tensor) -> torch.Tensor:
        return F.affine(frames, angle, list(shift), 1.0, list(shear), center=[0, 0] if any(shear) else None, **options)

    return warp


def _shear(strength: float) -> float:
    return math.degrees(math.atan(0.3 * strength))


def _factor(strength: float, sign: int) -> float:
    return max(0.1, 1 + sign * 0.9 * strength)


def _solarize_add(frames: torch.Tensor, strength: float) -> torch.Tensor:
    added = (frames.to(torch.int16) + min(128, int(110 * strength))).clamp(max=255).to(torch.uint8)
    return torch.where(frames < 128, added, frames)


# Each takes frames, a strength from 0 to 1 and a sign. What "inc1" means: the stronger, the further from the original.
OPERATIONS: dict[str, Callable[[torch.Tensor, float, int], torch.Tensor]] = {
    "auto_contrast": lambda frames, strength, sign: F.autocontrast(frames),
    "equalize": lambda frames, strength, sign: F.equalize(frames),
    "invert": lambda frames, strength, sign: F.invert(frames),
    "rotate": lambda frames, strength, sign: _warp(angle=sign * 30 * strength)(frames),
    "posterize": lambda frames, strength, sign: F.posterize(frames, max(1, 4 - int(4 * strength))),
    "solarize": lambda frames, strength, sign: F.solarize(frames, 256 - min(256, int(256 * strength))),
    "solarize_add": lambda frames, strength, sign: _solarize_add(frames, strength),
    "color": lambda frames, strength, sign: F.adjust_saturation(frames, _factor(strength, sign)),
    "contrast": lambda frames, strength, sign: F.adjust_contrast(frames, _factor(strength, sign)),
    "brightness": lambda frames, strength, sign: F.adjust_brightness(frames, _factor(strength, sign)),
    "sharpness": lambda frames, strength, sign: F.adjust_sharpness(frames, _factor(strength, sign)),
    "shear_x": lambda frames, strength, sign: _warp(shear=(sign * _shear(strength), 0))(frames),
    "shear_y": lambda frames, strength, sign: _warp(shear=(0, sign * _shear(strength)))(frames),
    "translate_x": lambda frames, strength, sign: _warp(shift=(sign * round(0.45 * strength * frames.shape[-1]), 0))(
        frames
    ),
    "translate_y": lambda frames, strength, sign: _warp(shift=(0, sign * round(0.45 * strength * frames.shape[-2])))(
        frames
    ),
}
