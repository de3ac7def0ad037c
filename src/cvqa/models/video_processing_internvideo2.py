"""Video processor of the quality models: decodes, samples frames, resizes them or cuts fragments, normalises.

Inference, training and the frame cache all go through `frame_indices`, `spatial_views` and `pixel_values`, so that the
same video gives the same pixels, bit for bit, by whichever way it comes.
"""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ChannelDimension,
    PILImageResampling,
)
from transformers.processing_utils import VideosKwargs
from transformers.utils import TensorType
from transformers.video_processing_utils import BaseVideoProcessor
from transformers.video_utils import VideoMetadata, make_batched_metadata

from .tone_mapping import HDR_MAPPINGS
from .video_reader import VideoError, VideoReader, refuse_hdr
from .video_views import MAX_ORIENTATIONS, ViewSampling, fragment_offsets, mirrored


if TYPE_CHECKING:  # transformers saves with a file what it imports: so the pipeline travels with the processor
    from .pipeline_video_quality import VideoQualityPipeline  # noqa: F401


class InternVideo2VideoProcessorKwargs(VideosKwargs, total=False):
    """
    Options beyond those of every video processor.

    frame_sampling (`str`): `"uniform"`: the middles of `num_frames` equal stretches of the video. `"window"`:
        `num_frames` frames spread over the central `num_frames * frame_stride` ones (all, of a shorter video).
    frame_stride (`int`): Length of the window in frames, divided by `num_frames`.
    spatial_mode (`str`): `"resize"`: short side to `size`, then the central `crop_size`. `"fragments"`: squares of
        native resolution from all over the frame, put together to `crop_size`; see `cut_fragments`.
    fragment_size (`int`): Side of a fragment in pixels: a multiple of `patch_size` that divides `crop_size`, so that
        no token of the model straddles a seam. As large as the crop, it makes one native crop.
    patch_size (`int`): Patch size of the model.
    orientations (`int`): In how many orientations a score looks at a video, view by view in turn: 1 as it is, 2 also
        mirrored, 3 also upside down, 4 also transposed. More than 1 suits a model that was trained so. Of no effect
        on `pixel_values_videos` of a call, which is a single view.
    hdr (`str`): `"refuse"`: PQ and HLG video is an error. `"bt2390"`: it is tone-mapped to SDR, see `tone_mapping`.
    """

    frame_sampling: Literal["uniform", "window"]
    frame_stride: int
    spatial_mode: Literal["resize", "fragments"]
    fragment_size: int
    patch_size: int
    orientations: int
    hdr: Literal["refuse", "bt2390"]


