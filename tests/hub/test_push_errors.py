"""What the Hub may answer: told in one line, tried again where that helps, and never half a folder published."""

import logging
from pathlib import Path

import huggingface_hub
import pytest
from loopback_hub import LoopbackHub

from cvqa.hub import push
from cvqa.hub.push import HubError, make_repository, push_folder


REPO = "org/cvqa-student"
CALLS = ("create", "preupload", "lfs", "put", "commit")


@pytest.fixture(scope="module")
def server():
    with LoopbackHub() as server:
        yield server


@pytest.fixture
def hub(server, monkeypatch):
    """A Hub with nothing in it, that this process uses."""
    for store in (server.repos, server.commits, server.calls, server._failures, server._objects):
        store.clear()
    for name, value in {"ENDPOINT": server.url, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.setenv("HF_TOKEN", "hf_loopback")
    return server


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Seconds that were waited for; none are."""
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "model"
    (folder / "test").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)))
    (folder / "test" / "results.json").write_text("{}")
    return folder


def files(hub: LoopbackHub) -> set[str]:
    return set(hub.repos.get(f"models/{REPO}", ()))


EVERYTHING = {"config.json", "model.safetensors", "test/results.json"}


def test_a_folder_is_one_commit(hub, folder):
    assert push_folder(folder, REPO) == f"{hub.url}/{REPO}"
    assert files(hub) == EVERYTHING
    assert len(hub.commits[f"models/{REPO}"]) == 1


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [401, 403, 404, 409])
def test_a_refusal_is_told_at_once_and_leaves_nothing(hub, folder, waits, call, status):
    hub.fail(call, status)
    with pytest.raises(HubError) as told:
        push_folder(folder, REPO)
    text = str(told.value)
    assert text.startswith(f"{REPO}: nothing was published: {status}: ")
    assert push.REASONS[status] in text and "\n" not in text
    assert not files(hub) and not waits and hub.calls.count(call) == 1
    push_folder(folder, REPO)
    assert files(hub) == EVERYTHING


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [429, 500, 503, 0])
def test_what_may_pass_is_tried_again(hub, folder, waits, call, status):
    hub.fail(call, status, times=2)
    push_folder(folder, REPO)
    assert files(hub) == EVERYTHING
    assert len(hub.commits[f"models/{REPO}"]) == 1
    assert waits == [1, 2]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("status", "told"), [(429, "too many"), (502, "the Hub has a problem"), (0, "the connection")])
def test_what_does_not_pass_is_given_up_in_half_a_minute_and_leaves_nothing(hub, folder, waits, call, status, told):
    hub.fail(call, status, times=100)
    with pytest.raises(HubError) as error:
        push_folder(folder, REPO)
    text = str(error.value)
    assert text.startswith(f"{REPO}: nothing was published") and told in text and "run the command again" in text
    assert "\n" not in text
    assert not files(hub)
    assert 5 < sum(waits) < 40


@pytest.mark.parametrize("call", ["create", "commit"])
def test_the_hub_says_how_long_to_wait(hub, folder, waits, call, caplog):
    hub.fail(call, 429, **{"Retry-After": "7"})
    with caplog.at_level(logging.WARNING, "cvqa"):
        push_folder(folder, REPO)
    assert waits == [7]
    assert "429: too many requests" in caplog.text and "7 s" in caplog.text


def test_a_wait_that_is_too_long_is_told_instead(hub, folder, waits):
    hub.fail("commit", 429, **{"Retry-After": "3600"})
    with pytest.raises(HubError, match="run the command again in 3600 seconds"):
        push_folder(folder, REPO)
    assert not waits and not files(hub)


def test_what_the_hub_says_is_passed_on(hub, folder):
    hub.fail("commit", 403)
    with pytest.raises(HubError, match=r"the Hub says: told to fail with 403"):
        push_folder(folder, REPO)


def test_a_failed_update_leaves_the_earlier_one(hub, folder, waits):
    push_folder(folder, REPO)
    before = dict(hub.repos[f"models/{REPO}"])
    (folder / "model.safetensors").write_bytes(b"new")
    (folder / "config.json").write_text('{"new": 1}')
    for call in CALLS[1:]:
        hub.fail(call, 403)
        with pytest.raises(HubError):
            push_folder(folder, REPO)
        assert hub.repos[f"models/{REPO}"] == before
    push_folder(folder, REPO)
    assert hub.repos[f"models/{REPO}"]["model.safetensors"] == b"new"


def test_a_token_for_one_repository_may_write_to_it(hub, folder):
    make_repository(REPO)
    hub.fail("create", 403)
    push_folder(folder, REPO)
    assert files(hub) == EVERYTHING


def test_stale_weights_go_in_the_same_commit_and_other_files_stay(hub, folder):
    push_folder(folder, REPO)
    hub.repos[f"models/{REPO}"] |= {"notes.md": b"mine", "deep/a.safetensors": b"mine", "old/x/y.py": b"ours"}
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    push_folder(folder, REPO, replaces=("*.safetensors", "config.json", "old/"))
    new = {"model-00001-of-00001.safetensors", "config.json", "test/results.json"}
    assert files(hub) == new | {"notes.md", "deep/a.safetensors"}
    assert len(hub.commits[f"models/{REPO}"]) == 2


@pytest.mark.parametrize("repo_id", ["a/b/c", "org/with space", "org/a--b", "", "org/.git"])
def test_a_wrong_name_is_told_before_anything_is_sent(hub, folder, repo_id):
    with pytest.raises(HubError, match="is not the name of a repository"):
        push_folder(folder, repo_id)
    assert hub.calls == []


def test_not_logged_in_is_told_before_anything_is_sent(hub, folder, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(push, "get_token", lambda: None)
    with pytest.raises(HubError, match="run `hf auth login`"):
        push_folder(folder, REPO)
    assert hub.calls == []


def test_a_name_without_owner_is_the_users_own(hub, folder):
    for _ in range(2):
        assert push_folder(folder, "cvqa-student") == f"{hub.url}/me/cvqa-student"


def test_offline_mode_is_told(folder, waits, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_TOKEN", "hf_loopback")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set; unset it"):
        push_folder(folder, REPO)
    assert not waits


def test_nobody_there(folder, waits, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_loopback")
    with pytest.raises(HubError, match="the connection failed"):
        push_folder(folder, REPO)
    assert len(waits) == push.ATTEMPTS - 1
