"""What happens around every request: its id, who may ask, the headers, errors, metrics and the log line.

Pure ASGI, so that a client that hangs up is noticed by whoever waits for it. Knows no route and no service.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keelbill.api.errors import Rendered, RequestProblem, render, status_and_name
from keelbill.api.headers import HSTS, SECURITY_HEADERS, Hosts, Origins, rate_headers
from keelbill.api.heads import answer_head
from keelbill.api.visits import KEY, Visit, visit_of
from keelbill.core.errors import AppError, InvalidRequest, PermissionDenied, RateLimited
from keelbill.db.base import DatabaseAway
from keelbill.storage.blobs import DiskFull

if TYPE_CHECKING:
    from keelbill.api.platform import Platform

log = structlog.get_logger("keelbill.requests")

_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_EDITOR_FILES: Final = tuple(f"/comfy/{folder}/" for folder in ("assets", "cursor", "extensions", "fonts", "scripts"))
_UNCOUNTED: Final = ("/healthz", "/readyz", "/startupz", "/metrics", "/assets/", "/studio", "/docs", "/favicon")
"""Answers that cost nothing and that browsers and monitors ask for in bursts."""

_QUIET: Final = ("/healthz", "/readyz", "/startupz", "/metrics")
_REASONS: Final = {402: "credits", 408: "slow", 413: "size", 431: "header"}
UNROUTED: Final = "unmatched"


def _fresh_ids() -> Iterator[str]:
    """Yield 32 random hex digits each time; the system is asked for many at once, because asking is what costs."""
    while True:
        digits = os.urandom(16 * 256).hex()
        for start in range(0, len(digits), 32):
            yield digits[start : start + 32]


class Envelope:
    """Middleware around the whole application.

    Args:
        app: What answers.
        platform: For settings, limits and metrics.
    """

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app = app
        self._platform = platform
        self._metrics = platform.telemetry
        self._hosts = Hosts(platform.settings)
        self._origins = Origins(platform.settings)
        self._ids = _fresh_ids()
        self._has_tls = platform.settings.public_url.startswith("https:")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        wait_s = self._platform.flood.retry_after_s(scope)
        if wait_s and scope["type"] == "http":
            await self._turn_away(scope, send, wait_s)
            return
        visit = Visit(_request_id(scope) or next(self._ids), _address(scope), scope.get("method", ""))
        scope[KEY] = visit
        scope.setdefault("state", {})["request_id"] = visit.request_id
        if scope["type"] == "websocket":
            await self._connect(scope, receive, send)
            return
        if visit.method == "HEAD":
            await answer_head(self._serve, {**scope, "method": "GET"}, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = visit_of(scope)
        answer = _Answer(self, scope, visit, send)
        traces = self._platform.traces
        trace = traces.begin(scope, visit) if traces is not None and _is_counted(scope) else None
        self._metrics.http_inflight.inc()
        try:
            await self._answer(scope, receive, answer)
        finally:
            self._metrics.http_inflight.dec()
            for close in visit.closers:
                close()
            self._note(scope, visit, answer)
            if traces is not None and trace is not None:
                traces.end(trace, route_of(scope), answer.status or 499)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            if await self._preflight(scope, answer):
                return
            self._check(scope, answer.visit)
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            answer.status = answer.status or 499
        except AppError as error:
            await answer.refuse(error)
        except Exception:
            log.exception("request_failed", request_id=answer.visit.request_id, route=route_of(scope))
            if answer.status:
                raise  # the head is sent; the server below ends the connection
            await answer.refuse(
                AppError(f"The server made a mistake. Tell its operator the id {answer.visit.request_id}.")
            )

    def _check(self, scope: Scope, visit: Visit) -> None:
        host = _header(scope, b"host")
        if not self._hosts.allows(host):
            shown = host[:80]
            raise InvalidRequest(
                f"host: {shown!r} is not a name of this server; the operator can add it to the setting allowed_hosts"
            )
        if _is_anonymous(scope) and _is_counted(scope) and self._platform.strangers.is_full(visit.address):
            visit.rejected = "rate"
            visit.standing = standing = self._platform.strangers.standing(visit.address)
            raise RateLimited(
                f"rate limit: {standing.limit} requests per {standing.window_s} seconds are allowed without a key.",
                retry_after_s=max(standing.reset_s, 1),
            )

    async def _preflight(self, scope: Scope, answer: _Answer) -> bool:
        if scope["method"] != "OPTIONS" or not _header(scope, b"access-control-request-method"):
            return False
        origin = _header(scope, b"origin")
        if not self._origins.allows(origin):
            raise PermissionDenied("origin: pages of this origin may not call the API.")
        headers = [*self._origins.preflight(origin), (b"content-length", b"0")]
        await answer.send({"type": "http.response.start", "status": 204, "headers": headers})
        await answer.send({"type": "http.response.body", "body": b""})
        return True

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hosts.allows(_header(scope, b"host")):
            await self._app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _turn_away(self, scope: Scope, send: Send, wait_s: float) -> None:
        seconds = max(1, int(-(-wait_s // 1)))
        settings = self._platform.settings
        error = RateLimited(
            f"rate limit: {settings.rate_limit} requests per {settings.rate_window_s:g} seconds are allowed.",
            retry_after_s=seconds,
        )
        name = next(self._ids)
        rendered = render(error, scope["path"], name)
        headers = [*rendered.headers, *SECURITY_HEADERS, (b"x-request-id", name.encode())]
        await send({"type": "http.response.start", "status": rendered.status, "headers": headers})
        await send({"type": "http.response.body", "body": rendered.body})
        self._metrics.turned_away()

    def headers(self, scope: Scope, visit: Visit) -> list[tuple[bytes, bytes]]:
        """Return what is added to every answer."""
        headers = [*SECURITY_HEADERS, (b"x-request-id", visit.request_id.encode())]
        if visit.standing is not None:
            headers += rate_headers(visit.standing)
        if self._has_tls or scope["scheme"] == "https":
            headers.append(HSTS)
        if self._origins.is_open:
            headers.append((b"vary", b"origin"))
            if self._origins.allows(origin := _header(scope, b"origin")):
                headers += self._origins.headers(origin)
        return headers

    def give_back(self, visit: Visit) -> None:
        """Take a request out of the rate limit."""
        if visit.strike is not None:
            self._platform.limiter.give_back(visit.strike)
            self._metrics.replays.inc()

    def _note(self, scope: Scope, visit: Visit, answer: _Answer) -> None:
        seconds = perf_counter() - answer.began_s
        route, status = route_of(scope), answer.status or 499
        is_stranger = visit.principal is None and not visit.is_vouched
        if is_stranger and _is_counted(scope) and visit.rejected != "rate":
            self._platform.strangers.count(visit.address, weight=2 if status == 401 else 1)
        self._metrics.answered(route, visit.method, status, seconds)
        if reason := visit.rejected or _REASONS.get(status, ""):
            self._metrics.rejected(reason)
        if visit.is_generation and status == 200:
            self._metrics.gateway_overhead.labels(route).observe(max(seconds - visit.wait_ms / 1000, 0))
        if scope["path"] in _QUIET and status == 200:
            return
        principal = visit.principal
        line = log.bind(trace_id=visit.trace_id) if visit.trace_id else log
        line.info(
            "request",
            request_id=visit.request_id,
            org=principal.org_id if principal else None,
            key_stub=principal.key_stub if principal else None,
            job=visit.job_id or None,
            method=visit.method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 2),
            credits=visit.credits_micro / 1_000_000 if visit.credits_micro else 0,
        )


class _Answer:
    """Sends an answer once, with the headers that every answer has."""

    def __init__(self, envelope: Envelope, scope: Scope, visit: Visit, send: Send) -> None:
        self.visit = visit
        self.status = 0
        self.began_s = perf_counter()
        self._envelope = envelope
        self._scope = scope
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = message.get("headers", ())
            present = {name for name, _ in given}
            if b"idempotent-replayed" in present:
                self._envelope.give_back(self.visit)
            added = [header for header in self._envelope.headers(self._scope, self.visit) if header[0] not in present]
            if b"cache-control" not in present:
                added.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*given, *added]}
        await self._send(message)

    async def refuse(self, error: AppError) -> None:
        if not self.status:
            await self.send_rendered(refusal(self._scope, self.visit, error))

    async def send_rendered(self, rendered: Rendered) -> None:
        headers = rendered.headers
        await self.send({"type": "http.response.start", "status": rendered.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": rendered.body})


def refusal(scope: Scope, visit: Visit, error: AppError) -> Rendered:
    """Render an error for the route of a request, and take note of why it was refused."""
    if not visit.rejected and isinstance(error, DiskFull | DatabaseAway):
        visit.rejected = "disk" if isinstance(error, DiskFull) else "db"
    elif not visit.rejected:
        status, name = status_and_name(error, "v2beta")
        visit.rejected = "moderation" if name == "content_moderation" else _REASONS.get(status, "")
    return render(error, scope["path"], visit.request_id)


def route_of(scope: Scope) -> str:
    """Return the pattern of the route that answers, or a word for none."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else UNROUTED


def no_route(scope: Scope, status: int, allow: str) -> AppError:
    """Return the error for a path or a method that nobody answers."""
    if status == 404:
        return RequestProblem(404, "path: there is nothing at this address.")
    if status == 405:
        return RequestProblem(405, f"method: {visit_of(scope).method} is not offered here; use {allow}.", allow=allow)
    return RequestProblem(status, "The request cannot be answered.")


def _request_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ID.fullmatch(value):
            return str(value, "ascii")
    return None


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value, "latin-1")
    return ""


def _is_anonymous(scope: Scope) -> bool:
    return not any(name in (b"authorization", b"x-api-key", b"cookie") for name, _ in scope["headers"])


def _is_counted(scope: Scope) -> bool:
    path = scope["path"]
    return path != "/" and not path.startswith(_UNCOUNTED)
