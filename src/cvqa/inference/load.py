"""`load_scorer`: the scorer of a model by what is to compute it."""

import os

from .default_model import default_model


BACKENDS = ("torch", "onnx")
PRECISIONS = ("fp32", "fp16", "int8")


def load_scorer(
    model: str | os.PathLike | None,
    backend: str = "torch",
    device: str = "auto",
    precision: str | None = None,
    hdr: str | None = None,
) -> tuple:
    """A `VideoScorer` or an `OnnxVideoScorer`, and what its scores were learnt from ("mos", "dmos", "vmaf").

    Args:
        model: folder or Hub repository; None for the one that comes with the package.
        backend: "torch", or "onnx" for a model that `export_onnx` has exported.
        device: see `VideoScorer.from_pretrained`; "onnx" computes on the CPU.
        precision: of the exported model, "fp32" if None; torch computes in float32.
        hdr: what to do with HDR video, see `VideoScorer.from_pretrained`.

    Raises:
        ValueError: the model cannot be loaded so; one line with the way out.
        ImportError: onnxruntime is not installed.
    """
    if backend == "onnx":
        from ..models.onnx_video_scorer import OnnxVideoScorer

        if device not in ("auto", "cpu"):
            raise ValueError(f"the onnx backend computes on the CPU, not on {device!r}: leave out the device")
        scorer = OnnxVideoScorer(default_model() if model is None else model, precision or "fp32", hdr=hdr)
        return scorer, scorer.config.get("label_kind", "mos")
    if precision is not None:
        raise ValueError("a precision can be chosen of an exported model only: add --backend onnx")
    from transformers.utils import logging

    from .scorer import VideoScorer

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    scorer = VideoScorer.from_pretrained(model, device=device, hdr=hdr)
    return scorer, scorer.model.config.label_kind
