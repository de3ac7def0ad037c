"""Inference Endpoints: a video in, its quality from 0 to 100 out. Stands alone in the folder of a model.

Request: `{"inputs": VIDEO, "parameters": {"segments": 1.0, "max_views": 10}}`, where VIDEO is an http(s) URL, the file
in base64 (also as a data: URL), its bytes, or a list of these; or the bytes alone as the body.

Answer: `{"score", "interval", "segments": [{"start", "end", "score"}], "label", "error", "model"}`, for a list a list.
What goes wrong is told in `error`, with the score null; one video that fails leaves the others alone.

Limits, by environment variables: CVQA_MAX_BYTES of a video, CVQA_MAX_SECONDS of work on a request, CVQA_MAX_VIDEOS in
one. URLs must lead to public addresses, unless CVQA_ALLOW_PRIVATE is 1.
"""

import base64
import binascii
import ipaddress
import os
import socket
import time
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import torch
import transformers


MAX_BYTES = int(os.environ.get("CVQA_MAX_BYTES", 256 * 2**20))
MAX_SECONDS = float(os.environ.get("CVQA_MAX_SECONDS", 120))
MAX_VIDEOS = int(os.environ.get("CVQA_MAX_VIDEOS", 16))
ALLOW_PRIVATE = os.environ.get("CVQA_ALLOW_PRIVATE") == "1"
ANSWER_SECONDS = 15  # that a server may be silent
CHUNK = 2**20
PARAMETERS = ("segments", "max_views")


class RequestError(ValueError):
    """What is wrong with a request, for whoever sent it."""


class EndpointHandler:
    """What an Inference Endpoint calls; `path` is the folder of the model."""

    def __init__(self, path: str = ""):
        folder = str(path or Path(__file__).parent)
        device = 0 if torch.cuda.is_available() else -1
        self.pipeline = transformers.pipeline(
            "video-quality-assessment", model=folder, device=device, trust_remote_code=True
        )
        self.pipeline.model.register_forward_pre_hook(self._check_time)
        config = self.pipeline.model.config
        self.facts = {
            "name": Path(folder).resolve().name,
            "parameters": self.pipeline.model.num_parameters(),
            "label_kind": config.label_kind,
            "scale": "0 to 100, higher is better",
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        }

    def __call__(self, data: dict | bytes) -> dict | list[dict]:
        """See the top of this file. Never raises: an error is an answer, too."""
        self.deadline = time.monotonic() + MAX_SECONDS
        try:
            inputs, parameters = parse(data)
        except RequestError as error:
            return self._answer(error=str(error))
        if not isinstance(inputs, list):
            return self._score(inputs, parameters)
        return [self._score(video, parameters) for video in inputs]

    def _score(self, video: str | bytes, parameters: dict) -> dict:
        try:
            result = self.pipeline(load(video, self.deadline), **parameters)
        except RequestError as error:
            return self._answer(error=str(error))
        except ValueError as error:  # a video that cannot be read, parameters that do not fit it
            return self._answer(error=str(getattr(error, "reason", error)))
        except Exception as error:  # whatever a broken file provokes must not take the endpoint down
            return self._answer(error=f"the video could not be scored ({type(error).__name__})")
        return self._answer(**{name: result[name] for name in ("score", "interval", "segments", "label")})

    def _answer(self, **known) -> dict:
        empty = {"score": None, "interval": None, "segments": [], "label": "quality", "error": None}
        return {**empty, **known, "model": self.facts}

    def _check_time(self, *_) -> None:
        if time.monotonic() > self.deadline:
            raise RequestError(f"took more than {MAX_SECONDS:g} s; send a shorter video, or ask for longer segments")


def parse(data: dict | bytes) -> tuple[str | bytes | list, dict]:
    """Videos and parameters of a request. Raises RequestError."""
    if isinstance(data, (bytes, bytearray)):
        return bytes(data), {}
    inputs = data.get("inputs") if isinstance(data, dict) else None
    if not inputs:
        raise RequestError('the request has no "inputs": send a URL, a file in base64, or bytes')
    if isinstance(inputs, list) and len(inputs) > MAX_VIDEOS:
        raise RequestError(f"{len(inputs)} videos in one request; send at most {MAX_VIDEOS}")
    parameters = data.get("parameters") or {}
    unknown = [name for name in parameters if name not in PARAMETERS] if isinstance(parameters, dict) else ["?"]
    if unknown:
        raise RequestError(f"unknown parameter(s) {', '.join(map(repr, unknown))}: there are {', '.join(PARAMETERS)}")
    for name, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
            raise RequestError(f"{name} must be a number above 0, not {value!r}")
    if "max_views" in parameters:
        parameters = {**parameters, "max_views": min(int(parameters["max_views"]), 100)}
    return inputs, parameters


def load(video: str | bytes, deadline: float) -> bytes:
    """The bytes of a video, wherever they are to come from. Raises RequestError."""
    if isinstance(video, (bytes, bytearray)):
        content = bytes(video)
    elif not isinstance(video, str):
        raise RequestError(f"a video is a URL, a file in base64 or bytes, not {type(video).__name__}")
    elif video.startswith(("http://", "https://")):
        content = download(video, deadline)
    else:
        encoded = video.partition(",")[2] if video.startswith("data:") else video
        _check_size(len(encoded) * 3 // 4)
        try:
            content = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise RequestError("neither an http(s) URL nor a file in base64") from None
    _check_size(len(content))
    if not content:
        raise RequestError("the video is empty")
    return content


def download(url: str, deadline: float) -> bytes:
    """What a URL holds, at most MAX_BYTES and until the deadline. Raises RequestError."""
    _check_public(url)
    content = bytearray()
    try:
        request = Request(url, headers={"User-Agent": "cvqa-endpoint"})
        with build_opener(_PublicRedirects).open(request, timeout=ANSWER_SECONDS) as answer:
            _check_size(int(answer.headers.get("Content-Length") or 0))
            while chunk := answer.read(CHUNK):
                content += chunk
                _check_size(len(content))
                if time.monotonic() > deadline:
                    raise RequestError(f"downloading took more than {MAX_SECONDS:g} s")
    except (URLError, OSError, ValueError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(f"the URL cannot be read ({getattr(error, 'reason', None) or error})") from None
    return bytes(content)


class _PublicRedirects(HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(self, request, response, code, message, headers, url):
        _check_public(url)
        return super().redirect_request(request, response, code, message, headers, url)


def _check_public(url: str) -> None:
    """Refuses what lies within the network of the endpoint."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RequestError("only http and https URLs are read")
    if ALLOW_PRIVATE:
        return
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(parts.hostname, parts.port or 443)}
    except OSError as error:
        raise RequestError(f"the URL cannot be read ({error})") from None
    if not all(ipaddress.ip_address(address.partition("%")[0]).is_global for address in found):
        raise RequestError("the URL leads to an address that is not public")


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise RequestError(f"the video has more than {MAX_BYTES / 2**20:g} MiB; send a shorter one")
