"""Requests and replies as plain data, and what a service is: questions and answers. Opens no connection."""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeVar

import httpx

from keelbill import __version__
from keelbill.client.errors import (
    ConnectionFailedError,
    DeadlineExceededError,
    KeelbillError,
    UnexpectedAnswerError,
    error_of,
    read_refusal,
)
from keelbill.client.target import Target

T = TypeVar("T")

CONNECT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 256 * 2**20
PICTURES: Final = "image/*"
JSON: Final = "application/json"
_LARGE_BODY_BYTES: Final = 10 * 2**20


@dataclass(frozen=True)
class Part:
    """A file in a form."""

    name: str
    data: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True)
class Request:
    """One question to a server.

    Attributes:
        method: GET, POST or DELETE.
        path: From the base address on, with a slash.
        form: Fields of a multipart form, as text.
        files: Files of the form.
        body: JSON to send in place of a form.
        accept: What the answer may be.
        headers: More headers.
        wait_s: Seconds to wait before asking.
    """

    method: str
    path: str
    form: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[Part] = ()
    body: Mapping[str, object] | None = None
    accept: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0


@dataclass(frozen=True)
class Reply:
    """One successful answer."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)

    @property
    def request_id(self) -> str:
        """Under which the server knows the request."""
        return str(self.headers.get("x-request-id", ""))

    @property
    def media_type(self) -> str:
        """Without parameters, in lower case."""
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()

    def json(self) -> Any:  # Any: what another server sent; every reader checks what it takes
        """Read the body as JSON, its fractions as exact decimals.

        Raises:
            UnexpectedAnswerError: It is not JSON.
        """
        try:
            return json.loads(self.body, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise self.unexpected("is not JSON") from error

    def unexpected(self, what: str) -> UnexpectedAnswerError:
        """Return the error for an answer that does not fit the interface."""
        return UnexpectedAnswerError(
            f"The answer {what} (content-type {self.media_type or 'missing'}, {len(self.body):,} bytes).",
            hint="Is this the address of a Keelbill or Stability-compatible server? `keelbill doctor --server` tells.",
            status=self.status,
            request_id=self.request_id,
        )


Exchange = Generator[Request, Reply, T]
"""A service: yields requests, is sent successful replies, and returns its result. The client drives it."""


@dataclass
class Answer:
    """An answer that is still being read: bounded in bytes and in time, whatever the other side does."""

    response: httpx.Response
    request: Request
    target: Target
    limit_s: float
    _body: bytearray = field(default_factory=bytearray, repr=False)

    def take(self, chunk: bytes, left_s: float) -> None:
        """Take in some bytes.

        Raises:
            DeadlineExceededError: The time is used up.
            UnexpectedAnswerError: There are too many bytes.
        """
        if left_s <= 0:
            raise too_late(self.limit_s, self.request, self.target)
        self._body += chunk
        if len(self._body) > MAX_ANSWER_BYTES:
            raise UnexpectedAnswerError(f"The answer is larger than {MAX_ANSWER_BYTES:,} bytes.")

    def reply(self) -> Reply:
        """Return the whole answer.

        Raises:
            KeelbillError: It is not a success.
        """
        if self.response.is_success:
            return Reply(self.response.status_code, self.response.headers, bytes(self._body))
        raise refused(self.response, bytes(self._body), self.request, self.target)


def arguments_of(request: Request, target: Target, idempotency_key: str, left_s: float) -> dict[str, Any]:
    """Return a request as keyword arguments of httpx."""
    return {
        "method": request.method,
        "url": request.path,
        "headers": headers_of(request, target, idempotency_key),
        "timeout": timeouts(left_s),
        **content_of(request),
    }


def uses_environment(target: Target) -> bool:
    """Tell whether proxies and certificates of the environment apply; never for plain HTTP to this machine."""
    return not (target.is_local and target.base_url.startswith("http://"))


def headers_of(request: Request, target: Target, idempotency_key: str) -> dict[str, str]:
    """Return the headers of a request."""
    agent = "keelbill-python"
    headers = {
        "authorization": f"Bearer {target.key}",
        "accept": request.accept,
        "user-agent": f"{agent}/{__version__}",
        "stability-client-id": agent,
        "stability-client-version": __version__,
    }
    if request.method == "POST":
        headers["idempotency-key"] = idempotency_key
    return {**headers, **request.headers}


def content_of(request: Request) -> dict[str, Any]:  # Any: httpx's keyword arguments
    """Return a request's body as keyword arguments of httpx; a form is multipart even without files."""
    if request.body is not None:
        return {"json": dict(request.body)}
    if request.method != "POST":
        return {}
    fields: list[tuple[str, Any]] = [(name, (None, text.encode())) for name, text in request.form.items()]
    fields += [(part.name, (part.name, part.data, part.media_type)) for part in request.files]
    return {"files": fields or [("none", (None, b""))]}


