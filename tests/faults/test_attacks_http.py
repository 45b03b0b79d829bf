"""Hostile requests over a real socket: exact answers, nothing charged, nothing left, the next good one is served."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from support.forms import form
from support.server import LiveServer
from support.wire import Reply, Wire, request

SD3 = "/v2beta/stable-image/generate/sd3"
BOUNDARY = "frontier"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
BODY_LIMIT = 10 * 2**20
ANSWER_S = 5.0  # an attack that makes the server work or wait is seen; a loaded machine is not taken for one


def part(name: str, content: bytes | str, *, filename: str | None = None, headers: str = "") -> bytes:
    data = content.encode() if isinstance(content, str) else content
    file = "" if filename is None else f'; filename="{filename}"'
    return (
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"{file}\r\n{headers}\r\n'.encode()
        + data
        + b"\r\n"
    )


def multipart(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


PROMPT = part("prompt", "a red apple")


class Target:
    """A server under attack."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        self.port = urlsplit(server.url).port or 0

    def raw(self, data: bytes) -> Reply:
        wire = Wire(self.port)
        try:
            begin = time.monotonic()
            reply = wire.ask(data)
            assert time.monotonic() - begin < ANSWER_S
            return reply
        finally:
            wire.close()

    def post(self, body: bytes, content_type: str = MULTIPART, **headers: str) -> Reply:
        headers = {"authorization": self.server.key, "content_type": content_type} | headers
        return self.raw(request("POST", SD3, body, **headers))


@pytest.fixture
def target(server: LiveServer) -> Iterator[Target]:
    """The server; afterwards no credit has moved, no file is left and a good request is served."""
    server.set_balance("25")
    files = sorted(path for path in server.settings.blobs_folder.rglob("*") if path.is_file())
    yield Target(server)
    assert server.balance() == Decimal(25)
    assert sorted(path for path in server.settings.blobs_folder.rglob("*") if path.is_file()) == files
    assert server.client.post(SD3, headers={"accept": "image/*"}, **form(prompt="a red apple")).status_code == 200


def check(reply: Reply, status: int, name: str, beginning: str = "") -> None:
    assert reply.status == status, reply.body[:300]
    body = reply.json()
    assert set(body) == {"id", "name", "errors"}
    assert body["name"] == name
    assert body["errors"][0].startswith(beginning)
    assert b"Traceback" not in reply.body
    assert b"/src/" not in reply.body


class TestType:
    def test_none(self, target: Target) -> None:
        head = request("POST", SD3, b"prompt=a", authorization=target.server.key)
        check(target.raw(head), 400, "bad_request", "content-type: required")

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("application/json", b'{"prompt": "a"}'),
            ("application/x-www-form-urlencoded", b"prompt=a"),
            ("text/plain", b"prompt"),
            ("multipart/mixed; boundary=frontier", multipart(PROMPT)),
            ("multipart/form-data-nearly; boundary=frontier", multipart(PROMPT)),
        ],
    )
    def test_other(self, target: Target, kind: str, body: bytes) -> None:
        check(target.post(body, kind), 400, "bad_request", "content-type: must be multipart/form-data")

    @pytest.mark.parametrize("boundary", ["", "x" * 71, '"a<b"', "ä"])
    def test_boundary(self, target: Target, boundary: str) -> None:
        reply = target.post(multipart(PROMPT), f"multipart/form-data; boundary={boundary}".encode().decode("latin-1"))
        check(reply, 400, "bad_request", "content-type: the boundary")

    @pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
    def test_compressed(self, target: Target, coding: str) -> None:
        check(
            target.post(multipart(PROMPT), content_encoding=coding), 415, "unsupported_media_type", "content-encoding"
        )


class TestSize:
    def test_announced(self, target: Target) -> None:
        head = request(
            "POST", SD3, authorization=target.server.key, content_type=MULTIPART, content_length=str(BODY_LIMIT + 1)
        )
        check(target.raw(head), 413, "payload_too_large", "body:")

    def test_announced_beyond_belief(self, target: Target) -> None:
        head = request("POST", SD3, authorization=target.server.key, content_type=MULTIPART, content_length="9" * 18)
        check(target.raw(head), 413, "payload_too_large", "body:")

    def test_chunks_without_end(self, target: Target) -> None:
        wire = Wire(target.port)
        wire.send(
            request("POST", SD3, authorization=target.server.key, content_type=MULTIPART, transfer_encoding="chunked")
        )
        start = part("image", b"", filename="a.png")[:-2]
        wire.send(b"%x\r\n%s\r\n" % (len(start), start))
        for _ in range(170):
            wire.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        check(wire.reply(), 413, "payload_too_large", "body:")
        wire.close()

    def test_text_field(self, target: Target) -> None:
        check(
            target.post(multipart(part("prompt", "x" * 65_537))), 400, "bad_request", "prompt: must have at most 65536"
        )


