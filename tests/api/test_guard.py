"""Connections that are slow, greedy or ambiguous, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from keelbill.api.guard import Census, ConnectionLimits, send_at_once
from support.wire import Serving, request, serving

FAST = ConnectionLimits(header_s=0.4, body_s=0.4, body_bytes_per_s=2**20, discarded_bytes=256 * 1024, per_address=8)


async def echo(scope, receive, send):  # type: ignore[no-untyped-def]
    """Answer with the size of the body; refuse without reading when told to."""
    if scope["type"] != "http":
        return
    size = 0
    if scope["path"] != "/unread":
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message["body"])
            if not message["more_body"]:
                break
    text = f"{scope['path']} {size}".encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(text)).encode())]}
    )
    await send({"type": "http.response.body", "body": text})


def with_headers(count: int) -> bytes:
    lines = ["GET / HTTP/1.1", "host: localhost", *(f"h{number}: 1" for number in range(count - 1))]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with serving(echo, FAST, keep_alive_s=1) as running:
        yield running


@pytest.fixture(autouse=True)
def _tidy(server: Serving) -> Iterator[None]:
    yield
    server.close()
    time.sleep(0.05)  # the server learns of it
    assert server.ask(request(path="/after")).body == b"/after 0"
    server.close()


@pytest.fixture
def generous() -> Iterator[Serving]:
    with serving(echo) as running:
        yield running


class TestSlow:
    def test_silent_client(self, server: Serving) -> None:
        begin = time.monotonic()
        wire = server.connect()
        assert wire.reply().status == 408
        assert 0.2 < time.monotonic() - begin < 2
        assert wire.is_closed()

    def test_head_that_trickles(self, server: Serving) -> None:
        wire = server.connect()
        begin = time.monotonic()
        wire.send(b"GET / HTTP/1.1\r\n")
        for _ in range(4):
            time.sleep(0.15)
            wire.send(b"x: 1\r\n")
        assert wire.reply().status == 408
        assert time.monotonic() - begin < 2

    def test_body_that_never_comes(self, server: Serving) -> None:
        reply = server.ask(request("POST", content_length="5"))
        assert reply.status == 408
        assert reply.json()["name"] == "request_timeout"
        assert reply.headers["connection"] == "close"

    def test_announced_bytes_give_more_time(self, server: Serving) -> None:
        wire = server.connect()
        wire.send(request("POST", content_length=str(2 * 2**20)))
        for _ in range(8):
            time.sleep(0.1)
            wire.send(b"x" * 2**18)
        assert wire.reply().body == b"/ 2097152"

    def test_second_head_that_trickles(self, server: Serving) -> None:
        wire = server.connect()
        assert wire.ask(request()).status == 200
        wire.send(b"GET / HT")
        assert wire.reply().status == 408

    def test_idle_connection_is_closed_quietly(self, server: Serving) -> None:
        wire = server.connect()
        wire.ask(request())
        begin = time.monotonic()
        assert wire.is_closed()
        assert 0.5 < time.monotonic() - begin < 3

    def test_empty_lines_do_not_keep_a_connection(self, server: Serving) -> None:
        wire = server.connect()
        wire.ask(request())
        wire.send(b"\r\n")
        begin = time.monotonic()
        assert wire.is_closed()
        assert time.monotonic() - begin < 3

    def test_answering_slowly_is_not_the_clients_fault(self, server: Serving) -> None:
        wire = server.connect()
        wire.send(request("POST", body=b"x" * 10) + request("GET", "/two"))
        assert wire.reply().body == b"/ 10"
        assert wire.reply().body == b"/two 0"


class TestGreedy:
    def test_head_of_a_megabyte(self, generous: Serving) -> None:
        reply = generous.ask(request(x="y" * 2**20))
        assert reply.status == 431
        assert reply.json()["name"] == "headers_too_large"

    def test_many_small_headers_beyond_the_size(self, generous: Serving) -> None:
        head = "".join(f"header-{number}: {'v' * 500}\r\n" for number in range(80))
        reply = generous.ask(b"GET / HTTP/1.1\r\nhost: localhost\r\n" + head.encode() + b"\r\n")
        assert reply.status == 431

    @pytest.mark.parametrize("filling", [b"\r\n", b"\n"], ids=["crlf", "lf"])
    def test_empty_lines_without_end_after_an_answer(self, generous: Serving, filling: bytes) -> None:
        wire = generous.connect()
        assert wire.ask(request()).status == 200
        wire.send(filling * 40_000)
        assert wire.reply().status == 431
        assert generous.ask(request(path="/others")).body == b"/others 0"

    def test_more_after_the_last_request_than_it_said(self, generous: Serving) -> None:
        wire = generous.connect()
        wire.send(request("POST", body=b"x" * 10, connection="close") + b"y" * 100_000)
        assert wire.reply().status in (200, 400, 431)
        assert generous.ask(request(path="/others")).body == b"/others 0"

    def test_a_hundred_headers(self, generous: Serving) -> None:
        assert generous.ask(with_headers(100)).status == 200
        assert generous.ask(with_headers(101)).status == 431

    def test_long_target(self, generous: Serving) -> None:
        assert generous.ask(request(path="/" + "a" * 8000)).status == 200
        reply = generous.ask(request(path="/" + "a" * 8192))
        assert reply.status == 414

    def test_target_without_end(self, generous: Serving) -> None:
        wire = generous.connect()
        wire.send(b"GET /" + b"a" * 200_000)
        assert wire.reply().status == 414

    def test_too_many_connections(self, server: Serving) -> None:
        wires = [server.connect() for _ in range(8)]
        replies = [wire.ask(request()).status for wire in wires]
        late = server.connect().reply()
        assert replies == [200] * 8
        assert late.status == 503
        assert late.headers["retry-after"] == "1"

    def test_places_are_given_back(self, server: Serving) -> None:
        for _ in range(30):
            wire = server.connect()
            assert wire.ask(request()).status == 200
            wire.close()

    def test_body_that_nobody_reads(self, server: Serving) -> None:
        wire = server.connect()
        wire.send(request("POST", "/unread", transfer_encoding="chunked"))
        assert wire.reply().status == 200
        for _ in range(64):
            wire.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        assert wire.is_closed()

    def test_many_requests_at_once(self, generous: Serving) -> None:
        wire = generous.connect()
        wire.send(request() * 200)
        statuses = set()
        while True:
            try:
                statuses.add(wire.reply().status)
            except (IndexError, ConnectionResetError):
                break
        assert 400 in statuses


AMBIGUOUS = {
    "length and chunks": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "list of lengths": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3, 4\r\n\r\nabcd",
    "negative length": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
    "length with sign": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: +3\r\n\r\nabc",
    "length beyond 64 bits": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999\r\n\r\n",
    "other coding": b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\nabc",
    "coding list": b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunk of no size": b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    "chunk longer than said": b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n"
    b"0\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: other\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nhost: localhost\r\nx: 1\r\n y\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nhost : localhost\r\n\r\n",
    "nul in a header": b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\x00b\r\n\r\n",
    "absolute target": b"GET http://other/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "authority target": b"CONNECT other:443 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "bytes above ASCII in the target": b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "other protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
}


class TestAmbiguous:
    @pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
    def test_refused_and_closed(self, generous: Serving, data: bytes) -> None:
        wire = generous.connect()
        reply = wire.ask(data)
        assert reply.status == 400
        assert reply.json()["name"] == "bad_request"
        assert wire.is_closed()

    def test_smuggled_request_is_not_answered(self, generous: Serving) -> None:
        wire = generous.connect()
        reply = wire.ask(AMBIGUOUS["length and chunks"] + request(path="/admin"))
        assert reply.status == 400
        assert wire.is_closed()

    def test_refusal_speaks_the_routes_dialect(self, generous: Serving) -> None:
        reply = generous.ask(b"GET /v1/user/balance HTTP/1.1\r\n\r\n")
        assert set(reply.json()) == {"id", "name", "message"}

    def test_unknown_upgrade_is_passed_over(self, generous: Serving) -> None:
        assert generous.ask(request(connection="upgrade", upgrade="h2c")).status == 200

    def test_old_version_without_host(self, generous: Serving) -> None:
        assert generous.ask(b"GET /old HTTP/1.0\r\n\r\n").body == b"/old 0"


class TestCensus:
    def test_ipv6_counts_by_network(self) -> None:
        census = Census(ConnectionLimits(per_address=1))
        assert census.enter("2001:db8::1")
        assert census.enter("2001:db8::2") is None
        assert census.enter("2001:db8:0:1::1")

    def test_mapped_address_is_the_plain_one(self) -> None:
        census = Census(ConnectionLimits(per_address=1))
        assert census.enter("::ffff:192.0.2.1") == "192.0.2.1"
        assert census.enter("192.0.2.1") is None

    def test_proxy_on_this_machine_brings_everybody(self) -> None:
        census = Census(ConnectionLimits(per_address=1), trusts_loopback=True)
        assert [census.enter("127.0.0.1") for _ in range(3)] == ["loopback"] * 3

    def test_total(self) -> None:
        census = Census(ConnectionLimits(total=2))
        names = [census.enter(f"192.0.2.{number}") for number in range(3)]
        assert names[2] is None
        census.leave(names[0] or "")
        assert census.enter("192.0.2.9")
        assert census.total == 2


async def test_no_packet_waits_for_an_acknowledgement() -> None:
    options = {"family": socket.AF_INET, "proto": 0}  # as the sockets that a listener accepts
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(type=socket.SOCK_STREAM, **options) as ours:
        ours.connect(listener.getsockname())
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        send_at_once(transport)
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.close()