class InternVideo2VideoProcessor(BaseVideoProcessor):
    """
    Makes `pixel_values_videos`, float32 of shape (videos, frames, 3, height, width), of videos.

    A video is a path (`str` or `pathlib.Path`), an http(s) URL, the `bytes` of a file, a uint8 RGB array or tensor of
    shape (frames, height, width, 3) or (frames, 3, height, width), or a list of frames of one size; several videos are
    a list of any of these or a 5-D array. Of a file only the sampled frames are decoded. With `do_sample_frames=False`
    all frames are taken as they are. Every option can be overridden in a call. Sampling by `fps` is refused: the
    models look at a fixed number of frames.

    Raises `VideoError`, with `path` and `reason`, for a file that cannot be read.

    Example:

    ```python
    >>> processor = InternVideo2VideoProcessor(frame_sampling="window")
    >>> processor("clip.mp4")["pixel_values_videos"].shape
    torch.Size([1, 8, 3, 224, 224])
    ```
    """

    resample = PILImageResampling.BICUBIC
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size = {"shortest_edge": 224}
    default_to_square = False
    crop_size = {"height": 224, "width": 224}
    do_resize = True
    do_center_crop = True
    do_rescale = True
    rescale_factor = 1 / 255
    do_normalize = True
    do_sample_frames = True
    num_frames = 8
    frame_sampling = "uniform"
    frame_stride = 8
    spatial_mode = "resize"
    fragment_size = 28
    patch_size = 14
    orientations = 1
    hdr = "refuse"
    valid_kwargs = InternVideo2VideoProcessorKwargs
    model_input_names = ["pixel_values_videos"]

    def frame_indices(
        self,
        total_frames: int,
        start: int = 0,
        end: int | None = None,
        generator: np.random.Generator | None = None,
        phase: float = 0.5,
    ) -> np.ndarray:
        """
        Which frames of [start, end) to look at, as int64 (num_frames,) in rising order, repeated if there are too few.

        `phase` in [0, 1) is where a window lies between the first and the last position that it can take, or where a
        frame lies within its stretch when sampling is uniform: 0.5 is the middle. A `generator` draws it.
        """
        phase = phase if generator is None else generator.random()
        return self.sampling().indices(total_frames, start, end, phase)

    def sampling(self, **overrides: Any) -> ViewSampling:
        """How a video is sampled; `overrides` that are not None take precedence over the processor's options."""
        options = {name: overrides.get(name) for name in ViewSampling._fields}
        return ViewSampling(*(getattr(self, k) if value is None else value for k, value in options.items()))

    def spatial_views(
        self, frames: torch.Tensor, generator: np.random.Generator | None = None, **overrides: Any
    ) -> torch.Tensor:
        """
        What the model sees of uint8 `frames` (frames, 3, height, width), as uint8 (frames, 3, *crop_size).

        Central, or anywhere in the frame if a `generator` is given; at the same place in all frames. `overrides` are
        options of a call (sizes as `SizeDict`) that take precedence over the processor's.
        """
        options = {**vars(self), **overrides}
        crop_size = (options["crop_size"].height, options["crop_size"].width)
        if options["spatial_mode"] == "fragments":
            fragment = options["fragment_size"]
            if min(frames.shape[-2:]) < fragment:  # enlarged it would look soft
                rows, columns = (torch.from_numpy(mirrored(side, max(side, fragment))) for side in frames.shape[-2:])
                frames = frames[..., rows[:, None], columns]
            return cut_fragments(frames, crop_size, fragment, generator)
        if options["do_resize"]:
            frames = self.resize(frames, options["size"], options["resample"])
        if options["do_center_crop"]:
            frames = cut_crop(frames, crop_size, generator)
        return frames

    def pixel_values(self, views: torch.Tensor, **overrides: Any) -> torch.Tensor:
        """Float32 input of the model, scaled and normalised, of uint8 `views` (..., 3, height, width) on any device."""
        options = {**vars(self), **overrides}
        names = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std")
        return self.rescale_and_normalize(views.contiguous(), **{name: options[name] for name in names})

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> list[str]:
        """As every video processor, and a file by which AutoImageProcessor finds this class, too.

        The pipeline `video-classification` uses the video processor, but batches only if there is an image processor.
        """
        saved = super().save_pretrained(save_directory, **kwargs)
        place = f"{type(self).__module__.rpartition('.')[2]}.{type(self).__name__}"
        path = Path(save_directory) / "preprocessor_config.json"
        path.write_text(json.dumps({"auto_map": {"AutoImageProcessor": place}}, indent=2) + "\n", encoding="utf-8")
        return [*saved, str(path)]

    def sample_frames(
        self,
        metadata: VideoMetadata,
        num_frames: int | None = None,
        fps: float | None = None,
        frame_sampling: str | None = None,
        frame_stride: int | None = None,
        **kwargs,
    ) -> np.ndarray:
        """Indices of the frames to take of a video of `metadata.total_num_frames`, with the options of a call."""
        if fps is not None:
            raise ValueError("Sampling by `fps` is not supported: set `num_frames`, `frame_sampling`, `frame_stride`.")
        options = {"num_frames": num_frames, "frame_sampling": frame_sampling, "frame_stride": frame_stride}
        return self.sampling(**options).indices(metadata.total_num_frames)

    def fetch_videos(self, video_url_or_urls, sample_indices_fn: Callable | None = None):
        """Sampled frames (frames, height, width, 3) and metadata of a file, or a list of each for a list of files."""
        if isinstance(video_url_or_urls, (list, tuple)):
            return tuple(zip(*(self.fetch_videos(video, sample_indices_fn) for video in video_url_or_urls)))
        # What a call says takes precedence, and comes here only with how to sample.
        hdr = getattr(sample_indices_fn, "keywords", {}).get("hdr", self.hdr)
        with open_video(video_url_or_urls, hdr) as reader:
            metadata = VideoMetadata(
                total_num_frames=len(reader),
                fps=reader.fps,
                width=reader.width,
                height=reader.height,
                duration=reader.duration,
                video_backend="pyav",
            )
            metadata.frames_indices = sample_indices_fn(metadata) if sample_indices_fn else np.arange(len(reader))
            return reader.get_batch(metadata.frames_indices), metadata

    def _decode_and_sample_videos(
        self, videos, video_metadata=None, do_sample_frames: bool | None = None, sample_indices_fn=None
    ) -> tuple[list, list[VideoMetadata]]:
        videos = list_videos(videos)
        given = make_batched_metadata(videos, video_metadata) if video_metadata else [None] * len(videos)
        loaded = []
        for video, metadata in zip(videos, given):
            if is_array(video):
                metadata = metadata or VideoMetadata(total_num_frames=len(video))
                if do_sample_frames:
                    metadata.frames_indices = sample_indices_fn(metadata)
                    video = video[metadata.frames_indices]
                loaded.append((video, metadata))
            else:
                loaded.append(self.fetch_videos(video, sample_indices_fn))
        return tuple(map(list, zip(*loaded)))

    def _prepare_input_videos(self, videos, input_data_format=None, device=None, **kwargs) -> list[torch.Tensor]:
        videos = [torch.from_numpy(np.ascontiguousarray(v)) if isinstance(v, np.ndarray) else v for v in videos]
        return [to_channels_first(video, input_data_format).to(device) for video in videos]

    def _standardize_kwargs(self, **kwargs) -> dict:
        kwargs = super()._standardize_kwargs(**kwargs)
        check_options(**kwargs)
        return kwargs

    def _preprocess(
        self, videos: list[torch.Tensor], return_tensors: str | TensorType | None = None, **options
    ) -> BatchFeature:
        views = [self.spatial_views(video, **options) for video in videos]
        if len({view.shape for view in views}) == 1:
            pixels = self.pixel_values(torch.stack(views), **options)
        else:  # as many frames as each video has
            pixels = [self.pixel_values(view, **options) for view in views]
        return BatchFeature({"pixel_values_videos": pixels}, tensor_type=return_tensors)


