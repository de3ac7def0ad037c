"""Official InternVideo2 weight files, read without executing anything in them.

A published file differs from a bare model in its wrapper (`model`, `module` or none), in a prefix, and in parts that a
scoring model does not want: decoders, other position tables, a text tower. The backbone's own tensors have the same
names in every kind.
"""

import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file


class ConversionError(ValueError):
    """A file that cannot be converted, with the reason and a way out.

    Args:
        path: The file or folder.
        reason: What is wrong with it.
        way_out: What to do instead.
    """

    def __init__(self, path: str | os.PathLike, reason: str, way_out: str):
        super().__init__(f"{path}: {reason}; {way_out}")
        self.path, self.reason, self.way_out = str(path), reason, way_out


@dataclass
class OfficialCheckpoint:
    """The wanted part of an official file.

    Args:
        kind: `stage1_pretrain`, `stage1_finetuned`, `stage2`, `clip`, `clip_small`, `distilled`, `joint_student`,
            `joint_teacher`, `scoring` (has a head for one score) or `backbone`.
        wrapper: The entries that held the tensors, for example `module`; empty for a bare dict.
        tensors: Tensors under their official names, without prefix.
        dropped: Names left out on purpose, as in the file.
        unused: Names outside the wanted part that nothing here knows.
    """

    kind: str
    wrapper: str
    tensors: dict[str, torch.Tensor]
    dropped: list[str]
    unused: list[str]


def read_official_checkpoint(path: str | os.PathLike, part: str = "student") -> OfficialCheckpoint:
    """Read a file of any published kind. Tensors stay on disk until they are used.

    Args:
        path: A file of `torch.save` or safetensors.
        part: `"student"` or `"teacher"` of a file that holds both.

    Raises:
        ConversionError: The file cannot be read safely, or holds no such part.
        ValueError: `part` is neither.
    """
    if part not in ("student", "teacher"):
        raise ValueError(f"unknown part {part!r}: choose student or teacher")
    wrapper, tensors = _unwrap(path, _read_file(Path(path)))
    groups = {name.partition(".")[0] for name in tensors}
    joint = "feature_model" in groups
    if part == "teacher" and not joint:
        raise ConversionError(path, "holds one model, not a teacher and a student", "leave the part out")
    # A prefix that only the wanted part carries, else one that is just stripped wherever it stands.
    if "vision_encoder" in groups:
        only, prefixes = True, ("vision_encoder.",)
    elif joint:
        only, prefixes = True, ("feature_model." if part == "teacher" else "encoder.",)
    else:
        only, prefixes = False, ("backbone.", "encoder.")

    wanted, dropped, unused = {}, [], []
    for name, tensor in tensors.items():
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        inner = name[len(prefix) :]
        if _FOREIGN.fullmatch(inner) or (joint and not prefix and name.startswith(("encoder.", "feature_model."))):
            dropped.append(name)
        elif only and not prefix:
            unused.append(name)
        elif inner in wanted:
            raise ConversionError(path, f"holds {inner} twice, with and without a prefix", "remove one of them")
        else:
            wanted[inner] = tensor
    kind = f"joint_{part}" if joint else _kind(groups, wanted, dropped)
    return OfficialCheckpoint(kind, wrapper, wanted, dropped, unused)


# Exact names: a search for "pos_embed" would also find the tables of other heads.
_FOREIGN = re.compile(
    r"(?:clip_decoder|final_clip_decoder|mae_decoder)\..+"
    r"|(?:clip|mae|img|clip_img)_pos_embed(?:_spatial|_temporal|_cls)?"
    r"|(?:text_encoder|vision_proj|text_proj|itm_head|vision_align)\..+|temp"
)


def _kind(groups: set[str], wanted: dict[str, torch.Tensor], dropped: list[str]) -> str:
    inner = {name.removeprefix("vision_encoder.") for name in dropped}
    if "vision_align" in groups:
        return "clip_small"
    if groups & {"vision_encoder", "text_encoder"}:
        stage2 = groups & {"vision_proj", "text_proj", "itm_head"} or "img_pos_embed" in inner
        return "stage2" if stage2 or any(name.startswith("clip_decoder.") for name in inner) else "clip"
    if any(name.startswith("mae_decoder.") for name in inner):
        return "stage1_pretrain"
    if any(name.startswith("clip_decoder.") for name in inner):
        return "distilled" if "clip_decoder.0.head.0.weight" in inner else "stage1_pretrain"
    if "head.weight" in wanted:
        return "scoring" if wanted["head.weight"].shape[:1] == (1,) else "stage1_finetuned"
    return "backbone"


