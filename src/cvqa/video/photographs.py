"""Make clips from photographs, by a camera that pans and zooms at sub-pixel steps; and tell how sharp a source is.

VMAF judges an encode against its source, so a soft source makes a soft picture that scores 99. A no-reference model
can't learn that: photographs are therefore only ever reduced, and `sharpness` finds the soft sources.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps


SHARPNESS_THRESHOLD = 0.2
"""Sources below this `sharpness` are soft. Of 120 reduced clips and photographs 14% were below it (shallow focus, fog,
noise filters); of the same ones enlarged by 1.25 76%, by 1.5 98%."""
CAMERAS = 32  # to choose from where another take of a photograph has been made


def pan_and_zoom(
    image: Image.Image | str | os.PathLike,
    size: tuple[int, int],
    num_frames: int,
    seed: int = 0,
    takes: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """A clip of `num_frames` frames along `camera_path`, each resampled (Lanczos) from the photograph itself.

    Args:
        image: a photograph of any mode, or its file; a file is turned upright as its EXIF orientation says.
        size: (width, height) of the clip.
        seed: of the camera's path; the same seed gives the same clip.
        takes: paths of the cameras of other takes, from which this one is to differ.

    Returns:
        uint8 RGB (num_frames, height, width, 3).

    Raises:
        ValueError: the photograph is smaller than `size` (it is never enlarged), or its file can't be read.
    """
    image, name = open_photograph(image)
    boxes = camera_path(image.size, size, num_frames, seed, name, takes)
    frames = [np.asarray(image.resize(size, Image.Resampling.LANCZOS, box=tuple(box))) for box in boxes]
    return np.stack(frames)


def camera_path(
    image_size: tuple[int, int],
    size: tuple[int, int],
    num_frames: int,
    seed: int = 0,
    name: str = "image",
    takes: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Where a smooth, slightly hand-held camera looks: boxes (num_frames, 4) as left, top, right, bottom in pixels.

    The camera drifts by 0.5 to 6 pixels a frame of the clip and zooms by up to 10% over its length. Every box lies
    inside the photograph and holds at least one pixel of it per pixel of the clip.

    With `takes`, the paths of other takes of the photograph, it is of `CAMERAS` such cameras the one whose frames have
    least in common with theirs (`overlap`, the largest of any take).
    """
    if takes:
        rng = np.random.default_rng([seed, len(takes)])
        cameras = (camera_path(image_size, size, num_frames, rng.integers(2**32), name) for _ in range(CAMERAS))
        return min(cameras, key=lambda boxes: max(overlap(boxes, other) for other in takes))
    image_size, size = np.array(image_size, float), np.array(size, float)
    largest = min(image_size / size)  # photograph pixels per clip pixel with the whole photograph in view
    if largest < 1:
        raise ValueError(
            f"{name}: the photograph has {image_size[0]:.0f}x{image_size[1]:.0f} pixels and would have to be enlarged "
            f"for a clip of {size[0]:.0f}x{size[1]:.0f}; ask for a smaller size (see fit_size)"
        )
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, num_frames)[:, None]

    # Well into the range of reductions: single pixels of a camera's file are soft, and the pan needs room.
    middle = largest ** rng.uniform(0.5, 0.9)
    scale = np.clip(middle * np.exp(rng.uniform(-0.1, 0.1) * (time - 0.5)), 1, largest)

    room = np.maximum(image_size - size * scale.max(), 0) / 2
    angle, speed = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(np.log(0.5), np.log(6)))
    drift = np.array([np.cos(angle), np.sin(angle)]) * speed * middle * num_frames
    drift = np.clip(drift, -2 * room, 2 * room)
    start = rng.uniform(-1, 1, 2) * (room - abs(drift) / 2) - drift / 2
    eased = 0.7 * time + 0.3 * time**2 * (3 - 2 * time)
    centre = image_size / 2 + start + drift * eased + _hand(rng, num_frames) * middle

    half = size * scale / 2
    centre = np.clip(centre, half, image_size - half)
    return np.clip(np.concatenate([centre - half, centre + half], axis=1), 0, np.tile(image_size, 2))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Share of a frame of the smaller view that a frame of the other shows, 0 to 1, mean over all pairs of frames.

    Args:
        one, other: two paths of `camera_path` over one photograph, boxes (num_frames, 4).
    """
    one, other = one[:, None], other[None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (one, other)]
    return float((np.maximum(sides, 0).prod(-1) / np.minimum(*areas)).mean())


def fit_size(image_size: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The largest even size of `size`'s shape that `image_size` fills without enlargement and with 10% room to pan."""
    factor = min(1, *(have / (1.1 * want) for have, want in zip(image_size, size)))
    width, height = (max(2, int(side * factor) // 2 * 2) for side in size)
    return width, height


def open_photograph(image: Image.Image | str | os.PathLike) -> tuple[Image.Image, str]:
    """The photograph as upright 8-bit RGB, and a name for messages. ValueError naming the file if it can't be read."""
    name = "image"
    if not isinstance(image, Image.Image):
        name = str(image)
        try:
            with Image.open(Path(image)) as file:
                image = ImageOps.exif_transpose(file)
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{name}: can't be read as a photograph ({error})") from error
    if image.mode.startswith("I;16"):  # 16-bit grey, which PIL would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB"), name


def sharpness(frames: np.ndarray) -> float:
    """How much of the finest detail there is, compared with middling detail: about 1 in nature, 0 if blurred away.

    The power of the luma in 0.3 to 0.5 cycles per pixel over that in 0.1 to 0.3, each divided by the width of its band
    in octaves (so that it is 1 for the 1/f^2 power spectrum usual of natural scenes, whatever the contrast), the
    median over the frames. An image enlarged by 1.67 has nothing above 0.3 cycles per pixel.

    Args:
        frames: uint8 luma (n, H, W) or RGB (n, H, W, 3).
    """
    frames = np.asarray(frames, np.float32)
    if frames.ndim == 4:
        frames = frames @ np.array([0.299, 0.587, 0.114], np.float32)
    height, width = frames.shape[1:]
    window = np.hanning(height)[:, None] * np.hanning(width)  # else the picture's edges would count as detail
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    fine, middling = ((low <= frequency) & (frequency < high) for low, high in ((0.3, 0.5), (0.1, 0.3)))
    ratios = []
    for frame in frames:
        power = abs(np.fft.rfft2((frame - frame.mean()) * window)) ** 2
        ratios.append(power[fine].sum() / max(power[middling].sum(), 1e-9))
    return float(np.median(ratios) * np.log(0.3 / 0.1) / np.log(0.5 / 0.3))


def _hand(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Shake of a steady hand in pixels of the clip, (num_frames, 2): slow waves of about half a pixel."""
    time = np.arange(num_frames)[:, None, None]
    frequency = rng.uniform(0.02, 0.12, (1, 3, 2))  # cycles per frame
    phase = rng.uniform(0, 2 * np.pi, (1, 3, 2))
    return (0.3 * np.sin(2 * np.pi * (frequency * time + phase))).sum(axis=1)
