"""Official weight files: every published layout is read, converted exactly, or refused with the reason.

The layouts come from `fixtures/checkpoint_layouts.json`. Foreign parts are written in their real shapes as expanded
zeros, which take no room in a file.
"""

import argparse
import json
import math
import os
import pickle
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cvqa.models.configuration_internvideo2 import InternVideo2Config
from cvqa.models.convert_internvideo2 import (
    ConversionError,
    convert_internvideo2,
    convert_state_dict,
    inflate_patch_kernel,
    load_official_checkpoint,
)
from cvqa.models.modeling_internvideo2 import InternVideo2ForVideoQualityAssessment


ROOT = Path(__file__).parents[2]
LAYOUTS = json.loads((ROOT / "tests/fixtures/checkpoint_layouts.json").read_text())
KINDS = LAYOUTS["kinds"]
FRESH = {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}
TABLE = "internvideo2.embeddings.position_embeddings"
KERNEL = "internvideo2.embeddings.patch_embeddings.projection.weight"


def expand(group: dict) -> dict[str, torch.Tensor]:
    """The tensors that a group of the layout file lists, as zeros that share one number."""
    shapes = dict(group["single"])
    for repeated in group["repeated"].values():
        for index in range(repeated["count"]):
            shapes |= {repeated["pattern"].format(i=index) + name: shape for name, shape in repeated["keys"].items()}
    assert len(shapes) == group["number_of_keys"]
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


def backbone(size: str) -> dict[str, torch.Tensor]:
    return expand(LAYOUTS["backbones"][size]["state_with_one_score_head"])


def without_head(weights: dict) -> dict:
    return {name: tensor for name, tensor in weights.items() if name not in FRESH}


def prefixed(prefix: str, weights: dict) -> dict:
    return {prefix + name: tensor for name, tensor in weights.items()}


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(()).expand(shape)


def text_tower() -> dict:
    names = ("text_encoder.bert.embeddings.word_embeddings.weight", "text_encoder.bert.encoder.layer.0.output.bias")
    return {name: zeros(1024) for name in names} | {"temp": torch.tensor(0.07)}


def stage1(weights: dict) -> dict:
    return {"module": without_head(weights) | expand(KINDS["stage1_pretrain_1B"]["extra_keys"])}


def finetuned(weights: dict, classes: int = 710) -> dict:
    features = weights["head.weight"].shape[1]
    head = {"head.weight": torch.randn(classes, features), "head.bias": torch.randn(classes)}
    return {"model": weights | head, "optimizer": {"state": {}}, "epoch": 3, "args": argparse.Namespace(lr=1e-3)}


def stage2(weights: dict, size: str = "1B") -> dict:
    tower = without_head(weights) | expand(KINDS[f"stage2_{size}"]["vision_encoder_extra_keys"])
    other = {name: zeros(*shape) for name, shape in KINDS["stage2_1B"]["other_shapes"].items()}
    return {"module": prefixed("vision_encoder.", tower) | text_tower() | other}


def clip(weights: dict) -> dict:
    return {"module": prefixed("vision_encoder.", without_head(weights)) | text_tower()}


def clip_small(weights: dict) -> dict:
    align = {"vision_align.0.weight": zeros(768), "vision_align.1.weight": zeros(512, 768)}
    return prefixed("vision_encoder.", without_head(weights)) | text_tower() | align


def distilled(weights: dict, size: str = "S") -> dict:
    return without_head(weights) | expand(KINDS["distilled_S14_B14_L14"]["extra_keys"][size])


def joint(weights: dict, teacher: dict) -> dict:
    return {"module": prefixed("encoder.", weights) | prefixed("feature_model.", teacher)}


def class_of(module: str, name: str, *bases: type) -> type:
    """A class that can be pickled as that of a package which is not installed."""
    made = type(name, bases, {"__module__": module})
    for part in (module.partition(".")[0], module):
        sys.modules[part] = types.ModuleType(part)
    setattr(sys.modules[module], name, made)
    return made


