"""A server on this machine with a real socket that speaks the picture interfaces, and misbehaves as it is told to."""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from keelbill.client.retries import Retries
from keelbill.client.target import checksum
from keelbill.imaging.decode import ImageFormat
from keelbill.imaging.encode import encode
from keelbill.imaging.metadata import Recipe

KEY = "sk-" + "Abc123" * 7
KEY += checksum(KEY)
OTHER_MAKER_KEY = "sk-" + "x" * 48
QUICK = Retries(attempts=4, first_wait_s=0.01, longest_wait_s=0.02)
JOB = "0123456789abcdef" * 4

PRICES = {
    "sd3.5-large": "6.5",
    "sd3": "6.5",
    "sd3.5-large-turbo": "4",
    "sd3-turbo": "4",
    "sd3.5-medium": "3.5",
    "sd3.5-flash": "2.5",
}
WORDLESS = ("/fast", "/erase", "/outpaint", "/remove-background", "/replace-background-and-relight", "/style-transfer")
RATIOS = {"1:1": (64, 64), "16:9": (84, 48), "9:16": (48, 84)}


@dataclass(frozen=True)
class Scripted:
    """One answer that is given in place of the usual one.

    Args:
        status: Of the answer.
        body: JSON if it is a table, else the bytes.
        headers: More headers.
        delay_s: Silence before the answer.
        drop: Close the connection without an answer, or after half of the body if there is one.
        chunk_s: Send the body byte by byte with this pause.
    """

    status: int = 200
    body: Mapping[str, object] | bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drop: bool = False
    chunk_s: float = 0.0


