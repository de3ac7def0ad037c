"""Publishing a folder on the Hub: all of it in one commit, or nothing."""

import logging
import time
from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id


logger = logging.getLogger(__name__)

ATTEMPTS = 4
WAIT_SECONDS = 1.0  # before the second attempt, twice as long before each further one
LONGEST_WAIT = 60.0

WAYS_OUT = {
    401: "the token is not valid; log in with `hf auth login`, or set HF_TOKEN",
    403: "this token may not write there; make one with write permission, or choose a repository of your own",
    404: "there is no such place; check the organisation's name, the revision and that the token may see it",
    409: "somebody else has changed it at the same moment; run the command again",
    413: "a file is too large for the Hub",
    429: "too many requests; wait a few minutes and run the command again",
}


class HubError(RuntimeError):
    """Publishing failed, and nothing of it is on the Hub. The text is one line: repository, reason, way out."""


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
        replaces: patterns of files of earlier uploads that go, where this one does not bring them anew.
        repository: further arguments of `HfApi.create_repo`, such as `space_sdk`.

    Returns the URL of the repository.

    Raises:
        HubError: nothing was published.
        FileNotFoundError: no such folder.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: no such folder to publish")
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise HubError(
            f"{repo_id}: is not the name of a repository, such as my-organisation/my-model: {error}"
        ) from None
    if not (token or get_token()):
        raise HubError(f"{repo_id}: not logged in; run `hf auth login`, or set HF_TOKEN to a token that may write")
    api = HfApi(token=token)

    def upload() -> str:
        url = api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True, **repository)
        if revision:
            api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        api.upload_folder(
            repo_id=url.repo_id,
            repo_type=repo_type,
            folder_path=folder,
            revision=revision,
            commit_message=commit_message,
            delete_patterns=list(replaces) or None,
        )
        return str(url)

    return _persistently(repo_id, upload)


def _persistently(repo_id: str, upload) -> str:
    for attempt in range(ATTEMPTS):
        try:
            return upload()
        except (HTTPError, OSError, RuntimeError) as error:
            answer = _answer(error)
            if answer is None:
                passes, wait = True, ""
                reason = f"the connection failed ({_one_line(error)}); run the command again"
            else:
                status = answer.response.status_code
                passes, wait = status == 429 or status >= 500, answer.response.headers.get("Retry-After", "")
                reason = _why(status, answer)
        except ValueError as error:  # the Hub does not take the card
            passes, reason, wait = False, _one_line(error), ""
        if not passes or attempt == ATTEMPTS - 1:
            raise HubError(f"{repo_id}: nothing was published: {reason}") from None
        seconds = min(float(wait) if wait.isdigit() else WAIT_SECONDS * 2**attempt, LONGEST_WAIT)
        logger.warning("%s: %s; trying again in %.0f s", repo_id, reason, seconds)
        time.sleep(seconds)
    raise AssertionError("unreachable")


def _answer(error: BaseException | None) -> HfHubHTTPError | None:
    """The refusal of the Hub behind an error, None where there was no answer: uploads wrap it."""
    while error is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    return error


def _why(status: int, error: HfHubHTTPError) -> str:
    told = _one_line(error.server_message or "")
    default = "the Hub has a problem; run the command again later" if status >= 500 else _one_line(error)
    return f"{status}: {WAYS_OUT.get(status, default)}" + (f" (the Hub says: {told})" if told else "")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
