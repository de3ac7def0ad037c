"""Publishing a folder on the Hub: all of it in one commit, or nothing."""

import fnmatch
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id


logger = logging.getLogger(__name__)

ATTEMPTS = 4
WAIT_SECONDS = 1.0  # before the second attempt, twice as long before each further one
LONGEST_WAIT = 60.0  # that the Hub may ask for

REASONS = {
    401: "the token is not valid here; log in with `hf auth login`, or set HF_TOKEN",
    402: "the account's plan does not include this; see its billing page",
    403: "the token may not write there; make one with write permission, or choose a repository of your own",
    404: "there is no such place, or the token may not see it; check the names",
    409: "the name is taken, or somebody else is changing the repository; choose another, or run the command again",
    412: "somebody else has changed the repository meanwhile; run the command again",
    413: "a file is larger than the Hub takes",
}


class HubError(RuntimeError):
    """Publishing failed. The text is one line: repository, reason, way out."""


def push_folder(
    folder: str | Path,
    repo_id: str,
    repo_type: str = "model",
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Upload with cvqa",
    replaces: tuple[str, ...] = (),
    **repository,
) -> str:
    """Uploads a folder as one commit; the repository is made if need be.

    What may pass by itself (429, 5xx, a cut connection) is tried up to `ATTEMPTS` times.

    Args:
        folder: all of it is uploaded.
        repo_id: "organisation/name".
        repo_type: "model", "dataset" or "space".
        private: of a new repository; None takes the account's default.
        token: by default the one of `hf auth login` or HF_TOKEN.
        revision: a branch; it is made if need be.
        replaces: patterns of files of earlier uploads that go in the same commit, unless the folder brings them.
        repository: further arguments of `HfApi.create_repo`, such as `space_sdk`.

    Returns the URL of the repository.

    Raises:
        HubError: no commit was made.
        FileNotFoundError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder to publish")
    api = _api(repo_id, token)

    def upload() -> str:
        full_id, is_new = _create(api, repo_id, repo_type, private, repository)
        if revision:
            api.create_branch(full_id, branch=revision, repo_type=repo_type, exist_ok=True)
        there = () if is_new else api.repo_info(full_id, repo_type=repo_type, revision=revision).siblings or ()
        brought = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        stale = {file.rfilename for file in there if _matches(file.rfilename, replaces)} - set(brought)
        # Not `upload_folder`, which may make several commits of a folder.
        api.create_commit(
            full_id,
            [
                *(CommitOperationDelete(name) for name in sorted(stale)),
                *(CommitOperationAdd(name, path) for name, path in brought.items()),
            ],
            commit_message=commit_message,
            repo_type=repo_type,
            revision=revision,
        )
        return f"{api.endpoint}/{'' if repo_type == 'model' else repo_type + 's/'}{full_id}"

    return _persistently(repo_id, upload)


def make_repository(repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
    """Makes sure that there is a model repository; returns its full name. Raises as `push_folder`."""
    api = _api(repo_id, token)
    return _persistently(repo_id, lambda: _create(api, repo_id, "model", private, {})[0])


def _api(repo_id: str, token: str | None) -> HfApi:
    """What is wrong on this side is told before anything is sent."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise HubError(
            f"{repo_id}: nothing was published: this is not the name of a repository, such as my-organisation/my-model"
        ) from None
    if not (token or get_token()):
        raise HubError(
            f"{repo_id}: nothing was published: not logged in; run `hf auth login`, or set HF_TOKEN to a token with "
            "write permission"
        )
    return HfApi(token=token)


