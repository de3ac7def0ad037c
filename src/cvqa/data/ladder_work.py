"""The pieces of work that a ladder is made of: a reference from a source, and a labelled encode from a reference."""

import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from ..video.encoders import ENCODERS
from ..video.encoding import EncodingError, encode, probe, store_reference
from ..video.photographs import SHARPNESS_THRESHOLD, camera_path, fit_size, open_photograph, pan_and_zoom, sharpness
from ..video.vmaf import full_reference_scores
from .ladder_recipe import SMALLEST_SIDE, Kind, Variant, draw_variants, load_recipe
from .ladder_sources import Source


PHOTOGRAPH_FPS = 25
SHARPNESS_FRAMES = 5  # of a clip, looked at for its sharpness
SCALED_BACK = {"encoder": "x264", "quality": 10, "preset": "veryfast"}  # how a down-scaled encode is stored


@dataclass(frozen=True)
class LadderSettings:
    """What decides the encodes of a ladder; see `build_ladder`."""

    recipe: Sequence[Kind] = "mixed"
    encodes_per_source: int = 16
    size: Sequence[tuple[int, int]] = ((480, 270),)
    takes: int = 1
    num_frames: int = 24
    max_frames: int = 64
    seed: int = 0
    model: str = "vmaf_v0.6.1"

    def __post_init__(self):
        object.__setattr__(self, "recipe", load_recipe(self.recipe))
        sizes = [self.size] if isinstance(self.size[0], int) else self.size
        object.__setattr__(self, "size", tuple(map(tuple, sizes)))
        if any(len(size) != 2 or min(size) < SMALLEST_SIDE for size in self.size):
            raise ValueError(f"sizes must be pairs of at least {SMALLEST_SIDE} pixels, not {self.size}")
        for name in ("encodes_per_source", "takes", "num_frames", "max_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def variants(self, source: Source, size: tuple[int, int], fps: float) -> list[Variant]:
        """The encodes of one source, of which size and frame rate are known."""
        rng = np.random.default_rng([self.seed, _number(source.name)])
        return draw_variants(self.recipe, self.encodes_per_source, rng, size, fps)

    def size_of(self, source: Source) -> tuple[int, int]:
        """Of the clip that a photograph becomes, where it is large enough."""
        return self.size[np.random.default_rng([self.seed, _number(source.name), 1]).integers(len(self.size))]

    def camera_seed(self, source: Source) -> int:
        """Of the camera that a photograph is filmed with."""
        return self.seed + _number(source.name)

    def reference_recipe(self, source: Source) -> dict:
        """All that decides a reference, as JSON values. A changed source shows by its size or time."""
        stat = source.path.stat()
        recipe = {"source": source.path.name, "bytes": stat.st_size, "changed": stat.st_mtime_ns}
        if source.is_photograph:
            recipe |= {"size": list(self.size_of(source)), "num_frames": self.num_frames, "seed": self.seed}
            earlier = [list(self.size_of(take)) for take in source.earlier]
            return {**recipe, "sizes_of_earlier_takes": earlier} if earlier else recipe
        return {**recipe, "max_frames": self.max_frames}


def make_reference(source: Source, target: Path, settings: LadderSettings) -> dict:
    """Store the source at `target` and return what is known of it, for all its rows of the manifest."""
    if source.is_photograph:
        photograph, name = open_photograph(source.path)
        size = fit_size(photograph.size, settings.size_of(source))
        if min(size) < SMALLEST_SIDE:
            raise ValueError(f"{name}: the photograph is too small, {photograph.size[0]}x{photograph.size[1]} pixels")
        fps = Fraction(PHOTOGRAPH_FPS)
        paths: list[np.ndarray] = []
        for take in source.earlier:
            camera = fit_size(photograph.size, settings.size_of(take)), settings.num_frames, settings.camera_seed(take)
            paths.append(camera_path(photograph.size, *camera, name, paths))
        clip = pan_and_zoom(photograph, size, settings.num_frames, settings.camera_seed(source), paths)
        store_reference((clip, fps), target)
    else:
        info = probe(source.path)
        if info.is_hdr:
            raise EncodingError(source.path, "vmaf", "is HDR (PQ or HLG), and VMAF's models know SDR only")
        fps = info.fps
        store_reference(source.path, target, max_frames=settings.max_frames, fps=fps)
    kept, frames = _luma(target)
    detail = sharpness(kept)
    return {
        "width": kept.shape[2],
        "height": kept.shape[1],
        "fps": round(float(fps), 6),
        "frames": frames,
        "sharpness": round(detail, 4),
        "soft": int(detail < SHARPNESS_THRESHOLD),
        "bytes": target.stat().st_size,
    }


def make_encode(reference: Path, target: Path, about: dict, variant: Variant, model: str) -> dict:
    """Encode a reference, of which `about` is known, label the encode, and return its manifest row.

    A down-scaled encode is scaled back to the size of the reference and stored so, with next to no loss: what lies in
    the file is what is judged. `bitrate_kbps` is that of the encode itself, `bytes` the size of the file.
    """
    started = time.monotonic()
    # At a constant rate, since Matroska rounds the reference's timestamps to milliseconds.
    fps = Fraction(about["fps"]).limit_denominator(1001)
    suffix = ENCODERS[variant.encoder].suffix
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", suffix=".part.files", dir=target.parent) as folder:
        source, encoded = reference, target if variant.scaler is None else Path(folder, f"small{suffix}")
        if variant.first_encoder:
            first = Path(folder, f"first{ENCODERS[variant.first_encoder].suffix}")
            source = encode(source, first, variant.first_encoder, variant.first_level, fps=fps)
        encode(
            source,
            encoded,
            variant.encoder,
            variant.level,
            preset=variant.preset,
            bit_depth=variant.bit_depth,
            fps=fps,
            rate_control=variant.rate_control,
            size=variant.scaler and (variant.encoded_width, variant.encoded_height),
            scaler=variant.scaler,
            frame_step=variant.frame_step,
        )
        fps /= variant.frame_step
        size = encoded.stat().st_size
        if variant.scaler:
            full = (about["width"], about["height"])
            encode(encoded, target, **SCALED_BACK, bit_depth=variant.bit_depth, fps=fps, size=full)
    encoding = time.monotonic() - started
    scores = full_reference_scores(target, reference, model, frame_step=variant.frame_step)
    return {
        **variant.as_recipe(),
        "score": round(scores["vmaf"], 4),
        "codec": ENCODERS[variant.encoder].codec,
        "fps": round(float(fps), 6),
        "frames": scores["frames"],
        "bytes": target.stat().st_size,
        "bitrate_kbps": round(size * 8 / 1000 * float(fps) / scores["frames"], 2),
        "psnr": round(scores["psnr"], 4),
        "ssim": round(scores["ssim"], 5),
        "vmaf_min": round(scores["vmaf_min"], 4),
        "vmaf_frames": json.dumps([round(value, 2) for value in scores["vmaf_frames"]]),
        "vmaf_model": scores["model"],
        "seconds": [round(encoding, 3), round(time.monotonic() - started - encoding, 3)],
    }


def _luma(path: Path) -> tuple[np.ndarray, int]:
    """Some evenly spread frames of a reference as luma (n, H, W), and the number of all."""
    with av.open(str(path)) as container:
        total = sum(1 for packet in container.demux(video=0) if packet.size)
    step = max(1, total // SHARPNESS_FRAMES)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="gray") for i, frame in enumerate(container.decode(video=0)) if i % step == 0]
    return np.stack(frames[:SHARPNESS_FRAMES]), total


def _number(name: str) -> int:
    return zlib.crc32(name.encode())
