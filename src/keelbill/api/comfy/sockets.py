"""Open sockets of the editor, by account and by the id that clients gave themselves. Knows no frames' meaning."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from keelbill.api.comfy.outbox import Outbox
from keelbill.core.errors import RateLimited, Unavailable
from keelbill.core.ids import request_id
from keelbill.workspace.schemas import Account

MAX_ACCOUNT_SOCKETS: Final = 32
MAX_SOCKETS: Final = 1000
MAX_ID: Final = 128


@dataclass(eq=False)
class Socket:
    """One open socket.

    Attributes:
        account: Whose.
        sid: Its id.
        outbox: What waits to be sent.
        flags: What the client says that it can do.
        replaced: Set when another socket takes its id.
    """

    account: Account
    sid: str
    outbox: Outbox = field(default_factory=Outbox)
    flags: dict[str, Any] = field(default_factory=dict)
    replaced: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def takes_previews(self) -> bool:
        """Whether it understands previews that say what they belong to."""
        return bool(self.flags.get("supports_preview_metadata"))


class Sockets:
    """All open sockets of this process."""

    def __init__(self) -> None:
        self._by_id: dict[str, Socket] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def open(self, account: Account, wanted: str) -> Socket:
        """Open a socket under an id, which replaces the account's former one of this id.

        Another account's id is never taken over, and a strange one is not used: the client gets a fresh one.

        Raises:
            RateLimited: The account has too many.
            Unavailable: The server has too many.
        """
        former = self._by_id.get(wanted)
        if former is not None and former.account == account:
            former.replaced.set()
        elif len(self._by_id) >= MAX_SOCKETS:
            raise Unavailable("socket: the server has too many open sockets.", retry_after_s=10)
        elif len(self.of(account)) >= MAX_ACCOUNT_SOCKETS:
            raise RateLimited(f"socket: an account may have {MAX_ACCOUNT_SOCKETS} open.", retry_after_s=5)
        is_usable = 0 < len(wanted) <= MAX_ID and wanted.isprintable()
        sid = wanted if is_usable and (former is None or former.account == account) else request_id()
        opened = self._by_id[sid] = Socket(account, sid)
        return opened

    def close(self, socket: Socket) -> None:
        """Forget a socket, unless its id has another by now."""
        if self._by_id.get(socket.sid) is socket:
            del self._by_id[socket.sid]

    def of(self, account: Account) -> list[Socket]:
        """Return the sockets of an account."""
        return [socket for socket in self._by_id.values() if socket.account == account]

    def client(self, account: Account, sid: str) -> Socket | None:
        """Return an account's socket by its id."""
        found = self._by_id.get(sid)
        return found if found is not None and found.account == account else None
