"""Official InternVideo2 weight files to folders that `from_pretrained` loads."""

import copy
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError

from .configuration_internvideo2 import SIZES, InternVideo2Config
from .modeling_internvideo2 import InternVideo2ForVideoQualityAssessment, resize_position_embeddings
from .official_checkpoint import ConversionError, read_official_checkpoint
from .video_processing_internvideo2 import InternVideo2VideoProcessor


@dataclass
class ConversionReport:
    """What a conversion found and did; `str()` is made for reading.

    Args:
        path: The official file.
        out_dir: The folder that was written.
        kind: The kind of file, see [`OfficialCheckpoint`].
        wrapper: The entries that held the tensors, for example `module`; empty for a bare dict.
        size: `"Ti"`, `"S"`, `"B"`, `"L"`, `"1B"`, `"6B"` or `"custom"`.
        dtype: Type of the stored tensors.
        dropped: Names left out on purpose: decoders, other tables, towers and heads.
        unused: Names that nothing here knows.
        missing: Names of a scoring model that the file lacks.
        from_base: The missing ones that were taken from the base folder.
        reinitialized: Names with fresh values: missing ones, and a head that was made for classes.
        resized: Changed tensors and the change: tokens in time x height x width, or frames under the patch kernel.
    """

    path: str
    out_dir: str
    kind: str
    wrapper: str
    size: str
    dtype: str
    dropped: list[str]
    unused: list[str]
    missing: list[str]
    from_base: list[str]
    reinitialized: list[str]
    resized: dict[str, str]

    def __str__(self) -> str:
        wrapper = f", under {self.wrapper}" if self.wrapper else ""
        rows = {
            "written to": self.out_dir,
            "dropped": _summary(self.dropped),
            "unused": _summary(self.unused),
            "missing": _summary(self.missing),
            "from base": _summary(self.from_base),
            "reinitialized": _summary(self.reinitialized),
            "resized": _summary([f"{name} ({change})" for name, change in self.resized.items()]),
        }
        lines = [f"{self.path}: {self.kind}, size {self.size}, {self.dtype}{wrapper}"]
        return "\n".join(lines + [f"  {title:<14} {text}" for title, text in rows.items()])


def convert_internvideo2(
    path: str | os.PathLike,
    out_dir: str | os.PathLike,
    size: str | None = None,
    num_frames: int | None = None,
    image_size: int | None = None,
    tubelet_size: int | None = None,
    part: str = "student",
    dtype: torch.dtype | None = None,
    base: str | os.PathLike | None = None,
    source_image_size: int = 224,
    config: InternVideo2Config | None = None,
    overwrite: bool = False,
    seed: int = 0,
) -> ConversionReport:
    """Convert an official file to a folder with model and video processor.

    Args:
        path: A file of `torch.save` or safetensors.
        out_dir: The folder to write. It appears complete or not at all.
        size: `"Ti"`, `"S"`, `"B"`, `"L"`, `"1B"` or `"6B"`; by default read from the tensors, else checked against
            them.
        num_frames: Frames of a clip, 8 by default. The position table is resized linearly in time.
        image_size: Height and width in pixels, 224 by default. The position table is resized bicubically.
        tubelet_size: Frames that share a token, by default as in the file. A kernel for one frame is spread over more.
        part: `"student"` or `"teacher"` of a file that holds both.
        dtype: Type to store, by default that of the file.
        base: A converted folder that gives the configuration and what the file lacks, for files that hold only the
            parts that were trained.
        source_image_size: Height and width in pixels that the file's position table was made for.
        config: The whole configuration, for a model of no published size.
        overwrite: Replace `out_dir` if it holds a model.
        seed: Seed of fresh parameters.

    Raises:
        ConversionError: The file holds no InternVideo2 backbone, only parts of one, or one of another size; or
            `out_dir` is in the way.
    """
    path, out_dir = Path(path), Path(out_dir).resolve()
    _check_output(out_dir, overwrite, sources=[Path(source).resolve() for source in (path, base) if source is not None])
    shape_options = (size, num_frames, image_size, tubelet_size)
    if sum([base is not None, config is not None, any(option is not None for option in shape_options)]) > 1:
        raise ConversionError(path, "the model's size and frames are given twice", "leave them to the base folder")

    checkpoint = read_official_checkpoint(path, part)
    official, dropped, unused = checkpoint.tensors, checkpoint.dropped, checkpoint.unused
    if "head.weight" in official and official["head.weight"].shape[:1] != (1,):  # a head for classes
        dropped += [name for name in ("head.weight", "head.bias") if official.pop(name, None) is not None]
    unused += _unknown_names(path, official)
    state = convert_state_dict({name: tensor for name, tensor in official.items() if name not in unused})
    _check_dimensions(path, state)

    base_state = {}
    if base is not None:
        if not (Path(base) / "config.json").is_file():
            raise ConversionError(base, "is no converted folder: it has no config.json", "convert the base file first")
        base_model = InternVideo2ForVideoQualityAssessment.from_pretrained(base)
        config, base_state = base_model.config, base_model.state_dict()
    elif config is None:
        config = _read_config(path, state, size, num_frames, image_size, tubelet_size)
    config = copy.deepcopy(config)
    if checkpoint.kind == "clip":  # the one kind that was trained with LayerScale in the activations' own type
        config.layer_scale_in_float32 = False

    resized = _fit_position_tables(path, state, config, source_image_size) | _fit_patch_kernel(path, state, config)
    with torch.device("meta"):
        model = InternVideo2ForVideoQualityAssessment(config)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    missing = [name for name in expected if name not in state]
    from_base = [name for name in missing if name in base_state]
    state |= {name: base_state[name] for name in from_base}
    fresh = [name for name in missing if name not in from_base]
    _check_complete(path, state, expected, fresh)
    dtype = dtype or reduce(torch.promote_types, [tensor.dtype for tensor in state.values()])
    _write(_filled(model, state, seed).to(dtype), out_dir)
    return ConversionReport(
        path=str(path),
        out_dir=str(out_dir),
        kind=checkpoint.kind,
        wrapper=checkpoint.wrapper,
        size=_published_size(config.hidden_size, config.num_hidden_layers) or "custom",
        dtype=str(dtype).removeprefix("torch."),
        dropped=dropped,
        unused=unused,
        missing=[name for name in missing if name not in dropped],
        from_base=from_base,
        reinitialized=fresh,
        resized=resized,
    )


