"""Encode video with the encoders of `encoders.py` through the ffmpeg program that imageio-ffmpeg brings.

One encode uses one core: a ladder is made fast by many encodes at a time, and one thread gives the same bytes always.
"""

import functools
import os
import re
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ..files import replacing
from .encoders import find_encoder


class EncodingError(ValueError):
    """An encode that failed. `path` names the file, `encoder` the encoder, `reason` what went wrong."""

    def __init__(self, path: str | os.PathLike, encoder: str, reason: str):
        super().__init__(str(path), encoder, reason)
        self.path, self.encoder, self.reason = str(path), encoder, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.encoder}: {self.reason}"


def encode(
    source: str | os.PathLike | tuple[np.ndarray, float],
    target: str | os.PathLike,
    encoder: str,
    quality: float,
    preset: str | None = None,
    bit_depth: int = 8,
    gop: int | None = None,
    fps: float | Fraction | None = None,
    extra: tuple[str, ...] = (),
    *,
    rate_control: str = "crf",
    size: tuple[int, int] | None = None,
    scaler: str = "bicubic",
    frame_step: int = 1,
) -> Path:
    """Encode `source` into `target`, in 4:2:0 and limited range, without sound.

    4:2:0 has one colour sample for 2x2 pixels and x264 and x265 take even sizes only, so an odd size loses its last
    column or row; nothing is scaled unless a `size` is given. Colour tags are kept; frames, and files of 720 lines and
    more without tags, are tagged BT.709, smaller files without tags BT.601. The same call gives the same bytes.

    Args:
        source: a file, or `(frames, fps)` with uint8 RGB frames (n, H, W, 3).
        target: the file to write; its suffix names the container. It appears when it is complete, never before.
        encoder: a key of `ENCODERS`.
        quality: the CRF or QP on the encoder's 8-bit scale, lower is better; or kbit/s.
        preset: the encoder's own name or number for its speed; the table's default if None.
        bit_depth: 8 or 10.
        gop: largest distance between key frames, in frames; the encoder's default if None.
        fps: read a file at this constant rate whatever its timestamps say; None keeps the timestamps.
        extra: further ffmpeg output options, after ours.
        rate_control: what `quality` is, one of the encoder's `rate_controls`.
        size: (width, height) to scale to before encoding, both even.
        scaler: "bicubic", "lanczos" or another of ffmpeg's filters; for `size`.
        frame_step: encode every so many-th frame, at so much less of the frame rate.

    Raises:
        EncodingError: the source can't be read to its end, or ffmpeg failed; with ffmpeg's own reason.
        ValueError: an argument is out of its range.
    """
    settings = find_encoder(encoder)
    if rate_control not in settings.rate_controls:
        known = ", ".join(settings.rate_controls)
        raise ValueError(f"{encoder} has no rate control {rate_control!r}; it has {known}")
    best, worst = settings.crf_range
    if rate_control == "bitrate" and quality <= 0:
        raise ValueError(f"a bit rate must be above 0 kbit/s, not {quality}")
    if rate_control != "bitrate" and not best <= quality <= worst:
        raise ValueError(
            f"quality {quality} is outside the {rate_control.upper()} range {best} to {worst} of {encoder}"
        )
    preset = settings.preset if preset is None else str(preset)
    if preset not in settings.presets:
        raise ValueError(f"{encoder} has no preset {preset!r}; it has {', '.join(settings.presets)}")
    if bit_depth not in settings.bit_depths:
        known = " or ".join(map(str, settings.bit_depths))
        raise ValueError(f"bit_depth of {encoder} must be {known}, not {bit_depth}")
    if size is not None and any(side < 2 or side % 2 for side in size):
        raise ValueError(f"size must be two even numbers, not {size}")
    if frame_step < 1:
        raise ValueError(f"frame_step must be at least 1, not {frame_step}")
    options = ["-c:v", settings.library, *settings.rate_options(rate_control, quality, bit_depth)]
    options += [settings.preset_option, preset, *settings.options]
    if gop is not None:
        options += ["-g", str(gop)]
    filters = [f"framestep={frame_step}"] if frame_step > 1 else []
    if size is not None:
        filters.append(f"scale={size[0]}:{size[1]}:flags={scaler}")
    return _write(source, Path(target), encoder, [*options, *extra], bit_depth, fps, filters)


def store_reference(
    source: str | os.PathLike | tuple[np.ndarray, float],
    target: str | os.PathLike,
    max_frames: int | None = None,
    fps: float | Fraction | None = None,
) -> Path:
    """Store `source` without loss (for a .mkv `target`) as what encodes are made from and judged against.

    The format is FFVHUFF, which decodes eight times as fast as FFV1 for a quarter more of space: each reference is
    decoded twice for every encode. The first `max_frames` frames are taken, at 8 bit, or at 10 bit where the source has
    more than 8. Size, colour and errors as in `encode`.
    """
    bit_depth = 8 if isinstance(source, tuple) or probe(source).bit_depth <= 8 else 10
    options = ["-c:v", "ffvhuff", "-pred", "median", "-threads", "1"]
    if max_frames is not None:
        options += ["-frames:v", str(max_frames)]
    return _write(source, Path(target), "ffvhuff", options, bit_depth, fps)