class TestForm:
    @pytest.mark.parametrize(
        ("body", "beginning"),
        [
            (multipart(*[part(f"f{number}", "1") for number in range(25)]), "body: must have at most 24 parts"),
            (
                multipart(*[part(f"f{number}", b"x", filename="a") for number in range(4)]),
                "body: must have at most 3 files",
            ),
            (multipart(part("n" * 101, "1")), "body: names of fields"),
            (multipart(PROMPT, PROMPT), "prompt: must be sent once"),
            (multipart(PROMPT, part("seed", "1"), part("seed", "1")), "seed: must be sent once"),
            (multipart(*[part(f"f{n}", "1", headers=f"x: {'y' * 3900}\r\n") for n in range(5)]), "body: the headers"),
            (PROMPT, "body: must end"),
            (b"", "body: must end"),
            (b"\r\n" * 500, "body:"),
            (b"--frontier\r\nno colon\r\n\r\nx\r\n--frontier--\r\n", "body:"),
            (b'--frontier\r\ncontent-disposition: form-data; name="\x00"\r\n\r\nx\r\n--frontier--\r\n', "body:"),
            (
                multipart(part("prompt", "x", headers="content-transfer-encoding: base64\r\n")),
                "prompt: content-transfer",
            ),
        ],
        ids=range(12),
    )
    def test_refused(self, target: Target, body: bytes, beginning: str) -> None:
        check(target.post(body), 400, "bad_request", beginning)

    def test_file_name_is_never_a_path(self, target: Target) -> None:
        for name in ("../../../etc/passwd", "..\\\\..\\\\x", "con", "a\x00b".replace("\x00", "%00"), "x" * 2000):
            reply = target.post(multipart(PROMPT, part("mode", "image-to-image"), part("image", b"no", filename=name)))
            assert reply.status == 400
            assert b"passwd" not in reply.body


class TestText:
    @pytest.mark.parametrize(
        "prompt",
        [
            b"\xff\xfe",
            b"\xc3\x28",
            b"\xed\xa0\x80",
            b"\xf8\x88\x80\x80\x80",
            b"a\x00b",
            b"a\x07b",
            b"\x1b[31m",
            b"a\xc2\x85b",
        ],
        ids=range(8),
    )
    def test_refused(self, target: Target, prompt: bytes) -> None:
        check(target.post(multipart(part("prompt", prompt))), 400, "bad_request", "prompt: must")

    def test_too_long(self, target: Target) -> None:
        check(target.post(multipart(part("prompt", "ä" * 10_001))), 400, "bad_request", "prompt: must have")

    def test_only_hidden_characters(self, target: Target) -> None:
        check(target.post(multipart(part("prompt", "\u200b\u202e\u2060"))), 400, "bad_request", "prompt:")

    @pytest.mark.parametrize("seed", ["1e3", "NaN", "Infinity", "-1", "4294967295", "0x10", "7,0", "٧", "1" * 400])
    def test_numbers(self, target: Target, seed: str) -> None:
        check(target.post(multipart(PROMPT, part("seed", seed))), 400, "bad_request", "seed: ")

    def test_surrogate_in_json(self, target: Target) -> None:
        head = request(
            "POST",
            "/v1/images/generations",
            b'{"prompt": "a \\ud800"}',
            authorization=target.server.key,
            content_type="application/json",
        )
        reply = target.raw(head)
        assert reply.status == 400
        assert reply.json()["error"]["type"] == "invalid_request_error"

    @pytest.mark.parametrize(
        "body",
        [
            b"[" * 100_000,
            b'{"prompt": NaN}',
            b'{"prompt": "a", "prompt": "b"}',
            b'{"prompt": "a", "n": 1e0}',
            b"\xff{}",
            b"nul",
        ],
        ids=range(6),
    )
    def test_json(self, target: Target, body: bytes) -> None:
        head = request(
            "POST", "/v1/images/generations", body, authorization=target.server.key, content_type="application/json"
        )
        assert target.raw(head).status == 400


class TestTargets:
    @pytest.mark.parametrize(
        "path",
        [
            "/%00",
            "/..%2f..%2fetc/passwd",
            "/v1/../admin",
            "//evil.example/",
            "/%ff%fe",
            "/" + "a/" * 2000,
            "/v1/user/balance;x",
        ],
        ids=range(7),
    )
    def test_odd_paths(self, target: Target, path: str) -> None:
        reply = target.raw(request(path=path, authorization=target.server.key))
        assert reply.status == 404
        assert b"Traceback" not in reply.body

    def test_odd_methods(self, target: Target) -> None:
        for method in ("TRACE", "TRACK", "PROPFIND", "PATCH"):
            reply = target.raw(request(method, SD3, authorization=target.server.key))
            assert reply.status in (400, 405), method

    def test_response_cannot_be_split(self, target: Target) -> None:
        wire = Wire(target.port)
        reply = wire.ask(request(path="/healthz", x_request_id="a%0d%0aset-cookie:%20x=1"))
        assert reply.status == 200
        assert "set-cookie" not in reply.headers
        wire.close()
