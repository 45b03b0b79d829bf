"""What can go wrong between a program and a server, as one tree. Knows statuses and sentences, no sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from keelbill.core.errors import AppError


class KeelbillError(AppError):
    """Everything that the SDK raises.

    Args:
        message: One sentence.
        hint: What to do next.
        status: Of the answer; 0 if nothing was answered.
        name: The server's stable word for the situation, such as ``payment_required``; "" if nothing was answered.
        errors: The server's sentences, one for each problem.
        request_id: Under which the server knows the request; "" if nothing was answered.
        retry_after_s: Seconds after which the server wants to be asked again; nothing if it did not say.
        can_retry: Whether the same call may succeed later and cannot be charged twice.
    """

    status = 0
    code = "client_error"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int = 0,
        name: str = "",
        errors: tuple[str, ...] = (),
        request_id: str = "",
        retry_after_s: float | None = None,
        can_retry: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.name = name
        self.errors = errors or (message,)
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.can_retry = can_retry

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each thing that is wrong."""
        return self.errors

    def __str__(self) -> str:
        if not self.status:
            return super().__str__()
        facts = f"{self.status} {self.name}".strip() + (f", request {self.request_id}" if self.request_id else "")
        return f"{super().__str__()} [{facts}]"


class ConnectionFailedError(KeelbillError):
    """No answer: nobody listens, the name is unknown, the certificate is not trusted, or the line broke."""


class DeadlineExceededError(KeelbillError):
    """The answer did not come within the time that was given."""


class UnexpectedAnswerError(KeelbillError):
    """Something answered that does not speak this interface."""


class BadRequestError(KeelbillError):
    """A parameter is missing or not allowed (400); `problems` has a sentence for each."""


class AuthenticationError(KeelbillError):
    """There is no key, it has a typo, or the server does not know it (401)."""


class InsufficientCreditsError(KeelbillError):
    """The balance, or a limit of the key, does not cover the price (402; on v1 429 ``insufficient_balance``)."""


class ModerationError(KeelbillError):
    """The prompt or a given picture was refused (403 ``content_moderation``); nothing was charged."""


class PermissionDeniedError(KeelbillError):
    """The key is valid and does not allow this (403)."""


class NotFoundError(KeelbillError):
    """There is no such path or result, or it belongs to somebody else (404)."""


class ConflictError(KeelbillError):
    """The same idempotency key is still at work (409)."""


class TooLargeError(KeelbillError):
    """The request is larger than the server takes (413)."""


class UnprocessableError(KeelbillError):
    """Well formed, and declined for a named reason, such as an idempotency key used for something else (422)."""


class RateLimitError(KeelbillError):
    """Too many requests in a short time (429); `retry_after_s` says when to go on."""


class ServerError(KeelbillError):
    """The server failed (5xx); a failed picture is not charged."""


class UnavailableError(ServerError):
    """The server cannot take the request now: full, starting or stopping (503)."""


class NotInstalledError(ServerError):
    """This installation lacks what the service needs (501)."""


@dataclass(frozen=True)
class Refusal:
    """An answer that is not a success, taken apart.

    Attributes:
        status: 300 to 599.
        name: The server's word; "" if the body is not one of the known error bodies.
        errors: Its sentences.
        request_id: From the body or the header.
        retry_after_s: From the header.
    """

    status: int
    name: str
    errors: tuple[str, ...]
    request_id: str
    retry_after_s: float | None


_STATUSES: Final[Mapping[int, tuple[type[KeelbillError], str]]] = {
    400: (BadRequestError, ""),
    401: (AuthenticationError, "Look for a typo, or make a new key; `keelbill doctor --server` checks it."),
    402: (InsufficientCreditsError, "Nothing was charged."),
    403: (PermissionDeniedError, "Use a key with the scope that the sentence names."),
    404: (NotFoundError, ""),
    409: (ConflictError, "The first request with this idempotency key is still at work; ask again later."),
    413: (TooLargeError, "Make the picture smaller, or save it as JPEG or WebP; servers take 10 MiB in all."),
    422: (UnprocessableError, ""),
    429: (RateLimitError, "Ask less often, or wait as long as retry_after_s says."),
    501: (NotInstalledError, ""),
    503: (UnavailableError, "Nothing was charged."),
}
_MODERATION_HINT: Final = "Nothing was charged."
_AMBIGUOUS: Final = frozenset({502, 504})
"""Statuses of proxies after which the server may have done the work."""


def read_refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Take an unsuccessful answer apart; understands the bodies of v2beta, v1 and OpenAI-style routes."""
    known = _json_object(body)
    nested = known.get("error")
    inner = nested if isinstance(nested, dict) else known
    name = inner.get("name") or inner.get("code") or inner.get("type")
    listed = inner.get("errors")
    sentences = tuple(str(item) for item in listed) if isinstance(listed, list) else ()
    if not sentences and isinstance(inner.get("message"), str):
        sentences = (str(inner["message"]),)
    request = headers.get("x-request-id") or known.get("id")
    return Refusal(
        status=status,
        name=name if isinstance(name, str) else "",
        errors=sentences,
        request_id=request if isinstance(request, str) else "",
        retry_after_s=read_retry_after(headers.get("retry-after", ""), headers.get("date", "")),
    )


def error_of(refusal: Refusal, *, repeatable: bool, location: str = "") -> KeelbillError:
    """Return the error for an unsuccessful answer.

    Args:
        refusal: The answer.
        repeatable: Whether doing the request twice is harmless, because it only reads or carries a key that the
            server honours.
        location: Where a redirect leads.
    """
    kind, hint = _STATUSES.get(refusal.status, (ServerError if refusal.status >= 500 else UnexpectedAnswerError, ""))
    can_retry = refusal.status in (409, 429, 503) or (refusal.status in _AMBIGUOUS and repeatable)
    if refusal.name == "insufficient_balance":
        kind, hint, can_retry = InsufficientCreditsError, _STATUSES[402][1], False
    elif refusal.name == "content_moderation":
        kind, hint = ModerationError, _MODERATION_HINT
    elif refusal.status < 400:
        hint = f"Redirects are not followed with a key. Use the address {location} itself." if location else ""
    if kind is ConflictError and refusal.retry_after_s is None:
        can_retry = False
    told = "; ".join(refusal.errors) or f"The server answered with status {refusal.status} and no explanation."
    if hint and not told.endswith((".", "!", "?")):
        told += "."
    return kind(
        told,
        hint=hint,
        status=refusal.status,
        name=refusal.name,
        errors=refusal.errors,
        request_id=refusal.request_id,
        retry_after_s=refusal.retry_after_s,
        can_retry=can_retry,
    )


def read_retry_after(text: str, date: str = "") -> float | None:
    """Read a Retry-After header, seconds or a date (RFC 9110, 10.2.3); nothing if it is absent or unreadable.

    Args:
        text: The header.
        date: The answer's Date header, so that a wrong clock on this side does not matter.
    """
    if text.strip().isdecimal():
        return float(text)
    moment = _moment(text)
    if moment is None:
        return None
    return max(0.0, (moment - (_moment(date) or datetime.now(UTC))).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _json_object(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