def _unwrap(path: str | os.PathLike, content: object) -> tuple[str, dict[str, torch.Tensor]]:
    """The innermost `model` or `module` entry and its tensors; optimizers, counters and arguments stay behind."""
    way_out = "give the file with the model's weights; of a DeepSpeed folder that is mp_rank_00_model_states.pt"
    if not isinstance(content, Mapping):
        raise ConversionError(path, f"holds a {type(content).__name__}, not named tensors", way_out)
    wrappers = []
    while wrapper := next((key for key in ("model", "module") if isinstance(content.get(key), Mapping)), None):
        wrappers.append(wrapper)
        content = content[wrapper]
    tensors = {str(name): value.detach() for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        entries = ", ".join(map(str, list(content)[:8])) or "an empty dict"
        raise ConversionError(path, f"holds no tensors by name, only {entries}", way_out)
    if not any(tensor.numel() for tensor in tensors.values()):
        reason = "holds empty tensors: DeepSpeed ZeRO stage 3 keeps the weights in the zero_* files"
        raise ConversionError(path, reason, "join them with the zero_to_fp32.py that DeepSpeed put beside it")
    return ".".join(wrappers), tensors


def _read_file(path: Path) -> object:
    again = "download it again and compare its size with the publisher's"
    if not path.is_file():
        reason = "is a folder, not a file" if path.is_dir() else "no such file"
        raise ConversionError(path, reason, "give the path of a .pth, .pt, .bin or .safetensors file")
    try:
        with path.open("rb") as file:
            start = file.read(1024)
        if not start:
            raise ConversionError(path, "is empty", again)
        if start.startswith(b"version https://git-lfs"):
            raise ConversionError(path, "is a Git LFS pointer, not the weights", "fetch them with `git lfs pull`")
        if not re.search(rb"[^\t\n\r\x20-\x7e\x80-\xff]", start):
            raise ConversionError(path, "is a text file, not weights", again)
        if start[8:9] == b"{":
            return load_file(path)
        with torch.serialization.safe_globals(_STAND_INS):
            is_zip = start.startswith(b"PK\x03\x04")  # older files are one pickle and cannot be mapped
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except ConversionError:
        raise
    except Exception as error:  # a damaged file can fail anywhere in a parser
        if isinstance(error, pickle.UnpicklingError) and (refused := re.search(r"GLOBAL (\S+)", str(error))):
            reason = f"holds a {refused[1]}, which is not on the list of harmless classes, so it was not loaded"
            way_out = (
                "save the tensors alone where the file comes from: "
                "torch.save({k: v for k, v in state.items() if torch.is_tensor(v)}, 'tensors.pt')"
            )
            raise ConversionError(path, reason, way_out) from error
        first_line = str(error).strip().partition("\n")[0]
        reason = f"is damaged or no PyTorch or safetensors file ({type(error).__name__}: {first_line})"
        raise ConversionError(path, reason, again) from error


class _Ignored:
    """Takes the place of an object that is not needed: accepts every state, keeps none and runs nothing."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass


class _IgnoredDict:
    """The same for subclasses of dict, which the unpickler fills item by item and only if they are of a known type."""

    def __new__(cls, *args, **kwargs):
        return OrderedDict()


def _stand_in(name: str, base: type = _Ignored) -> type:
    module, _, name = name.rpartition(".")
    return type(name, (base,), {"__module__": module})


# What training scripts and DeepSpeed store beside the weights: arguments, paths, numbers, the loss scaler, the ZeRO
# stage. The names resolve to the empty classes above, so not even these run, and none needs to be installed.
_STAND_INS = [
    *map(
        _stand_in,
        (
            "argparse.Namespace",
            "types.SimpleNamespace",
            "pathlib.Path",
            "pathlib.PosixPath",
            "pathlib.PurePosixPath",
            "pathlib.WindowsPath",
            "pathlib._local.PosixPath",
            "numpy.dtype",
            "numpy.ndarray",
            "numpy.core.multiarray._reconstruct",
            "numpy.core.multiarray.scalar",
            "numpy._core.multiarray._reconstruct",
            "numpy._core.multiarray.scalar",
            "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
            "deepspeed.runtime.fp16.loss_scaler.LossScaler",
            "deepspeed.runtime.zero.config.ZeroStageEnum",
            "deepspeed.utils.tensor_fragment.fragment_address",
        ),
    ),
    *(_stand_in(name, _IgnoredDict) for name in ("easydict.EasyDict", "utils.easydict.EasyDict")),
]
