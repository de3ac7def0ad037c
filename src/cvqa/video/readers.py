"""The frame-exact reader, with a choice of who decodes."""

import logging
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..models.video_reader import VideoReader as PyAVReader


logger = logging.getLogger(__name__)

_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}  # in which both decoders are right, but for what is checked
_DECODERS = {"decord": "decord", "torchcodec": "torchcodec.decoders"}
_WAYS_OUT = {
    "decord": "pip install decord (x86-64 only), or use backend='pyav'",
    "torchcodec": "pip install 'cvqa[torchcodec]' and the FFmpeg libraries of the system, or use backend='pyav'",
}
_Decode = Callable[[np.ndarray], np.ndarray]  # indices (n,) -> frames (n, height, width, 3)


class VideoReader(PyAVReader):
    """The frames of a video file, by index in order of presentation; see `cvqa.models.video_reader.VideoReader`.

    Whoever decodes, what the file holds is found out by PyAV, and frames have the same numbers, times and pixels.

    Args:
        path: a file name, an http(s) URL, or a seekable binary file.
        backend: "pyav"; "decord" or "torchcodec", which give wrong frames of some files: such a file is read by PyAV
            after all, and a warning names the reason; "auto" is "pyav".
        verify: decode everything once at opening, and count the sound frames only.
        hdr: "bt2390" gives PQ and HLG video as SDR.

    Attributes:
        backend: who decodes in fact.

    Raises:
        VideoError: the file cannot be read.
        ImportError: the backend is not installed.
    """

    def __init__(
        self, path: str | os.PathLike | BinaryIO, backend: str = "auto", verify: bool = False, hdr: str = "refuse"
    ):
        if backend not in {"auto", "pyav", *_DECODERS}:
            raise ValueError(f"unknown backend {backend!r}; choose from auto, pyav, {', '.join(_DECODERS)}")
        self.backend, self._decode = "pyav", None
        module = _import(backend) if backend in _DECODERS else None
        super().__init__(path, verify, hdr)
        if module is not None:
            reason = self._unsafe(backend) or self._delegate(backend, module)
            if reason:
                self._hand_over(backend, reason)

    def close(self) -> None:
        super().close()
        self._decode = None

    def _read(self, indices: np.ndarray) -> np.ndarray:
        if self._decode is not None and len(indices):
            try:
                return self._decode(indices)
            except Exception:  # the errors of these libraries share no class
                self._hand_over(self.backend, "it fails on some of its frames")
        return super()._read(indices)

    def _hand_over(self, backend: str, reason: str) -> None:
        logger.warning("%s: %s is not safe here (%s); reading it with PyAV", self.path, backend, reason)
        self.backend, self._decode = "pyav", None

    def _delegate(self, backend: str, module: object) -> str | None:
        """Let the backend decode, unless what it shows at first is a reason not to."""
        try:
            decode, count = _OPENERS[backend](module, self.path)
            if count != len(self):
                return f"it counts {count} frames, not {len(self)}"
            if not np.array_equal(decode(np.array([0])), self.get_batch([0])):
                return "it converts or turns pixels in another way"
        except Exception:
            return "it cannot open this file"
        self.backend, self._decode = backend, decode
        return None

    def _unsafe(self, backend: str) -> str | None:
        """Why this backend would give wrong frames, as far as that can be seen without decoding."""
        packets, container = self._source.packets, self._source.format
        if not Path(self.path).is_file():
            return "not a local file"
        if container not in _FORMATS:
            return f"not tried in the format {container}, or found wrong"
        if not packets.orderly:
            return "its times do not tell the order of its frames"
        if packets.bad.any() or packets.incomplete or len(self) < len(packets.pts):
            return "not all of its packets are shown"
        if self._peak is not None:
            return "HDR, which it does not map"
        if self.bit_depth > 8:
            return f"{self.bit_depth} bit, which it rounds early"
        keys = np.where(packets.key, packets.pts, packets.pts.min())
        # Of H.264 this can also be intra refresh, which torchcodec gets wrong.
        if (packets.pts < np.maximum.accumulate(keys)).any() and (backend == "decord" or self.codec == "h264"):
            return "open groups of pictures"
        if backend == "torchcodec":
            return None
        if self.codec == "av1":
            return "AV1"
        if self.width % 2 or self.height % 2:
            return "odd size"
        return None


def _open_decord(decord: object, path: str) -> tuple[_Decode, int]:
    reader = decord.VideoReader(path, ctx=decord.cpu(0))

    def decode(indices: np.ndarray) -> np.ndarray:
        frames = reader.get_batch(indices.tolist())
        # `decord.bridge` is global: anyone can have turned what comes back into tensors.
        return frames.asnumpy() if hasattr(frames, "asnumpy") else np.asarray(frames)

    return decode, len(reader)


def _open_torchcodec(decoders: object, path: str) -> tuple[_Decode, int]:
    decoder = decoders.VideoDecoder(path, dimension_order="NHWC", seek_mode="exact")
    return lambda indices: decoder.get_frames_at(indices.tolist()).data.numpy(), len(decoder)


_OPENERS = {"decord": _open_decord, "torchcodec": _open_torchcodec}


def _import(backend: str) -> object:
    try:
        return import_module(_DECODERS[backend])
    except (ImportError, RuntimeError, OSError) as error:  # torchcodec without FFmpeg fails in any of these ways
        raise ImportError(
            f"backend {backend!r} is not usable here ({_one_line(error)}): {_WAYS_OUT[backend]}"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
