import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exported_model import TOLERANCES, copy_of, exported_tiny_model
from real_clips import encode, panned, save_tiny_model
from transformers import AutoModel

from cvqa import InternVideo2VideoProcessor, VideoReader
from cvqa.distillation.students import build_processor, build_student
from cvqa.inference import ModelError, OnnxVideoScorer, VideoScorer
from cvqa.inference import export_onnx as module
from cvqa.inference.export_onnx import ExportError, export_onnx
from cvqa.models.onnx_video_scorer import ONNX_FILES, quality_points


@pytest.fixture(scope="module")
def folder() -> Path:
    return exported_tiny_model()


@pytest.fixture(scope="module")
def report(folder) -> dict:
    return json.loads((folder / "onnx" / "export.json").read_text())


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return encode(tmp_path_factory.mktemp("clip") / "clip.mp4", panned(50))


@pytest.fixture(scope="module")
def pixels(folder, clip) -> torch.Tensor:
    """Five clips of real frames, as the processor makes them."""
    processor = InternVideo2VideoProcessor.from_pretrained(folder)
    with VideoReader(clip) as reader:
        videos = [reader.get_batch(np.arange(start, start + 8)) for start in range(0, 40, 8)]
    return processor(videos, do_sample_frames=False, return_tensors="pt")["pixel_values_videos"]


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(("precision", "points", "features"), [("fp32", 0.01, 1e-3), ("fp16", 0.5, 0.1)])
def test_any_batch_gives_what_torch_gives(folder, pixels, precision, points, features):
    model = AutoModel.from_pretrained(folder).eval()
    session = onnxruntime.InferenceSession(folder / "onnx" / ONNX_FILES[precision])
    with torch.inference_mode():
        wanted = model(pixel_values_videos=pixels)
        wanted_points = model.quality_score(wanted.logits).numpy()
    for size in (1, 2, 5):
        logits, found = session.run(["logits", "quality_features"], {"pixel_values_videos": pixels[:size].numpy()})
        assert logits.shape == (size, 1) and found.shape == wanted.quality_features[:size].shape
        quality = quality_points(logits, model.config.to_dict()).clip(0, 100)
        assert quality == pytest.approx(wanted_points[:size], abs=points)
        assert found == pytest.approx(wanted.quality_features[:size].numpy(), abs=features)
    assert np.ptp(wanted_points) > 10 * 0.01


@pytest.mark.parametrize("name", ONNX_FILES.values())
def test_every_file_takes_and_gives_float32_with_a_free_batch(folder, report, name):
    session = onnxruntime.InferenceSession(folder / "onnx" / name)
    (video,) = session.get_inputs()
    assert (video.name, video.type, video.shape[0]) == ("pixel_values_videos", "tensor(float)", "batch")
    assert video.shape[1:] == report["inputs"]["pixel_values_videos"][1:] == [8, 3, 56, 56]
    assert [(output.name, output.type) for output in session.get_outputs()] == [
        ("logits", "tensor(float)"),
        ("quality_features", "tensor(float)"),
    ]
    model = onnx.load(folder / "onnx" / name)
    onnx.checker.check_model(model)
    assert report["opset"] in [opset.version for opset in model.opset_import if not opset.domain]


def test_the_report_says_what_was_checked_and_how_far_off_it_is(folder, report):
    assert list(report["files"]) == list(ONNX_FILES.values())
    for name, facts in report["files"].items():
        path = folder / "onnx" / name
        assert facts["bytes"] == path.stat().st_size
        assert facts["sha256"] == {name: hashlib.sha256(path.read_bytes()).hexdigest()}
        assert set(facts["largest_deviation_by_batch_size"]) == {"1", "3"}
        for found in facts["largest_deviation_by_batch_size"].values():
            assert 0 <= found["quality_points"] <= facts["tolerance"]["quality_points"]
            assert 0 <= found["features"] <= facts["tolerance"]["features"]
    assert set(report["versions"]) >= {"torch", "onnx", "onnxruntime"}
    low, high = report["checked_on"]["quality_points"]
    assert high - low > 1  # a constant would be easy to get right


def test_smaller_types_make_smaller_files(folder):
    full, half, rounded = ((folder / "onnx" / name).stat().st_size for name in ONNX_FILES.values())
    assert rounded < half < 0.7 * full


def test_nothing_tells_of_the_machine_that_exported(folder):
    for path in (folder / "onnx").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for place in (folder.parent, Path(module.__file__).parents[2], Path(torch.__file__).parent, Path.home()):
            assert str(place).encode() not in content, path.name


def test_files_given_are_what_it_is_checked_with(folder, clip, tmp_path):
    report = export_onnx(save_tiny_model(tmp_path / "model"), ["fp32"], [clip])
    assert report["checked_on"]["sources"] == ["clip.mp4"]
    assert report["checked_on"]["clips"] == 3
    assert names_in(tmp_path / "model" / "onnx") == sorted(
        {*names_in(folder / "onnx")} - {ONNX_FILES["fp16"], ONNX_FILES["int8"]}
    )


