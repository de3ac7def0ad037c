"""`VideoScorer`: quality of video files from 0 to 100, for the whole and over time, by any of the quality models."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from scipy.special import stdtrit

from .. import models  # noqa: F401  (registers the Auto classes)
from ..video import VideoError, VideoReader
from .scores import Segment, VideoScore
from .views import equal_steps, frames_between, spread_views


Progress = Callable[[int, int], None]

# Transfer functions of HDR video. Decoded as if it were SDR, it looks washed out to a model that never saw it.
HDR_TRANSFERS = {"smpte2084": "PQ", "arib-std-b67": "HLG"}

# Frames of one decoded piece, so that 8K video needs no more memory than 4K.
DECODED_BYTES = 2**28


class ModelError(ValueError):
    """A model cannot be loaded. The text names the model, the reason and the way out in one line."""


class VideoScorer:
    """Scores video files without their reference.

    A video is looked at in several views, stretches of at least one second spread over its whole length (see
    `cvqa.inference.views.spread_views`). The model scores each, and their mean is the score of the video. Nothing is
    random, and the frames of one file never share a batch with another's: the same file gets the same score, alone,
    among others, with and without segments.

    Args:
        model: a quality model, for example `InternVideo2ForVideoQualityAssessment`, on the device it is to run on.
        processor: its video processor.
        name: what results call the model.
        max_views: the most views of one video; more cost more and tell more about long videos.

    Example:
        >>> scorer = VideoScorer.from_pretrained("org/cvqa-student")
        >>> scorer.score("movie.mp4", segments=1.0).score
    """

    def __init__(self, model: torch.nn.Module, processor, name: str = "", max_views: int = 10):
        self.model = model.eval()
        self.processor = processor
        self.name = name
        self.max_views = max_views
        self.device = next(model.parameters()).device
        # On the CPU one clip already fills the cores. All batches have this size, the last one padded, because
        # another size may choose another matrix kernel and change the last digits of a score.
        self.batch_size = 1 if self.device.type == "cpu" else 8

    @classmethod
    def from_pretrained(
        cls,
        folder_or_repo: str | os.PathLike,
        device: str = "auto",
        dtype: torch.dtype | None = None,
        max_views: int = 10,
    ) -> "VideoScorer":
        """Loads model and video processor from a folder or from a repository on the Hub.

        Args:
            folder_or_repo: what `save_pretrained` or `push_to_hub` wrote; a repository is downloaded once and cached.
            device: "cpu", "cuda", "cuda:1", …; "auto" takes a CUDA device if there is one.
            dtype: number format of the weights; None computes in float32, whatever the file holds.
            max_views: the most views of one video.

        Raises:
            ModelError: nothing there, not a quality model, or no such device.
        """
        from transformers import AutoModel, AutoVideoProcessor

        name = os.fspath(folder_or_repo)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
            raise ModelError(f"{name}: not a model folder, it has no config.json")
        if not Path(name).is_dir() and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
            raise ModelError(f"{name}: no such folder, nor the name of a repository (organisation/model)")
        try:
            # Our own classes read every model of ours; code that a stranger's repository brings is not run.
            model, loading = AutoModel.from_pretrained(
                name, dtype=dtype or torch.float32, output_loading_info=True, trust_remote_code=False
            )
            processor = AutoVideoProcessor.from_pretrained(name, trust_remote_code=False)
        except Exception as error:  # transformers, safetensors and the Hub have no common kind of error
            raise ModelError(f"{name}: cannot load the model: {one_line(error)}") from error
        if not hasattr(model, "quality_score") or not hasattr(processor, "frame_indices"):
            raise ModelError(f"{name}: {type(model).__name__} is not a video quality model")
        if loading["missing_keys"]:
            missing = ", ".join(sorted(loading["missing_keys"])[:3])
            raise ModelError(f"{name}: the weights lack {missing}, so that scores would be random")
        # Weights lie in the mapped file as its header happens to place them, and so would choose the matrix kernels.
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
        try:
            model = model.to(torch.device(device))
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f"{name}: cannot use the device {device!r}: {one_line(error)}") from error
        return cls(model, processor, name, max_views)

    def score(
        self, path: str | os.PathLike, segments: float | None = None, progress: Progress | None = None
    ) -> VideoScore:
        """The quality of one video.

        Args:
            path: a video file.
            segments: if given, quality is also told for every step of this many seconds. Each is judged by frames of
                its own only; a rest shorter than half a step joins the last one. The score does not depend on it.
            progress: called with (clips scored, clips in all) as work goes on.

        Raises:
            VideoError: not a readable video, damaged, cut short, or HDR; steps shorter than a frame; a result that is
                not a number.
        """
        path = os.fspath(path)
        with VideoReader(path) as reader:
            self._check(path, reader, segments)
            times, duration = reader.timestamps - reader.timestamps[0], reader.duration
            views = spread_views(duration, self._view_length(reader.fps), self.max_views)
            steps = equal_steps(duration, segments) if segments else []
            windows = [self._frames(times, *stretch) for stretch in views + steps]
            values = self._score_windows(reader, windows, progress)
            if not np.isfinite(values).all():
                raise VideoError(path, "the model gave a score that is not a finite number; check its weights")
            facts = {name: getattr(reader, name) for name in ("fps", "width", "height", "codec")}

        # Of a video with too few frames, several views are the same one: they must not count as agreement.
        distinct = {window.tobytes(): float(value) for window, value in zip(windows, values[: len(views)])}
        score, interval = mean_and_interval(list(distinct.values()))
        return VideoScore(
            file=path,
            score=score,
            interval=interval,
            segments=tuple(Segment(*step, float(value)) for step, value in zip(steps, values[len(views) :])),
            model=self.name,
            views=tuple(Segment(*stretch, float(value)) for stretch, value in zip(views, values)),
            duration=duration,
            **facts,
        )

    def score_many(
        self, paths: Iterable[str | os.PathLike], segments: float | None = None, progress: Progress | None = None
    ) -> Iterator[VideoScore]:
        """The quality of each video, in order. One that fails becomes a result with `error`; the rest goes on."""
        for path in paths:
            try:
                yield self.score(path, segments, progress)
            except VideoError as error:
                yield VideoScore(file=os.fspath(path), model=self.name, error=one_line(error.reason))
            except Exception as error:  # whatever a broken file provokes must not end the batch
                yield VideoScore(file=os.fspath(path), model=self.name, error=one_line(error))

    def _view_length(self, fps: float) -> float:
        """Seconds: at least one, and what the frames of one clip span where the model wants them at a stride."""
        stride = self.processor.frame_stride if self.processor.frame_sampling == "window" else 1
        return max(1.0, self.processor.num_frames * stride / fps)

    def _frames(self, times: np.ndarray, start: float, end: float) -> np.ndarray:
        first, last = frames_between(times, start, end)
        return self.processor.frame_indices(len(times), start=first, end=last)

    def _check(self, path: str, reader: VideoReader, segments: float | None) -> None:
        if reader.damaged:
            raise VideoError(
                path,
                f"damaged or cut short, only {len(reader)} frames can be decoded, and their score would hide that; "
                "encode it again, or save what is sound: ffmpeg -i IN -c copy OUT",
            )
        transfer = HDR_TRANSFERS.get(reader.transfer)
        if transfer:
            raise VideoError(
                path,
                f"HDR video ({transfer}), but the model knows standard dynamic range only; "
                "tone-map it to BT.709 first and score the result",
            )
        if segments is not None and not segments * reader.fps >= 1:
            raise VideoError(path, f"segments of {segments:g} s are shorter than one frame ({1 / reader.fps:.3g} s)")

    def _score_windows(
        self, reader: VideoReader, windows: list[np.ndarray], progress: Progress | None = None
    ) -> np.ndarray:
        """Quality (len(windows),) of each window of frame indices; windows of the same frames are scored once."""
        keys = [tuple(window.tolist()) for window in windows]
        qualities: dict[tuple[int, ...], float] = {}
        clips = self._clips(reader, set(keys))
        while batch := list(islice(clips, self.batch_size)):
            qualities.update(zip((key for key, _ in batch), self._qualities([clip for _, clip in batch])))
            if progress:
                progress(len(qualities), len(set(keys)))
        return np.array([qualities[key] for key in keys])

    def _clips(
        self, reader: VideoReader, windows: set[tuple[int, ...]]
    ) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
        """Each window with its pixels (num_frames, channels, height, width), in the order in which windows end.

        One pass over the file: a frame is decoded once, and kept, at the size of the model, only while a window still
        needs it. So memory is bounded however long the video is.
        """
        waiting = deque(sorted(windows, key=lambda window: (max(window), window)))
        uses = Counter(index for window in windows for index in set(window))
        needed = np.array(sorted(uses))
        size = max(1, min(self.processor.num_frames, DECODED_BYTES // (reader.width * reader.height * 3)))
        frames: dict[int, torch.Tensor] = {}
        for chunk in np.split(needed, range(size, len(needed), size)):
            pixels = self.processor([reader.get_batch(chunk)], do_sample_frames=False, return_tensors="pt")
            frames.update(zip(chunk.tolist(), pixels["pixel_values_videos"][0]))
            while waiting and max(waiting[0]) <= chunk[-1]:
                window = waiting.popleft()
                yield window, torch.stack([frames[index] for index in window])
                for index in set(window):
                    uses[index] -= 1
                    if not uses[index]:
                        del frames[index]

    @torch.inference_mode()
    def _qualities(self, clips: list[torch.Tensor]) -> list[float]:
        """Quality of each of at most `batch_size` clips (num_frames, channels, height, width)."""
        pixels = torch.stack(clips + clips[-1:] * (self.batch_size - len(clips)))
        logits = self.model(pixel_values_videos=pixels.to(self.device, self.model.dtype)).logits.float().flatten()
        # Clipping to the scale would make an infinite output look like a perfect video.
        qualities = self.model.quality_score(logits).where(logits.isfinite(), torch.nan)
        return qualities[: len(clips)].tolist()


def mean_and_interval(values: list[float]) -> tuple[float, tuple[float, float]]:
    """Mean and its 95% interval by Student's t, within 0 to 100; of a single value the interval is all of 0 to 100."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, (0.0, 100.0)
    margin = float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, (max(mean - margin, 0.0), min(mean + margin, 100.0))


def one_line(error: object) -> str:
    """The text of an error in one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
