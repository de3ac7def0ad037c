"""Inference Endpoints: a video in, its quality from 0 to 100 out. Stands alone in the folder of a model.

Request: `{"inputs": VIDEO, "parameters": {"segments": 1.0, "max_views": 10}}`, where VIDEO is an http(s) URL, the file
in base64 (also as a data: URL) or its bytes, or a list of these; or the bytes alone.

Answer: `{"score", "label", "interval", "segments", "warnings", "video", "model", "error"}`, for a list a list of these.
What goes wrong is told in `error`, `{"type", "reason"}`, with the score null; in a list, the others are still scored.

Limits are environment variables, see below. URLs must lead to public addresses, unless CVQA_ALLOW_PRIVATE is 1.
"""

import base64
import binascii
import http.client
import ipaddress
import os
import socket
import ssl
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import av
import torch
import transformers


MAX_VIDEOS = int(os.environ.get("CVQA_MAX_VIDEOS", 16))  # in one request
MAX_BYTES = int(os.environ.get("CVQA_MAX_BYTES", 256 * 2**20))  # of a video
MAX_DURATION = float(os.environ.get("CVQA_MAX_DURATION", 3600))  # seconds of a video
MAX_PIXELS = int(os.environ.get("CVQA_MAX_PIXELS", 8192 * 4320))  # of a frame
MAX_SECONDS = float(os.environ.get("CVQA_MAX_SECONDS", 240))  # of work on a request
MAX_DOWNLOAD_SECONDS = float(os.environ.get("CVQA_MAX_DOWNLOAD_SECONDS", 60))  # for a URL
MAX_REDIRECTS = int(os.environ.get("CVQA_MAX_REDIRECTS", 5))
ALLOW_PRIVATE = os.environ.get("CVQA_ALLOW_PRIVATE") == "1"

SILENCE = 10.0  # seconds that a server may take to say anything
GRACE = 5.0  # seconds beyond MAX_SECONDS for what cannot be interrupted
CHUNK = 2**18
PARAMETERS = ("segments", "max_views")
EMPTY = {"score": None, "label": "quality", "interval": None, "segments": [], "warnings": [], "video": None}
MEANING = {
    "vmaf": "what VMAF would say if it had the source, as far as the video alone shows it; not a mean opinion score",
    "mos": "the mean opinion of viewers, as far as the video alone shows it",
    "dmos": "the mean opinion of viewers against the source, as far as the video alone shows it",
}


class RequestError(Exception):
    """Why a request, or one video of it, is refused; in words for whoever sent it."""

    def __init__(self, kind: str, reason: str):
        super().__init__(reason)
        self.kind, self.reason = kind, reason


