"""The audit log: who changed what, from where. It only appends, and it never holds a secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.ids import new_id
from keelbill.core.principal import Principal
from keelbill.identity import session_repository as rows
from keelbill.identity.schemas import AuditEntry


@dataclass(frozen=True)
class Actor:
    """Who does something, and through which request.

    Attributes:
        kind: ``user``, ``key`` or ``system``.
        id: Of the user or key; "" for the system.
        ip: Address of the client, "" on the command line.
        request_id: For finding the request in the logs.
    """

    kind: str = "system"
    id: str = ""
    ip: str = ""
    request_id: str = ""

    @classmethod
    def of(cls, principal: Principal, ip: str = "", request_id: str = "") -> Actor:
        """Return the actor behind a request."""
        if principal.key_id:
            return cls("key", principal.key_id, ip, request_id)
        return cls("user", principal.user_id, ip, request_id)


SYSTEM = Actor()


class AuditLog:
    """Writes and lists entries.

    Args:
        clock: For the time of entries.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def add(
        self,
        connection: Connection,
        actor: Actor,
        action: str,
        target: str,
        *,
        org_id: str = "",
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> None:
        """Append an entry in the transaction of what it tells of.

        Args:
            connection: Of that transaction.
            actor: Who did it.
            action: Such as ``key.revoke``.
            target: The id of what was changed.
            org_id: Whose log it belongs to, "" for the installation's.
            before: What it was; no secrets.
            after: What it became; no secrets.
        """
        entry = AuditEntry(
            id=new_id(),
            at_ms=self._clock.now_ms(),
            org_id=org_id,
            actor_kind=actor.kind,
            actor_id=actor.id,
            action=action,
            target=target,
            before=json.dumps(before, sort_keys=True) if before else "",
            after=json.dumps(after, sort_keys=True) if after else "",
            ip=actor.ip,
            request_id=actor.request_id,
        )
        rows.add_audit(connection, entry)

    def entries(
        self, connection: Connection, org_id: str = "", *, before_id: str = "", limit: int = 100
    ) -> list[AuditEntry]:
        """Return entries, newest first; of every organisation if `org_id` is ""."""
        return rows.audit_lines(connection, org_id, before_id, limit)
