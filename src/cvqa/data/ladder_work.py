"""The pieces of work that a ladder is made of: a reference from a source, and a labelled encode from a reference."""

import zlib
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from ..video.encoding import ENCODERS, EncodingError, encode, find_encoder, probe, store_reference
from ..video.photographs import SHARPNESS_THRESHOLD, fit_size, open_photograph, pan_and_zoom, sharpness
from ..video.vmaf import full_reference_scores
from .ladder_sources import Source


PHOTOGRAPH_FPS = 25
SMALLEST_SIDE = 64  # of a clip made from a photograph; below it encoders give up
SHARPNESS_FRAMES = 5  # of a clip, looked at for its sharpness


@dataclass(frozen=True)
class LadderSettings:
    """What decides the encodes of a ladder; see `build_ladder`."""

    encoders: tuple[str, ...] = tuple(ENCODERS)
    levels: int = 4
    jitter: bool = True
    presets: dict[str, str] = field(default_factory=dict)
    bit_depth: int = 8
    size: tuple[int, int] = (480, 270)
    num_frames: int = 24
    max_frames: int = 64
    seed: int = 0
    model: str = "vmaf_v0.6.1"

    def __post_init__(self):
        for name in (*self.encoders, *self.presets):
            best, worst = find_encoder(name).ladder
            if not 1 <= self.levels <= worst - best:
                raise ValueError(f"levels must be 1 to {worst - best} for {name}, not {self.levels}")
        if min(self.num_frames, self.max_frames) < 1:
            raise ValueError("num_frames and max_frames must be at least 1")

    def preset_of(self, encoder: str) -> str:
        return self.presets.get(encoder, ENCODERS[encoder].preset)

    def levels_of(self, encoder: str, source: Source) -> list[int]:
        """CRF of the encodes of one source, best first: evenly spread, or one drawn from each of equal parts."""
        best, worst = ENCODERS[encoder].ladder
        if not self.jitter:
            steps = np.linspace(best, worst, self.levels) if self.levels > 1 else [(best + worst) / 2]
            return [round(step) for step in steps]
        rng = np.random.default_rng([self.seed, _number(source.name), _number(encoder)])
        edges = np.linspace(best, worst + 1, self.levels + 1).round().astype(int)
        return [int(rng.integers(low, high)) for low, high in pairwise(edges)]

    def reference_recipe(self, source: Source) -> dict:
        """All that decides a reference, as JSON values. A changed source shows by its size or time."""
        stat = source.path.stat()
        recipe = {"source": source.path.name, "bytes": stat.st_size, "changed": stat.st_mtime_ns}
        if source.is_photograph:
            return {**recipe, "size": list(self.size), "num_frames": self.num_frames, "seed": self.seed}
        return {**recipe, "max_frames": self.max_frames}

    def encode_recipe(self, encoder: str, level: int, reference_identity: str) -> dict:
        return {
            "reference": reference_identity,
            "encoder": encoder,
            "preset": self.preset_of(encoder),
            "level": level,
            "bit_depth": self.bit_depth,
            "model": self.model,
        }


def make_reference(source: Source, target: Path, settings: LadderSettings) -> dict:
    """Store the source at `target` and return what is known of it, for all its rows of the manifest."""
    if source.is_photograph:
        photograph, name = open_photograph(source.path)
        size = fit_size(photograph.size, settings.size)
        if min(size) < SMALLEST_SIDE:
            raise ValueError(f"{name}: the photograph is too small, {photograph.size[0]}x{photograph.size[1]} pixels")
        fps = Fraction(PHOTOGRAPH_FPS)
        seed = settings.seed + _number(source.name)
        store_reference((pan_and_zoom(photograph, size, settings.num_frames, seed), fps), target)
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


def make_encode(reference: Path, target: Path, about: dict, recipe: dict) -> dict:
    """Encode a reference, of which `about` is known, by `recipe`, label the encode, and return its manifest row."""
    settings = ENCODERS[recipe["encoder"]]
    # At a constant rate, since Matroska rounds the reference's timestamps to milliseconds.
    encode(
        reference,
        target,
        recipe["encoder"],
        recipe["level"],
        preset=recipe["preset"],
        bit_depth=recipe["bit_depth"],
        fps=Fraction(about["fps"]).limit_denominator(1001),
    )
    scores = full_reference_scores(target, reference, recipe["model"])
    size = target.stat().st_size
    return {
        "score": round(scores["vmaf"], 4),
        "codec": settings.codec,
        "encoder": recipe["encoder"],
        "preset": recipe["preset"],
        "level": recipe["level"],
        "bit_depth": recipe["bit_depth"],
        "bytes": size,
        "bitrate_kbps": round(size * 8 / 1000 * about["fps"] / about["frames"], 2),
        "psnr": round(scores["psnr"], 4),
        "vmaf_min": round(scores["vmaf_min"], 4),
        "vmaf_model": scores["model"],
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
