"""What can go wrong with a job, and how a worker's refusal becomes an error that a user reads. Knows no tables."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from keelbill.core.errors import (
    AppError,
    Cancelled,
    Conflict,
    GenerationFailed,
    InvalidRequest,
    NotFound,
    NotInstalled,
    Unavailable,
    Unprocessable,
)

NOT_CHARGED: Final = "You were not charged."

_INPUT_CODES: Final = frozenset({"invalid_input", "bad_request", "bad_image", "unknown_name", "unknown_model"})
_UNAVAILABLE_CODES: Final = frozenset({"service_unavailable", "deadline_queue", "draining", "storage_full"})


class NoSuchJob(NotFound):
    """There is no such job, it belongs to somebody else, or its result is no longer kept."""


class StillRunning(Conflict):
    """The first request with this idempotency key has not ended yet."""

    def __init__(self) -> None:
        super().__init__(
            "idempotency-key: the first request with this key is still running.",
            retry_after_s=5,
            hint="Send the same request again in a few seconds; it will not be charged twice.",
        )


class OtherRequest(Unprocessable):
    """An idempotency key was used for two different requests."""

    def __init__(self) -> None:
        super().__init__("idempotency-key: this key was used for a different request; use a new one.")


class Suspected(Unprocessable):
    """The same request ended two workers a short while ago.

    Args:
        until: When it may be sent again.
    """

    def __init__(self, until: datetime) -> None:
        super().__init__(
            f"This request ended two workers one after the other; it is refused until {until:%H:%M:%S} UTC.",
            hint="Change the prompt, the picture, the size or the model.",
        )


def failure(code: str, message: str) -> AppError:
    """Turn the end of a job without a picture into the error that its user gets.

    Args:
        code: As the worker or the queue gave it.
        message: One sentence for the user.
    """
    if code in _INPUT_CODES:
        return InvalidRequest(message)
    if code in _UNAVAILABLE_CODES:
        return Unavailable(message, retry_after_s=5, hint=NOT_CHARGED)
    if code == "not_implemented":
        return NotInstalled(message, hint=NOT_CHARGED)
    if code == "cancelled":
        return Cancelled("The request was cancelled.", hint=NOT_CHARGED)
    return GenerationFailed(message, hint=NOT_CHARGED)
