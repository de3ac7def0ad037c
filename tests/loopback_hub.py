"""A small Hub on this machine, over real HTTP: it takes pushes in commits, and serves what was pushed.

It can be told to fail: `hub.fail("commit", 503, times=2)`; status 0 cuts the connection.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


LFS_SUFFIXES = (".safetensors", ".parquet", ".onnx", ".mp4", ".png")
_API = re.compile(r"/api/(models|datasets|spaces)/([^/]+/[^/]+)(?:/(.*))?$")
_FILE = re.compile(r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")


class LoopbackHub:
    """Use as a context manager; `url` is its HF_ENDPOINT, `repos` the files that it holds, `calls` what was asked."""

    def __enter__(self) -> "LoopbackHub":
        self.repos: dict[str, dict[str, bytes]] = {}  # "models/org/name" -> path -> content
        self.commits: dict[str, list[str]] = {}
        self.calls: list[str] = []
        self._objects: dict[str, bytes] = {}
        self._failures: dict[str, list[tuple[int, dict]]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, call: str, status: int, times: int = 1, **headers: str) -> None:
        """The next calls of a kind (create, preupload, lfs, put, commit, resolve) fail."""
        self._failures.setdefault(call, []).extend([(status, headers)] * times)

    def environment(self, home) -> dict[str, str]:
        """What a process needs to use this Hub; set before huggingface_hub is imported."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": "hf_loopback",
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
        }


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve(self._get)

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._post)

    def do_PUT(self) -> None:
        self._serve(self._put)

    def _serve(self, answer) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer(unquote(urlsplit(self.path).path))

    def _fails(self, call: str) -> bool:
        self.hub.calls.append(call)
        waiting = self.hub._failures.get(call)
        if not waiting:
            return False
        status, headers = waiting.pop(0)
        if status:
            self._json({"error": f"told to fail with {status}"}, status, headers)
        else:
            self.close_connection = True
            self.connection.shutdown(2)
        return True

    def _json(self, value, status: int = 200, headers: dict | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int = 200, headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _missing(self, code: str) -> None:
        self._json({"error": "not found"}, 404, {"X-Error-Code": code})

    def _put(self, path: str) -> None:
        if not self._fails("put"):
            self.hub._objects[path.rpartition("/")[2]] = self._body
            self._send(b"")

    def _post(self, path: str) -> None:
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        request = None if "/commit/" in path else json.loads(self._body or b"{}")
        if path == "/api/repos/create":
            return None if self._fails("create") else self._create(request)
        if path.endswith(".git/info/lfs/objects/batch"):
            return None if self._fails("lfs") else self._lfs(request)
        kind, name, rest = _API.match(path).groups()
        if rest.startswith("preupload/"):
            if self._fails("preupload"):
                return None
            modes = {f["path"]: "lfs" if f["path"].endswith(LFS_SUFFIXES) else "regular" for f in request["files"]}
            files = [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes.items()]
            return self._json({"files": files})
        return None if self._fails("commit") else self._commit(f"{kind}/{name}")

    def _create(self, request: dict) -> None:
        name = f"{request.get('organization') or 'me'}/{request['name']}"
        kind = request.get("type") or "model"
        if f"{kind}s/{name}" in self.hub.repos:
            return self._json({"error": "exists", "url": f"{self.hub.url}/{name}"}, 409)
        self.hub.repos[f"{kind}s/{name}"], self.hub.commits[f"{kind}s/{name}"] = {}, []
        prefix = "" if kind == "model" else f"{kind}s/"
        return self._json({"url": f"{self.hub.url}/{prefix}{name}", "name": name, "id": name})

    def _lfs(self, request: dict) -> None:
        actions = {
            file["oid"]: {"upload": {"href": f"{self.hub.url}/lfs/{file['oid']}"}} for file in request["objects"]
        }
        objects = [{**file, "actions": actions[file["oid"]]} for file in request["objects"]]
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, repo: str) -> None:
        files = dict(self.hub.repos[repo])
        for line in self._body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub._objects[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        oid = hashlib.sha1(self._body).hexdigest()
        self.hub.repos[repo] = files
        self.hub.commits[repo].append(oid)
        self._json({"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid, "success": True})

    def _get(self, path: str) -> None:
        file, api = _FILE.match(path), _API.match(path)
        if path == "/api/whoami-v2":
            return self._json({"name": "me", "type": "user", "orgs": []})
        if file:
            return None if self._fails("resolve") else self._resolve(*file.groups())
        if not api or f"{api[1]}/{api[2]}" not in self.hub.repos:
            return self._missing("RepoNotFound")
        kind, name, rest = api.groups()
        files, commits = self.hub.repos[f"{kind}/{name}"], self.hub.commits[f"{kind}/{name}"]
        if (rest or "").startswith("tree/"):
            within = "".join(f"{folder}/" for folder in rest.split("/", 2)[2:])
            listed = [self._entry(path, files[path]) for path in files if path.startswith(within)]
            if "recursive=false" in self.path:
                below = {entry["path"].removeprefix(within).partition("/")[0] for entry in listed}
                listed = [entry for entry in listed if entry["path"].removeprefix(within) in below]
                folders = below - {entry["path"].removeprefix(within) for entry in listed}
                listed += [{"type": "directory", "path": within + name, "oid": "0" * 40, "size": 0} for name in folders]
            return self._json(listed)
        facts = {"id": name, "sha": (commits or ["0" * 40])[-1], "tags": [], "private": False}
        return self._json({**facts, "siblings": [{"rfilename": path} for path in files]})

    @staticmethod
    def _entry(path: str, content: bytes) -> dict:
        entry = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        if path.endswith(LFS_SUFFIXES):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry

    def _resolve(self, kind: str | None, name: str, revision: str, path: str) -> None:
        repo = f"{kind or 'models'}/{name}"
        if repo not in self.hub.repos:
            return self._missing("RepoNotFound")
        if path not in self.hub.repos[repo]:
            return self._missing("EntryNotFound")
        content, commits = self.hub.repos[repo][path], self.hub.commits[repo]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commits[-1]}
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return self._send(content[first : last + 1], 206, headers)
        return self._send(content, 200, headers)
