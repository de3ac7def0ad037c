"""What encodes a ladder has: a recipe lists kinds of encodes, and every content draws its encodes from them.

A recipe is a list of kinds, in Python or as a JSON file:

    [
        {"encoder": ["x264", "svtav1"], "preset": "usual", "weight": 3},
        {"encoder": "x265", "rate_control": "bitrate", "scale": ["1/2", "2/3"], "quality": [0, 0.7]}
    ]
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..video.encoders import COMMON_ENCODERS, ENCODERS, RATE_CONTROLS, find_encoder


SMALLEST_SIDE = 64  # of anything that is encoded; below it encoders give up
DRAWS = 30  # of an encode that came up before, until it is given up


@dataclass(frozen=True)
class Kind:
    """A kind of encodes. Where a field lists choices, they come up equally often over the encodes of a content.

    Args:
        encoder: names from `ENCODERS`.
        weight: how many of a content's encodes are of this kind, compared with the other kinds.
        preset: "default", "usual" (one of the encoder's `usual_presets`), or presets that all its encoders have.
        rate_control: of `RATE_CONTROLS`.
        quality: the stretch of the encoder's ladder, from 0 (visually lossless) to 1 (unusable); below 0 is better yet,
            as far as the encoder goes. Levels are spread over it, one drawn from each of equal parts.
        bit_depth: 8 or 10.
        scale: of width and height, as text ("2/3") or number, at most 1; sides become even, and a size below
            `SMALLEST_SIDE` is not scaled. Such an encode is scaled back (bicubic) to the size of its source.
        scaler: ffmpeg's filter for that: "bicubic", "lanczos", "bilinear", "area", ...
        frame_step: 2 encodes every second frame, at half the frame rate.
        first_encoder: if given, the source is first encoded by it (default preset, CRF), and that encode is encoded.
        first_quality: the stretch of the ladder of that first generation.
    """

    encoder: Sequence[str]
    weight: float = 1
    preset: Sequence[str] = "default"
    rate_control: Sequence[str] = "crf"
    quality: tuple[float, float] = (0, 1)
    bit_depth: Sequence[int] = 8
    scale: Sequence[str | float] = 1
    scaler: Sequence[str] = "bicubic"
    frame_step: Sequence[int] = 1
    first_encoder: Sequence[str] = ()
    first_quality: tuple[float, float] = (0, 0.6)

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "weight":
                value = tuple(value) if isinstance(value, list | tuple) else (value,)
                object.__setattr__(self, field.name, value)
        object.__setattr__(self, "scale", tuple(Fraction(str(scale)).limit_denominator(1000) for scale in self.scale))
        settings = [find_encoder(name) for name in self.encoder]
        for name in self.first_encoder:
            if "crf" not in find_encoder(name).rate_controls:
                raise ValueError(f"{name} has no CRF, and so can't be a first_encoder")
        for name in set(self.preset) - {"default", "usual"}:
            if lacking := [one for one, encoder in zip(self.encoder, settings) if name not in encoder.presets]:
                raise ValueError(f"{lacking[0]} has no preset {name!r}")
        for name in self.rate_control:
            if name not in RATE_CONTROLS:
                raise ValueError(f"rate_control must be one of {', '.join(RATE_CONTROLS)}, not {name!r}")
            if lacking := [one for one, encoder in zip(self.encoder, settings) if name not in encoder.rate_controls]:
                raise ValueError(f"{lacking[0]} has no rate control {name!r}")
        for depth in self.bit_depth:
            if lacking := [one for one, encoder in zip(self.encoder, settings) if depth not in encoder.bit_depths]:
                raise ValueError(f"{lacking[0]} has no bit_depth {depth}")
        for name, stretch in (("quality", self.quality), ("first_quality", self.first_quality)):
            if len(stretch) != 2 or not -1 <= stretch[0] <= stretch[1] <= 1:
                raise ValueError(f"{name} must be two numbers from -1 to 1, the better first, not {list(stretch)}")
        for wrong, message in (
            (not self.encoder, "a kind needs an encoder"),
            (not self.weight > 0, "weight must be above 0"),
            (not all(0 < scale <= 1 for scale in self.scale), "scale must be above 0 and at most 1"),
            (not all(isinstance(step, int) and step >= 1 for step in self.frame_step), "frame_step must be 1 or more"),
        ):
            if wrong:
                raise ValueError(message)

    def as_json(self) -> dict:
        """The fields that were given, as in a recipe file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {name: value for name, value in values.items() if value != getattr(_PLAIN, name) or name == "encoder"}
        given = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        return given | ({"scale": [str(scale) for scale in self.scale]} if "scale" in given else {})


_PLAIN = Kind("x264")

_ALL = list(COMMON_ENCODERS)

RECIPES: dict[str, list[dict]] = {
    "crf": [{"encoder": name} for name in COMMON_ENCODERS],
    "mixed": [
        {"encoder": _ALL, "preset": "usual", "quality": [-0.3, 1], "weight": 5},
        {"encoder": _ALL, "preset": "usual", "rate_control": "bitrate", "weight": 3},
        {"encoder": ["x264", "x265", "svtav1"], "rate_control": "qp"},
        {"encoder": _ALL, "bit_depth": 10, "weight": 1.5},
        {
            "encoder": _ALL,
            "preset": "usual",
            "rate_control": ["crf", "bitrate"],
            "quality": [-0.2, 0.8],
            "scale": ["1/3", "1/2", "2/3", "3/4"],
            "scaler": ["bicubic", "lanczos"],
            "weight": 3,
        },
        {"encoder": _ALL, "preset": "usual", "first_encoder": _ALL, "weight": 2.5},
        {"encoder": _ALL, "frame_step": 2},
    ],
}
"""`crf`: every encoder alike, at its default preset and constant quality. `mixed`: what video meets on its way, for
training: presets, rate controls, 10 bit, down-scaling, two generations, half the frame rate."""


def load_recipe(recipe: str | os.PathLike | Iterable[Kind | dict]) -> tuple[Kind, ...]:
    """A recipe by its name in `RECIPES`, from a JSON file, or from kinds.

    Raises:
        FileNotFoundError, ValueError: there is no such recipe or file, or a kind is not one; the message says which.
    """
    place = "recipe"
    if isinstance(recipe, str) and recipe in RECIPES:
        recipe = RECIPES[recipe]
    elif isinstance(recipe, str | os.PathLike):
        place = str(recipe)
        if not Path(recipe).is_file():
            raise FileNotFoundError(f"{place}: neither a file nor one of the recipes {', '.join(RECIPES)}")
        try:
            recipe = json.loads(Path(recipe).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{place}: is not JSON: {error}") from error
    if isinstance(recipe, dict) or not isinstance(recipe, Iterable):
        raise ValueError(f"{place}: must be a list of kinds of encodes")
    kinds = []
    for number, kind in enumerate(recipe, 1):
        try:
            kinds.append(kind if isinstance(kind, Kind) else Kind(**kind))
        except (TypeError, ValueError) as error:
            known = ", ".join(field.name for field in fields(Kind))
            hint = f" (known fields: {known})" if isinstance(error, TypeError) else ""
            raise ValueError(f"{place}: kind {number}: {error}{hint}") from error
    if not kinds:
        raise ValueError(f"{place}: has no kinds of encodes")
    return tuple(kinds)


@dataclass(frozen=True)
class Variant:
    """One encode of a source: all that decides it beside the source. Its fields are columns of the manifest."""

    encoder: str
    preset: str
    rate_control: str
    level: float  # CRF, QP or kbit/s
    bit_depth: int
    encoded_width: int
    encoded_height: int
    scaler: str | None  # None: encoded at the size of the source
    frame_step: int
    first_encoder: str | None
    first_level: int | None

    @property
    def name(self) -> str:
        """Tells apart the encodes of a source; fit for a file name."""
        parts = [self.encoder, self.preset, f"{self.rate_control}{self.level:g}"]
        parts += [f"{self.bit_depth}bit"] if self.bit_depth != 8 else []
        parts += [f"{self.encoded_width}x{self.encoded_height}-{self.scaler}"] if self.scaler else []
        parts += [f"step{self.frame_step}"] if self.frame_step > 1 else []
        parts += [f"after-{self.first_encoder}-crf{self.first_level}"] if self.first_encoder else []
        return "_".join(parts)

    def as_recipe(self) -> dict:
        return asdict(self)


def draw_variants(
    kinds: Sequence[Kind], number: int, rng: np.random.Generator, size: tuple[int, int], fps: float
) -> list[Variant]:
    """`number` encodes of a source of this (width, height) and frame rate, as often of each kind as its weight asks.

    What doesn't go up evenly is drawn, so that it comes right over many contents. No two are the same: there are fewer
    where a kind has no more to offer.
    """
    shares = np.cumsum([kind.weight for kind in kinds]) / sum(kind.weight for kind in kinds) * number
    counts = np.diff(np.floor(shares + rng.uniform(1e-6, 1 - 1e-6)).astype(int), prepend=0)
    variants: dict[Variant, None] = {}
    for kind, count in zip(kinds, counts):
        for variant in _draw(kind, count, rng, size, fps):
            for _ in range(DRAWS):
                if variant not in variants:
                    break
                (variant,) = _draw(kind, 1, rng, size, fps)
            variants[variant] = None
    return list(variants)


def _draw(kind: Kind, number: int, rng: np.random.Generator, size: tuple[int, int], fps: float) -> list[Variant]:
    def spread(choices: Sequence) -> list:
        """As many draws as there are encodes, each choice as often as any other."""
        rounds = -(-number // len(choices))
        order = np.concatenate([rng.permutation(len(choices)) for _ in range(rounds)] or [[]])[:number]
        return [choices[int(i)] for i in rng.permutation(order)]

    def stretch(low: float, high: float) -> np.ndarray:
        return low + (high - low) * (rng.permutation(number) + rng.random(number)) / max(number, 1)

    columns = zip(
        spread(kind.encoder),
        spread(kind.preset),
        spread(kind.rate_control),
        stretch(*kind.quality),
        spread(kind.bit_depth),
        spread(kind.scale),
        spread(kind.scaler),
        spread(kind.frame_step),
        spread(kind.first_encoder or (None,)),
        stretch(*kind.first_quality),
    )
    variants = []
    for encoder, preset, rate_control, quality, bit_depth, scale, scaler, frame_step, first, first_quality in columns:
        settings = ENCODERS[encoder]
        if preset == "usual":
            preset = settings.usual_presets[rng.integers(len(settings.usual_presets))]
        elif preset == "default":
            preset = settings.preset
        width, height = (round(side * scale / 2) * 2 for side in size)
        if scale == 1 or min(width, height) < SMALLEST_SIDE:
            (width, height), scaler = size, None
        variants.append(
            Variant(
                encoder=encoder,
                preset=preset,
                rate_control=rate_control,
                level=(
                    _bitrate(settings.bits_per_pixel, quality, width * height * fps / frame_step)
                    if rate_control == "bitrate"
                    else _crf(encoder, quality)
                ),
                bit_depth=bit_depth,
                encoded_width=width,
                encoded_height=height,
                scaler=scaler,
                frame_step=frame_step,
                first_encoder=first,
                first_level=first and _crf(first, first_quality),
            )
        )
    return variants


def _crf(encoder: str, quality: float) -> int:
    best, worst = ENCODERS[encoder].ladder
    level = int(np.floor(best + quality * (worst + 1 - best)))
    return min(max(level, ENCODERS[encoder].crf_range[0]), worst)


def _bitrate(bits_per_pixel: tuple[float, float], quality: float, pixels_per_second: float) -> float:
    """kbit/s, to three digits."""
    best, worst = bits_per_pixel
    return float(f"{best * (worst / best) ** quality * pixels_per_second / 1000:.3g}")
