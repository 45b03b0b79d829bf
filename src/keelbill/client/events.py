"""What happens to a job, and how it is told in Server-Sent Events. Reads bytes that somebody else fetches."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from keelbill.client.errors import (
    BadRequestError,
    KeelbillError,
    ModerationError,
    NotInstalledError,
    ServerError,
    UnavailableError,
    UnexpectedAnswerError,
)
from keelbill.client.pictures import Picture

MAX_EVENT_BYTES: Final = 1024 * 1024
_LAST: Final = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True)
class Queued:
    """The job waits as number `position`, counted from 1, and is expected to start in `estimate_s` seconds."""

    position: int
    estimate_s: float


@dataclass(frozen=True)
class Started:
    """A worker has begun."""

    attempt: int


@dataclass(frozen=True)
class Progress:
    """Step `step` of `total` is done; `preview` is a small JPEG file, or nothing."""

    step: int
    total: int
    preview: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Retrying:
    """A worker was lost; the job starts again as `attempt`. It is charged once at most."""

    attempt: int
    reason: str


@dataclass(frozen=True)
class Done:
    """The picture is finished. Always the last event."""

    picture: Picture


Event = Queued | Started | Progress | Retrying | Done


@dataclass(frozen=True)
class Finished:
    """The server says that the job succeeded; its picture is still to be fetched."""


class Cancelled(KeelbillError):
    """The job was cancelled; nothing was charged."""


@dataclass
class EventReader:
    """Turns the bytes of an event stream into events (HTML Standard, 9.2.6).

    Attributes:
        last_id: Of the newest event; a new connection goes on after it.
        is_over: Whether the job has ended, well or badly.
    """

    last_id: str = ""
    is_over: bool = False
    _rest: bytes = field(default=b"", repr=False)
    _newest: Event | Finished | None = None
    _is_back: bool = False
    _kind: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, chunk: bytes) -> Iterator[Event | Finished]:
        """Take in some bytes and yield the events that they complete, each before the next one is looked at.

        Raises:
            KeelbillError: The job failed, or the stream is none.
        """
        *lines, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise UnexpectedAnswerError(f"An event is longer than {MAX_EVENT_BYTES:,} bytes.")
        for line in lines:
            found = self._line(line.decode("utf-8", "replace").rstrip("\r"))
            is_known = self._is_back and found == self._newest
            if found is not None:
                self._newest, self._is_back = found, False
                if not is_known:
                    yield found

    def reconnect(self) -> None:
        """Forget a half-read event of a line that broke; the newest event may be told again, and is left out then."""
        self._rest, self._kind, self._is_back = b"", "", True
        self._data.clear()

    def _line(self, line: str) -> Event | Finished | None:
        if not line:
            kind, data = self._kind, "\n".join(self._data)
            self._kind = ""
            self._data.clear()
            self.is_over = self.is_over or kind in _LAST
            return event_of(kind, data) if kind and data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self.last_id = value
        return None


def event_of(kind: str, data: str) -> Event | Finished | None:
    """Read one event; kinds that are not known are passed over, so that servers may add some.

    Raises:
        KeelbillError: It says that the job failed or was cancelled.
        UnexpectedAnswerError: It cannot be read.
    """
    try:
        facts = json.loads(data)
        return _read(kind, facts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        raise UnexpectedAnswerError(f"The event {kind!r} cannot be read: {data[:200]!r}.") from error


def _read(kind: str, facts: Any) -> Event | Finished | None:  # Any: JSON; wrong shapes end in UnexpectedAnswerError
    if kind == "queued":
        return Queued(int(facts["position"]), float(facts.get("estimate_ms", 0)) / 1000)
    if kind == "started":
        return Started(int(facts.get("attempt", 1)))
    if kind == "progress":
        preview = facts.get("preview")
        return Progress(int(facts["step"]), int(facts["total"]), base64.b64decode(preview) if preview else None)
    if kind == "retrying":
        return Retrying(int(facts.get("attempt", 2)), str(facts.get("reason", "")))
    if kind == "succeeded":
        return Finished()
    if kind == "failed":
        raise _failure(str(facts.get("code", "")), str(facts["message"]))
    if kind == "cancelled":
        raise Cancelled(
            f"The job was cancelled: {facts.get('reason') or 'no reason given'}.", hint="Nothing was charged."
        )
    return None


def _failure(code: str, message: str) -> KeelbillError:
    kinds: dict[str, type[KeelbillError]] = {
        "content_moderation": ModerationError,
        "bad_request": BadRequestError,
        "invalid_input": BadRequestError,
        "bad_image": BadRequestError,
        "not_implemented": NotInstalledError,
        "service_unavailable": UnavailableError,
        "deadline_exceeded": UnavailableError,
    }
    return kinds.get(code, ServerError)(message, name=code, hint="Nothing was charged.")
