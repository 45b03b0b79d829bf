"""A server on a real socket, and a client that sends exactly the bytes it is told to."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from keelbill.api.guard import ConnectionLimits, guarded


@dataclass
class Reply:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


class Wire:
    """One connection."""

    def __init__(self, port: int, *, timeout_s: float = 60.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes as they are; a peer that has closed is no error."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def ask(self, data: bytes) -> Reply:
        """Send bytes and read one answer."""
        self.send(data)
        return self.reply()

    def reply(self) -> Reply:
        """Read one answer, without an interim one."""
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.partition(b":")
            headers[name.decode().lower()] = value.strip().decode("latin-1")
        if status == 100:
            return self.reply()
        if headers.get("transfer-encoding") == "chunked":
            return Reply(status, headers, self._chunks())
        return Reply(status, headers, self._file.read(int(headers.get("content-length", 0))))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._file.readline(), 16):
            body += self._file.read(size)
            self._file.readline()
        self._file.readline()
        return body

    def is_closed(self) -> bool:
        """Whether the server ends the connection without another byte."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self.socket.close()


class Serving:
    """A server that runs in a thread."""

    def __init__(self, port: int, server: uvicorn.Server) -> None:
        self.port = port
        self.server = server
        self._wires: list[Wire] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def connect(self, *, timeout_s: float = 60.0) -> Wire:
        """Open a connection that is closed at the end."""
        wire = Wire(self.port, timeout_s=timeout_s)
        self._wires.append(wire)
        return wire

    def ask(self, data: bytes) -> Reply:
        """Send one request on a connection of its own."""
        return self.connect().ask(data)

    def close(self) -> None:
        """Close what `connect` opened."""
        for wire in self._wires:
            wire.close()


@contextmanager
def serving(app: Any, limits: ConnectionLimits | None = None, *, keep_alive_s: int = 15) -> Iterator[Serving]:
    """Run an ASGI application on a free port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        app,
        http=guarded(limits),
        loop="uvloop",
        log_config=None,
        access_log=False,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    running = Serving(listener.getsockname()[1], server)
    try:
        yield running
    finally:
        running.close()
        server.should_exit = True
        thread.join(60)
        listener.close()


def request(
    method: str = "GET", path: str = "/", body: bytes = b"", *, host: str = "localhost", **headers: str
) -> bytes:
    """Return a request; underscores of header names stand for dashes."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body and "transfer_encoding" not in headers and "content_length" not in headers:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
