"""The pipeline `video-quality-assessment`: videos in, scores from 0 to 100 out."""

import os
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from transformers.pipelines import Pipeline

from .video_plan import MAX_VIEWS, VideoPlan
from .video_processing_internvideo2 import is_array, list_videos, open_video, to_channels_first
from .video_reader import VideoError
from .video_scores import VideoScore, one_line


class VideoQualityPipeline(Pipeline):
    """
    Scores videos without their reference, each in several views over its length; higher is better.

    A video is a path, an http(s) URL, the bytes of a file, a uint8 RGB array or tensor (frames, height, width, 3) or
    (frames, 3, height, width), or a list of PIL frames.

    Args (of a call or of `pipeline(...)`):
        segments (`float`): Also tell the quality of every step of this many seconds.
        max_views (`int`, defaults to 10): The most views of one video.
        fps (`float`, defaults to 25): Frames per second of arrays, which do not tell.
        batch_size (`int`): Clips that the model sees at once, also of several videos.

    Returns a dictionary per video: `file`, `score` (0 to 100), `label` ("quality"), `interval` [low, high], `segments`
    [{`start`, `end`, `score`}], `model`, `error` (None). A list of videos gives a list; in it, a video that cannot be
    scored has the score None and the reason in `error`. A single one raises `VideoError`.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> score = pipeline("video-quality-assessment", model="org/cvqa-student", trust_remote_code=True)
    >>> score("movie.mp4", segments=1.0)["score"]
    ```
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False
    _load_video_processor = True

    def __call__(self, inputs: Any, **kwargs: Any) -> dict | list[dict]:
        is_batch = isinstance(inputs, (list, tuple)) and not is_frames(inputs)
        videos = list(inputs) if is_batch else [inputs]
        results = super().__call__([{"video": video, "in_batch": is_batch} for video in videos], **kwargs)
        return results if is_batch else results[0]

    def _sanitize_parameters(self, segments=None, max_views=None, fps=None, **kwargs):
        if kwargs:
            raise TypeError(f"unknown option(s) {', '.join(kwargs)}: choose from segments, max_views, fps, batch_size")
        given = {"segments": segments, "max_views": max_views, "fps": fps}
        return {name: value for name, value in given.items() if value is not None}, {}, {}

    def preprocess(
        self, video: dict, segments: float | None = None, max_views: int = MAX_VIEWS, fps: float = 25.0
    ) -> Iterator[dict]:
        """One clip after the other; the last one brings what makes a result of their scores."""
        source, name = video["video"], name_of(video["video"])
        try:
            with open_source(source, fps) as reader:
                plan = VideoPlan(reader, self.video_processor.sampling(), segments, max_views)
                for window, frames in plan.clips(reader, self._prepare):
                    chunk = {"pixel_values_videos": torch.stack(frames)[None], "window": window, "name": name}
                    yield {**chunk, "plan": plan, "error": None, "is_last": window == plan.windows[-1]}
        except (VideoError, ValueError) as error:
            if not video["in_batch"]:
                raise
            reason = one_line(getattr(error, "reason", error))
            size = (self.video_processor.crop_size.height, self.video_processor.crop_size.width)
            blank = torch.zeros(1, self.video_processor.num_frames, 3, *size)
            chunk = {"pixel_values_videos": blank, "window": None, "plan": None}
            yield {**chunk, "name": name, "error": reason, "is_last": True}

    def _prepare(self, frames: np.ndarray) -> torch.Tensor:
        return self.video_processor([frames], do_sample_frames=False, return_tensors="pt")["pixel_values_videos"][0]

    def get_iterator(
        self, inputs, num_workers: int, batch_size: int, preprocess_params, forward_params, postprocess_params
    ) -> Iterator[dict]:
        """The result of each video; a batch of clips may be of several."""
        clips, done = chain.from_iterable(self.preprocess(video, **preprocess_params) for video in inputs), []
        while batch := list(islice(clips, batch_size)):
            pixels = torch.cat([clip.pop("pixel_values_videos") for clip in batch])
            qualities = self.forward({"pixel_values_videos": pixels})["quality"].tolist()
            for clip, quality in zip(batch, qualities):
                done.append({**clip, "quality": quality})
                if clip["is_last"]:
                    yield self.postprocess(done)
                    done = []

    def _forward(self, inputs: dict) -> dict:
        logits = self.model(pixel_values_videos=inputs["pixel_values_videos"].to(self.model.dtype)).logits
        logits = logits.float().flatten()
        # Clipping to the scale would make an infinite output look like a perfect video.
        return {"quality": self.model.quality_score(logits).where(logits.isfinite(), torch.nan)}

    def postprocess(self, chunks: list[dict]) -> dict:
        last, model = chunks[-1], self.model.config._name_or_path
        if last["error"] is not None:
            result = VideoScore(file=last["name"], model=model, error=last["error"])
        else:
            qualities = {chunk["window"]: chunk["quality"] for chunk in chunks}
            result = last["plan"].result(last["name"], model, qualities)
        return {"label": self.model.config.id2label[0], **result.to_dict()}

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """The model folder, with the video processor."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.video_processor.save_pretrained(save_directory, **kwargs)


class ArrayVideo:
    """Frames in memory, with what `VideoPlan` asks of a reader."""

    codec, transfer, damaged = None, None, False

    def __init__(self, frames: Any, fps: float):
        (frames,) = list_videos(frames)
        self._frames = to_channels_first(torch.as_tensor(frames)).permute(0, 2, 3, 1).numpy()
        self.path, self.fps = "<frames>", fps
        self.timestamps, self.duration = np.arange(len(self._frames)) / fps, len(self._frames) / fps
        self.height, self.width = self._frames.shape[1:3]

    def __len__(self) -> int:
        return len(self._frames)

    def __enter__(self) -> "ArrayVideo":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def get_batch(self, indices: np.ndarray) -> np.ndarray:
        return self._frames[np.asarray(indices)]


def open_source(video: Any, fps: float):
    return open_video(video) if isinstance(video, (str, os.PathLike, bytes)) else ArrayVideo(video, fps)


def is_frames(videos: list | tuple) -> bool:
    """Whether a list is the frames of one video rather than several videos."""
    first = videos[0] if len(videos) else None
    return hasattr(first, "convert") or (is_array(first) and first.ndim == 3)


def name_of(video: Any) -> str:
    if isinstance(video, bytes):
        return f"<{len(video)} bytes>"
    return os.fsdecode(video) if isinstance(video, (str, os.PathLike)) else "<frames>"
