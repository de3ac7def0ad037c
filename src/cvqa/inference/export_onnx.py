"""`export_onnx`: a model folder gets `onnx/`, the model for onnxruntime, checked against torch on real frames.

Beside the models lie `export.json`, what was checked, and `cvqa_onnx/`, the code that scores with them without torch
(see `cvqa.models.onnx_video_scorer`).
"""

import copy
import hashlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import as_file
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .. import files
from ..models import onnx_video_scorer
from ..models.onnx_video_scorer import ONNX_FILES, open_session, quality_points
from ..models.video_plan import VideoPlan
from ..models.video_scores import one_line
from ..models.video_views import MIN_VIEWS
from ..video import VideoReader
from ..video.photographs import fit_size, pan_and_zoom
from .scorer import VideoScorer


# From 23 on, attention and RMS norm are operators of their own, which onnxruntime computes as a whole: on a CPU a tenth
# faster than the same model in opset 18. onnxruntime knows it from version 1.23 on.
OPSET = 23
TOLERANCES = {"fp32": 0.01, "fp16": 0.1, "int8": 1.0}
"""Quality points, of 100, by which a clip may come out otherwise than with torch in float32."""
FEATURE_TOLERANCES = {"fp32": 1e-4, "fp16": 0.02, "int8": 0.2}
"""Distance by which the quality feature may be off, relative to its own."""
BATCH_SIZES = (1, 3)
EXTERNAL_BYTES = 2**31 - 2**24  # an ONNX file holds less than 2 GiB: larger weights lie in a file beside it

PHOTOGRAPHS = ("astronaut.png", "coffee.png", "rocket.jpg")
JPEG_QUALITIES = (90, 10)
REQUIREMENTS = "numpy>=1.26\nscipy>=1.11\nav>=17\npillow>=10\nonnxruntime>=1.23\n"
PACKAGE = '''"""Video quality by onnxruntime, without torch: see `OnnxVideoScorer`."""

from .onnx_video_scorer import OnnxModelError, OnnxVideoScorer


__all__ = ["OnnxModelError", "OnnxVideoScorer"]
'''


class ExportError(ValueError):
    """A model cannot be exported, or what came out is not the same model. One line: the folder, the reason."""