def test_a_convolutional_student_in_every_precision(clip, tmp_path):
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    model = build_student("resnet", num_frames=4, image_size=64, label_kind="vmaf", **sizes).eval()
    for part in (model, build_processor(model.config)):
        part.save_pretrained(tmp_path)
    report = export_onnx(tmp_path, clips=[clip], tolerances=TOLERANCES)
    assert list(report["files"]) == list(ONNX_FILES.values())
    wanted = VideoScorer.from_pretrained(tmp_path, device="cpu").score(clip).score
    for precision, points in {"fp32": 0.5, **TOLERANCES}.items():
        assert OnnxVideoScorer(tmp_path, precision).score(clip).score == pytest.approx(wanted, abs=0.5 + points)


def test_large_weights_lie_beside_the_model(folder, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EXTERNAL_BYTES", 10_000)
    report = export_onnx(save_tiny_model(tmp_path / "model", orientations=4), ["fp32", "int8"], [clip], TOLERANCES)
    for precision in ("fp32", "int8"):
        name = ONNX_FILES[precision]
        path = tmp_path / "model" / "onnx" / name
        assert path.stat().st_size < 0.5 * path.with_name(f"{name}_data").stat().st_size
        assert set(report["files"][name]["sha256"]) == {name, f"{name}_data"}
        large, small = (OnnxVideoScorer(place, precision).score(clip).score for place in (tmp_path / "model", folder))
        assert large == pytest.approx(small, abs=1e-3)


def test_above_tolerance_it_fails_and_leaves_all_as_it_was(folder, tmp_path):
    model = copy_of(folder, tmp_path / "model")
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    with pytest.raises(ExportError, match=r"model_int8.onnx is not the same model.*deviate from torch by") as error:
        export_onnx(model, ["int8"], tolerances={"int8": 1e-9})
    assert str(model) in str(error.value) and "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before
    assert names_in(model) == names_in(folder)


def test_a_file_that_computes_something_else_is_found_out(tmp_path, monkeypatch):
    """What is checked is the file, not the intention."""

    def write_another(model, pixels, path, write=module._write_model):
        torch.nn.init.constant_(model.head.bias, 0.52)  # two points more
        write(model, pixels, path)

    monkeypatch.setattr(module, "_write_model", write_another)
    with pytest.raises(ExportError, match=r"quality points deviate from torch by 2"):
        export_onnx(save_tiny_model(tmp_path / "model"), ["fp32"])
    assert not (tmp_path / "model" / "onnx").exists()


def test_wrong_usage_is_told_before_any_work(tmp_path, monkeypatch):
    model = save_tiny_model(tmp_path / "model")
    for arguments, kind, reason in (
        ((model, ["fp8"]), ExportError, "fp8"),
        ((model, []), ExportError, "precisions"),
        (("org/model",), ExportError, "no such folder"),
        ((tmp_path,), ModelError, "no config.json"),
    ):
        with pytest.raises(kind, match=reason):
            export_onnx(*arguments)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r'onnxscript.*pip install "cvqa\[onnx\]"'):
        export_onnx(model)
    assert not (model / "onnx").exists()


def test_the_exported_model_scores_files_as_torch_does(folder, clip):
    wanted = VideoScorer.from_pretrained(folder, device="cpu").score(clip).score
    assert OnnxVideoScorer(folder).score(clip).score == pytest.approx(wanted, abs=0.5)


def test_a_folder_from_before_orientations_is_seen_upright(folder, clip, tmp_path):
    older = copy_of(folder, tmp_path / "older")
    options = older / "video_preprocessor_config.json"
    options.write_text(json.dumps({k: v for k, v in json.loads(options.read_text()).items() if k != "orientations"}))
    upright, turned = OnnxVideoScorer(older).score(clip), OnnxVideoScorer(folder).score(clip)
    assert upright.score == pytest.approx(VideoScorer.from_pretrained(older, device="cpu").score(clip).score, abs=0.5)
    assert (len(upright.views), len(turned.views)) == (3, 4)


WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "transformers", "huggingface_hub"):
    sys.modules[name] = None  # importing it raises
folder, clip = sys.argv[1:]
from cvqa.cli import main
assert main(["score", "--backend", "onnx", "--json", "-", "--model", folder, clip]) == 0
"""
WITHOUT_CVQA = """
import json, sys
for name in ("torch", "torchvision", "transformers", "huggingface_hub", "cvqa"):
    sys.modules[name] = None
folder, clip = sys.argv[1:]
sys.path.insert(0, folder + "/onnx")
from cvqa_onnx import OnnxVideoScorer
print(json.dumps([OnnxVideoScorer(folder).score(clip).to_dict()]))
"""


@pytest.mark.parametrize("program", [WITHOUT_TORCH, WITHOUT_CVQA])
def test_neither_torch_nor_the_package_is_needed_to_score(folder, clip, program):
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(clip)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["score"] == pytest.approx(OnnxVideoScorer(folder).score(clip).score, abs=1e-3)
