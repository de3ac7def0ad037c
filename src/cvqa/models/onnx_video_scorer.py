"""`OnnxVideoScorer`: quality of video files from 0 to 100 by an exported model, with onnxruntime and without torch.

Needs numpy, scipy, av, Pillow and onnxruntime. The folder that `export_onnx` writes brings this file and those that it
needs, as the package `cvqa_onnx`:

    >>> import sys
    >>> sys.path.insert(0, "cvqa-student/onnx")
    >>> from cvqa_onnx import OnnxVideoScorer
    >>> OnnxVideoScorer("cvqa-student").score("movie.mp4").score
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .video_plan import MAX_VIEWS, VideoPlan, Window
from .video_reader import VideoError, VideoReader
from .video_scores import VideoScore, one_line
from .video_views import ViewSampling, fragment_offsets, mirrored


ONNX_FILES = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "int8": "model_int8.onnx"}

Progress = Callable[[int, int], None]


class OnnxModelError(ValueError):
    """An exported model cannot be loaded. The text names the file, the reason and the way out in one line."""


class OnnxVideoScorer:
    """Scores video files without their reference, as `VideoScorer` does with torch: same views, same results.

    Frames that are cut to fragments are the same to the last bit; those that are resized differ by at most 2 of 255
    levels in fewer than one value of 100, since Pillow rounds otherwise than torchvision.

    Args:
        folder_or_repo: a model folder with `onnx/`, or its repository on the Hub, which is downloaded once and cached.
        precision: "fp32"; "int8", faster on a CPU and a quarter of the size, scores within about half a point; or
            "fp16", half the size, for GPUs: on a CPU it is slower than fp32.
        threads: of the computation; None leaves it to onnxruntime (all cores).
        max_views: the most views of one video; more cost more and tell more about long videos.
        providers: where onnxruntime computes.
        hdr: what to do with PQ and HLG video, "refuse" or "bt2390" (map it to SDR); by default as the folder says.

    Raises:
        OnnxModelError: nothing there, not exported in this precision, or not readable.
        ImportError: onnxruntime is not installed.
    """

    def __init__(
        self,
        folder_or_repo: str | os.PathLike,
        precision: str = "fp32",
        threads: int | None = None,
        max_views: int = MAX_VIEWS,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        hdr: str | None = None,
    ):
        if precision not in ONNX_FILES:
            raise OnnxModelError(f"unknown precision {precision!r}: choose one of {', '.join(ONNX_FILES)}")
        self.name = os.fspath(folder_or_repo)
        self.max_views = max_views
        folder = _local_folder(self.name, precision)
        self.config = _read_json(folder / "config.json")
        options = _read_json(folder / "video_preprocessor_config.json")
        self.preprocessing = FramePreprocessing(options, folder)
        self._hdr = hdr or options.get("hdr", "refuse")
        self._session = open_session(self.name, folder / "onnx" / ONNX_FILES[precision], threads, providers)

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
        with VideoReader(path, hdr=self._hdr) as reader:
            plan = VideoPlan(reader, self.preprocessing.sampling, segments, self.max_views)
            qualities: dict[Window, float] = {}
            for window, frames in plan.clips(reader, self.preprocessing):
                # One clip at a time fills the cores, and gives a score that does not depend on the others.
                (qualities[window],) = self.qualities(np.stack(frames)[None])
                if progress:
                    progress(len(qualities), len(plan.windows))
        return plan.result(path, self.name, qualities, self.config.get("score_interval"), self.config.get("domain"))

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

    def qualities(self, clips: np.ndarray) -> list[float]:
        """Quality, 0 to 100, of float32 clips (batch, frames, 3, height, width) as `preprocessing` makes them."""
        (logits,) = self._session.run(["logits"], {"pixel_values_videos": clips})
        return quality_points(logits, self.config).clip(0, 100).tolist()


class FramePreprocessing:
    """Decoded frames as the model takes them, as the folder's `video_preprocessor_config.json` says.

    Args:
        options: the content of that file.
        folder: what errors name.

    Attributes:
        sampling: how a video is sampled.

    Raises:
        OnnxModelError: the file lacks an option, or has one that an exported model cannot have.
    """

    def __init__(self, options: Mapping[str, Any], folder: Path):
        try:
            sampling = (options[name] for name in ("num_frames", "frame_sampling", "frame_stride"))
            self.sampling = ViewSampling(*sampling, options.get("orientations", 1))  # which older folders do not name
            self._crop = (options["crop_size"]["height"], options["crop_size"]["width"])
            self._fragment = options["fragment_size"] if options["spatial_mode"] == "fragments" else None
            self._size = options["size"] if options["do_resize"] else None
            self._resample = options["resample"]
            factor = options["rescale_factor"] if options["do_rescale"] else 1.0
            mean, std = (options["image_mean"], options["image_std"]) if options["do_normalize"] else (0.0, 1.0)
        except KeyError as error:
            raise OnnxModelError(f"{folder}: video_preprocessor_config.json lacks {error}; export it again") from error
        if self._fragment is None and not options["do_center_crop"]:
            raise OnnxModelError(f"{folder}: an exported model needs do_center_crop, so that clips have one size")
        if self._size and not ({"height", "width"} <= set(self._size) or set(self._size) == {"shortest_edge"}):
            raise OnnxModelError(f"{folder}: size {self._size} is neither height and width nor shortest_edge")
        # Mean and deviation on the scale of pixels, so that scaling and normalising are one step.
        mean, std = (np.broadcast_to(np.float32(value), 3) * np.float32(1 / factor) for value in (mean, std))
        self._mean, self._std = mean[:, None, None], std[:, None, None]

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Float32 (n, 3, *crop_size) of uint8 RGB `frames` (n, height, width, 3)."""
        views = np.stack([self._view(frame) for frame in frames]).transpose(0, 3, 1, 2)
        return (np.ascontiguousarray(views, np.float32) - self._mean) / self._std

    def _view(self, frame: np.ndarray) -> np.ndarray:
        """Uint8 (*crop_size, 3): a mosaic of fragments, or the centre of the resized frame."""
        if self._fragment is not None:
            if min(frame.shape[:2]) < self._fragment:  # enlarged it would look soft
                rows, columns = (mirrored(side, max(side, self._fragment)) for side in frame.shape[:2])
                frame = frame[rows[:, None], columns]
            tops, lefts = (
                fragment_offsets(length, self._fragment, places // self._fragment)
                for length, places in zip(frame.shape, self._crop)
            )
            rows, columns = ((starts[:, None] + np.arange(self._fragment)).ravel() for starts in (tops, lefts))
            return frame[rows[:, None], columns]
        if self._size:
            frame = self._resized(frame, self._size)
        top, left = ((length - wanted) // 2 for length, wanted in zip(frame.shape, self._crop))
        if min(top, left) < 0:
            raise ValueError(
                f"Cannot cut {self._crop[1]}x{self._crop[0]} pixels of frames of {frame.shape[1]}x{frame.shape[0]}: "
                "resize them first."
            )
        return frame[top : top + self._crop[0], left : left + self._crop[1]]

    def _resized(self, frame: np.ndarray, size: Mapping[str, int]) -> np.ndarray:
        height, width = frame.shape[:2]
        if "shortest_edge" in size:
            short = size["shortest_edge"]
            longer = int(short * max(height, width) / min(height, width))
            height, width = (short, longer) if height <= width else (longer, short)
        else:
            height, width = size["height"], size["width"]
        from PIL import Image  # which a model of fragments at native resolution never needs

        return np.asarray(Image.fromarray(frame).resize((width, height), self._resample))


def quality_points(logits: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    """Raw logits to quality points (batch,), higher is better; to be clipped to 0 to 100.

    The same formulas as `InternVideo2ForVideoQualityAssessment.quality_score`, of the fields `score_mapping` and
    `higher_is_better` of config.json. An infinite logit gives NaN: clipped, it would look like a perfect video.
    """
    label = np.where(np.isfinite(logits), logits, np.nan).astype(np.float32).ravel()
    mapping = config.get("score_mapping")
    if mapping and mapping["name"] == "linear":
        slope, intercept = mapping["parameters"]
        label = slope * label + intercept
    elif mapping:
        upper, lower, middle, width = mapping["parameters"]
        # The logistic function by tanh, which cannot overflow.
        label = lower + (upper - lower) * (0.5 + 0.5 * np.tanh((label - middle) / (2 * abs(width))))
    return 100 * (label if config.get("higher_is_better", True) else 1 - label)


def _local_folder(name: str, precision: str) -> Path:
    """The folder of that name, else the repository's files that are needed, downloaded."""
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise OnnxModelError(f"{name}: no such folder, nor the name of a repository (organisation/model)")
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=["*.json", f"onnx/{ONNX_FILES[precision]}*"]))
    except ImportError as error:
        raise OnnxModelError(f"{name}: no such folder; to load it from the Hub: pip install huggingface_hub") from error
    except Exception as error:  # the Hub's errors have no common kind
        raise OnnxModelError(f"{name}: cannot download the model: {one_line(error)}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OnnxModelError(f"{path.parent}: not a model folder, it has no {path.name}") from error
    except (OSError, ValueError) as error:
        raise OnnxModelError(f"{path}: cannot be read: {one_line(error)}") from error


def open_session(
    name: str, path: Path, threads: int | None = None, providers: Sequence[str] = ("CPUExecutionProvider",)
):
    """An onnxruntime session of the file `path` of the model `name`; errors as `OnnxVideoScorer` raises them."""
    if not path.is_file():
        raise OnnxModelError(f"{name}: has no onnx/{path.name}; export it with scripts/export_onnx.py FOLDER")
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError('onnxruntime is not installed: pip install "cvqa[onnx]", or onnxruntime alone') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(path, options, providers=list(providers))
    except Exception as error:  # onnxruntime's own kinds, one for each cause
        raise OnnxModelError(f"{path}: onnxruntime cannot load it: {one_line(error)}") from error