def load_official_checkpoint(path: str | os.PathLike, part: str = "student") -> dict[str, torch.Tensor]:
    """The tensors of an official file under their official names, without wrapper, prefix and foreign parts.

    Args:
        path: A file of `torch.save` or safetensors.
        part: `"student"` or `"teacher"` of a file that holds both.

    Raises:
        ConversionError: The file cannot be read safely, or holds no such part.
    """
    return read_official_checkpoint(path, part).tensors


def convert_state_dict(official: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Official names to those of [`InternVideo2ForVideoQualityAssessment`]; unknown names stay as they are."""
    return {_new_name(name) or name: tensor for name, tensor in official.items()}


def inflate_patch_kernel(weight: torch.Tensor, tubelet_size: int) -> torch.Tensor:
    """Spread a patch kernel for one frame evenly over the frames of a tubelet: a still clip gives the same tokens.

    Args:
        weight: Kernel of shape (hidden_size, channels, 1, patch_size, patch_size).
        tubelet_size: Frames that share a token.

    Returns:
        Kernel of shape (hidden_size, channels, tubelet_size, patch_size, patch_size).
    """
    return weight.repeat(1, 1, tubelet_size, 1, 1) / tubelet_size


_EMBEDDINGS, _POOLER = "internvideo2.embeddings.", "internvideo2.pooler."
_KERNEL = _EMBEDDINGS + "patch_embeddings.projection.weight"
# The official name as a pattern and ours as its replacement.
_RENAMES = [
    (re.compile(official), ours)
    for official, ours in (
        (r"blocks\.(\d+)\.(norm[12]\.weight|mlp\.fc[12]\.(?:weight|bias))", r"internvideo2.layers.\1.\2"),
        (
            r"blocks\.(\d+)\.attn\.((?:qkv|q_norm|k_norm|proj)\.weight|proj\.bias)",
            r"internvideo2.layers.\1.attention.\2",
        ),
        (r"blocks\.(\d+)\.ls([12])\.gamma", r"internvideo2.layers.\1.layer_scale\2.gamma"),
        (r"patch_embed\.proj\.(weight|bias)", _EMBEDDINGS + r"patch_embeddings.projection.\1"),
        (r"cls_token", _EMBEDDINGS + "cls_token"),
        (r"pos_embed", _EMBEDDINGS + "position_embeddings"),
        (r"pos_embed_(spatial|temporal|cls)", _EMBEDDINGS + r"\1_position_embeddings"),
        (r"clip_projector\.norm1_([qkv])\.(weight|bias)", _POOLER + r"norm_\1.\2"),
        (r"clip_projector\.cross_attn\.([qkv])\.weight", _POOLER + r"attention.\1_proj.weight"),
        (r"clip_projector\.cross_attn\.([qkv])_bias", _POOLER + r"attention.\1_proj.bias"),
        (r"clip_projector\.cross_attn\.proj\.(weight|bias)", _POOLER + r"attention.out_proj.\1"),
        (r"(fc_norm|head)\.(weight|bias)", r"\1.\2"),
    )
]


def _new_name(official: str) -> str | None:
    matches = ((pattern.fullmatch(official), ours) for pattern, ours in _RENAMES)
    return next((match.expand(ours) for match, ours in matches if match), None)


def _summary(names: list[str]) -> str:
    """Names, or where there are many their first parts with a count: a text tower alone has hundreds."""
    if len(names) <= 4:
        return ", ".join(names) or "none"
    groups = Counter(name.partition(".")[0] for name in names)
    return ", ".join(f"{group}.* ({count})" if count > 1 else group for group, count in groups.items())


def _unknown_names(path: Path, official: dict[str, torch.Tensor]) -> list[str]:
    unknown = [name for name in official if _new_name(name) is None]
    if len(unknown) == len(official):
        reason = f"holds no tensor of an InternVideo2 backbone ({_summary(unknown)})"
        way_out = "give an official file; a folder that was already converted needs no conversion"
        if not official:
            reason, way_out = "holds only parts outside the vision tower", "give the file with the vision tower"
        raise ConversionError(path, reason, way_out)
    # Another tensor inside the backbone means another architecture, whose scores would be silently wrong.
    inside = [name for name in unknown if name.startswith(("blocks.", "patch_embed.", "clip_projector."))]
    if inside:
        reason = f"holds tensors that an InternVideo2 backbone does not have ({', '.join(inside[:3])})"
        raise ConversionError(path, reason, "convert a file of a published configuration")
    return unknown


def _published_size(width: int, depth: int) -> str | None:
    shapes = {(values["hidden_size"], values["num_hidden_layers"]): size for size, values in SIZES.items()}
    return shapes.get((width, depth))


def _read_config(
    path: Path, state: dict, size: str | None, num_frames: int | None, image_size: int | None, tubelet_size: int | None
) -> InternVideo2Config:
    """The configuration that the tensors' shapes ask for."""
    kernel = state.get(_KERNEL)
    layers = {int(name.split(".")[2]) for name in state if name.startswith("internvideo2.layers.")}
    if kernel is None or not layers:
        raise ConversionError(path, f"holds only parts of the vision tower ({_summary(list(state))})", _USE_BASE)
    width, depth = kernel.shape[0], max(layers) + 1
    found = _published_size(width, depth)
    if found is None or size not in (None, found):
        looks = f"looks like size {found}" if found else "is none of the published sizes"
        reason = f"{looks} (width {width}, {depth} blocks)" + (f", not {size}" if size else "")
        sizes = ", ".join(f"{name} {v['hidden_size']}/{v['num_hidden_layers']}" for name, v in SIZES.items())
        way_out = f"pass --size {found} or leave it out" if found else f"width/blocks of the sizes: {sizes}"
        raise ConversionError(path, reason, way_out)
    num_frames = 8 if num_frames is None else num_frames
    image_size = 224 if image_size is None else image_size
    tubelet_size = kernel.shape[2] if tubelet_size is None else tubelet_size
    if min(num_frames, image_size, tubelet_size) < 1:
        raise ConversionError(path, "frames, image and tubelet size must be at least 1", "choose other numbers")
    try:
        return InternVideo2Config.from_size(
            found,
            num_frames=num_frames,
            image_size=image_size,
            tubelet_size=tubelet_size,
            separate_position_embeddings=_EMBEDDINGS + "spatial_position_embeddings" in state,
        )
    except StrictDataclassError as error:
        raise ConversionError(path, str(error.__cause__ or error), "choose other numbers") from error


_USE_BASE = (
    "such a file of trained parts goes on top of another: convert the Stage 2 (or distilled) file that it was trained "
    "from, then this one with --base FOLDER"
)


def _fit_position_tables(path: Path, state: dict, config: InternVideo2Config, image_size: int) -> dict[str, str]:
    """Resize the tables in `state` to the configuration's grid; the frames are read from a table's length."""
    side = image_size // config.patch_size
    frames, *space = config.token_grid
    resized = {}
    for table, source, target in (
        ("position", (None, side, side), (frames, *space)),
        ("temporal_position", (None, 1, 1), (frames, 1, 1)),
        ("spatial_position", (1, side, side), (1, *space)),
    ):
        name = f"{_EMBEDDINGS}{table}_embeddings"
        if name not in state:
            continue
        joint = table == "position"  # the other tables have no row for the class token: the first one stands in
        rows = state[name] if joint else torch.cat([state[name][:, :1], state[name]], dim=1)
        tokens = rows.shape[1] - 1
        source = (source[0] or tokens // max(math.prod(source[1:]), 1), *source[1:])
        if not tokens or tokens != math.prod(source):
            reason = f"its {table} table of {tokens} tokens does not divide into frames of {side}x{side} tokens"
            raise ConversionError(path, reason, "pass --source-image-size with the size that it was trained at")
        if source != target:
            rows = resize_position_embeddings(rows, source, target)
            state[name] = rows if joint else rows[:, 1:]
            resized[name] = " to ".join("x".join(map(str, grid)) for grid in (source, target))
    return resized


def _fit_patch_kernel(path: Path, state: dict, config: InternVideo2Config) -> dict[str, str]:
    if _KERNEL not in state or state[_KERNEL].shape[2] == config.tubelet_size:
        return {}
    source, target = state[_KERNEL].shape[2], config.tubelet_size
    if source != 1:
        reason = f"its patch kernel spans {source} frames and cannot be cut to {target}"
        raise ConversionError(path, reason, f"pass --tubelet-size {source}")
    state[_KERNEL] = inflate_patch_kernel(state[_KERNEL], target)
    return {_KERNEL: f"{source} to {target} frames"}


def _check_dimensions(path: Path, state: dict) -> None:
    tables = [f"{_EMBEDDINGS}{kind}position_embeddings" for kind in ("", "spatial_", "temporal_")]
    for name, dimensions in [(_KERNEL, 5), *((table, 3) for table in tables)]:
        if name in state and state[name].ndim != dimensions:
            reason = f"{name} has shape {tuple(state[name].shape)}, not {dimensions} dimensions"
            raise ConversionError(path, reason, "give a file of the video model")


def _check_complete(path: Path, state: dict, expected: dict[str, torch.Size], fresh: list[str]) -> None:
    lacking = [name for name in fresh if not name.startswith(("fc_norm.", "head."))]
    if lacking:
        reason = f"lacks {len(lacking)} of {len(expected)} tensors ({', '.join(lacking[:3])}...)"
        raise ConversionError(path, reason, _USE_BASE)
    for name, shape in expected.items():
        tensor = state.get(name)
        if tensor is None:
            continue
        if tensor.shape != shape:
            reason = f"{name} has shape {tuple(tensor.shape)}, not {tuple(shape)}"
            raise ConversionError(path, reason, "the size or the configuration is another one")
        if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
            raise ConversionError(path, f"{name} holds {tensor.dtype}", "give a file that is not quantized")


def _filled(model: InternVideo2ForVideoQualityAssessment, state: dict, seed: int):
    """Give a model on the meta device its tensors, without a copy, and fresh ones where the file has none."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in (model.fc_norm, model.head):
            model._init_weights(module.to_empty(device="cpu"))
    model.load_state_dict(state, strict=False, assign=True)
    return model


def _check_output(out_dir: Path, overwrite: bool, sources: list[Path]) -> None:
    if out_dir.exists() and not out_dir.is_dir():
        raise ConversionError(out_dir, "is a file", "choose a folder to write to")
    if not out_dir.is_dir() or not any(out_dir.iterdir()):
        return
    if not overwrite:
        raise ConversionError(out_dir, "is not empty", "choose another folder or pass --overwrite")
    if not (out_dir / "config.json").is_file():
        raise ConversionError(out_dir, "is not empty and holds no model", "empty it by hand or choose another folder")
    for source in sources:
        if source.is_relative_to(out_dir):
            raise ConversionError(out_dir, f"replacing it would delete {source}", "choose another folder")


def _write(model: InternVideo2ForVideoQualityAssessment, out_dir: Path) -> None:
    """Write beside the folder, then rename, so that a stopped conversion leaves no half model."""
    config = model.config
    processor = InternVideo2VideoProcessor(
        num_frames=config.num_frames,
        size={"shortest_edge": config.image_size},
        crop_size={"height": config.image_size, "width": config.image_size},
    )
    new, old = (out_dir.with_name(f".{out_dir.name}.{os.getpid()}.{state}") for state in ("new", "old"))
    try:
        new.mkdir(parents=True)
        model.save_pretrained(new, max_shard_size="5GB")
        processor.save_pretrained(new)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    if out_dir.exists():
        out_dir.rename(old)
    new.rename(out_dir)
    shutil.rmtree(old, ignore_errors=True)