@dataclass(frozen=True)
class Asked:
    """One request that arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    fields: Mapping[str, str]
    files: Mapping[str, bytes]
    body: bytes


@dataclass
class ApiDouble:
    """What the double knows and what it was asked.

    Args:
        keys: That it accepts.
        credits: Of the account, as JSON would show them.
        script: Answers for the next requests, whatever they are.
        polls: Answers of "in progress" before a slow result is ready.
        events: Of the next job, as kind and data; "break" closes the connection.
        native: Whether the native routes are there.
        health: Answer of /healthz; nothing for a server that has none.
        ready: Answer of /readyz, with its status.
        extra: Headers of every answer.
    """

    keys: set[str] = field(default_factory=lambda: {KEY, OTHER_MAKER_KEY})
    credits: str = "25.0"
    script: list[Scripted] = field(default_factory=list)
    polls: int = 1
    events: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    native: bool = True
    health: Mapping[str, object] | None = field(default_factory=lambda: {"status": "ok", "version": "0.1.0"})
    ready: tuple[int, Mapping[str, object]] = (200, {"status": "ok"})
    status: Mapping[str, object] | None = None
    extra: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    base_url: str = ""
    cancelled: list[str] = field(default_factory=list)
    submitted: dict[str, Mapping[str, str]] = field(default_factory=dict)
    made: dict[str, bytes] = field(default_factory=dict)

    def paint(self, fields: Mapping[str, str], files: Mapping[str, bytes]) -> tuple[bytes, str, int]:
        """Return a flat picture whose colour depends on prompt and seed, its type, and the seed."""
        prompt, seed = fields.get("prompt", ""), int(fields.get("seed", "0")) or 4242
        width, height = RATIOS.get(fields.get("aspect_ratio", "1:1"), (64, 64))
        colour = zlib.crc32(f"{prompt}|{seed}|{sorted(files)}".encode())
        pixels = np.full((height, width, 3), [colour & 255, colour >> 8 & 255, colour >> 16 & 255], dtype=np.uint8)
        recipe = Recipe(prompt, "double", seed, width, height, 4, negative=fields.get("negative_prompt", ""), cfg=4.0)
        kind = ImageFormat(fields.get("output_format", "png"))
        return encode(pixels, kind, recipe), f"image/{kind.value}", seed


def _handler(double: ApiDouble) -> type[BaseHTTPRequestHandler]:
    numbers = count(1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay silent."""

        def do_GET(self) -> None:
            self.meet()

        def do_POST(self) -> None:
            self.meet()

        def do_DELETE(self) -> None:
            self.meet()

        def meet(self) -> None:
            asked = self.read()
            double.asked.append(asked)
            if double.script:
                return self.perform(double.script.pop(0))
            return self.route(asked)

        def read(self) -> Asked:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            kind = self.headers.get("content-type", "")
            fields: dict[str, str] = {}
            files: dict[str, bytes] = {}
            if kind.startswith("multipart/form-data"):
                whole = BytesParser(policy=HTTP).parsebytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
                for part in whole.iter_parts():
                    name = str(part.get_param("name", header="content-disposition"))
                    data = part.get_payload(decode=True)
                    if part.get_filename() is None:
                        fields[name] = bytes(data or b"").decode()
                    else:
                        files[name] = bytes(data or b"")
            headers = {name.lower(): value for name, value in self.headers.items()}
            return Asked(self.command, urlsplit(self.path).path, headers, fields, files, body)

        def perform(self, scripted: Scripted) -> None:
            time.sleep(scripted.delay_s)
            is_json = isinstance(scripted.body, Mapping)
            body = json.dumps(scripted.body).encode() if isinstance(scripted.body, Mapping) else scripted.body
            if scripted.drop and not body:
                return self.hang_up()
            headers = {"content-type": "application/json" if is_json else "text/html", **scripted.headers}
            self.head(scripted.status, {**headers, "content-length": str(len(body))})
            if scripted.drop:
                self.wfile.write(body[: len(body) // 2])
                return self.hang_up()
            if scripted.chunk_s:
                return self.dribble(body, scripted.chunk_s)
            self.wfile.write(body)
            return None

        def dribble(self, body: bytes, pause_s: float) -> None:
            try:
                for place in range(len(body)):
                    self.wfile.write(body[place : place + 1])
                    self.wfile.flush()
                    time.sleep(pause_s)
            except OSError:
                self.close_connection = True  # the client had enough

        def hang_up(self) -> None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

        def head(self, status: int, headers: Mapping[str, str]) -> None:
            self.log_request(status)
            self.send_response_only(status)
            if "date" not in double.extra:
                self.send_header("Date", self.date_time_string())
            for name, value in {"x-request-id": f"{next(numbers):032x}", **double.extra, **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def send_json(self, status: int, value: object) -> None:
            body = json.dumps(value).encode()
            body = re.sub(rb'"credits": "([0-9.]+)"', rb'"credits": \1', body)
            self.head(status, {"content-type": "application/json", "content-length": str(len(body))})
            self.wfile.write(body)

        def refuse(self, status: int, name: str, *errors: str) -> None:
            body = {"message": "; ".join(errors)} if self.path.startswith("/v1/") else {"errors": list(errors)}
            self.send_json(status, {"id": "e" * 32, "name": name, **body})

        def route(self, asked: Asked) -> None:
            path = asked.path
            if path == "/healthz" and double.health is not None:
                return self.send_json(200, double.health)
            if path == "/readyz" and double.health is not None:
                return self.send_json(*double.ready)
            if path == "/api/status" and double.status is not None:
                return self.send_json(200, double.status)
            if asked.headers.get("authorization", "").removeprefix("Bearer ") not in double.keys:
                return self.refuse(401, "unauthorized", "authorization: invalid or missing header value")
            known = {
                "/v1/user/balance": {"credits": double.credits},
                "/v1/user/account": {
                    "id": "u1",
                    "email": "ada@example.org",
                    "organizations": [{"id": "o1", "name": "Ada", "role": "ADMIN", "is_default": True}],
                },
                "/v1/engines/list": [
                    {"id": "stable-diffusion-v1-6", "name": "SD", "description": "Small.", "type": "PICTURE"}
                ],
            }
            if path in known:
                return self.send_json(200, known[path])
            if path.startswith("/v2beta/results/"):
                return self.poll(path.rpartition("/")[2])
            if path.startswith("/v2beta/stable-image/") and asked.method == "POST":
                return self.make(asked)
            if path.startswith("/api/jobs") and double.native:
                return self.job(asked)
            return self.refuse(404, "not_found", f"path: {path} is not known")

        def make(self, asked: Asked) -> None:
            fields = {name: text for name, text in asked.fields.items() if text}
            problems = []
            if not asked.path.endswith(WORDLESS) and "prompt" not in fields:
                problems.append("prompt: required")
            if fields.get("aspect_ratio", "1:1") not in RATIOS:
                problems.append(f"aspect_ratio: must be one of {', '.join(RATIOS)}")
            if asked.path.endswith("/sd3") and fields.get("model", "sd3") not in PRICES:
                problems.append(f"model: must be one of {', '.join(PRICES)}")
            if problems:
                return self.refuse(400, "bad_request", *problems)
            if "forbidden" in fields.get("prompt", ""):
                return self.refuse(403, "content_moderation", "prompt: refused by the rules of this server")
            if asked.path.endswith(("/creative", "/replace-background-and-relight")):
                double.submitted[JOB] = fields
                return self.send_json(200, {"id": JOB})
            return self.picture(*double.paint(fields, asked.files), price=PRICES.get(fields.get("model", ""), "5"))

        def picture(self, data: bytes, kind: str, seed: int, price: str) -> None:
            headers = {"content-type": kind, "finish-reason": "SUCCESS", "seed": str(seed), "x-credits-charged": price}
            self.head(200, {**headers, "content-length": str(len(data))})
            self.wfile.write(data)

        def poll(self, job: str) -> None:
            if job not in double.submitted:
                return self.refuse(404, "not_found", "id: unknown or expired")
            if double.polls > 0:
                double.polls -= 1
                return self.send_json(202, {"id": job, "status": "in-progress"})
            return self.picture(*double.paint(double.submitted[job], {}), price="60")

        def job(self, asked: Asked) -> None:
            if asked.method == "POST":
                wishes = json.loads(asked.body)
                double.submitted["j1"] = {name: str(value) for name, value in wishes.items()}
                return self.send_json(202, {"id": "j1"})
            if asked.method == "DELETE":
                double.cancelled.append("j1")
                return self.send_json(200, {"id": "j1", "state": "cancelled"})
            if asked.path.endswith("/result"):
                wishes = double.submitted["j1"]
                return self.picture(*double.paint(wishes, {}), price=PRICES.get(wishes.get("model", ""), "6.5"))
            return self.tell(int(asked.headers.get("last-event-id", "0")))

        def tell(self, after: int) -> None:
            self.head(200, {"content-type": "text/event-stream", "connection": "close"})
            self.close_connection = True
            self.wfile.write(b": welcome\n\n")
            for number, (kind, facts) in enumerate(list(double.events), start=1):
                if number <= after:
                    continue
                if kind == "break":
                    double.events[number - 1] = ("ping", {})
                    return self.hang_up()
                self.wfile.write(f"id: {number}\nevent: {kind}\ndata: {json.dumps(facts)}\n\n".encode())
            return None

    return Handler


PREVIEW = base64.b64encode(b"\xff\xd8\xff small").decode()
USUAL_EVENTS: list[tuple[str, Mapping[str, object]]] = [
    ("queued", {"position": 2, "estimate_ms": 1500.0}),
    ("started", {"worker": "w1", "attempt": 1}),
    ("progress", {"step": 1, "total": 2, "preview": PREVIEW}),
    ("progress", {"step": 2, "total": 2, "preview": None}),
    ("succeeded", {"seed": 7, "media_type": "image/png", "width": 64, "height": 64}),
]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over clients that hang up; tell of everything else."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def api_double(double: ApiDouble, certificate: Path | None = None) -> Iterator[ApiDouble]:
    """Serve until the block ends; over TLS with a certificate, a file that also holds its private key."""
    server = _Server(("127.0.0.1", 0), _handler(double))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    double.base_url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