def forget_classes():
    for name in [name for name in sys.modules if name.partition(".")[0] in ("deepspeed", "easydict")]:
        del sys.modules[name]


def deepspeed(weights: dict) -> dict:
    """A model-states file with the objects that DeepSpeed and a training script leave in it."""
    scaler = class_of("deepspeed.runtime.fp16.loss_scaler", "LossScaler")
    settings = class_of("easydict", "EasyDict", dict)(lr=1e-3)
    settings.lr = 1e-3
    entries = dict.fromkeys(KINDS["deepspeed_mp_rank_00_model_states"]["other_top_level_entries"])
    entries |= {
        "optimizer": {"loss_scaler": scaler(), "state": {0: {"exp_avg": torch.zeros(3)}}},
        "args": argparse.Namespace(output=Path("runs"), config={"lr": 1e-3}),
        "config": settings,
        "best": np.float64(0.91),
        "history": np.arange(3.0),
        "buffer_names": [],
        "epoch": 29,
        "model_ema": None,
    }
    return {"module": weights, **entries}


def write(content: object, path: Path) -> Path:
    torch.save(content, path)
    forget_classes()  # reading must not need them
    return path


TINY = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "num_frames": 8,
    "pooling_num_heads": 4,
    "feature_size": 32,
    "hidden_act": "gelu_pytorch_tanh",
}


def tiny_config(**overrides) -> InternVideo2Config:
    return InternVideo2Config(**{**TINY, **overrides})


