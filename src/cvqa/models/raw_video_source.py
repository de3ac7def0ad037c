"""Raw planar 4:2:0 video (.yuv), by memory map: what lies under `VideoReader` for files without a container.

Such a file holds nothing but samples. Its size, rate and depth stand in its name, as in published data sets:
`BallUnderWater_1920x1080_60fps_HEVC_QP22.yuv`.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from .video_source import Packets, VideoError


SUFFIX = ".yuv"
DEFAULT_RATE = 25.0

_SIZE = re.compile(r"(?<!\d)(\d{2,5})x(\d{2,5})(?!\d)")
_RATE = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)_?(?:fps|hz)", re.IGNORECASE)
_DEPTH = re.compile(r"(?<!\d)(\d{1,2})_?bits?|420p(\d{2})", re.IGNORECASE)


class RawFormat(NamedTuple):
    """How samples lie in a raw file."""

    width: int
    height: int
    rate: float  # frames per second
    depth: int  # bits per sample: 8, or 10 to 16 in two bytes, little-endian

    @property
    def frame_bytes(self) -> int:
        chroma = ((self.width + 1) // 2) * ((self.height + 1) // 2)
        return (self.width * self.height + 2 * chroma) * (1 if self.depth == 8 else 2)

    @property
    def pixel_format(self) -> str:
        return "yuv420p" if self.depth == 8 else f"yuv420p{self.depth}le"


def raw_format(name: str) -> RawFormat | None:
    """The format that a file name tells, as in `Name_1920x1080_60fps_10bit.yuv`; None if it tells no size.

    Without a rate it is 25 frames per second, without a depth 8 bit.
    """
    stem = Path(name).name
    sizes, rate, depth = _SIZE.findall(stem), _RATE.search(stem), _DEPTH.search(stem)
    if not sizes:
        return None
    width, height = map(int, sizes[-1])
    rate = float(rate[1]) if rate and float(rate[1]) > 0 else DEFAULT_RATE
    return RawFormat(width, height, rate, int(depth[1] or depth[2]) if depth else 8)


class RawVideoSource:
    """As `VideoSource`, of a raw file: every frame is a packet, and any can be decoded alone."""

    codec, format, threads, unsure = "rawvideo", "rawvideo", 1, False

    def __init__(self, path: str | os.PathLike, name: str):
        self._layout = layout = raw_format(os.fsdecode(path))
        if layout is None:
            raise VideoError(
                name, "raw video does not tell its size; put it into the name (CLIP_1920x1080_60fps.yuv, 10bit if so)"
            )
        if layout.depth not in (8, 10, 12, 14, 16) or not 0 < layout.rate < 1000:
            raise VideoError(name, f"{layout.depth} bit at {layout.rate:g} fps, as its name tells, is not supported")
        try:
            length = Path(path).stat().st_size
            count, rest = divmod(length, layout.frame_bytes)
            if count:
                shape = (count, layout.frame_bytes)
                self._frames = np.memmap(path, np.uint8, "r", shape=shape)
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
            raise VideoError(name, f"cannot be read ({reason})") from None
        size = f"{layout.width}x{layout.height} in {layout.depth} bit 4:2:0"
        if not count:
            reason = f"{length} bytes are less than one frame of {size}" if length else "the file is empty"
            raise VideoError(name, reason)
        self.rate = layout.rate
        self.fed = np.ones(count, bool)
        places, ones, zeros = np.arange(count), np.ones(count, np.int64), np.zeros(count, bool)
        self.packets = Packets(
            places, places, ones, ones * layout.frame_bytes, self.fed, zeros, zeros.copy(), 1 / layout.rate, bool(rest)
        )

    def open(self, threads: int) -> None:
        """Nothing to do: the file stays mapped."""

    def close(self) -> None:
        self._frames = None

    def frames(self, start: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Each frame from `start` on with its position."""
        for position in range(start, len(self.fed)):
            yield position, self._frame(self._frames[position])

    def _frame(self, samples: np.ndarray) -> av.VideoFrame:
        width, height, _, depth = self._layout
        frame = av.VideoFrame(width, height, self._layout.pixel_format)
        kind, first = np.dtype(np.uint8 if depth == 8 else "<u2"), 0
        for plane in frame.planes:
            row, rows = plane.width * kind.itemsize, plane.height
            target = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:rows, :row]
            target[:] = samples[first : first + rows * row].reshape(rows, row)
            first += rows * row
        return frame
