"""`VideoScorer`: quality of video files from 0 to 100, for the whole and over time, by any of the quality models."""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from .. import models  # noqa: F401  (registers the Auto classes)
from ..models.video_plan import MAX_VIEWS, VideoPlan, Window
from ..models.video_scores import VideoScore, one_line
from ..video import VideoError, VideoReader
from .default_model import DEFAULT_NAME, default_model
from .fusion import fuse_for_inference


Progress = Callable[[int, int], None]


class ModelError(ValueError):
    """A model cannot be loaded. The text names the model, the reason and the way out in one line."""


class VideoScorer:
    """Scores video files without their reference.

    A video is looked at in several views, stretches of at least one second spread over its whole length (see
    `cvqa.models.video_plan.VideoPlan`). The model scores each, and their mean is the score of the video. Nothing is
    random, and the frames of one file never share a batch with another's: the same file gets the same score, alone,
    among others, with and without segments.

    Args:
        model: a quality model, for example `InternVideo2ForVideoQualityAssessment`, on the device it is to run on.
        processor: its video processor.
        name: what results call the model.
        max_views: the most views of one video; more cost more and tell more about long videos.

    Example:
        >>> scorer = VideoScorer.from_pretrained()  # or a folder, or "org/cvqa-student"
        >>> scorer.score("movie.mp4", segments=1.0).score
    """

    def __init__(self, model: torch.nn.Module, processor, name: str = "", max_views: int = MAX_VIEWS):
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
        folder_or_repo: str | os.PathLike | None = None,
        device: str = "auto",
        dtype: torch.dtype | None = None,
        max_views: int = MAX_VIEWS,
        hdr: str | None = None,
    ) -> "VideoScorer":
        """Loads model and video processor from a folder or from a repository on the Hub.

        Args:
            folder_or_repo: what `save_pretrained` or `push_to_hub` wrote; a repository is downloaded once and cached.
                None: the student that comes with the package.
            device: "cpu", "cuda", "cuda:1", …; "auto" takes a CUDA device if there is one.
            dtype: number format of the weights; None computes in float32, whatever the file holds.
            max_views: the most views of one video.
            hdr: what to do with PQ and HLG video, "refuse" or "bt2390" (map it to SDR); None: as the processor has it.

        Raises:
            ModelError: nothing there, not a quality model, or no such device.
        """
        from transformers import AutoModel, AutoVideoProcessor

        try:
            name = os.fspath(default_model() if folder_or_repo is None else folder_or_repo)
        except ValueError as error:
            raise ModelError(str(error)) from error
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
            processor = AutoVideoProcessor.from_pretrained(
                name, trust_remote_code=False, **({"hdr": hdr} if hdr else {})
            )
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
        return cls(fuse_for_inference(model), processor, DEFAULT_NAME if folder_or_repo is None else name, max_views)

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
        with VideoReader(path, hdr=self.processor.hdr) as reader:
            plan = VideoPlan(reader, self.processor.sampling(), segments, self.max_views)
            qualities: dict[Window, float] = {}
            clips = plan.clips(reader, self._prepare)
            while batch := list(islice(clips, self.batch_size)):
                windows, frames = zip(*batch)
                qualities.update(zip(windows, self._qualities([torch.stack(clip) for clip in frames])))
                if progress:
                    progress(len(qualities), len(plan.windows))
        return plan.result(path, self.name, qualities, self.model.config.score_interval, self.model.config.domain)

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

    def _prepare(self, frames: np.ndarray) -> torch.Tensor:
        """Uint8 frames (n, height, width, 3) as the model takes them, float32 (n, 3, height, width)."""
        return self.processor([frames], do_sample_frames=False, return_tensors="pt")["pixel_values_videos"][0]

    @torch.inference_mode()
    def _qualities(self, clips: list[torch.Tensor]) -> list[float]:
        """Quality of each of at most `batch_size` clips (num_frames, channels, height, width)."""
        pixels = torch.stack(clips + clips[-1:] * (self.batch_size - len(clips)))
        logits = self.model(pixel_values_videos=pixels.to(self.device, self.model.dtype)).logits.float().flatten()
        # Clipping to the scale would make an infinite output look like a perfect video.
        qualities = self.model.quality_score(logits).where(logits.isfinite(), torch.nan)
        return qualities[: len(clips)].tolist()
