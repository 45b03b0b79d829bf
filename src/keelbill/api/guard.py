"""Keeps slow, greedy and ambiguous connections away from the application. Knows HTTP/1.1 and no routes.

uvicorn's fast protocol leaves a silent sender alone and takes heads of any size. This subclass adds time limits, size
limits and counts, and refuses whatever two servers could read differently (RFC 9112, sections 3.2, 6.1 and 6.3).
"""

from __future__ import annotations

import socket
from asyncio import BaseTransport, TimerHandle, Transport
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Literal, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from keelbill.api.errors import RequestProblem, render
from keelbill.api.headers import SECURITY_HEADERS
from keelbill.api.packets import Packets
from keelbill.core.errors import AppError, InvalidRequest, Unavailable
from keelbill.core.ids import request_id as new_request_id

REASONS = {408: "slow", 503: "rate"}
"""Labels of the metric of refusals, by status; all else is a fault of the head."""


@dataclass(frozen=True)
class ConnectionLimits:
    """What a connection may do.

    Attributes:
        header_s: Seconds for the head of a request, from its first byte, or from the connection's begin.
        body_s: Seconds for its body.
        body_bytes_per_s: Each so many announced bytes give one second more.
        header_bytes: Of the whole head.
        header_count: Header lines.
        request_line_bytes: Of method, target and version.
        pipelined: Requests that may wait behind the one that is being answered.
        discarded_bytes: Of a body that nobody reads, before the connection is closed.
        per_address: Connections of one address (of one /64 for IPv6).
        total: Connections in all.
    """

    header_s: float = 10.0
    body_s: float = 30.0
    body_bytes_per_s: int = 64 * 1024
    header_bytes: int = 32 * 1024
    header_count: int = 100
    request_line_bytes: int = 8 * 1024
    pipelined: int = 16
    discarded_bytes: int = 64 * 2**20
    per_address: int = 64
    total: int = 1024


