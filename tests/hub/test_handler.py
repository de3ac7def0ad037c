"""The handler of Inference Endpoints: alone in the folder of a model, and against hostile requests and servers."""

import base64
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from misbehaving_server import serving
from real_clips import encode, panned, save_tiny_model

import cvqa.hub.handler
from cvqa import VideoScorer
from cvqa.hub.folder import write_model_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("published")
    return write_model_folder(save_tiny_model(place / "saved"), place / "cvqa-student")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return encode(tmp_path_factory.mktemp("clip") / "movie.mp4", panned(60))


@pytest.fixture(scope="module")
def loaded(model) -> ModuleType:
    spec = importlib.util.spec_from_file_location("endpoint_handler", model / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def endpoint(loaded, model):
    return loaded.EndpointHandler(str(model))


@pytest.fixture
def handler(loaded, monkeypatch, tmp_path) -> ModuleType:
    """The module, whose limits a test may set; what it writes lies in `tmp_path / "work"`."""
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "work"))
    monkeypatch.setattr(loaded, "ALLOW_PRIVATE", True)
    for name in ("MAX_BYTES", "MAX_SECONDS", "MAX_DOWNLOAD_SECONDS", "MAX_DURATION", "MAX_PIXELS", "MAX_VIDEOS"):
        monkeypatch.setattr(loaded, name, getattr(loaded, name))
    yield loaded
    deadline = time.monotonic() + 5
    while any((tmp_path / "work").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any((tmp_path / "work").iterdir())


@pytest.fixture(scope="module")
def url(clip) -> Iterator[str]:
    with serving(clip.read_bytes()) as url:
        yield url


ALONE = """
import importlib.util, json, os, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cvqa":
            raise ModuleNotFoundError("No module named 'cvqa'", name=name)

sys.meta_path.insert(0, Refuse())
folder, clip, url = sys.argv[1:]
spec = importlib.util.spec_from_file_location("handler", os.path.join(folder, "handler.py"))
handler = importlib.util.module_from_spec(spec)
spec.loader.exec_module(handler)
endpoint = handler.EndpointHandler(folder)
content = open(clip, "rb").read()
encoded = handler.base64.b64encode(content).decode()
answers = {
    "raw": endpoint(content),
    "bytes": endpoint({"inputs": content, "parameters": {"segments": 0.5, "max_views": 3}}),
    "base64": endpoint({"inputs": encoded}),
    "data": endpoint({"inputs": "data:video/mp4;base64," + encoded}),
    "url": endpoint({"inputs": url}),
    "list": endpoint({"inputs": [encoded, "!", url]}),
}
assert "cvqa" not in sys.modules
print(json.dumps(answers, allow_nan=False))
"""


def test_alone_with_the_folder_it_says_what_the_scorer_says(model, clip, url, tmp_path):
    alone = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "HF_MODULES_CACHE": str(tmp_path / "modules")}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(model), str(clip), f"{url}/file"],
        env={**os.environ, **alone, "CVQA_ALLOW_PRIVATE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    scorer = VideoScorer.from_pretrained(model, device="cpu")
    expected = scorer.score(clip).to_dict()
    for name in ("raw", "base64", "data", "url"):
        assert {key: answers[name][key] for key in ("score", "interval", "segments", "warnings", "error")} == {
            key: expected[key] for key in ("score", "interval", "segments", "warnings", "error")
        }
    scorer.max_views = 3
    expected_bytes = scorer.score(clip, segments=0.5).to_dict()
    assert len(expected_bytes["segments"]) == 5 and answers["bytes"]["segments"] == expected_bytes["segments"]
    assert answers["bytes"]["score"] == expected_bytes["score"]
    assert [answer["score"] for answer in answers["list"]] == [expected["score"], None, expected["score"]]
    facts = answers["raw"]["model"]
    assert (
        facts["name"] == "cvqa-student" and facts["label_kind"] == "vmaf" and "not a mean opinion" in facts["meaning"]
    )
    assert facts["parameters"] == scorer.model.num_parameters() and set(facts["versions"]) > {"torch", "transformers"}
    assert answers["raw"]["video"] == {"duration": 2.4, "fps": 25.0, "width": 192, "height": 128, "codec": "h264"}


def refused(answer: dict, kind: str, reason: str) -> None:
    """Asserts the error of an answer, and that it is JSON without the innards of the machine."""
    assert answer["score"] is None and answer["interval"] is None and answer["segments"] == []
    assert answer["error"]["type"] == kind and reason in answer["error"]["reason"], answer["error"]
    told = json.dumps(answer)
    assert "Traceback" not in told and tempfile.gettempdir() not in told and str(Path.home()) not in told
    assert answer["model"]["label_kind"] == "vmaf"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({}, 'no "inputs"'),
        (None, 'no "inputs"'),
        ([1], 'no "inputs"'),
        (b"", 'no "inputs"'),
        ({"inputs": []}, 'no "inputs"'),
        ({"inputs": 5}, "not int"),
        ({"inputs": "/etc/hostname"}, "neither an http(s) URL nor"),
        ({"inputs": "file:///etc/hostname"}, "neither an http(s) URL nor"),
        ({"inputs": "ftp://host/movie.mp4"}, "neither an http(s) URL nor"),
        ({"inputs": "data:video/mp4,plain"}, "base64"),
        ({"inputs": "ab\u00e9d"}, "neither an http(s) URL nor"),
        ({"inputs": "AAAA", "parameters": {"colour": 1}}, "segments and max_views"),
        ({"inputs": "AAAA", "parameters": [1]}, "segments and max_views"),
        ({"inputs": "AAAA", "parameters": {"segments": "1"}}, "segments is a number above 0"),
        ({"inputs": "AAAA", "parameters": {"segments": float("nan")}}, "segments is a number above 0"),
        ({"inputs": "AAAA", "parameters": {"max_views": 2.5}}, "max_views is a whole number above 0"),
        ({"inputs": "AAAA", "parameters": {"max_views": True}}, "max_views is a whole number above 0"),
    ],
)
def test_a_request_that_cannot_be_meant_is_told_what_is_wrong(endpoint, handler, request_, reason):
    answer = endpoint(request_)
    refused(answer, "bad_request", reason)


