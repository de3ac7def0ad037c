"""The source clips of what users try first: the same contents plain, at other sizes, dark, noisy, drawn and so on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from ..video import VideoReader
from ..video.photographs import pan_and_zoom


PLAIN = "plain"
PICTURES = {"coffee": (480, 270), "chelsea": (400, 224)}
"""Pictures that scikit-image brings, with the size of the clips made of them: none is enlarged. They, and those of
`photograph_wall`, must not be among the sources of training."""
SIZES = ((1280, 720), (960, 540), (640, 360), (320, 180))
FPS = Fraction(25)


@dataclass(frozen=True)
class SanityClip:
    """Frames uint8 RGB (n, H, W, 3) of a content in one guise. `kind` names the guise; `judged_by` is the content's
    plain clip where the guise is itself the distortion, and the clip stands for an encode."""

    content: str
    kind: str
    frames: np.ndarray
    fps: Fraction
    judged_by: np.ndarray | None = None


def sanity_clips(references: Mapping[str, str | Path], num_frames: int, contents: int) -> Iterator[SanityClip]:
    """All clips, always the same ones for the same references.

    Every content comes plain. Each of `GUISES`, half the frame rate and a smaller size are put on `contents` of them
    in turn, each of `DISTORTIONS` on one. A wall of photographs comes at all `SIZES`.

    Args:
        references: pristine clips by content.
        num_frames: of every clip, at most.
    """
    plain = [_from_file(content, path, num_frames) for content, path in references.items()]
    plain += [_from_picture(name, getattr(skimage.data, name)(), size, num_frames) for name, size in PICTURES.items()]
    yield from plain
    guises: dict[str, Callable[[SanityClip], SanityClip | None]] = {
        "half frame rate": lambda clip: replace(clip, frames=clip.frames[::2], fps=clip.fps / 2),
        _name(SIZES[-1]): lambda clip: at_size(clip, SIZES[-1]),
        **{kind: lambda clip, guise=guise: replace(clip, frames=guise(clip.frames)) for kind, guise in GUISES.items()},
    }
    for number, (kind, guise) in enumerate(guises.items()):
        chosen = {(number * contents + place) % len(plain) for place in range(contents)}
        yield from (replace(clip, kind=kind) for place in sorted(chosen) if (clip := guise(plain[place])))
    for number, kind in enumerate(DISTORTIONS):
        clip = plain[number % len(plain)]
        frames = GUISES[kind](clip.frames)
        yield replace(clip, kind=f"{kind}, as a distortion", frames=frames, judged_by=clip.frames)
    large = _from_picture("wall of photographs", photograph_wall(), SIZES[0], num_frames)
    yield replace(large, kind=_name(SIZES[0]))
    yield from filter(None, (at_size(large, size) for size in SIZES))
    for kind, draw in DRAWN.items():
        yield SanityClip(kind, kind, draw(num_frames), FPS)


def at_size(clip: SanityClip, size: tuple[int, int]) -> SanityClip | None:
    """The clip reduced until it just covers `size`, and its middle of that size; None where it would be enlarged or
    would stay as it is."""
    height, width = clip.frames.shape[1:3]
    factor = max(size[0] / width, size[1] / height)
    if factor > 1 or (width, height) == size:
        return None
    shown = size[0] / factor, size[1] / factor
    left, top = (width - shown[0]) / 2, (height - shown[1]) / 2
    box = (left, top, left + shown[0], top + shown[1])
    frames = [Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS, box) for frame in clip.frames]
    return replace(clip, kind=_name(size), frames=np.stack(frames))


def _from_file(content: str, path: str | Path, num_frames: int) -> SanityClip:
    with VideoReader(path) as reader:
        frames = reader.get_batch(range(min(len(reader), num_frames)))
        return SanityClip(content, PLAIN, frames, Fraction(reader.fps).limit_denominator(1001))


def photograph_wall() -> np.ndarray:
    """Five photographs side by side at their own resolution, uint8 RGB (827, 1381, 3): large and yet sharp, as no
    single one that scikit-image brings is."""
    motorcycle, *_ = skimage.data.stereo_motorcycle()
    camera = np.repeat(skimage.data.camera()[56:456, 100:369, None], 3, axis=2)
    above = np.hstack([skimage.data.rocket(), motorcycle[:427]])
    return np.vstack([above, np.hstack([skimage.data.coffee(), skimage.data.astronaut()[56:456], camera])])


def _from_picture(name: str, picture: np.ndarray, size: tuple[int, int], num_frames: int) -> SanityClip:
    return SanityClip(name, PLAIN, pan_and_zoom(Image.fromarray(picture), size, num_frames), FPS)


def _name(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def letterboxed(frames: np.ndarray) -> np.ndarray:
    """An eighth of the height black, above and below."""
    bar, boxed = frames.shape[1] // 8, frames.copy()
    boxed[:, :bar] = boxed[:, -bar:] = 0
    return boxed


def pillarboxed(frames: np.ndarray) -> np.ndarray:
    """An eighth of the width black, left and right."""
    bar, boxed = frames.shape[2] // 8, frames.copy()
    boxed[:, :, :bar] = boxed[:, :, -bar:] = 0
    return boxed


def dark(frames: np.ndarray) -> np.ndarray:
    """A quarter of every value."""
    return (frames // 4).astype(np.uint8)


def static(frames: np.ndarray) -> np.ndarray:
    """The first frame, again and again."""
    return np.repeat(frames[:1], len(frames), axis=0)


def noisy(frames: np.ndarray) -> np.ndarray:
    """As of a sensor: independent in every pixel and colour, a standard deviation of 8."""
    return _added(frames, 8 * np.random.default_rng(0).standard_normal(frames.shape, np.float32))


def film_grain(frames: np.ndarray) -> np.ndarray:
    """In luma, some pixels large, a standard deviation of 8 in the middle tones and none in black and white."""
    shape = (*frames.shape[:3], 1)
    grain = gaussian_filter(np.random.default_rng(0).standard_normal(shape, np.float32), (0, 0.8, 0.8, 0))
    tones = frames.mean(axis=3, keepdims=True) / 255
    return _added(frames, 8 * grain / grain.std() * 4 * tones * (1 - tones))


def half_size_and_back(frames: np.ndarray) -> np.ndarray:
    size = frames.shape[2], frames.shape[1]
    small = [Image.fromarray(frame).resize((size[0] // 2, size[1] // 2), Image.Resampling.BICUBIC) for frame in frames]
    return np.stack([frame.resize(size, Image.Resampling.BICUBIC) for frame in small])


def _added(frames: np.ndarray, change: np.ndarray) -> np.ndarray:
    return (frames + change).round().clip(0, 255).astype(np.uint8)


def animated(num_frames: int) -> np.ndarray:
    """A drawing of flat colours with outlines, in which a sun, hills and a ball move; 640x360."""
    frames = []
    for time in range(num_frames):
        image = Image.new("RGB", (1280, 720), (120, 190, 240))  # twice as large, to be reduced: smooth edges
        draw = ImageDraw.Draw(image)
        draw.ellipse((900 - 3 * time, 60, 1080 - 3 * time, 240), (255, 220, 80), (60, 40, 20), 6)
        for depth, colour in enumerate(((90, 150, 90), (70, 130, 60), (50, 100, 40))):
            x = np.arange(0, 1281, 8)
            y = 420 + 90 * depth + 60 * np.sin((x + (2 + 4 * depth) * time) / (90 + 40 * depth))
            outline = [*zip(x.tolist(), y.tolist())]
            draw.polygon([*outline, (1280, 720), (0, 720)], colour)
            draw.line(outline, (30, 40, 20), 6)
        centre, height = 120 + 14 * time, 560 - abs(260 * np.sin(time / 6))
        draw.ellipse((centre - 50, height - 50, centre + 50, height + 50), (220, 60, 60), (60, 20, 20), 6)
        draw.chord((centre - 50, height - 50, centre + 50, height + 50), 20 * time, 20 * time + 180, (250, 250, 250))
        frames.append(image.resize((640, 360), Image.Resampling.LANCZOS))
    return np.stack(frames)


def scrolling_text(num_frames: int) -> np.ndarray:
    """Lines of dark text on white, moving up by three pixels a frame; 640x360."""
    words = [
        "the",
        "quick",
        "brown",
        "fox",
        "jumps",
        "over",
        "a",
        "lazy",
        "dog",
        "while",
        "1234567890",
        "bytes",
        "wait",
    ]
    rng = np.random.default_rng(0)
    page = Image.new("RGB", (640, 360 + 3 * num_frames), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default()
    for line in range(12, page.height, 16):
        text = " ".join(words[int(number)] for number in rng.integers(len(words), size=16))
        draw.text((16, line), text, (20, 20, 20) if line % 5 else (20, 60, 160), font)
    return np.stack([np.asarray(page)[3 * time :][:360] for time in range(num_frames)])


GUISES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "letterboxed": letterboxed,
    "pillarboxed": pillarboxed,
    "dark": dark,
    "static": static,
    "noisy": noisy,
    "film grain": film_grain,
    "half size and back": half_size_and_back,
}
DISTORTIONS = ("noisy", "film grain", "half size and back")
DRAWN: dict[str, Callable[[int], np.ndarray]] = {"animated": animated, "screen, text scrolling": scrolling_text}