@dataclass
class Census:
    """Counts open connections.

    Attributes:
        limits: How many there may be.
        trusts_loopback: Whether connections of this machine come from a proxy, which brings everybody's.
        open: By address.
    """

    limits: ConnectionLimits
    trusts_loopback: bool = False
    open: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All open connections."""
        return self.open.total()

    def enter(self, address: str) -> str | None:
        """Count a connection and return the name to give to `leave`; nothing if there are too many."""
        name = self._name(address)
        is_free = self.trusts_loopback and name == "loopback"
        if self.total >= self.limits.total or (self.open[name] >= self.limits.per_address and not is_free):
            self.open += Counter()  # drops the zero that looking made
            return None
        self.open[name] += 1
        return name

    def leave(self, name: str) -> None:
        """Count a connection that has ended."""
        self.open[name] -= 1
        if self.open[name] <= 0:
            del self.open[name]

    @staticmethod
    def _name(address: str) -> str:
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return address
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        if parsed.is_loopback:
            return "loopback"
        if isinstance(parsed, IPv6Address):
            return str(ip_network((parsed, 64), strict=False))
        return str(parsed)


Phase = Literal["idle", "head", "body"]


def send_at_once(transport: BaseTransport) -> None:
    """Let no small packet wait for the acknowledgement of the one before.

    Head and body of an answer are two writes, so on a kept connection the second would wait 40 ms (RFC 1122, section
    4.2.3.2). uvloop sets this by itself; asyncio only for sockets that name their protocol, which accepted ones do not.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits. `guarded` fills in the class attributes."""

    limits: ConnectionLimits = ConnectionLimits()
    census: Census
    on_refusal: Callable[[str], None]

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to count and to wait for the first head."""
        self._phase: Phase = "head"
        self._head_bytes = 0
        self._header_lines = 0
        self._announced = 0
        self._discarded = 0
        self._refused: AppError | None = None
        self._timer: TimerHandle | None = None
        super().connection_made(transport)
        send_at_once(transport)
        self._packets = Packets(transport, self.loop)
        self.transport = cast(Transport, self._packets)
        self._place = self.census.enter(self.client[0] if self.client else "")
        if self._place is None:
            self._refuse(Unavailable("The server has too many open connections.", retry_after_s=1))
            return
        self._timer = self.loop.call_later(self.limits.header_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting."""
        self._stop_timer()
        self._leave()
        super().connection_lost(exc)

    def _leave(self) -> None:
        if self._place is not None:
            self.census.leave(self._place)
            self._place = None

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; watchers have their own limits."""
        self._stop_timer()
        self._leave()
        self._packets.flush()
        self.transport = self._packets.transport
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Take bytes in, but of a head no more than it may have."""
        if self._refused is not None or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        while data and self._refused is None:
            if self._phase == "body":
                piece, data = data, b""
            else:
                room = self.limits.header_bytes - self._head_bytes + 1
                piece, data = data[:room], data[room:]
                self._head_bytes += len(piece)
            if not self._feed(piece):
                return
            if self._phase != "body" and self._head_bytes > self.limits.header_bytes:  # empty lines begin no head
                self._refused = self._refused or RequestProblem(
                    431, f"headers: must have at most {self.limits.header_bytes} bytes in all"
                )
        if self._refused is not None:
            self._refuse(self._refused)
        else:
            self._watch()

    def _feed(self, piece: bytes) -> bool:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return False  # any other protocol is passed over, and the request answered as it is (RFC 9110, 7.8)
        except httptools.HttpParserError:
            self._refused = self._refused or InvalidRequest("request: is no valid HTTP/1.1")
        return True

    def _watch(self) -> None:
        """Keep the timer that belongs to the phase; between requests uvicorn keeps its own until a byte comes."""
        if self._phase == "idle" and self._is_answering():
            self._stop_timer()
        elif self._timer is None:
            wait_s = self._body_s() if self._phase == "body" else self.limits.header_s
            self._timer = self.loop.call_later(wait_s, self._too_slow)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _body_s(self) -> float:
        return self.limits.body_s + self._announced / self.limits.body_bytes_per_s

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self._watch()  # we are the slow ones
        elif self._phase == "idle":
            self.transport.close()
        else:
            self._refuse(RequestProblem(408, f"The {self._phase} of the request took too long."))

    # ---------------------------------------------------------- what the parser says

    def on_message_begin(self) -> None:
        """Begin a head."""
        if self._refused is not None:
            return
        if len(self.pipeline) >= self.limits.pipelined:
            self._refused = InvalidRequest(f"request: at most {self.limits.pipelined} requests may wait in line")
            return
        self._phase = "head"
        self._header_lines = self._announced = self._discarded = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        if self._refused is not None:
            return
        super().on_url(url)
        if len(self.url) > self.limits.request_line_bytes - 16:
            self._refused = RequestProblem(
                414, f"request line: must have at most {self.limits.request_line_bytes} bytes"
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header line."""
        if self._refused is not None:
            return
        self._header_lines += 1
        if self._header_lines > self.limits.header_count:
            self._refused = RequestProblem(431, f"headers: must be at most {self.limits.header_count}")
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the head as a whole, then let the application see it."""
        if self._refused is not None:
            return
        self._refused = self._ambiguity()
        if self._refused is not None:
            return
        self._phase = "body"
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def _ambiguity(self) -> AppError | None:
        sizes = [value for name, value in self.headers if name == b"content-length"]
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        hosts = [value for name, value in self.headers if name == b"host"]
        version = self.parser.get_http_version()
        if sizes and codings:
            return InvalidRequest("content-length: must not come together with transfer-encoding")
        if len(sizes) > 1 or (sizes and not sizes[0].isdigit()):
            return InvalidRequest("content-length: must be one whole number")
        if codings and (version != "1.1" or [coding.strip().lower() for coding in codings] != [b"chunked"]):
            return InvalidRequest("transfer-encoding: must be chunked")
        if len(hosts) > 1 or (version == "1.1" and not hosts):
            return InvalidRequest("host: must be sent once")
        if version not in ("1.0", "1.1"):
            return InvalidRequest("request: must be HTTP/1.1")
        if not self.url.startswith(b"/") or not self.url.isascii():
            return InvalidRequest("request line: the target must be a path of ASCII characters")
        self._announced = int(sizes[0]) if sizes else 0
        return None

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; what nobody reads is dropped, up to a limit."""
        if self._refused is not None:
            return
        if self.cycle is not None and self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > self.limits.discarded_bytes:
                self._stop_timer()
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request's body."""
        if self._refused is not None:
            return
        self._stop_timer()
        self._phase = "idle"
        self._head_bytes = 0
        super().on_message_complete()

    # ---------------------------------------------------------- the end

    def _refuse(self, error: AppError) -> None:
        """Answer with an error, unless an answer has begun, and close."""
        self._refused = error
        self._stop_timer()
        self.on_refusal(REASONS.get(error.status, "header"))
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(self._head_and_body(error))
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        for waiting, _ in self.pipeline:
            waiting.disconnected = True
        self.transport.close()

    def _head_and_body(self, error: AppError) -> bytes:
        name = new_request_id()
        path = getattr(self, "url", b"").decode("latin-1")
        rendered = render(error, path, name)
        phrase = _PHRASES.get(rendered.status, "Error")
        lines = [f"HTTP/1.1 {rendered.status} {phrase}".encode()]
        headers = [*rendered.headers, *SECURITY_HEADERS, (b"x-request-id", name.encode()), (b"connection", b"close")]
        lines += [header + b": " + value for header, value in headers]
        return b"\r\n".join([*lines, b"", rendered.body])


_PHRASES = {
    400: "Bad Request",
    408: "Request Timeout",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


def guarded(
    limits: ConnectionLimits | None = None,
    *,
    trusts_loopback: bool = False,
    on_refusal: Callable[[str], None] | None = None,
) -> type[GuardedProtocol]:
    """Return a protocol class for uvicorn whose connections share one census.

    Args:
        limits: What a connection may do.
        trusts_loopback: Whether connections of this machine come from a proxy.
        on_refusal: Told the reason: ``slow``, ``header`` or ``rate``.
    """
    chosen = limits or ConnectionLimits()
    attributes: dict[str, Any] = {
        "limits": chosen,
        "census": Census(chosen, trusts_loopback),
        "on_refusal": staticmethod(on_refusal or (lambda _: None)),
        "__doc__": GuardedProtocol.__doc__,
    }
    return cast(type[GuardedProtocol], type("Guarded", (GuardedProtocol,), attributes))