def timeouts(left_s: float) -> httpx.Timeout:
    """Return the limits of one try: 10 s to connect, and what is left of the call's time for the rest."""
    left = max(0.001, left_s)
    return httpx.Timeout(left, connect=min(CONNECT_S, left), pool=left)


def is_repeatable(request: Request, target: Target) -> bool:
    """Tell whether doing a request twice is harmless: it only reads, or its idempotency key is honoured."""
    return request.method != "POST" or not target.is_hosted


def new_idempotency_key() -> str:
    """Return a name for one call, the same for all its tries."""
    return uuid.uuid4().hex


def refused(response: httpx.Response, body: bytes, request: Request, target: Target) -> KeelbillError:
    """Return the error for an answer that is not a success."""
    return error_of(
        read_refusal(response.status_code, response.headers, body),
        repeatable=is_repeatable(request, target),
        location=response.headers.get("location", ""),
    )


def failure_of(error: httpx.HTTPError, request: Request, target: Target, limit_s: float) -> KeelbillError:
    """Turn what went wrong on the line into our own error."""
    where = httpx.URL(target.base_url).netloc.decode()
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return ConnectionFailedError(
            f"{where} does not answer: no connection within {min(CONNECT_S, limit_s):g} s.",
            hint="Look at the address, the port and the firewall.",
            can_retry=True,
        )
    if isinstance(error, httpx.TimeoutException):
        return too_late(limit_s, request, target)
    if isinstance(error, httpx.ConnectError):
        return ConnectionFailedError(f"Cannot connect to {where}: {reason(error)}.", hint=advice(error), can_retry=True)
    repeatable = is_repeatable(request, target)
    hint = "" if repeatable else "The picture may have been made and charged all the same; look before you ask again."
    if sum(len(part.data) for part in request.files) > _LARGE_BODY_BYTES:
        hint = "The request is larger than the 10 MiB that servers take."
    return ConnectionFailedError(
        f"The connection to {where} broke before the answer was complete: {reason(error)}.",
        hint=hint,
        can_retry=repeatable,
    )


def too_late(limit_s: float, request: Request, target: Target) -> DeadlineExceededError:
    """Return the error for a call that used up its time."""
    return DeadlineExceededError(
        f"No complete answer within {limit_s:g} s.",
        hint="Give a longer timeout_s, or look whether the server is busy: `keelbill doctor --server`.",
        can_retry=is_repeatable(request, target),
    )


def reason(error: BaseException) -> str:
    """Say in a few words why a connection failed."""
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not trusted"
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text.lower():
        return "it does not speak TLS"
    if "Name or service not known" in text or "nodename nor servname" in text or "getaddrinfo" in text:
        return "no such host name"
    if "refused" in text.lower() or "All connection attempts failed" in text:
        return "nothing listens there"
    return text.rstrip(".")


def advice(error: BaseException) -> str:
    """Say what to do about a connection that failed."""
    return {
        "its certificate is not trusted": "Ask the operator for a valid certificate, or set SSL_CERT_FILE to the "
        "certificate of your own authority.",
        "it does not speak TLS": "Write http:// in place of https:// if the server is on this machine.",
        "no such host name": "Look for a typo in the address.",
        "nothing listens there": "Start the server with `keelbill serve`, or correct host and port.",
    }.get(reason(error), "Look at the address and the network.")
