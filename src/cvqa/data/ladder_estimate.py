"""How long a ladder will take and how large it will be, told before the work starts."""

from collections.abc import Iterable

import av

from .ladder_sources import Source
from .ladder_work import LadderSettings


# Of the recipe "mixed" on clips of 448x252 and 24 to 32 frames, on one core of an x86-64 server, with its labels. Other
# recipes and machines differ by up to 3 times, and a ladder that has begun knows better.
CORE_SECONDS_PER_PIXEL = 0.3e-6
ENCODE_BYTES_PER_PIXEL, REFERENCE_BYTES_PER_PIXEL = 0.025, 0.9


def pixels_of(source: Source, settings: LadderSettings) -> int:
    """Pixels of all frames of the clip that a source will become, at most, as far as its header tells."""
    if source.is_photograph:
        width, height = settings.size_of(source)
        return width * height * settings.num_frames
    try:
        with av.open(str(source.path)) as container:
            stream = container.streams.video[0]
            return stream.width * stream.height * min(stream.frames or settings.max_frames, settings.max_frames)
    except (OSError, IndexError, av.FFmpegError):
        return 0  # it will be listed as a failure


def measured_rate(results: Iterable[dict], least: int = 20) -> float | None:
    """Core-seconds per pixel of encodes that were made; None where they are too few to tell."""
    rates = [
        sum(row["seconds"]) / (row["width"] * row["height"] * row["frames"]) for row in results if "seconds" in row
    ]
    return sum(rates) / len(rates) if len(rates) >= least else None


def estimate(missing: list[tuple[int, int, bool]], sources: int, rate: float | None, workers: int) -> str:
    """A sentence about the work that is left.

    Args:
        missing: of every source its pixels, how many encodes are to be made, and whether its reference is too.
        rate: see `measured_rate`.
    """
    pixels = sum(pixels * encodes for pixels, encodes, _ in missing)
    size = ENCODE_BYTES_PER_PIXEL * pixels
    size += REFERENCE_BYTES_PER_PIXEL * sum(pixels for pixels, _, reference in missing if reference)
    seconds = pixels * (rate or CORE_SECONDS_PER_PIXEL) / workers
    time = f"{seconds / 60:.0f} minutes" if seconds > 120 else f"{seconds:.0f} s"
    basis = "as the encodes that are there took" if rate else "roughly, by other ladders"
    encodes = sum(encodes for _, encodes, _ in missing)
    size = f"{size / 1e9:.2g} GB" if size > 1e9 else f"{size / 1e6:.0f} MB"
    return f"{encodes} encodes of {sources} sources to make: about {size} and {time}, {workers} at a time ({basis})"
