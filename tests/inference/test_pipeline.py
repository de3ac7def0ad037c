"""The pipelines of transformers: `video-quality-assessment`, ours, and `video-classification`, built in."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from real_clips import encode, panned, save_tiny_model
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoVideoProcessor, pipeline

from cvqa import VideoScorer
from cvqa.models import InternVideo2ForVideoClassification, InternVideo2ForVideoQualityAssessment, VideoQualityPipeline
from cvqa.video import VideoError, VideoReader


TASK = "video-quality-assessment"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "student", orientations=4)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    place = tmp_path_factory.mktemp("clips")
    sharp, soft = panned(110), panned(30, name="coffee")
    return [
        encode(place / "long.mp4", sharp),
        encode(place / "coarse.mp4", soft, crf=48),
        encode(place / "a.mkv", soft),
    ]


@pytest.fixture(scope="module")
def assess(folder) -> VideoQualityPipeline:
    return pipeline(TASK, model=str(folder), device="cpu")


@pytest.fixture(scope="module")
def scorer(folder) -> VideoScorer:
    return VideoScorer.from_pretrained(folder, device="cpu")


@pytest.fixture
def forwards(assess, monkeypatch) -> list[int]:
    """How many clips the model saw at once, call by call."""
    sizes = []
    handle = assess.model.register_forward_pre_hook(
        lambda model, arguments, named: sizes.append(len(named["pixel_values_videos"])), with_kwargs=True
    )
    yield sizes
    handle.remove()


def test_it_says_what_the_scorer_says_to_the_last_bit(assess, scorer, clips):
    for clip in clips:
        found, expected = assess(clip, segments=0.5), scorer.score(clip, segments=0.5)
        assert found["score"] == expected.score
        assert found["interval"] == list(expected.interval)
        for name in ("segments", "views"):
            assert found[name] == [part._asdict() for part in getattr(expected, name)]
        for name in ("file", "duration", "fps", "width", "height", "codec"):
            assert found[name] == getattr(expected, name)
        assert found["label"] == "quality" and found["error"] is None
        json.dumps(found)


def test_clips_of_several_videos_share_batches_and_the_scores_stay(assess, clips, forwards):
    alone = [assess(clip)["score"] for clip in clips]
    total = len(forwards)
    assert set(forwards) == {1} and total > 8
    forwards.clear()
    together = assess([str(clip) for clip in clips], batch_size=4)
    assert forwards == [4] * (total // 4) + [total % 4] * bool(total % 4)
    assert [result["score"] for result in together] == pytest.approx(alone, abs=1e-4)
    assert len({round(score, 2) for score in alone}) == 3


def test_in_a_list_a_bad_video_is_told_and_the_rest_goes_on(assess, clips, tmp_path):
    (tmp_path / "text.mp4").write_text("no video\n" * 99)
    videos = [clips[1], tmp_path / "missing.mp4", tmp_path / "text.mp4", 5, clips[2]]
    for batch_size in (1, 3, 64):
        results = assess(videos, batch_size=batch_size)
        assert [result["score"] is None for result in results] == [False, True, True, True, False]
        assert results[1]["error"] == "no such file" and results[1]["file"].endswith("missing.mp4")
        assert "not a video" in results[2]["error"] and "not int" in results[3]["error"]
        assert [set(result) for result in results] == [set(results[0])] * 5


def test_a_video_that_breaks_midway_is_an_error_and_not_half_a_score(assess, clips):
    class Breaking:
        def __init__(self, reader):
            self.reader, self.calls = reader, 0

        def __getattr__(self, name):
            return getattr(self.reader, name)

        def __len__(self):
            return len(self.reader)

        def get_batch(self, indices):
            self.calls += 1
            if self.calls > 2:
                raise VideoError(self.path, "frame 40 is damaged")
            return self.reader.get_batch(indices)

    with VideoReader(clips[0]) as reader:
        broken, fine = assess([Breaking(reader), clips[1]], batch_size=2)
        assert broken["error"] == "frame 40 is damaged" and broken["score"] is None and not broken["segments"]
        assert fine["score"] == pytest.approx(assess(clips[1])["score"], abs=1e-4)
        assert assess(reader)["score"] == assess(clips[0])["score"]  # which the pipeline left open


def test_a_single_bad_video_raises_with_its_name_and_the_reason(assess, clips, tmp_path):
    with pytest.raises(VideoError, match=r"missing\.mp4: no such file"):
        assess(tmp_path / "missing.mp4")
    with pytest.raises(VideoError, match="<7 bytes>"):
        assess(b"nothing")
    with pytest.raises(VideoError, match="shorter than one frame"):
        assess(clips[0], segments=0.001)
    with pytest.raises(VideoError, match="HDR"):
        assess(encode(tmp_path / "hdr.mp4", panned(6), "libx265", "yuv420p10le", color_trc="16"))
    with pytest.raises(VideoError, match="uint8"):
        assess(np.zeros((4, 32, 32, 3), np.float32))
    with pytest.raises(TypeError, match=r"unknown option.*colour"):
        assess(clips[0], colour=1)


def test_every_kind_of_input_gives_the_score_of_the_file(assess, clips):
    clip = clips[1]
    with VideoReader(clip) as reader:
        frames = reader.get_batch(range(len(reader)))
    expected = assess(str(clip))["score"]
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(clip.parent))
    serve.func.log_message = lambda *arguments: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{clip.name}"
        assert assess(url)["score"] == expected and assess([url])[0]["file"] == url
        server.shutdown()
    pictures = [Image.fromarray(frame) for frame in frames]
    kinds = [clip, clip.read_bytes(), frames, torch.from_numpy(frames), torch.from_numpy(frames).permute(0, 3, 1, 2)]
    kinds += [pictures, list(frames)]
    assert [assess(kind, fps=25)["score"] for kind in kinds] == [expected] * len(kinds)
    assert [result["score"] for result in assess(kinds, fps=25)] == [expected] * len(kinds)
    assert [result["score"] for result in assess(np.stack([frames, frames]))] == [expected] * 2
    assert assess(frames, fps=5)["duration"] == len(frames) / 5
    assert assess([]) == []


def test_a_stream_of_videos_is_read_as_it_is_scored(assess, clips):
    taken = []

    def stream():
        for clip in clips:
            taken.append(clip)
            yield clip

    results = assess(stream())
    assert next(iter(results))["file"] == str(clips[0])
    assert taken == clips[:1]


def test_options_at_the_start_hold_until_a_call_has_others(folder, clips):
    few = pipeline(TASK, model=str(folder), device="cpu", max_views=3, segments=1.0, dtype="float64")
    assert few.model.dtype == torch.float64
    assert len(few(clips[0])["views"]) == 3 and len(few(clips[0])["segments"]) == 4
    assert len(few(clips[0], max_views=4)["views"]) == 4


def test_a_score_that_is_not_a_number_is_an_error(folder, clips):
    broken = pipeline(TASK, model=str(folder), device="cpu")
    torch.nn.init.constant_(broken.model.head.bias, torch.inf)
    assert "not a finite number" in broken([clips[1]])[0]["error"]
    classify = pipeline("video-classification", model=str(folder), device="cpu")
    torch.nn.init.constant_(classify.model.head.bias, torch.inf)
    assert np.isnan(classify(str(clips[1]), function_to_apply="none")[0]["score"])


@pytest.mark.parametrize("trust", [None, True])
def test_with_the_package_its_own_classes_serve_and_no_code_of_the_folder(folder, trust):
    for named in ({"task": TASK}, {}):
        found = pipeline(model=str(folder), device="cpu", trust_remote_code=trust, **named)
        assert type(found) is VideoQualityPipeline and type(found.model) is InternVideo2ForVideoQualityAssessment


def test_saved_the_pipeline_is_a_complete_folder(assess, folder, clips, tmp_path):
    assess.save_pretrained(tmp_path / "again")
    names = {path.name for path in (tmp_path / "again").iterdir()}
    assert names == {path.name for path in folder.iterdir()} > {"pipeline_video_quality.py", "video_plan.py"}
    assert json.loads((tmp_path / "again" / "config.json").read_text())["custom_pipelines"][TASK]["pt"] == ["AutoModel"]
    assert pipeline(TASK, model=str(tmp_path / "again"))(clips[1])["score"] == assess(clips[1])["score"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"label_kind": "dmos", "higher_is_better": False},
        {"score_mapping": {"name": "logistic4", "parameters": [1.0, 0.0, 0.4, 0.3]}},
    ],
)
def test_the_built_in_pipeline_shows_the_quality(clips, tmp_path, settings):
    folder = save_tiny_model(tmp_path)
    config = AutoConfig.from_pretrained(folder)
    for name, value in settings.items():
        setattr(config, name, value)
    config.save_pretrained(folder)
    model, processor = AutoModel.from_pretrained(folder), AutoVideoProcessor.from_pretrained(folder)
    with torch.inference_mode():
        expected = [model.quality_score(model(**processor(clip)).logits).item() for clip in clips]
    assert all(0 < score < 100 for score in expected)
    classify = pipeline("video-classification", model=str(folder), device="cpu", function_to_apply="none")
    videos, arrays = [str(clip) for clip in clips], []
    for clip in clips:
        with VideoReader(clip) as reader:
            arrays.append(reader.get_batch(range(len(reader))))
    for batch_size in (1, 2):
        for inputs in (videos, arrays):
            results = classify(inputs, batch_size=batch_size, function_to_apply="none")
            assert [[one["label"] for one in result] for result in results] == [["quality"]] * 3
            assert [result[0]["score"] for result in results] == pytest.approx(expected, abs=1e-3)


def test_the_class_for_classification_has_the_same_weights_and_loss(folder, clips, tmp_path):
    base, shown = AutoModel.from_pretrained(folder), AutoModelForVideoClassification.from_pretrained(folder)
    assert type(shown) is InternVideo2ForVideoClassification
    pixels = AutoVideoProcessor.from_pretrained(folder)(clips[1])
    with torch.inference_mode():
        raw, quality = (model(**pixels, labels=torch.tensor([0.25])) for model in (base, shown))
        as_tuple = shown(**pixels, return_dict=False)
    assert raw.loss == quality.loss and torch.equal(as_tuple[0], quality.logits)
    assert torch.equal(base.quality_score(raw.logits), quality.logits.flatten())
    assert torch.equal(shown.quality_score(quality.logits), quality.logits.flatten())
    shown.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["architectures"] == ["InternVideo2ForVideoClassification"]
    assert saved["auto_map"] == json.loads((folder / "config.json").read_text())["auto_map"]
    again = AutoModel.from_pretrained(tmp_path)
    assert type(again) is InternVideo2ForVideoQualityAssessment
    with torch.inference_mode():
        assert torch.equal(again(**pixels).logits, raw.logits)


WITHOUT_THE_PACKAGE = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cvqa":
            raise ModuleNotFoundError("No module named 'cvqa'", name=name)

sys.meta_path.insert(0, Refuse())
from transformers import pipeline

folder, *clips = sys.argv[1:]
refused = None
try:
    pipeline("video-quality-assessment", model=folder, trust_remote_code=False)
except ValueError as error:
    refused = str(error)
assess = pipeline("video-quality-assessment", model=folder, trust_remote_code=True, device="cpu")
by_model = pipeline(model=folder, trust_remote_code=True, device="cpu")
by_model.save_pretrained("again")
again = pipeline(model="again", trust_remote_code=True, device="cpu")
classify = pipeline("video-classification", model=folder, trust_remote_code=True, device="cpu")
found = {
    "refused": refused,
    "class": type(assess).__module__,
    "one": assess(clips[0], segments=0.5),
    "many": assess([*clips, "missing.mp4"], batch_size=4),
    "others": [other(clips[0])["score"] for other in (by_model, again)],
    "classified": classify(clips, batch_size=2, function_to_apply="none"),
}
assert "cvqa" not in sys.modules
print(json.dumps(found))
"""


def test_without_the_package_the_folder_gives_the_same(assess, folder, clips, tmp_path):
    alone = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "HF_MODULES_CACHE": str(tmp_path / "modules")}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PACKAGE, str(folder), *map(str, clips)],
        env={**os.environ, **alone},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["class"].startswith("transformers_modules.") and "trust_remote_code" in found["refused"]
    assert found["one"] == assess(str(clips[0]), segments=0.5)
    assert found["others"] == [found["one"]["score"]] * 2
    assert [r["score"] for r in found["many"][:3]] == pytest.approx([r["score"] for r in assess(clips)], abs=1e-4)
    assert found["many"][3]["error"] == "no such file"
    classify = pipeline("video-classification", model=str(folder), device="cpu")
    expected = classify([str(clip) for clip in clips], function_to_apply="none")
    assert [r[0]["score"] for r in found["classified"]] == pytest.approx([r[0]["score"] for r in expected], abs=1e-3)