def export_onnx(
    model_folder: str | os.PathLike,
    precisions: Sequence[str] = tuple(ONNX_FILES),
    clips: Iterable[str | os.PathLike] = (),
    tolerances: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Writes `onnx/` into a model folder; an older one is replaced once all of the new one is checked.

    Each file takes `pixel_values_videos`, float32 (batch, frames, 3, height, width), of any batch and the size that the
    folder's processor makes, and gives `logits` (batch, 1) and `quality_features` (batch, feature_size), float32.
    fp16 is the model in half precision, with float32 where the model itself keeps it. int8 has the weights of matrix
    products rounded to 7 bits, since with 8 the sums of two products overflow on processors without VNNI, and rounds
    what they are multiplied with as it comes, by the largest value in the batch.

    Args:
        model_folder: what `save_pretrained` wrote, with its processor.
        precisions: of "fp32", "fp16", "int8".
        clips: video files to check with; by default clips from photographs, good and bad.
        tolerances: quality points by precision, instead of those of `TOLERANCES`.

    Returns:
        The content of `export.json`: opset, versions, and for each file bytes, SHA-256 and the largest deviations from
        torch on those clips, in batches of each of `BATCH_SIZES`.

    Raises:
        ExportError: torch cannot export the model, or it deviates too much; `onnx/` is then as it was before.
        ModelError: not a quality model.
        VideoError: a clip cannot be read.
        ImportError: onnx, onnxscript or onnxruntime is not installed.
    """
    _check_installed()
    folder, tolerances = Path(model_folder), {**TOLERANCES, **(tolerances or {})}
    unknown = {*precisions, *tolerances} - set(ONNX_FILES)
    if unknown or not precisions:
        raise ExportError(f"{folder}: precisions are some of {', '.join(ONNX_FILES)}, not {sorted(unknown)}")
    if not folder.is_dir():
        raise ExportError(f"{folder}: no such folder; a repository must be downloaded first, the export goes into it")
    scorer, clips = VideoScorer.from_pretrained(folder, device="cpu"), [Path(clip) for clip in clips]
    pixels = _clips_of_files(scorer, clips) if clips else _clips_of_photographs(scorer)
    config = scorer.model.config.to_dict()
    reference = {size: _run_torch(scorer.model, pixels, size) for size in BATCH_SIZES}
    points = quality_points(reference[1][0], config).clip(0, 100)
    report = {
        "opset": OPSET,
        "inputs": {"pixel_values_videos": ["batch", *pixels.shape[1:]]},
        "outputs": {"logits": ["batch", 1], "quality_features": ["batch", config["feature_size"]]},
        "checked_on": {
            "sources": [clip.name for clip in clips] or [f"scikit-image: {name}" for name in PHOTOGRAPHS],
            "clips": len(pixels),
            "quality_points": [round(float(points.min()), 2), round(float(points.max()), 2)],
        },
        "weights": {path.name: _sha256(path) for path in sorted(folder.glob("*.safetensors"))},
        "versions": {name: version(name) for name in ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")},
        "files": {},
    }
    with _replacing_folder(folder / "onnx") as target:
        try:
            _write_models(scorer.model, pixels, precisions, target)
        except Exception as error:  # the exporter's own kinds, one for each step
            raise ExportError(f"{folder}: cannot be exported: {one_line(error)}") from error
        for precision in precisions:
            path = target / ONNX_FILES[precision]
            session = open_session(folder.name, path)
            deviations = {}
            for size in BATCH_SIZES:
                deviations[size] = _deviation(_run_onnx(session, pixels, size), reference[size], config)
                _check(folder, precision, size, deviations[size], tolerances[precision])
            parts = sorted(target.glob(f"{path.name}*"))
            report["files"][path.name] = {
                "precision": precision,
                "bytes": sum(part.stat().st_size for part in parts),
                "sha256": {part.name: _sha256(part) for part in parts},
                "tolerance": {"quality_points": tolerances[precision], "features": FEATURE_TOLERANCES[precision]},
                "largest_deviation_by_batch_size": {str(size): deviations[size] for size in BATCH_SIZES},
            }
        _write_package(target)
        files.write_text(target / "export.json", files.json_text(report))
    return report


# Models


class _Exported(torch.nn.Module):
    """The model with tensors in and out, float32 whatever it computes in."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values_videos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.model(pixel_values_videos=pixel_values_videos)
        return outputs.logits.float(), outputs.quality_features.float()


def _write_models(model: torch.nn.Module, pixels: np.ndarray, precisions: Sequence[str], target: Path) -> None:
    full = target / ONNX_FILES["fp32"]
    if "fp16" in precisions:
        _write_model(copy.deepcopy(model).half(), pixels, target / ONNX_FILES["fp16"])
    if "fp32" in precisions or "int8" in precisions:
        _write_model(model, pixels, full)
    if "int8" in precisions:
        _write_int8(full, target / ONNX_FILES["int8"])
    if "fp32" not in precisions:
        for part in target.glob(f"{full.name}*"):
            part.unlink()


def _write_model(model: torch.nn.Module, pixels: np.ndarray, path: Path) -> None:
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            _Exported(model).eval(),
            (torch.from_numpy(pixels[:2]),),  # a batch of 1 would be taken for a constant
            dynamo=True,
            opset_version=OPSET,
            input_names=["pixel_values_videos"],
            output_names=["logits", "quality_features"],
            dynamic_shapes={"pixel_values_videos": {0: torch.export.Dim("batch", min=1)}},
            verbose=False,
        )
    _save(program.model, path)


def _write_int8(source: Path, path: Path) -> None:
    import onnx_ir
    from onnxruntime.quantization import quantize_dynamic

    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        rounded = Path(scratch) / path.name
        with _quiet():
            quantize_dynamic(
                source,
                rounded,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                reduce_range=True,
                use_external_data_format=_data_file(source).exists(),
            )
        _save(onnx_ir.load(rounded), path)