def test_files_that_cannot_be_scored_are_told_why_and_the_others_are_scored(endpoint, handler, clip, tmp_path):
    matroska = encode(tmp_path / "a.mkv", panned(60)).read_bytes()
    hdr = encode(tmp_path / "hdr.mp4", panned(6), "libx265", "yuv420p10le", color_trc="16").read_bytes()
    content = clip.read_bytes()
    videos = [b"text\n" * 99, content, content[:400], matroska[: len(matroska) * 2 // 3], hdr, content]
    answers = endpoint({"inputs": videos})
    for answer, reason in zip(answers, ["not a video", None, "moov", "cut short", "HDR", None]):
        if reason:
            refused(answer, "unreadable_video", reason)
        else:
            assert answer == endpoint(content) and answer["score"] is not None
    refused(
        endpoint({"inputs": content, "parameters": {"segments": 0.001}}), "unreadable_video", "shorter than one frame"
    )


def test_a_list_of_other_files_leads_nowhere(endpoint, handler, clip, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.3)
        port = listening.getsockname()[1]
        lists = [f"#EXTM3U\n#EXTINF:2,\n{place}\n#EXT-X-ENDLIST\n" for place in (clip, f"http://127.0.0.1:{port}/a.ts")]
        lists += [f"ffconcat version 1.0\nfile {place}\n" for place in (clip, f"tcp://127.0.0.1:{port}", "1")]
        lists += [f"v=0\nc=IN IP4 127.0.0.1\nm=video {port} TCP/RTP/AVP 96\na=rtpmap:96 H264/90000\n"]
        answers = endpoint({"inputs": [clip.read_bytes(), *(text.encode() for text in lists)]})
        for answer in answers[1:]:
            refused(answer, "unreadable_video", "")
        with pytest.raises(TimeoutError):
            listening.accept()


def test_size_duration_frames_and_number_are_limited(endpoint, handler, clip, url, monkeypatch):
    content = clip.read_bytes()
    handler.MAX_BYTES = len(content)
    encoded = base64.b64encode(content).decode()
    for fits in (content, encoded, f"{url}/file", f"{url}/chunked"):
        assert endpoint({"inputs": fits})["error"] is None
    handler.MAX_BYTES -= 3
    for inputs in (content, encoded, f"{url}/file", f"{url}/chunked", f"{url}/large"):
        refused(endpoint({"inputs": inputs}), "too_large", "MiB")
    handler.MAX_BYTES = 2**28
    handler.MAX_DURATION = 2.0
    refused(endpoint(content), "too_large", "longer than 2 s")
    handler.MAX_DURATION, handler.MAX_PIXELS = 60.0, 192 * 128 - 1
    refused(endpoint(content), "too_large", "pixels")
    monkeypatch.setattr(handler, "check_header", lambda path: None)  # headers may lie: what the reader finds counts
    refused(endpoint(content), "too_large", "pixels")
    handler.MAX_PIXELS, handler.MAX_VIDEOS = 10**9, 2
    refused(endpoint({"inputs": [content] * 3}), "too_large", "at most 2")


def test_too_large_base64_is_not_even_decoded(handler, tmp_path, monkeypatch):
    handler.MAX_BYTES = 1000
    monkeypatch.setattr(handler.base64, "b64decode", lambda *a, **k: pytest.fail("decoded"))
    with pytest.raises(handler.RequestError):
        handler.fetch("A" * 2000, tmp_path / "video", time.monotonic() + 5)


def test_servers_that_fail_or_dawdle_are_given_up(endpoint, handler, url, monkeypatch):
    refused(endpoint({"inputs": f"{url}/gone"}), "download", "404")
    refused(endpoint({"inputs": f"{url}/cut"}), "download", "connection was cut")
    refused(endpoint({"inputs": "http://127.0.0.1:9/a.mp4"}), "download", "refused")
    refused(endpoint({"inputs": "http://host.invalid/a.mp4"}), "download", "cannot be read")
    refused(endpoint({"inputs": "http://[::1/a.mp4"}), "download", "cannot be read")
    monkeypatch.setattr(handler, "SILENCE", 0.2)
    refused(endpoint({"inputs": f"{url}/silent"}), "download", "timed out")
    handler.MAX_DOWNLOAD_SECONDS = 0.5
    start = time.monotonic()
    refused(endpoint({"inputs": f"{url}/drip"}), "timeout", "download")
    assert time.monotonic() - start < 2


def test_redirects_are_followed_but_not_for_ever_nor_anywhere(endpoint, handler, url):
    assert endpoint({"inputs": f"{url}/redirect//file"})["error"] is None
    assert endpoint({"inputs": f"{url}/redirect/{url}/file"})["error"] is None
    refused(endpoint({"inputs": f"{url}/loop"}), "download", "redirects")
    refused(endpoint({"inputs": f"{url}/redirect/file:///etc/hostname"}), "bad_request", "only http and https")


def test_only_public_addresses_are_asked(endpoint, handler, url, monkeypatch):
    monkeypatch.setattr(handler, "ALLOW_PRIVATE", False)
    port = url.rpartition(":")[2]
    hosts = [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "2130706433",
    ]
    hosts += ["[::1]", "[::ffff:127.0.0.1]", "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"]
    monkeypatch.setattr(handler.socket, "create_connection", lambda *a, **k: pytest.fail(f"connected to {a}"))
    for host in hosts:
        answer = endpoint({"inputs": f"http://{host}:{port}/file"})
        refused(answer, "bad_request", "not public")
    assert handler.is_public("93.184.216.34") and handler.is_public("2606:2800:220:1:248:1893:25c8:1946")


def test_a_name_that_changes_its_address_gains_nothing(handler, url, tmp_path, monkeypatch):
    """The first look-up is checked; were there a second, it would give the private address."""
    looked_up, connected = [], []

    def look_up(host, port, **options):
        looked_up.append(host)
        address = "93.184.216.34" if len(looked_up) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(address, timeout):
        connected.append(address)
        raise OSError("no network here")

    monkeypatch.setattr(handler, "ALLOW_PRIVATE", False)
    monkeypatch.setattr(handler.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(handler.socket, "create_connection", connect)
    with pytest.raises(handler.RequestError, match="no network here"):
        handler.download("http://example.org/file", tmp_path / "video", time.monotonic() + 5)
    assert connected == [("93.184.216.34", 80)]


def test_a_private_address_behind_a_redirect_is_refused(handler, url, tmp_path, monkeypatch):
    monkeypatch.setattr(handler, "ALLOW_PRIVATE", False)
    monkeypatch.setattr(handler, "is_public", lambda address: address == "127.0.0.1")  # as if that were public
    with pytest.raises(handler.RequestError, match="not public"):
        handler.download(f"{url}/redirect/http://127.0.0.2/file", tmp_path / "video", time.monotonic() + 5)


def test_the_answer_comes_in_time_whatever_takes_long(endpoint, handler, clip, monkeypatch):
    content = clip.read_bytes()
    handler.MAX_SECONDS = 0.0
    refused(endpoint(content), "timeout", "took more than 0 s")
    handler.MAX_SECONDS = 0.4
    slow = endpoint.pipeline.open
    monkeypatch.setattr(endpoint.pipeline, "open", lambda *a, **k: time.sleep(1.5) or slow(*a, **k))
    monkeypatch.setattr(handler, "GRACE", 0.1)
    start = time.monotonic()
    for answer in endpoint({"inputs": [content, content]}):
        refused(answer, "timeout", "took more than")
    assert time.monotonic() - start < 1.2


def test_work_stops_between_clips_once_the_time_is_over(endpoint, handler, clip, monkeypatch):
    clips = []

    def forward(module, arguments, named):
        clips.append(named["pixel_values_videos"])
        time.sleep(0.3)

    hook = endpoint.pipeline.model.register_forward_pre_hook(forward, with_kwargs=True)
    handler.MAX_SECONDS = 0.5
    answers = endpoint({"inputs": [clip.read_bytes()] * 4, "parameters": {"segments": 0.2}})
    hook.remove()
    for answer in answers:
        refused(answer, "timeout", "took more than")
    assert 0 < len(clips) < 5


def test_requests_at_once_do_not_share_their_limits(endpoint, handler, clip):
    content, answers = clip.read_bytes(), []
    threads = [threading.Thread(target=lambda: answers.append(endpoint(content))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [endpoint(content)] * 3


def test_whatever_goes_wrong_inside_is_an_answer(endpoint, handler, clip, monkeypatch):
    monkeypatch.setattr(endpoint, "_result", lambda result: 1 / 0)
    refused(endpoint(clip.read_bytes()), "internal", "ZeroDivisionError")


def test_the_limits_are_environment_variables():
    program = "import sys, runpy; found = runpy.run_path(sys.argv[1]); print(found['MAX_BYTES'], found['MAX_SECONDS'])"
    done = subprocess.run(
        [sys.executable, "-c", program, cvqa.hub.handler.__file__],
        env={**os.environ, "CVQA_MAX_BYTES": "77", "CVQA_MAX_SECONDS": "1.5"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["77", "1.5"], done.stderr