def _create(api: HfApi, repo_id: str, repo_type: str, private: bool | None, repository: dict) -> tuple[str, bool]:
    """The full name of the repository, and whether it is new."""
    try:
        return api.create_repo(repo_id, repo_type=repo_type, private=private, **repository).repo_id, True
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 402, 403, 409):
            raise
        # It is there already; or it is, and the token may write to it but not make others.
        try:
            name = repo_id if "/" in repo_id else f"{api.whoami()['name']}/{repo_id}"
            return api.repo_info(name, repo_type=repo_type).id, False
        except HfHubHTTPError as missing:
            if missing.response.status_code not in (401, 403, 404):
                raise
            raise error from None


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    """A `*` stops at a slash; a pattern that ends with a slash stands for all in that folder."""
    return any(
        name.startswith(p) if p.endswith("/") else name.count("/") == p.count("/") and fnmatch.fnmatchcase(name, p)
        for p in patterns
    )


def _persistently(repo_id: str, upload: Callable[[], str]) -> str:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return upload()
        except (HTTPError, OSError, RuntimeError, ValueError, LookupError) as error:
            failure = _failure(error)
        nothing = f"{repo_id}: nothing was published"
        if not failure.may_pass:
            raise HubError(f"{nothing}: {failure.reason}{failure.told}") from None
        wait = failure.wait or WAIT_SECONDS * 2 ** (attempt - 1)
        if failure.was_retried or attempt == ATTEMPTS or wait > LONGEST_WAIT:
            unless = ", unless only the answer was lost" if failure.may_be_done else ""
            when = f"in {wait:.0f} seconds" if failure.wait else "later"
            raise HubError(f"{nothing}{unless}: {failure.reason}; run the command again {when}{failure.told}") from None
        logger.warning("%s: %s%s; trying again in %.0f s", repo_id, failure.reason, failure.told, wait)
        time.sleep(wait)
    raise AssertionError("unreachable")


@dataclass
class _Failure:
    reason: str
    told: str = ""  # by the Hub
    may_pass: bool = False
    wait: float = 0.0  # seconds that the Hub asks for
    was_retried: bool = False  # by `huggingface_hub`, for half a minute
    may_be_done: bool = False  # nobody knows whether the commit was made


def _failure(error: BaseException) -> _Failure:
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__  # of the upload of a file
    if isinstance(error, HfHubHTTPError):
        status, headers = error.response.status_code, error.response.headers
        told = f" (the Hub says: {_one_line(error.server_message)})" if error.server_message else ""
        if status == 429:
            return _Failure("429: too many requests", told, True, _asked_to_wait(headers), _was_retried(error))
        if status == 408 or status >= 500:
            reason, wait = f"{status}: the Hub has a problem", _asked_to_wait(headers)
            return _Failure(reason, told, True, wait, _was_retried(error), "/commit/" in _request(error))
        return _Failure(f"{status}: {REASONS.get(status, 'the Hub refuses it')}", told)
    if isinstance(error, OfflineModeIsEnabled):
        return _Failure("HF_HUB_OFFLINE is set; unset it to publish")
    if isinstance(error, (HTTPError, ConnectionError, TimeoutError, RuntimeError)):
        reason = f"the connection failed ({_one_line(error)})"
        return _Failure(reason, "", True, 0.0, _was_retried(error), "/commit/" in _request(error))
    if isinstance(error, (json.JSONDecodeError, LookupError)):
        return _Failure(f"the Hub gave an answer that makes no sense ({_one_line(error)})", may_pass=True)
    return _Failure(_one_line(error))


def _request(error: BaseException) -> str:
    """Method and address, empty if the connection failed before there was a request."""
    try:
        request = getattr(error, "response", error).request
    except (AttributeError, RuntimeError):
        return ""
    return f"{request.method} {request.url}"


def _was_retried(error: BaseException) -> bool:
    request = _request(error)
    return request.startswith("PUT ") or "/preupload/" in request or "/info/lfs/" in request


def _asked_to_wait(headers: Mapping[str, str]) -> float:
    """Seconds, from `Retry-After: 5` or `RateLimit: "api";r=0;t=5`; 0 if not told."""
    limit = re.search(r"\br=0;t=(\d+)", headers.get("RateLimit", ""))
    told = headers.get("Retry-After", "") or (limit[1] if limit else "")
    return float(told) if told.isdigit() else 0.0


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
