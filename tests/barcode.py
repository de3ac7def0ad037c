"""Clips whose every frame carries its own number, so that a wrong frame is seen, not inferred."""

import contextlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np


BITS = 8  # numbers 0..255
FRAMES = 40  # of each clip in CLIPS, at 25 per second

_H264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", 12, "-bf", 3)
_HEVC = ("-c:v", "libx265", "-preset", "veryfast", "-crf", 18)
_HEVC += ("-x265-params", "log-level=none:keyint=12:min-keyint=12:bframes=4")
_VP9 = ("-c:v", "libvpx-vp9", "-cpu-used", 6, "-g", 12, "-lag-in-frames", 16, "-auto-alt-ref", 1)
_AV1 = ("-c:v", "libsvtav1", "-preset", 8, "-crf", 20, "-g", 12)
_MPEG4 = ("-c:v", "mpeg4", "-bf", 2, "-g", 12, "-q:v", 3)
_8BIT, _10BIT = ("-pix_fmt", "yuv420p"), ("-pix_fmt", "yuv420p10le")

# What the ffmpeg program is told to make a clip of; the name says codec, peculiarity and container.
CLIPS: dict[str, tuple] = {
    "h264.mp4": _H264,
    "h264.mkv": _H264,
    "h264.ts": _H264,
    "h264.avi": _H264,
    "h264.h264": _H264,
    "h264-faststart.mp4": (*_H264, "-movflags", "+faststart"),
    "h264-fragmented.mp4": (*_H264, "-movflags", "+frag_keyframe+empty_moov"),
    "h264-open.mp4": (*_H264, "-x264-params", "open-gop=1:b-pyramid=normal"),
    "h264-manyrefs.mkv": (*_H264, "-x264-params", "open-gop=1:bframes=16:ref=16:b-adapt=2"),
    "h264-intrarefresh.mkv": (*_H264, "-x264-params", "intra-refresh=1"),
    "h264-interlaced.mp4": (*_H264, "-flags", "+ildct+ilme", "-x264-params", "tff=1"),
    "h264-late.mp4": (*_H264, "-output_ts_offset", 10),
    "h264-wraps.ts": (*_H264, "-output_ts_offset", 95442),  # its 33-bit clock of 90 kHz starts anew within the clip
    "hevc.mp4": (*_HEVC, *_8BIT),
    "hevc.mkv": (*_HEVC, *_8BIT),
    "hevc.ts": (*_HEVC, *_8BIT),
    "hevc.hevc": (*_HEVC, *_8BIT),
    "hevc-10bit.mp4": (*_HEVC, *_10BIT),
    "vp9.webm": (*_VP9, *_8BIT),
    "vp9.mp4": (*_VP9, *_8BIT),
    "vp9.ivf": (*_VP9, *_8BIT),
    "vp9-10bit.webm": (*_VP9, *_10BIT),
    "av1.mp4": (*_AV1, *_8BIT),
    "av1.webm": (*_AV1, *_8BIT),
    "av1.ivf": (*_AV1, *_8BIT),
    "av1-10bit.mp4": (*_AV1, *_10BIT),
    "mpeg4.mp4": _MPEG4,
    "mpeg4.avi": _MPEG4,
    "mpeg2video.ts": ("-c:v", "mpeg2video", "-bf", 2, "-g", 12, "-q:v", 3),
    "mpeg2video.mpg": ("-c:v", "mpeg2video", "-bf", 2, "-g", 12, "-q:v", 3),
    "mjpeg.avi": ("-c:v", "mjpeg", "-q:v", 3),
    "rawvideo.y4m": _8BIT,
}


def draw_frames(count: int, width: int = 128, height: int = 96, first: int = 0) -> np.ndarray:
    """Frames (count, height, width, 3) uint8: a code in the upper half, inverted below, over moving texture."""
    y, x = np.mgrid[:height, :width]
    frames = np.empty((count, height, width, 3), np.uint8)
    for frame, number in zip(frames, range(first, first + count), strict=True):
        shift = 3 * number
        frame[..., 0] = 128 + 60 * np.sin((x + shift) / 9) + 30 * np.sin(y / 5)
        frame[..., 1] = 128 + 60 * np.sin((y + shift) / 7)
        frame[..., 2] = 128 + 60 * np.sin((x + y - shift) / 11)
        bits = (number >> np.arange(BITS)) & 1
        code = np.where(bits[x[0] * BITS // width], 235, 20)
        frame[: height // 4] = code[None, :, None]
        frame[height // 4 : height // 2] = 255 - code[None, :, None]
    return frames


def read_number(frame: np.ndarray) -> int:
    """The number in one RGB frame (height, width, 3); an AssertionError where it does not show a clean code."""
    height, width = frame.shape[:2]
    centres = (2 * np.arange(BITS) + 1) * width // (2 * BITS)
    rows = (height // 8, height // 8 + height // 4)
    grey = frame.astype(float).mean(-1)
    code, inverse = (np.array([grey[row - 1 : row + 2, c - 1 : c + 2].mean() for c in centres]) for row in rows)
    assert (np.abs(code - inverse) > 60).all(), f"no clean barcode: {code.round()} over {inverse.round()}"
    return int(((code > inverse) << np.arange(BITS)).sum())


def read_numbers(frames: np.ndarray) -> list[int]:
    return [read_number(frame) for frame in frames]


def ffmpeg(*arguments: object, stdin: bytes | None = None) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, input=stdin, check=True, env=os.environ | {"SVT_LOG": "1"})


def write_clip(path: Path, *options: object, frames: np.ndarray | None = None, fps: float = 25) -> Path:
    """Encode `frames` to `path` with the ffmpeg program, `options` being its output options."""
    frames = draw_frames(FRAMES) if frames is None else frames
    height, width = frames.shape[1:3]
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", fps, "-i", "-")
    ffmpeg(*source, *options, path, stdin=frames.tobytes())
    return path


def clip_maker(folder: Path) -> Callable[[str], Path]:
    """A function from a name in CLIPS to that clip, encoded when first asked for."""

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else write_clip(path, *CLIPS[name])

    return make


def sequential_frames(path: Path) -> list[np.ndarray]:
    """What FFmpeg decodes from the first packet to the last, without threads and in spite of errors."""
    frames = []
    with av.open(str(path)) as container:
        decoder = container.streams.video[0].codec_context
        decoder.thread_count = 1
        for packet in container.demux(video=0):
            with contextlib.suppress(av.FFmpegError):
                frames += decoder.decode(packet if packet.size else None)
        interpolation = 0x2 if frames[0].format.components[0].bits == 8 else 0x2 | 0x2000 | 0x40000  # rounded exactly
        return [frame.to_ndarray(format="rgb24", interpolation=interpolation) for frame in frames]