class EndpointHandler:
    """What an Inference Endpoint makes of the folder `path` of a model, and calls for each request."""

    def __init__(self, path: str = ""):
        folder = Path(path or Path(__file__).parent).resolve()
        self.pipeline = transformers.pipeline("video-quality-assessment", model=str(folder), trust_remote_code=True)
        self.batch_size = 1 if self.pipeline.device.type == "cpu" else 8
        config = self.pipeline.model.config
        self.model = {
            "name": os.environ.get("HF_MODEL_ID") or folder.name,
            "architecture": type(self.pipeline.model).__name__,
            "parameters": self.pipeline.model.num_parameters(),
            "label_kind": config.label_kind,
            "label_scale": [config.score_min, config.score_max],
            "scale": [0, 100],
            "higher_is_better": True,
            "meaning": MEANING.get(config.label_kind, config.label_kind),
            "versions": {package.__name__: package.__version__ for package in (transformers, torch, av)},
        }

    def __call__(self, data: dict | bytes) -> dict | list[dict]:
        """See the top of this file. Never raises: an error is an answer, too."""
        deadline = time.monotonic() + MAX_SECONDS
        try:
            videos, parameters = parse(data)
        except RequestError as error:
            return self._refusal(error)
        inputs = videos if isinstance(videos, list) else [videos]
        answers: list[dict] = []
        # Opening some broken files cannot be interrupted: then the answer comes in time, and the work is left to end.
        work = threading.Thread(target=self._work, args=(inputs, parameters, deadline, answers), daemon=True)
        work.start()
        work.join(MAX_SECONDS + GRACE)
        answers = list(answers) if not work.is_alive() else [self._refusal(late())] * len(inputs)
        return answers if isinstance(videos, list) else answers[0]

    def _work(self, inputs: list, parameters: dict, deadline: float, answers: list[dict]) -> None:
        try:
            answers.extend(self._answers(inputs, parameters, deadline))
        except Exception as error:  # running out of memory, and the like
            failure = RequestError("internal", f"the request could not be worked on ({type(error).__name__})")
            answers[:] = [self._refusal(failure)] * len(inputs)

    def _answers(self, inputs: list, parameters: dict, deadline: float) -> list[dict]:
        """The answer for each video; all that can be opened are scored together."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cvqa-")))
            answers, readers = {}, {}
            for number, video in enumerate(inputs):
                path = folder / str(number)
                try:
                    if time.monotonic() > deadline:
                        raise late()
                    fetch(video, path, deadline)
                    check_header(path)
                    readers[number] = Limited(stack.enter_context(self.pipeline.open(path)), deadline)
                except RequestError as error:
                    answers[number] = self._refusal(error)
                except Exception as error:  # whatever a broken file provokes
                    answers[number] = self._refusal(unreadable(getattr(error, "reason", error), path))
            results = self.pipeline(list(readers.values()), batch_size=self.batch_size, **parameters)
            for (number, reader), result in zip(readers.items(), results):
                if reader.refused or result["error"] is not None:
                    refusal = reader.refused or unreadable(result["error"], folder / str(number))
                    answers[number] = self._refusal(refusal)
                else:
                    answers[number] = self._result(result)
            return [answers[number] for number in range(len(inputs))]

    def _result(self, result: dict) -> dict:
        segments = [{name: round(value, 4) for name, value in segment.items()} for segment in result["segments"]]
        return {
            "score": round(result["score"], 4),
            "label": result["label"],
            "interval": [round(bound, 4) for bound in result["interval"]],
            "segments": segments,
            "warnings": result["warnings"],
            "video": {name: result[name] for name in ("duration", "fps", "width", "height", "codec")},
            "model": self.model,
            "error": None,
        }

    def _refusal(self, error: RequestError) -> dict:
        return {**EMPTY, "model": self.model, "error": {"type": error.kind, "reason": error.reason}}


class Limited:
    """A reader that gives no more frames after the deadline. `refused` tells why it stopped, if it did.

    Raises RequestError at once for a video that is longer or larger than allowed.
    """

    def __init__(self, reader, deadline: float):
        check_facts(reader.duration, reader.width * reader.height)
        self._reader, self._deadline, self.refused = reader, deadline, None

    def __getattr__(self, name: str):
        return getattr(self._reader, name)

    def __len__(self) -> int:
        return len(self._reader)

    def get_batch(self, indices):
        if time.monotonic() > self._deadline:
            self.refused = late()
            raise self.refused
        return self._reader.get_batch(indices)


def parse(data: dict | bytes) -> tuple[str | bytes | list, dict]:
    """Videos and parameters of a request. Raises RequestError."""
    if isinstance(data, (bytes, bytearray)):
        data = {"inputs": data}
    if not isinstance(data, dict) or data.get("inputs") in (None, "", b"", []):
        raise RequestError("bad_request", 'there are no "inputs": send a URL, a file in base64 or bytes, or a list')
    inputs, parameters = data["inputs"], data.get("parameters") or {}
    if isinstance(inputs, list) and len(inputs) > MAX_VIDEOS:
        raise RequestError("too_large", f"{len(inputs)} videos in one request; send at most {MAX_VIDEOS}")
    if not isinstance(parameters, dict) or set(parameters) - set(PARAMETERS):
        raise RequestError("bad_request", f'"parameters" is an object of {" and ".join(PARAMETERS)}')
    for name, value in parameters.items():
        kinds = (int, float) if name == "segments" else int
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value <= 1e6):
            whole = "" if name == "segments" else "whole "
            raise RequestError("bad_request", f"{name} is a {whole}number above 0, not {value!r:.40}")
    return inputs, parameters


def fetch(video: str | bytes, path: Path, deadline: float) -> None:
    """Writes the file that is meant to `path`. Raises RequestError."""
    if isinstance(video, str) and video.strip()[:8].lower().startswith(("http://", "https://")):
        return download(video.strip(), path, min(deadline, time.monotonic() + MAX_DOWNLOAD_SECONDS))
    if isinstance(video, str):
        encoded = video
        if video[:5].lower() == "data:":
            kind, _, encoded = video.partition(",")
            if not kind.lower().endswith(";base64"):
                raise RequestError("bad_request", "a data: URL must hold the file in base64")
        check_size(len(encoded) * 3 // 4 - 2)
        try:
            video = base64.b64decode("".join(encoded.split()), validate=True)
        except (binascii.Error, ValueError):
            raise RequestError("bad_request", "neither an http(s) URL nor a file in base64") from None
    if not isinstance(video, (bytes, bytearray)):
        raise RequestError("bad_request", f"a video is a URL, base64 or bytes, not {type(video).__name__}")
    check_size(len(video))
    path.write_bytes(video)


def download(url: str, path: Path, deadline: float) -> None:
    """Writes what a URL holds to `path`, at most MAX_BYTES and until the deadline. Raises RequestError."""
    for _ in range(MAX_REDIRECTS + 1):
        with ExitStack() as stack:
            try:
                answer = request(url, deadline, stack)
                if answer.status in (301, 302, 303, 307, 308) and answer.headers["Location"]:
                    url = urljoin(url, answer.headers["Location"])
                    continue
                if answer.status != 200:
                    raise RequestError("download", f"the server answered {answer.status} {answer.reason}".strip())
                size = int(answer.headers["Content-Length"] or 0)
                check_size(size)
                received = 0
                with path.open("wb") as file:
                    while chunk := answer.read1(CHUNK):
                        received += len(chunk)
                        check_size(received)
                        file.write(chunk)
            except (OSError, ValueError, http.client.HTTPException) as error:
                reason = f"the URL cannot be read ({getattr(error, 'strerror', None) or error})"
                raise RequestError("download", reason) if time.monotonic() < deadline else slow() from None
            if time.monotonic() >= deadline:  # whatever ended then was ended by the alarm
                raise slow()
            if received < size:
                raise RequestError("download", f"the connection was cut after {received} of {size} bytes")
            return
    raise RequestError("download", f"more than {MAX_REDIRECTS} redirects")


def request(url: str, deadline: float, stack: ExitStack) -> http.client.HTTPResponse:
    """The answer of a server to GET; its connection lives as long as `stack`, and no longer than until the deadline."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RequestError("bad_request", "only http and https URLs are read")
    host = parts.hostname.encode("idna").decode()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    # Connected by address: a name that is looked up a second time could then mean another host.
    opened = [stack.enter_context(socket.create_connection((public_address(host, port), port), SILENCE))]
    # A server that sends a byte now and then is never silent: only this ends it.
    alarm = threading.Timer(max(deadline - time.monotonic(), 0.0), hang_up, [opened])
    alarm.daemon = True
    alarm.start()
    stack.callback(alarm.cancel)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        opened.append(context.wrap_socket(opened[0], server_hostname=host, do_handshake_on_connect=False))
        stack.enter_context(opened[-1]).do_handshake()
    connection = http.client.HTTPConnection(host, port)
    connection.sock = opened[-1]
    safe = "/?%:@!$&'()*+,;=~"
    target = quote(parts.path or "/", safe=safe) + ("?" + quote(parts.query, safe=safe) if parts.query else "")
    name = (f"[{host}]" if ":" in host else host) + (f":{parts.port}" if parts.port else "")
    connection.request("GET", target, headers={"Host": name, "User-Agent": "cvqa-endpoint"})
    return stack.enter_context(connection.getresponse())