@dataclass(frozen=True)
class StreamInfo:
    """What an encode needs to know of a file: size in display orientation, colours in H.273 numbers (2: untold)."""

    width: int
    height: int
    fps: Fraction
    bit_depth: int
    is_rgb: bool
    matrix: int
    primaries: int
    transfer: int

    @property
    def is_hdr(self) -> bool:
        return self.transfer in (16, 18)  # PQ and HLG


def probe(path: str | os.PathLike) -> StreamInfo:
    """Read the properties of the first frame of `path`; EncodingError with the reason if there is none."""
    try:
        with av.open(os.fspath(path)) as container:
            stream = container.streams.video[0]
            frame = next(container.decode(stream))
            width, height = frame.width, frame.height
            if frame.rotation % 180:
                width, height = height, width
            return StreamInfo(
                width=width,
                height=height,
                fps=Fraction(stream.average_rate or stream.guessed_rate or 25),
                bit_depth=max(component.bits for component in frame.format.components),
                is_rgb=frame.format.is_rgb,
                matrix=int(frame.colorspace),
                primaries=int(frame.color_primaries),
                transfer=int(frame.color_trc),
            )
    except IndexError:
        raise EncodingError(path, "reading", "has no video stream") from None
    except StopIteration:
        raise EncodingError(path, "reading", "has no frame") from None
    except (OSError, av.FFmpegError) as error:
        raise EncodingError(path, "reading", getattr(error, "strerror", None) or str(error)) from error


@functools.cache
def ffmpeg_program() -> str:
    """Path of the ffmpeg program: `IMAGEIO_FFMPEG_EXE` if set, else the one inside imageio-ffmpeg."""
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def ffmpeg_version() -> str:
    command = [ffmpeg_program(), "-version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def run_ffmpeg(arguments: list[str], **options) -> subprocess.CompletedProcess:
    """Run ffmpeg with a list of arguments; standard error comes back as text, and an interrupt ends the program too."""
    command = [ffmpeg_program(), "-hide_banner", "-nostdin", "-y", *arguments]
    environment = {**os.environ, "SVT_LOG": "1"}  # SVT-AV1 prints its settings past ffmpeg's log level
    result = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, **options)
    result.stderr = result.stderr.decode("utf-8", "replace")
    return result


def failure_of(result: subprocess.CompletedProcess) -> str:
    """The line of ffmpeg's error messages that says most: the first one, the others follow from it."""
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    return re.sub(r" @ 0x[0-9a-f]+", "", lines[0]) if lines else f"ffmpeg ended with status {result.returncode}"


def file_argument(path: str | os.PathLike) -> str:
    """A file name as ffmpeg must be given it: a colon or a leading dash would otherwise mean something else."""
    return f"file:{Path(path).absolute()}"


def _write(source, target: Path, encoder: str, options: list[str], bit_depth: int, fps, changes=()) -> Path:
    if isinstance(source, tuple):
        name = str(target)
        inputs, filters, data = _from_frames(*source)
    else:
        name, data = str(source), None
        inputs, filters = _from_file(Path(source), fps)
    filters += [*changes, "format=yuv420p" if bit_depth == 8 else "format=yuv420p10le"]

    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        output = ["-map", "0:v:0", "-map_metadata", "-1", "-vf", ",".join(filters), *options]
        output += ["-fps_mode", "passthrough", "-fflags", "+bitexact", file_argument(partial)]
        # Without -xerror a damaged source would give a shorter or patched-up encode and no error.
        result = run_ffmpeg(["-v", "error", "-xerror", *inputs, *output], input=data)
        if result.returncode or not partial.exists() or not partial.stat().st_size:
            raise EncodingError(name, encoder, failure_of(result))
    return target


def _from_frames(frames: np.ndarray, fps: float | Fraction) -> tuple[list[str], list[str], memoryview]:
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise ValueError(f"frames must be uint8 (n, H, W, 3), not {frames.dtype} {frames.shape}")
    height, width = (side // 2 * 2 for side in frames.shape[1:3])
    data = np.ascontiguousarray(frames[:, :height, :width])
    rate = Fraction(fps).limit_denominator(1001)
    inputs = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}"]
    inputs += ["-framerate", str(rate), "-i", "pipe:0"]
    return inputs, [_RGB_TO_YUV, _tag("bt709", "bt709", "bt709")], memoryview(data).cast("B")


def _from_file(path: Path, fps) -> tuple[list[str], list[str]]:
    info = probe(path)
    inputs = ["-threads", "1", "-i", file_argument(path)]
    if fps is not None:
        inputs = ["-r", str(Fraction(fps).limit_denominator(1001)), *inputs]
    usual = "bt709" if info.is_rgb or min(info.width, info.height) >= 720 else "smpte170m"
    told = (info.matrix, info.primaries, info.transfer)
    names = [usual if number in (0, 2) else str(number) for number in told]
    filters = [_RGB_TO_YUV if info.is_rgb else "scale=out_range=tv", _tag(*names)]
    if info.width % 2 or info.height % 2:
        filters.insert(0, "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0")
    return inputs, filters


_RGB_TO_YUV = "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int"


def _tag(matrix: str, primaries: str, transfer: str) -> str:
    return f"setparams=range=tv:colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}"
