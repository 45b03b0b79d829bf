"""Keeps a worker that has packs of nodes off the network. Knows no pack and no node.

It stops what a pack does by mistake or in plain Python, for the whole process and for good (PEP 578). It is no wall
against code that means harm: a pack that is enabled is trusted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from keelbill.core.errors import PermissionDenied

_NAMES: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_PLACES: Final = frozenset({"socket.connect", "socket.bind", "socket.sendto"})

_is_allowed: ContextVar[bool] = ContextVar("network_is_allowed", default=False)


class Offline(PermissionDenied):
    """A node wanted to use the network."""


@contextmanager
def network_allowed() -> Iterator[None]:
    """Let the block use the network, in a worker that is otherwise kept off it."""
    token = _is_allowed.set(True)
    try:
        yield
    finally:
        _is_allowed.reset(token)


def keep_offline() -> None:
    """Refuse new connections of this process from now on; those that there are stay."""
    sys.addaudithook(_look)


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _NAMES and not _is_allowed.get():
        raise Offline("Nodes of packs may not use the network.")
    # Sockets of this machine's processes have paths, not pairs of a host and a port.
    if event in _PLACES and isinstance(arguments[1], tuple) and not _is_allowed.get():
        raise Offline("Nodes of packs may not use the network.")
