"""Clips panned over real photographs, which scikit-image brings, and encoded with real codecs."""

from pathlib import Path

import av
import numpy as np
from skimage import data


def pan(photograph: str = "coffee", width: int = 448, height: int = 252, count: int = 24) -> np.ndarray:
    """Frames (count, height, width, 3) uint8 RGB: a window that moves by 3 pixels a frame, down and to the right."""
    image = getattr(data, photograph)()
    steps = [3 * n for n in range(count)]
    room = image.shape[0] - height, image.shape[1] - width
    return np.stack([image[min(n, room[0]) :, min(n, room[1]) :][:height, :width] for n in steps], dtype=np.uint8)


def write_clip(path: Path, frames: np.ndarray, codec: str = "ffv1", pix_fmt: str = "bgr0", **options: str) -> Path:
    """Encode; by default without loss, so that the frames come back as they were."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path