def hang_up(opened: list[socket.socket]) -> None:
    with suppress(OSError):  # closed already
        opened[-1].shutdown(socket.SHUT_RDWR)


def public_address(host: str, port: int) -> str:
    """The address of a host. Raises RequestError if any address of it is not on the public Internet."""
    found = [entry[4][0].partition("%")[0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not ALLOW_PRIVATE and not all(is_public(address) for address in found):
        raise RequestError("bad_request", "the URL leads to an address that is not public")
    return found[0]


def is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if ip.version == 6:
        if ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        elif ip.sixtofour or ip.teredo or ip in ipaddress.ip_network("64:ff9b::/96"):
            return False  # IPv4 addresses in disguise
    return ip.is_global and not ip.is_multicast


def check_header(path: Path) -> None:
    """Refuses what the file itself says to be too long or too large, before anything is decoded."""
    try:
        # Whatever the file refers to stays closed.
        nothing = {"protocol_whitelist": "none"}
        tags = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
        with path.open("rb") as file, av.open(file, container_options=nothing, **tags) as container:
            pixels = [stream.width * stream.height for stream in container.streams.video if stream.codec_context]
            duration = (container.duration or 0) / av.time_base
    except (av.FFmpegError, UnicodeError):
        return  # the reader says why
    check_facts(duration, max(pixels, default=0))


def check_facts(duration: float, pixels: int) -> None:
    if duration > MAX_DURATION:
        raise RequestError("too_large", f"the video is longer than {MAX_DURATION:g} s; send a part of it")
    if pixels > MAX_PIXELS:
        raise RequestError("too_large", f"the frames have more than {MAX_PIXELS / 1e6:.3g} million pixels")


def check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise RequestError("too_large", f"the video has more than {MAX_BYTES / 2**20:.3g} MiB; send a part of it")


def late() -> RequestError:
    return RequestError("timeout", f"it took more than {MAX_SECONDS:g} s; send a shorter video, or ask for less")


def slow() -> RequestError:
    return RequestError("timeout", "the download took too long; send a smaller file, or from a faster server")


def unreadable(reason: object, path: Path) -> RequestError:
    """With the reason in one line, without the name that the file has here."""
    return RequestError("unreadable_video", " ".join(str(reason).split()).replace(str(path), "the file"))
