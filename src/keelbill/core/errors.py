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
