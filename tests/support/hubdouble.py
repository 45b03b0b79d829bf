"""A model hub on this machine that speaks as much of the real one's protocol as downloads need."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class HubDouble:
    """What the double serves and what it was asked.

    Args:
        repos: Repository to file name to content.
        gated: Repositories that answer only to the right token.
        token: The right token.
        break_after: Close the connection after so many bytes of a file, once.
        corrupt: Files that are sent with other bytes than promised.
    """

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    token: str = "right-token"
    break_after: int | None = None
    corrupt: set[str] = field(default_factory=set)
    ranges: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    endpoint: str = ""

    def listing(self, repo: str) -> bytes:
        """Return the JSON that describes a repository."""
        siblings = []
        for name, data in self.repos[repo].items():
            entry: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": _git(data)}
            if name.endswith(".safetensors"):
                entry["lfs"] = {"sha256": _sha(data), "size": len(data), "pointerSize": 130}
            siblings.append(entry)
        return json.dumps({"id": repo, "sha": REVISION, "siblings": siblings}).encode()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _handler(hub: HubDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay silent."""

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            api = path.startswith("api/models/")
            repo = "/".join(path.removeprefix("api/models/").split("/")[:2])
            if repo not in hub.repos:
                return self.send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
            if repo in hub.gated and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."})
            if api:
                return self.send(200, hub.listing(repo), {"Content-Type": "application/json"})
            return self.file(repo, path.split(f"/resolve/{REVISION}/", 1)[-1])

        def file(self, repo: str, name: str) -> None:
            data = hub.repos[repo].get(name)
            if data is None:
                return self.send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            promised = data
            if self.command == "GET":
                hub.sent.append(name)
            if name in hub.corrupt:
                data = bytes(len(data))
            large = name.endswith(".safetensors")
            headers = {"X-Repo-Commit": REVISION, "ETag": f'"{_sha(promised) if large else _git(promised)}"'}
            asked = self.headers.get("Range")
            status, start = 200, 0
            if asked and self.command == "GET":
                hub.ranges.append(asked)
                start = int(asked.removeprefix("bytes=").split("-")[0])
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            if large and self.command == "GET" and hub.break_after is not None:
                stop, hub.break_after = hub.break_after, None
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(data) - start))
                self.end_headers()
                self.wfile.write(data[start : start + stop])
                self.close_connection = True
                return None
            return self.send(status, data[start:], headers)

    return Handler


@contextmanager
def hub_double(hub: HubDouble) -> Iterator[HubDouble]:
    """Serve until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
