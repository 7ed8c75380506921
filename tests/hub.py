"""A small Hub on 127.0.0.1: the part of its HTTP interface that fetching and pushing a model use."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

TOKEN = "hf_test"  # the only one that may write, and read what is gated
RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
COMMIT = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>[^/?]+)")
PREUPLOAD = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>[^/?]+)")
BATCH = re.compile(r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch")


@dataclass
class Repo:
    """Commits by their hash, newest last; branches and tags by name."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add files on top of a branch."""
        whole = {**self.commits.get(self.names.get(branch, ""), {}), **files}
        oid = hashlib.sha1(repr(sorted(whole.items())).encode() + branch.encode()).hexdigest()
        self.commits[oid] = whole
        self.names[branch] = oid
        return oid


@dataclass
class FakeHub:
    """Its state, and what it was asked: method and path of every request."""

    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""
    spoil: bool = False  # send large files with a wrong byte

    def add(self, name: str, folder: Path, gated: bool = False) -> str:
        """Put a folder's files into a repository; the commit."""
        repo = self.repos.setdefault(name, Repo(gated=gated))
        return repo.commit({path.name: path.read_bytes() for path in folder.iterdir()})


class Handler(BaseHTTPRequestHandler):
    """One request."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.file(body=False)

    def do_GET(self) -> None:
        self.file(body=True)

    def file(self, body: bool) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        found = RESOLVE.fullmatch(self.path)
        if found is None:
            return self.answer(404, b"{}")
        repo = self.hub.repos.get(found["repo"])
        if repo is None:
            return self.answer(
                404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            )
        if repo.gated and not self.allowed():
            return self.answer(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        commit = repo.names.get(found["revision"], found["revision"])
        if commit not in repo.commits:
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "no revision"})
        content = repo.commits[commit].get(found["file"])
        headers = {"X-Repo-Commit": commit}
        if content is None:
            return self.answer(404, b"", headers | {"X-Error-Code": "EntryNotFound", "X-Error-Message": "no file"})
        if found["file"].endswith(".safetensors"):
            headers["X-Linked-Etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
            headers["X-Linked-Size"] = str(len(content))
            if self.hub.spoil:
                content = content[:-1] + bytes([content[-1] ^ 1])
        headers["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
        return self.answer(200, content, headers, body)

    def do_PUT(self) -> None:
        self.hub.asked.append(f"PUT {self.path}")
        self.hub.large[self.path.rpartition("/")[2]] = self.read()
        self.answer(200, b"")

    def do_POST(self) -> None:
        self.hub.asked.append(f"POST {self.path}")
        sent = self.read()
        if not self.allowed():
            return self.answer(401, b'{"error": "Invalid credentials"}')
        if self.path == "/api/repos/create":
            values = json.loads(sent)
            name = f"{values.get('organization') or 'me'}/{values['name']}"
            known = name in self.hub.repos
            self.hub.repos.setdefault(name, Repo()).commit({})
            return self.json({"url": f"{self.hub.url}/{name}"}, 409 if known else 200)
        if found := PREUPLOAD.match(self.path):
            files = json.loads(sent)["files"]
            modes = [
                {
                    "path": item["path"],
                    "uploadMode": "lfs" if item["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for item in files
            ]
            return self.json({"files": modes})
        if found := BATCH.fullmatch(self.path):
            objects = [
                {**item, "actions": {"upload": {"href": f"{self.hub.url}/large/{item['oid']}"}}}
                for item in json.loads(sent)["objects"]
            ]
            return self.json({"transfer": "basic", "objects": objects})
        if found := COMMIT.match(self.path):
            lines = [json.loads(line) for line in sent.splitlines()]
            files = {item["value"]["path"]: self.content(item) for item in lines if item["key"] != "header"}
            oid = self.hub.repos[found["repo"]].commit(files, found["revision"])
            where = f"{self.hub.url}/{found['repo']}/commit/{oid}"
            return self.json({"success": True, "commitOid": oid, "commitUrl": where})
        return self.json({"errors": [], "warnings": []})  # validation of the card

    def content(self, item: dict[str, Any]) -> bytes:
        value = item["value"]
        return self.hub.large[value["oid"]] if item["key"] == "lfsFile" else base64.b64decode(value["content"])

    def allowed(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = b""
            while size := int(self.rfile.readline(), 16):
                parts += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return parts
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def json(self, values: Any, status: int = 200) -> None:
        self.answer(status, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def answer(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, body: bool = True
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A Hub that runs for the length of the block."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does when the package is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@contextmanager
def reached_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub that this process takes for the real one, with an empty cache and no token."""
    from huggingface_hub import constants

    with fake_hub() as running:
        point_at(running.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running