def _save(model, path: Path) -> None:
    import onnx_ir
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(model)  # it holds stack traces, with the paths of this machine
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    onnx_ir.save(model, path, external_data=_data_file(path).name if weights > EXTERNAL_BYTES else None)


def _data_file(path: Path) -> Path:
    """Where the weights lie that do not fit into the file `path`, by the Hub's custom."""
    return path.with_name(f"{path.name}_data")


def _write_package(target: Path) -> None:
    """The scorer and the files that it imports, as a package that needs no cvqa."""
    from transformers.dynamic_module_utils import get_relative_import_files

    package = target / "cvqa_onnx"
    package.mkdir()
    for source in (onnx_video_scorer.__file__, *get_relative_import_files(onnx_video_scorer.__file__)):
        shutil.copyfile(source, package / Path(source).name)
    (package / "__init__.py").write_text(PACKAGE, encoding="utf-8")
    (target / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")


# Clips to check with, float32 (clips, frames, 3, height, width)


def _clips_of_photographs(scorer: VideoScorer) -> np.ndarray:
    clips = []
    with as_file(package_files("skimage").joinpath("data")) as photographs:
        for name in PHOTOGRAPHS:
            with Image.open(photographs / name) as photograph:
                size = fit_size(photograph.size, (640, 360))
                frames = pan_and_zoom(photograph, size, scorer.processor.num_frames)
            clips += [[_as_jpeg(frame, quality) for frame in frames] for quality in JPEG_QUALITIES]
    return np.stack([scorer._prepare(np.stack(frames)).numpy() for frames in clips])


def _as_jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _clips_of_files(scorer: VideoScorer, paths: Sequence[Path]) -> np.ndarray:
    """Three views of each file."""
    clips = []
    for path in paths:
        with VideoReader(path) as reader:
            plan = VideoPlan(reader, scorer.processor.sampling(), max_views=MIN_VIEWS)
            clips += [torch.stack(frames).numpy() for _, frames in plan.clips(reader, scorer._prepare)]
    return np.stack(clips)


# Logits and features of all clips, and how they compare


def _run_torch(model: torch.nn.Module, pixels: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        batches = [model(pixel_values_videos=batch) for batch in torch.from_numpy(pixels).split(batch_size)]
    return (
        torch.cat([batch.logits for batch in batches]).numpy(),
        torch.cat([batch.quality_features for batch in batches]).numpy(),
    )


def _run_onnx(session, pixels: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    outputs = [
        session.run(["logits", "quality_features"], {"pixel_values_videos": pixels[start : start + batch_size]})
        for start in range(0, len(pixels), batch_size)
    ]
    logits, features = (np.concatenate(parts) for parts in zip(*outputs))
    return logits, features


def _deviation(found: tuple, reference: tuple, config: dict[str, Any]) -> dict[str, float]:
    """The largest of any clip. Points are not clipped to the scale, where two wrong scores could look the same."""
    points = np.abs(quality_points(found[0], config) - quality_points(reference[0], config))
    features = np.linalg.norm(found[1] - reference[1], axis=1) / np.linalg.norm(reference[1], axis=1)
    return {"quality_points": float(points.max()), "features": float(features.max())}


def _check(folder: Path, precision: str, batch_size: int, deviation: dict[str, float], points: float) -> None:
    limits = {"quality_points": points, "features": FEATURE_TOLERANCES[precision]}
    for name, limit in limits.items():
        if not deviation[name] <= limit:  # NaN is not
            raise ExportError(
                f"{folder}: {ONNX_FILES[precision]} is not the same model: in batches of {batch_size} its "
                f"{name.replace('_', ' ')} deviate from torch by {deviation[name]:.3g}, tolerance {limit:g}; leave out "
                f"{precision}, or allow more"
            )


# Files


@contextmanager
def _replacing_folder(target: Path) -> Iterator[Path]:
    """A folder to write to beside `target`; the block's end puts it in its place, an error leaves `target` alone."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        fresh, old = Path(scratch, "new"), Path(scratch, "old")
        fresh.mkdir()
        yield fresh
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f'{error.name} is not installed: pip install "cvqa[onnx]"') from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without advice of the exporter and of the quantiser to their developers."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