def tiny_weights(frames: int = 8, side: int = 2, tubelet: int = 1, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random official weights of the small model: the names of S with two blocks."""
    generator = torch.Generator().manual_seed(seed)
    scale = {384: 48, 1152: 144, 1536: 192, 768: 32}
    weights = {}
    for name, tensor in backbone("S").items():
        if not name.startswith("blocks.") or name.split(".")[1] in "01":
            weights[name] = torch.randn([scale.get(n, n) for n in tensor.shape], generator=generator)
    weights["pos_embed"] = torch.randn(1, 1 + frames * side**2, 48, generator=generator)
    weights["patch_embed.proj.weight"] = torch.randn(48, 3, tubelet, 14, 14, generator=generator)
    return weights


def convert_tiny(path: Path, out_dir: Path, **options):
    return convert_internvideo2(path, out_dir, **{"config": tiny_config(), "source_image_size": 28, **options})


def load(folder: Path) -> InternVideo2ForVideoQualityAssessment:
    return InternVideo2ForVideoQualityAssessment.from_pretrained(folder).eval()


# Real sizes: names and shapes of each kind -------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["S", "B", "L", "1B", "6B"])
def test_names_and_shapes_of_every_size(size):
    with torch.device("meta"):
        expected = InternVideo2ForVideoQualityAssessment(InternVideo2Config.from_size(size)).state_dict()
    converted = convert_state_dict(backbone(size))
    assert {name: t.shape for name, t in converted.items()} == {name: t.shape for name, t in expected.items()}


@pytest.mark.parametrize(
    ("build", "size", "frames"),
    [
        (stage1, "1B", 8),
        (stage2, "1B", 4),
        (lambda weights: stage2(weights, "6B"), "6B", 4),
        (clip, "1B", 8),
        (clip_small, "S", 8),
        (lambda weights: distilled(weights, "S"), "S", 8),
        (lambda weights: {"model": distilled(weights, "B")}, "B", 8),
        (lambda weights: {"module": distilled(weights, "L")}, "L", 8),
    ],
    ids=["stage1", "stage2_1B", "stage2_6B", "clip_1B", "clip_S", "distilled_S", "distilled_B", "distilled_L"],
)
def test_real_layouts_leave_exactly_the_backbone(build, size, frames, tmp_path):
    weights = backbone(size)
    weights["pos_embed"] = zeros(1, 1 + frames * 256, weights["cls_token"].shape[-1])
    official = load_official_checkpoint(write(build(weights), tmp_path / "file.pth"))
    assert {name: t.shape for name, t in official.items()} == {n: t.shape for n, t in without_head(weights).items()}


@pytest.mark.parametrize("part", ["student", "teacher"])
def test_real_joint_file_gives_the_chosen_part(part, tmp_path):
    path = write(joint(backbone("S"), backbone("1B")), tmp_path / "fd.pt")
    official = load_official_checkpoint(path, part)
    expected = backbone({"student": "S", "teacher": "1B"}[part])
    assert {name: t.shape for name, t in official.items()} == {name: t.shape for name, t in expected.items()}


def test_script_converts_a_full_size_file(tmp_path, monkeypatch, capsys):
    weights = backbone("S")
    weights["pos_embed"] = torch.randn(1, 1 + 4 * 256, 384)
    path, folder = write(distilled(weights), tmp_path / "pytorch_model.bin"), tmp_path / "s"
    script = ROOT / "scripts/convert_internvideo2.py"
    monkeypatch.setattr(sys, "argv", [script.name, str(path), str(folder), "--size", "S", "--dtype", "bfloat16"])
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_path(str(script), run_name="__main__")
    assert exit_info.value.code == 0
    out = capsys.readouterr().out
    for text in (
        "distilled, size S, bfloat16",
        "clip_decoder.* (36)",
        f"{TABLE} (4x16x16 to 8x16x16)",
        "fc_norm.weight",
    ):
        assert text in out
    model = load(folder)
    assert model.num_parameters() == 23046145 and model.dtype == torch.bfloat16
    assert model.config.hidden_act == "gelu_pytorch_tanh" and model.config.num_frames == 8

    monkeypatch.setattr(sys, "argv", [script.name, str(path), str(tmp_path / "l"), "--size", "L"])
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_path(str(script), run_name="__main__")
    assert exit_info.value.code == 1
    assert "pytorch_model.bin: looks like size S (width 384, 12 blocks), not L" in capsys.readouterr().err
    assert not (tmp_path / "l").exists()


# Real outputs: reference weights in each layout --------------------------------------------------------------------


def reference(golden: Path, variant: str = "base") -> tuple[InternVideo2Config, dict, dict, torch.Tensor]:
    """Configuration, official weights, expected outputs (tanh GELU) and clip of a small reference backbone."""
    about = json.loads((golden / "internvideo2_tiny.json").read_text())["variants"][variant]["config"]
    start = "" if variant == "base" else f"variant.{variant}."
    with safe_open(golden / "internvideo2_tiny.safetensors", "pt") as file:
        names = file.keys()
        groups = [
            {
                name.removeprefix(start + group): file.get_tensor(name)
                for name in names
                if name.startswith(start + group)
            }
            for group in ("weights.", "outputs_gelu_tanh.")
        ]
        clip_pixels = file.get_tensor("pixel_values").transpose(1, 2)
    config = InternVideo2Config(
        hidden_size=about["embed_dim"],
        num_hidden_layers=about["depth"],
        num_attention_heads=about["num_heads"],
        mlp_ratio=about["mlp_ratio"],
        image_size=about["img_size"],
        num_frames=about["num_frames"],
        tubelet_size=about["tubelet_size"],
        pooling_num_heads=about["attn_pool_num_heads"],
        feature_size=about["clip_embed_dim"],
        separate_position_embeddings=about["sep_pos_embed"],
        hidden_act="gelu_pytorch_tanh",
    )
    return config, *groups, clip_pixels


@torch.inference_mode()
def assert_outputs(folder: Path, outputs: dict, pixels: torch.Tensor, names: tuple[str, ...]):
    model = load(folder)
    result = {"clip_projector": model.internvideo2(pixels).pooler_output}
    output = model(pixels)
    result |= {"fc_norm": output.quality_features, "logits": output.logits}
    for name in names:
        torch.testing.assert_close(result[name], outputs[name], atol=5e-6, rtol=0)


@pytest.mark.parametrize("variant", ["base", "sep_pos_embed", "tubelet2", "ratio_1b"])
def test_reference_variants(variant, golden, tmp_path):
    config, weights, outputs, pixels = reference(golden, variant)
    path = write(weights, tmp_path / "file.pth")
    report = convert_internvideo2(path, tmp_path / "out", config=config, source_image_size=56)
    assert report.kind == "scoring"
    assert not (report.missing or report.unused or report.dropped or report.reinitialized or report.resized)
    assert_outputs(tmp_path / "out", outputs, pixels, ("clip_projector", "fc_norm", "logits"))


SCORING = {
    "bare": lambda weights: weights,
    "model": lambda weights: {"model": weights, "args": argparse.Namespace(lr=1.0)},
    "module": lambda weights: {"module": weights},
    "nested": lambda weights: {"model": {"module": weights}},
    "backbone": lambda weights: {"model": prefixed("backbone.", weights)},
    "encoder": lambda weights: {"module": prefixed("encoder.", weights)},
    "deepspeed": deepspeed,
    "deepspeed_joint": lambda weights: deepspeed(joint(weights, tiny_weights())["module"]),
    "joint": lambda weights: joint(weights, tiny_weights()),
}
PARTIAL = {"stage1_pretrain": stage1, "stage2": stage2, "clip": clip, "clip_small": clip_small, "distilled": distilled}


@pytest.mark.parametrize("layout", SCORING)
def test_scoring_layouts_keep_the_logits(layout, golden, tmp_path):
    config, weights, outputs, pixels = reference(golden)
    path = write(SCORING[layout](weights), tmp_path / "file.pth")
    report = convert_internvideo2(path, tmp_path / "out", config=config, source_image_size=56)
    assert report.kind == ("joint_student" if "joint" in layout else "scoring")
    assert not (report.missing or report.unused or report.reinitialized)
    assert_outputs(tmp_path / "out", outputs, pixels, ("logits",))


def test_teacher_of_a_joint_file(golden, tmp_path):
    config, weights, outputs, pixels = reference(golden)
    path = write(joint(tiny_weights(), weights), tmp_path / "file.pth")
    report = convert_internvideo2(path, tmp_path / "out", config=config, source_image_size=56, part="teacher")
    assert report.kind == "joint_teacher" and len(report.dropped) == len(tiny_weights())
    assert_outputs(tmp_path / "out", outputs, pixels, ("logits",))


def test_safetensors_and_the_old_torch_format(golden, tmp_path):
    config, weights, outputs, pixels = reference(golden)
    save_file(prefixed("vision_encoder.", weights), tmp_path / "model.safetensors")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("model.safetensors", "old.pth"):
        convert_internvideo2(tmp_path / name, tmp_path / f"out_{name}", config=config, source_image_size=56)
        assert_outputs(tmp_path / f"out_{name}", outputs, pixels, ("logits",))


@pytest.mark.parametrize("kind", PARTIAL)
def test_pretrained_layouts_keep_the_pooled_feature(kind, golden, tmp_path):
    config, weights, outputs, pixels = reference(golden)
    content = PARTIAL[kind](weights)
    report = convert_internvideo2(
        write(content, tmp_path / "file.pth"), tmp_path / "out", config=config, source_image_size=56
    )
    assert report.kind == kind
    assert set(report.missing) == set(report.reinitialized) == FRESH
    assert not report.unused
    tensors = content.get("module", content)
    assert len(report.dropped) == len(tensors) - len(without_head(weights))
    assert_outputs(tmp_path / "out", outputs, pixels, ("clip_projector",))
    # The CLIP models of 1B were trained without the cast to float32 in LayerScale.
    assert load(tmp_path / "out").config.layer_scale_in_float32 == (kind != "clip")


@pytest.mark.parametrize("classes", [710, 174])
def test_finetuned_file_keeps_fc_norm_and_drops_the_head(classes, golden, tmp_path):
    config, weights, outputs, pixels = reference(golden)
    path = write(finetuned(weights, classes), tmp_path / "file.pth")
    report = convert_internvideo2(path, tmp_path / "out", config=config, source_image_size=56)
    assert report.kind == "stage1_finetuned" and report.missing == []
    assert report.dropped == report.reinitialized == ["head.weight", "head.bias"]
    assert_outputs(tmp_path / "out", outputs, pixels, ("clip_projector", "fc_norm"))


# What is changed on the way ----------------------------------------------------------------------------------------


def test_four_frames_become_eight_linearly(tmp_path):
    weights = tiny_weights(frames=4)
    report = convert_tiny(write(stage2(weights), tmp_path / "file.pt"), tmp_path / "out")
    table = load(tmp_path / "out").state_dict()[TABLE]
    assert report.resized == {TABLE: "4x2x2 to 8x2x2"}
    cls, old = weights["pos_embed"][0, 0], weights["pos_embed"][0, 1:].view(4, 4, 48)
    torch.testing.assert_close(table[0, 0], cls)
    new = table[0, 1:].view(8, 4, 48)
    torch.testing.assert_close(new[0], old[0])
    torch.testing.assert_close(new[1], 0.75 * old[0] + 0.25 * old[1])
    torch.testing.assert_close(new[4], 0.25 * old[1] + 0.75 * old[2])


def test_sixteen_frames_stay_or_become_eight(tmp_path):
    weights = tiny_weights(frames=16)
    path = write(finetuned(weights), tmp_path / "1B_ft_k710_f16.pth")
    assert convert_tiny(path, tmp_path / "f16", config=tiny_config(num_frames=16)).resized == {}
    assert torch.equal(load(tmp_path / "f16").state_dict()[TABLE], weights["pos_embed"])
    assert convert_tiny(path, tmp_path / "f8").resized == {TABLE: "16x2x2 to 8x2x2"}
    pairs = weights["pos_embed"][:, 1:].view(8, 2, 4, 48).mean(1).view(1, 32, 48)
    torch.testing.assert_close(load(tmp_path / "f8").state_dict()[TABLE][:, 1:], pairs)


def test_space_and_time_change_together_as_in_the_reference(golden, tmp_path):
    with safe_open(golden / "pos_embed.safetensors", "pt") as file:
        source, target = map(file.get_tensor, ("interp.input.g4_t4_d24", "interp.output.g4_t4_to_g6_t8"))
    weights = tiny_weights() | {"pos_embed": torch.cat([source, source], dim=2)}  # two halves of 24 make 48
    report = convert_tiny(
        write(weights, tmp_path / "file.pth"), tmp_path / "out", config=tiny_config(image_size=84), source_image_size=56
    )
    assert report.resized == {TABLE: "4x4x4 to 8x6x6"}
    table = load(tmp_path / "out").state_dict()[TABLE]
    torch.testing.assert_close(table, torch.cat([target, target], dim=2), atol=1e-6, rtol=0)


def test_separate_tables_are_resized(golden, tmp_path):
    config, weights, *_ = reference(golden, "sep_pos_embed")
    config.num_frames, config.image_size = 8, 84
    report = convert_internvideo2(
        write(weights, tmp_path / "file.pth"), tmp_path / "out", config=config, source_image_size=56
    )
    assert list(report.resized.values()) == ["4x1x1 to 8x1x1", "1x4x4 to 1x6x6"]
    state, old = load(tmp_path / "out").state_dict(), weights["pos_embed_temporal"]
    new = state["internvideo2.embeddings.temporal_position_embeddings"]
    torch.testing.assert_close(new[:, 1], 0.75 * old[:, 0] + 0.25 * old[:, 1])
    assert state["internvideo2.embeddings.spatial_position_embeddings"].shape == (1, 36, 48)


def test_inflated_kernel_equals_the_reference(golden):
    with safe_open(golden / "internvideo2_tiny.safetensors", "pt") as file:
        kernel, expected = file.get_tensor("unit.inflate.input"), file.get_tensor("unit.inflate.t2_mean")
    torch.testing.assert_close(inflate_patch_kernel(kernel[:, :, None], 2), expected, atol=0, rtol=0)


def test_tubelets_from_a_file_without_them(tmp_path):
    path = write(tiny_weights(), tmp_path / "file.pth")
    config = tiny_config(num_frames=16, tubelet_size=2)
    assert convert_tiny(path, tmp_path / "two", config=config).resized == {KERNEL: "1 to 2 frames"}
    convert_tiny(path, tmp_path / "one")
    still = torch.randn(1, 1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    with torch.inference_mode():
        expected, actual = one(still.expand(-1, 8, -1, -1, -1)), two(still.expand(-1, 16, -1, -1, -1))
    torch.testing.assert_close(actual.quality_features, expected.quality_features, atol=1e-5, rtol=1e-5)


def test_the_type_of_the_file_is_kept_or_chosen(tmp_path):
    half = {name: tensor.bfloat16() for name, tensor in without_head(tiny_weights()).items()}
    path = write({"module": half}, tmp_path / "mp_rank_00_model_states.pt")
    assert convert_tiny(path, tmp_path / "kept").dtype == "bfloat16"
    assert {tensor.dtype for tensor in load(tmp_path / "kept").state_dict().values()} == {torch.bfloat16}
    convert_tiny(path, tmp_path / "chosen", dtype=torch.float32)
    assert load(tmp_path / "chosen").dtype == torch.float32


def test_fresh_parameters_are_finite_seeded_and_leave_the_generator_alone(tmp_path):
    path = write(stage1(tiny_weights()), tmp_path / "pretrain.pth")
    state = torch.random.get_rng_state()
    heads = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        convert_tiny(path, tmp_path / name, seed=seed)
        model = load(tmp_path / name)
        heads.append(model.head.weight)
        assert 0 < model.head.weight.abs().max() < 0.1
        assert torch.equal(model.fc_norm.weight, torch.ones(32)) and not model.fc_norm.bias.any()
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_trained_parts_go_on_top_of_a_base(tmp_path):
    weights, other = tiny_weights(seed=0), tiny_weights(seed=1)
    convert_tiny(write(stage2(weights), tmp_path / "stage2.pt"), tmp_path / "base")
    trained = {name: tensor for name, tensor in other.items() if name.startswith("clip_projector.")}
    path = write(clip(trained), tmp_path / "1B_clip.pth")
    with pytest.raises(ConversionError, match=r"only parts of the vision tower.*--base"):
        convert_internvideo2(path, tmp_path / "out")
    report = convert_internvideo2(path, tmp_path / "out", base=tmp_path / "base")
    assert report.kind == "clip" and report.reinitialized == []
    assert len(report.from_base) == len(weights) - len(trained)
    model, base = load(tmp_path / "out"), load(tmp_path / "base")
    assert not model.config.layer_scale_in_float32
    expected = base.state_dict() | convert_state_dict(trained)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_the_folder_holds_processor_and_code(tmp_path):
    from transformers import AutoModel, AutoVideoProcessor

    import cvqa  # noqa: F401  registers the Auto classes

    convert_tiny(write(tiny_weights(), tmp_path / "file.pth"), tmp_path / "out")
    assert isinstance(AutoModel.from_pretrained(tmp_path / "out"), InternVideo2ForVideoQualityAssessment)
    processor = AutoVideoProcessor.from_pretrained(tmp_path / "out")
    assert processor.num_frames == 8 and processor.crop_size["height"] == 28


def test_foreign_names_are_reported_as_unused(tmp_path):
    path = write(tiny_weights() | {"teacher_adapter.weight": torch.zeros(2)}, tmp_path / "file.pth")
    assert convert_tiny(path, tmp_path / "out").unused == ["teacher_adapter.weight"]


# Refusals ----------------------------------------------------------------------------------------------------------


class Unknown:
    pass


class Malicious:
    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def refused(path: Path, out_dir: Path, match: str, **options):
    before = set(out_dir.parent.iterdir())
    with pytest.raises(ConversionError, match=match) as error:
        convert_internvideo2(path, out_dir, **options)
    assert str(path) in str(error.value) or str(out_dir) in str(error.value)
    assert error.value.way_out
    assert set(out_dir.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"<html><body>404 Not found</body></html>", "text file"),
        ("Gewichte: äöü\n".encode() * 50, "text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "damaged or no PyTorch"),
        (b"PK\x03\x04" + bytes(100), "damaged or no PyTorch"),
        (b'\x10\x00\x00\x00\x00\x00\x00\x00{"a":', "damaged or no PyTorch"),
    ],
    ids=["empty", "html", "text", "lfs", "png", "zip", "safetensors"],
)
def test_files_that_are_no_weights(content, reason, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    refused(path, tmp_path / "out", reason)


@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.999])
@pytest.mark.parametrize("name", ["new.pth", "old.pth", "model.safetensors"])
def test_truncated_files(name, fraction, tmp_path):
    path = tmp_path / name
    if name == "model.safetensors":
        save_file(tiny_weights(), path)
    else:
        torch.save(tiny_weights(), path, _use_new_zipfile_serialization=name == "new.pth")
    path.write_bytes(path.read_bytes()[: math.floor(path.stat().st_size * fraction)])
    refused(path, tmp_path / "out", "damaged or no PyTorch")


def test_missing_files_and_folders(tmp_path):
    refused(tmp_path / "nothing.pth", tmp_path / "out", "no such file")
    (tmp_path / "checkpoint").mkdir()
    refused(tmp_path / "checkpoint", tmp_path / "out", "is a folder")


def with_shape(name: str, *shape: int) -> dict:
    return backbone("S") | {name: zeros(*shape)}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([torch.zeros(3)], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
        ({"epoch": 3, "args": argparse.Namespace()}, "holds no tensors by name, only epoch, args"),
        ({"module": {"encoder.cls_token": torch.zeros(0)}}, r"ZeRO stage 3.*zero_to_fp32"),
        ({"model": {"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}}, "no tensor of an InternVideo2"),
        ({"internvideo2.embeddings.cls_token": torch.zeros(1, 1, 4)}, "already converted"),
        (text_tower() | {"vision_align.0.weight": torch.zeros(768)}, "only parts outside the vision tower"),
        (with_shape("head.bias", 1) | {"blocks.0.attn.qkv.bias": zeros(1152)}, "does not have.*qkv.bias"),
        ({name: t for name, t in backbone("S").items() if name != "blocks.7.ls1.gamma"}, "lacks 1 of 178 tensors"),
        ({name: t for name, t in backbone("S").items() if not name.startswith("blocks.11.")}, "none of the published"),
        (with_shape("blocks.3.mlp.fc1.weight", 1024, 384), r"fc1.weight has shape \(1024, 384\), not \(1536, 384\)"),
        (
            with_shape("patch_embed.proj.weight", 384, 3, 14, 14),
            r"has shape \(384, 3, 14, 14\), not 5 dim",
        ),
        (with_shape("pos_embed", 1, 2000, 384), "position table of 1999 tokens.*--source-image-size"),
        (with_shape("pos_embed", 2049), "position_embeddings has shape"),
        (with_shape("pos_embed", 1, 1, 384), "position table of 0 tokens"),
        (backbone("S") | {"cls_token": torch.zeros(1, 1, 384, dtype=torch.int8)}, "quantized"),
        (backbone("S") | {"encoder.cls_token": zeros(1, 1, 384)}, "cls_token twice"),
    ],
)
def test_files_with_the_wrong_content(content, reason, tmp_path):
    refused(write(content, tmp_path / "file.pth"), tmp_path / "out", reason)


def test_wrong_size_part_and_numbers(tmp_path):
    path = write(backbone("B"), tmp_path / "file.pth")
    refused(path, tmp_path / "out", r"looks like size B \(width 768, 12 blocks\), not 1B; pass --size B", size="1B")
    refused(path, tmp_path / "out", "not a teacher and a student", part="teacher")
    refused(path, tmp_path / "out", "not a multiple of tubelet_size", num_frames=7, tubelet_size=2)
    refused(path, tmp_path / "out", "not a multiple of patch_size", image_size=225)
    refused(path, tmp_path / "out", "at least 1", num_frames=0)
    refused(path, tmp_path / "out", "given twice", size="B", base=tmp_path)
    with pytest.raises(ConversionError, match=r"is no converted folder.*convert the base file first"):
        convert_internvideo2(path, tmp_path / "out", base=tmp_path)
    two = write(with_shape("patch_embed.proj.weight", 384, 3, 2, 14, 14), tmp_path / "two.pth")
    refused(two, tmp_path / "out", "cannot be cut to 1; pass --tubelet-size 2", tubelet_size=1)


def test_unknown_classes_are_named_and_never_run(tmp_path):
    path = write({"model": tiny_weights(), "config": Unknown()}, tmp_path / "file.pth")
    refused(path, tmp_path / "out", r"Unknown, which is not on the list of harmless classes.*torch\.save")
    for name, zipped in (("new.pth", True), ("old.pth", False)):
        torch.save(
            {"model": tiny_weights(), "args": Malicious(tmp_path / "trace")},
            tmp_path / name,
            _use_new_zipfile_serialization=zipped,
        )
        refused(tmp_path / name, tmp_path / "out", "mkdir")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(Malicious(tmp_path / "trace"), protocol=2))
    refused(tmp_path / "bare.pkl", tmp_path / "out", "bare.pkl")
    assert not (tmp_path / "trace").exists()


def test_existing_folders_are_kept_unless_told_otherwise(tmp_path):
    path, out_dir = write(tiny_weights(), tmp_path / "file.pth"), tmp_path / "out"
    out_dir.mkdir()
    convert_tiny(path, out_dir)  # an empty folder is fine
    refused(path, out_dir, "not empty.*--overwrite")
    (out_dir / "stale.txt").write_text("old")
    convert_tiny(path, out_dir, overwrite=True)
    assert not (out_dir / "stale.txt").exists() and load(out_dir)
    inside = write(tiny_weights(), out_dir / "file.pth")
    refused(inside, out_dir, "would delete", overwrite=True)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "me.jpg").write_bytes(b"jpg")
    refused(path, photos, "holds no model", overwrite=True)
    refused(path, path, "is a file")
    assert (photos / "me.jpg").exists()


def test_a_stopped_conversion_leaves_the_old_folder(tmp_path, monkeypatch):
    path, out_dir = write(tiny_weights(), tmp_path / "file.pth"), tmp_path / "out"
    convert_tiny(path, out_dir)
    before = load(out_dir).state_dict()

    def full_disk(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("cvqa.models.convert_internvideo2.InternVideo2VideoProcessor.save_pretrained", full_disk)
    with pytest.raises(OSError, match="No space left"):
        convert_tiny(write(tiny_weights(seed=1), path), out_dir, overwrite=True)
    assert {entry.name for entry in tmp_path.iterdir()} == {"file.pth", "out"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in load(out_dir).state_dict().items())