def cut_crop(frames: torch.Tensor, size: tuple[int, int], generator: np.random.Generator | None = None) -> torch.Tensor:
    """The central (or, with a generator, a random) `size` = (height, width) of `frames` (..., height, width)."""
    height, width = frames.shape[-2:]
    if height < size[0] or width < size[1]:
        raise ValueError(f"Cannot cut {size[1]}x{size[0]} pixels of frames of {width}x{height}: resize them first.")
    top, left = (
        room // 2 if generator is None else int(generator.integers(room + 1))
        for room in (height - size[0], width - size[1])
    )
    return frames[..., top : top + size[0], left : left + size[1]]


def cut_fragments(
    frames: torch.Tensor, size: tuple[int, int], fragment_size: int, generator: np.random.Generator | None = None
) -> torch.Tensor:
    """
    A mosaic of `size` = (height, width) of squares of native resolution of `frames` (..., height, width).

    The frame is divided into as many equal regions as the mosaic has places; each fragment is the centre of its
    region, or lies anywhere within it if a generator is given. The places are shared by all frames, by the fragments
    of a row (their top) and by those of a column (their left). Along a side shorter than the mosaic the fragments
    overlap, spread evenly from edge to edge. Grid mini-patch sampling was proposed in FAST-VQA (arXiv 2207.02595).
    """
    tops, lefts = (
        fragment_offsets(length, fragment_size, places // fragment_size, generator)
        for length, places in zip(frames.shape[-2:], size)
    )
    # With the strides of `frames`, so that what lies side by side is copied as a whole.
    mosaic = frames.new_empty((*frames.shape[:-3], *size, frames.shape[-3])).movedim(-1, -3)
    for place, (top, left) in enumerate((top, left) for top in tops for left in lefts):
        row, column = (fragment_size * n for n in divmod(place, len(lefts)))
        mosaic[..., row : row + fragment_size, column : column + fragment_size] = frames[
            ..., top : top + fragment_size, left : left + fragment_size
        ]
    return mosaic


def check_options(
    frame_sampling,
    num_frames,
    frame_stride,
    spatial_mode,
    fragment_size,
    patch_size,
    crop_size,
    orientations,
    hdr,
    **kwargs,
) -> None:
    """Raises ValueError for options that do not go together, saying which would."""
    if hdr not in HDR_MAPPINGS:
        raise ValueError(f"`hdr` must be one of {', '.join(HDR_MAPPINGS)}, not {hdr!r}.")
    if frame_sampling not in ("uniform", "window"):
        raise ValueError(f"`frame_sampling` must be 'uniform' or 'window', not {frame_sampling!r}.")
    if spatial_mode not in ("resize", "fragments"):
        raise ValueError(f"`spatial_mode` must be 'resize' or 'fragments', not {spatial_mode!r}.")
    if num_frames < 1 or frame_stride < 1:
        raise ValueError(f"`num_frames` ({num_frames}) and `frame_stride` ({frame_stride}) must be at least 1.")
    if not 1 <= orientations <= MAX_ORIENTATIONS:
        raise ValueError(f"`orientations` must be from 1 to {MAX_ORIENTATIONS}, not {orientations}.")
    if spatial_mode == "fragments":
        crop = (crop_size.height, crop_size.width)
        fitting = [n for n in range(patch_size, min(crop) + 1, patch_size) if not any(side % n for side in crop)]
        if crop[0] == crop[1] and crop[0] not in fitting:
            # A single fragment has no seams: then it is up to the model what it does at the edges.
            fitting.append(crop[0])
        if fragment_size not in fitting:
            raise ValueError(
                f"`fragment_size` must be a multiple of the patch size {patch_size} that divides the crop of "
                f"{crop[1]}x{crop[0]}, or tokens straddle seams: one of {fitting}, not {fragment_size}."
            )


def is_array(video) -> bool:
    return isinstance(video, (np.ndarray, torch.Tensor))


def list_videos(videos) -> list:
    """Flat list of videos, each a path, URL, bytes or 4-D array, of whatever the processor accepts."""
    if isinstance(videos, (str, os.PathLike, bytes)):
        return [videos]
    if is_array(videos):
        if videos.ndim == 4:
            return [videos]
        if videos.ndim == 5:
            return list(videos)
        raise ValueError(f"A video is an array of 4 dimensions (frames, height, width, 3), not of {videos.ndim}.")
    if isinstance(videos, (list, tuple)) and videos:
        if all(isinstance(frame, Image.Image) for frame in videos):
            return [np.stack([np.asarray(frame.convert("RGB")) for frame in videos])]
        if all(is_array(frame) and frame.ndim == 3 for frame in videos):
            return [np.stack([np.asarray(frame) for frame in videos])]
        return [video for item in videos for video in list_videos(item)]
    raise ValueError(f"A video is a path, URL, bytes, array or list of frames, not {type(videos).__name__} {videos!r}.")


def to_channels_first(video: torch.Tensor, input_data_format: str | ChannelDimension | None = None) -> torch.Tensor:
    """Frames (frames, 3, height, width) of frames in either order; `input_data_format` decides where both fit."""
    first, last = video.shape[1] == 3, video.shape[3] == 3
    if video.dtype != torch.uint8 or not (first or last):
        raise ValueError(
            "Frames must be uint8 RGB of shape (frames, height, width, 3) or (frames, 3, height, width), not "
            f"{str(video.dtype).removeprefix('torch.')} {tuple(video.shape)}."
        )
    if last and not (first and input_data_format == ChannelDimension.FIRST):
        return video.permute(0, 3, 1, 2)
    return video


def open_video(video: str | os.PathLike | bytes, hdr: str = "refuse") -> VideoReader:
    """
    Reader of a file, an http(s) URL or the bytes of a file. All that is prepared for a model is opened here.

    Raises VideoError for what cannot be read, and for HDR video (PQ, HLG) unless `hdr` says how to map it.
    """
    if isinstance(video, bytes):
        name = f"<{len(video)} bytes>"
        video = io.BytesIO(video)
        video.name = name
    reader = VideoReader(video, hdr=hdr)
    try:
        refuse_hdr(reader)
    except VideoError:
        reader.close()
        raise
    return reader


__all__ = ["InternVideo2VideoProcessor", "VideoError"]
