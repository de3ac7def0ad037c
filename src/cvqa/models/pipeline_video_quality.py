"""The pipeline `video-quality-assessment`: videos in, scores from 0 to 100 out."""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.pipelines.base import ChunkPipeline

from .video_plan import MAX_VIEWS, VideoPlan
from .video_processing_internvideo2 import is_array, list_videos, open_video, to_channels_first
from .video_reader import VideoError
from .video_scores import VideoScore, one_line


class VideoQualityPipeline(ChunkPipeline):
    """
    Scores videos without their reference, each in several views over its length; 0 to 100, higher is better.

    A video is a path, an http(s) URL, the bytes of a file, a uint8 RGB array or tensor (frames, height, width, 3) or
    (frames, 3, height, width), a list of frames of one size, or an open `VideoReader`, which stays open. A list of
    videos gives a list of results; in it, one that cannot be scored has the score `None` and the reason in `error`, and
    the rest goes on. A generator or a `Dataset` of videos gives an iterator of such results.

    Args (of `pipeline(...)` or of a call):
        segments (`float`, *optional*): Also tell the quality of every step of this many seconds.
        max_views (`int`, defaults to 10): The most views of one video.
        fps (`float`, defaults to 25): Frames per second of frames in memory, which do not tell.
        batch_size (`int`, defaults to 1): Clips that the model sees at once, of one video or of several.

    Returns (`dict`):
        `score` (0 to 100), `label` ("quality"), `interval` and `spread` [low, high], `warnings`, `segments` and
        `views` [{`start`, `end`, `score`}], `file`, `model`, `error` and the facts `duration`, `fps`, `width`,
        `height`, `codec`; see `VideoScore`, which `cvqa.VideoScorer` gives for the same file with the same values.

    Raises:
        VideoError: A single video cannot be scored; it names the file and the reason.

    Example:

    ```python
    >>> from transformers import pipeline

    >>> assess = pipeline("video-quality-assessment", model="org/cvqa-student", trust_remote_code=True)
    >>> assess("movie.mp4", segments=1.0)["score"]
    ```
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False
    _load_video_processor = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.device.type == "cpu":
            # Weights lie in the mapped file as its header happens to place them, and so would choose the matrix
            # kernels, and with them the last digits of a score.
            for parameter in self.model.parameters():
                parameter.data = parameter.data.clone()

    def __call__(self, inputs: Any, **kwargs: Any) -> dict | list[dict] | Iterator[dict]:
        if is_one_video(inputs):
            (result,) = super().__call__([inputs], **kwargs)
            if result["error"] is not None:
                raise VideoError(result["file"], result["error"])
            return result
        if isinstance(inputs, (list, tuple)) or is_array(inputs):
            return super().__call__(list(inputs), **kwargs) if len(inputs) else []
        return super().__call__(inputs, **kwargs)

    def open(self, video: Any, fps: float = 25.0) -> AbstractContextManager:
        """The reader of whatever the pipeline takes for a video, for a `with`. Raises VideoError or ValueError."""
        if hasattr(video, "get_batch"):
            return nullcontext(video)
        if isinstance(video, (str, os.PathLike, bytes)):
            return open_video(video, self.video_processor.hdr)
        return VideoInMemory(video, fps)

    def _sanitize_parameters(self, segments=None, max_views=None, fps=None, **unknown):
        if unknown:
            raise TypeError(f"unknown option(s) {', '.join(unknown)}: there are segments, max_views, fps, batch_size")
        given = {"segments": segments, "max_views": max_views, "fps": fps}
        return {name: value for name, value in given.items() if value is not None}, {}, {}

    def preprocess(
        self, video: Any, segments: float | None = None, max_views: int = MAX_VIEWS, fps: float = 25.0
    ) -> Iterator[dict[str, Any]]:
        """The clips of a video, one by one, as `pixels` (num_frames, 3, height, width).

        The last one is marked, as it brings `plan`, or `error`, in which case its `pixels` are None.
        """
        part = {"file": name_of(video), "error": None}
        try:
            with self.open(video, fps) as reader:
                plan = VideoPlan(reader, self.video_processor.sampling(), segments, max_views)
                for window, frames in plan.clips(reader, self._prepare):
                    is_last = window == plan.windows[-1]
                    yield part | {"pixels": torch.stack(frames), "window": window, "plan": plan, "is_last": is_last}
        except Exception as error:  # whatever a broken file provokes must not end the batch
            yield part | {"pixels": None, "error": one_line(getattr(error, "reason", error)), "is_last": True}

    def _prepare(self, frames: np.ndarray) -> torch.Tensor:
        """Uint8 frames (n, height, width, 3) as the model takes them, float32 (n, 3, height, width)."""
        return self.video_processor([frames], do_sample_frames=False, return_tensors="pt")["pixel_values_videos"][0]

    def get_iterator(
        self,
        inputs: Iterable,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict,
        forward_params: dict,
        postprocess_params: dict,
    ) -> Iterator[dict[str, Any]]:
        """The result of each video. The base class cannot batch without a tokenizer; here videos share batches."""
        videos = (inputs[i] for i in range(len(inputs))) if hasattr(inputs, "__len__") else inputs
        clips = chain.from_iterable(self.preprocess(video, **preprocess_params) for video in videos)
        parts: list[dict[str, Any]] = []
        while batch := list(islice(clips, batch_size)):
            pixels = [part["pixels"] for part in batch if part["pixels"] is not None]
            qualities = iter(self.forward({"pixels": torch.stack(pixels)})["quality"].tolist() if pixels else ())
            for part in batch:
                quality = None if part.pop("pixels") is None else next(qualities)
                parts.append(part | {"quality": quality})
                if part["is_last"]:
                    yield self.postprocess(parts, **postprocess_params)
                    parts = []

    def _forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        logits = self.model(pixel_values_videos=inputs["pixels"].to(self.dtype)).logits.float().flatten()
        # Clipping to the scale would make an infinite output look like a perfect video.
        return {"quality": self.model.quality_score(logits).where(logits.isfinite(), torch.nan)}

    def postprocess(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """The result of a video from its clips in order, each with its `quality`."""
        last, model = parts[-1], self.model.name_or_path
        try:
            if last["error"] is not None:
                raise VideoError(last["file"], last["error"])
            qualities = {part["window"]: part["quality"] for part in parts}
            config = self.model.config
            score = last["plan"].result(last["file"], model, qualities, config.score_interval, config.domain)
        except VideoError as error:
            score = VideoScore(file=last["file"], model=model, error=error.reason)
        stretches = {name: [s._asdict() for s in getattr(score, name)] for name in ("segments", "views")}
        bounds = {name: getattr(score, name) and list(getattr(score, name)) for name in ("interval", "spread")}
        bounds["warnings"] = list(score.warnings)
        return {**vars(score), **stretches, **bounds, "label": self.model.config.id2label[0]}

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Model and video processor, with the code of both and of the pipeline."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.video_processor.save_pretrained(save_directory, **kwargs)


class VideoInMemory:
    """Frames in memory, with what `VideoPlan` asks of a reader.

    Raises ValueError for what is not the uint8 RGB frames of one video.
    """

    path, codec, is_hdr, damaged = "<frames>", None, False, False

    def __init__(self, frames: Any, fps: float):
        (video,) = list_videos(frames)
        self._frames = to_channels_first(torch.as_tensor(video)).permute(0, 2, 3, 1)  # (frames, height, width, 3)
        if not len(self._frames) or not fps > 0:
            raise ValueError(f"A video has at least one frame and a rate above 0, not {len(self._frames)} at {fps}.")
        self.timestamps, self.duration, self.fps = np.arange(len(self)) / fps, len(self) / fps, float(fps)
        self.height, self.width = self._frames.shape[1:3]

    def __len__(self) -> int:
        return len(self._frames)

    def __enter__(self) -> "VideoInMemory":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def get_batch(self, indices: np.ndarray) -> np.ndarray:
        return self._frames[torch.as_tensor(indices)].cpu().numpy()


def is_one_video(inputs: Any) -> bool:
    """Whether this is a single video rather than several. A list of pictures is the frames of one."""
    if isinstance(inputs, (list, tuple)):
        return bool(inputs) and (isinstance(inputs[0], Image.Image) or (is_array(inputs[0]) and inputs[0].ndim == 3))
    if is_array(inputs):
        return inputs.ndim != 5
    single = isinstance(inputs, (str, os.PathLike, bytes)) or hasattr(inputs, "get_batch")
    return single or (not isinstance(inputs, Iterable) and not hasattr(inputs, "__getitem__"))


def name_of(video: Any) -> str:
    """What results call a video."""
    if isinstance(video, bytes):
        return f"<{len(video)} bytes>"
    return os.fsdecode(video) if isinstance(video, (str, os.PathLike)) else getattr(video, "path", VideoInMemory.path)
