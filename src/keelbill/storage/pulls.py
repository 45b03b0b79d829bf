"""Fetches official models beside other work, and says how far each is. Knows no HTTP and no accounts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import structlog

from keelbill.core.errors import AppError, Conflict, NotFound, UnknownModel
from keelbill.storage.catalogue import CATALOGUE, T5Choice
from keelbill.storage.hub import Hub

State = Literal["running", "done", "failed", "stopped"]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Pull:
    """How far a model is.

    Attributes:
        name: Of the catalogue.
        state: ``stopped`` keeps what has arrived; the next pull continues.
        file: That is fetched now.
        file_number: Which of the files it is, from 1; 0 before the first.
        files: How many there are, 0 while nobody knows.
        expected_bytes: Roughly what it needs on disk.
        arrived_bytes: What is there so far.
        problem: What went wrong, with what helps.
    """

    name: str
    state: State = "running"
    file: str = ""
    file_number: int = 0
    files: int = 0
    expected_bytes: int = 0
    arrived_bytes: int = 0
    problem: str = ""


class _Stopped(Exception):
    """Somebody no longer wants the model."""


class Pulls:
    """At most one pull at a time, each in a thread of its own.

    Args:
        hub: Where models go.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._pulls: dict[str, Pull] = {}
        self._unwanted: set[str] = set()

    def start(self, name: str, *, t5: T5Choice = "fp16") -> Pull:
        """Begin to fetch a model, or continue an interrupted download.

        Raises:
            Conflict: Another is being fetched.
            UnknownModel: The catalogue does not have it.
        """
        if name not in CATALOGUE:
            raise UnknownModel("model", name, CATALOGUE)
        entry = CATALOGUE.get(name)
        with self._lock:
            busy = next((pull.name for pull in self._pulls.values() if pull.state == "running"), "")
            if busy:
                raise Conflict(f"model: {busy} is being fetched; wait for it, or stop it.")
            self._unwanted.discard(name)
            begun = self._pulls[name] = Pull(name, expected_bytes=entry.expected_bytes(t5))
        threading.Thread(target=self._fetch, args=(name, t5), name=f"pull {name}", daemon=True).start()
        return begun

    def stop(self, name: str) -> None:
        """Let a pull end before its next file.

        Raises:
            NotFound: It is not being fetched.
        """
        with self._lock:
            if name not in self._pulls or self._pulls[name].state != "running":
                raise NotFound(f"model: {name} is not being fetched.")
            self._unwanted.add(name)

    def all(self) -> list[Pull]:
        """Return every pull since the start of the server; blocking, because it looks at files."""
        with self._lock:
            known = list(self._pulls.values())
        return [self._measured(pull) if pull.state == "running" else pull for pull in known]

    def _measured(self, pull: Pull) -> Pull:
        arrived = _bytes_below(self._hub.models_folder / ".partial" / pull.name)
        return replace(pull, arrived_bytes=min(arrived, pull.expected_bytes))

    def _fetch(self, name: str, t5: T5Choice) -> None:
        try:
            item = self._hub.pull(name, t5=t5, on_file=self._noter(name))
        except _Stopped:
            self._note(name, state="stopped")
        except AppError as error:
            _log.warning("pull_failed", model=name, reason=error.message)
            self._note(name, state="failed", problem=" ".join(part for part in (error.message, error.hint) if part))
        except OSError as error:
            _log.warning("pull_failed", model=name, reason=str(error))
            self._note(name, state="failed", problem=f"The model could not be stored: {error.strerror or error}.")
        else:
            self._note(name, state="done", arrived_bytes=item.size_bytes, expected_bytes=item.size_bytes)

    def _noter(self, name: str) -> Callable[[str, int, int], None]:
        def note(file: str, number: int, files: int) -> None:
            if name in self._unwanted:
                raise _Stopped
            self._note(name, file=file, file_number=number, files=files)

        return note

    def _note(self, name: str, **changed: object) -> None:
        with self._lock:
            self._pulls[name] = replace(self._pulls[name], **changed)  # type: ignore[arg-type]


_BLOCK: Final = 512


def _bytes_below(folder: Path) -> int:
    """Return what the files of a folder take up; those that vanish meanwhile do not count.

    Downloads are written into files that have their full length from the start, so blocks are counted, not lengths.
    """
    total = 0
    for parent, _, names in os.walk(folder):  # which passes over folders that are gone
        for name in names:
            try:
                found = Path(parent, name).stat()
            except OSError:
                continue
            total += min(found.st_size, getattr(found, "st_blocks", found.st_size) * _BLOCK)
    return total
