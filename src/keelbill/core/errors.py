"""The one error tree. Knows what went wrong and what to do next; does not know how a front door renders it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AppError(Exception):
    """An error that a user is meant to read.

    Args:
        message: One sentence that names the field, the value and what is allowed.
        hint: What to do next, if that is not obvious from the message.
    """

    code = "internal_error"
    status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each thing that is wrong; most errors have one."""
        return (self.message,)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InvalidInput(AppError):
    """A value that the user gave cannot be used."""

    code = "invalid_input"
    status = 400

    def __init__(self, field: str, value: object, allowed: str, *, hint: str = "") -> None:
        shown = repr(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(f"{field} {shown} is not allowed; {field} must be {allowed}.", hint=hint)
        self.field = field
        self.value = value
        self.allowed = allowed


class UnknownName(InvalidInput):
    """A name that is not in the list of known names; the message offers the nearest one."""

    code = "unknown_name"

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else ""
        super().__init__(kind, name, "one of " + ", ".join(names) if names else "installed first", hint=hint)


class UnknownModel(UnknownName):
    """No model of that name is installed."""

    code = "unknown_model"
    status = 404


class BadImage(AppError):
    """Bytes that should be a picture and are not, or are too large."""

    code = "bad_image"
    status = 400


class BadWeights(AppError):
    """A weight file that cannot be loaded: truncated, of another family, with missing keys or NaN values."""

    code = "bad_weights"
    status = 422


class UnsafeFile(BadWeights):
    """A file in a format that can run code when it is opened."""

    code = "unsafe_file"


class OutOfMemory(AppError):
    """The request does not fit the memory of this machine."""

    code = "out_of_memory"
    status = 507


class Cancelled(AppError):
    """The request was cancelled before it was done."""

    code = "cancelled"
    status = 499


class DownloadFailed(AppError):
    """A model could not be fetched from its source."""

    code = "download_failed"
    status = 502


class InvalidRequest(AppError):
    """A request with one or more parameters that cannot be used.

    Args:
        problems: One sentence each, ``"field: what is allowed"``; at least one.
    """

    code = "bad_request"
    status = 400

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self._problems = problems

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each parameter that is wrong."""
        return self._problems


class Unauthorized(AppError):
    """No credential, or one that is not valid."""

    code = "unauthorized"
    status = 401

    def __init__(self, message: str = "authorization: invalid or missing header value", *, hint: str = "") -> None:
        super().__init__(message, hint=hint)


class PaymentRequired(AppError):
    """The balance or a cap does not cover the price."""

    code = "payment_required"
    status = 402


class ContentRefused(AppError):
    """The moderation rules refuse a prompt or a picture."""

    code = "content_moderation"
    status = 403


class PermissionDenied(AppError):
    """The credential is valid and does not allow this."""

    code = "permission_denied"
    status = 403


class NotFound(AppError):
    """There is no such thing, or it belongs to somebody else."""

    code = "not_found"
    status = 404


class Conflict(AppError):
    """The request collides with the present state, for example a name that is taken.

    Args:
        message: One sentence.
        retry_after_s: Whole seconds after which another try makes sense; 0 says nothing.
        hint: What to do next.
    """

    code = "conflict"
    status = 409

    def __init__(self, message: str, *, retry_after_s: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class PayloadTooLarge(AppError):
    """A body or a file is larger than allowed."""

    code = "payload_too_large"
    status = 413


class UnsupportedMedia(AppError):
    """The body is encoded in a way that is not read."""

    code = "unsupported_media_type"
    status = 415


class Unprocessable(AppError):
    """The request is well formed and contradicts an earlier one or a named rule."""

    code = "unprocessable_entity"
    status = 422


class RateLimited(AppError):
    """Too many requests in a short time.

    Args:
        message: One sentence that names the limit.
        retry_after_s: Whole seconds until the next request is allowed, at least 1.
        hint: What to do next.
    """

    code = "rate_limit_exceeded"
    status = 429

    def __init__(self, message: str, *, retry_after_s: int = 1, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class GenerationFailed(AppError):
    """A picture could not be made; it was not charged."""

    code = "internal_error"
    status = 500


class NotInstalled(AppError):
    """The service needs a network that this installation does not have."""

    code = "not_implemented"
    status = 501


class Unavailable(AppError):
    """The server cannot take the request now: draining, full, or a part is down.

    Args:
        message: One sentence.
        retry_after_s: Whole seconds after which another try makes sense, 1 to 300.
        hint: What to do next.
    """

    code = "service_unavailable"
    status = 503

    def __init__(self, message: str, *, retry_after_s: int = 1, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s
