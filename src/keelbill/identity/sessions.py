"""Sessions: an opaque cookie, of which only a keyed digest is stored. Knows no passwords and no HTTP.

A session ends after 14 days without use, after 90 days in any case, and whenever its user signs out or changes the
password. Its id changes at sign-in, at every change of privilege and at a change of password.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.ids import new_id
from keelbill.core.principal import Principal
from keelbill.identity import repository, session_repository
from keelbill.identity.errors import CredentialRefused, UnknownThing
from keelbill.identity.keys import digest
from keelbill.identity.schemas import SessionRecord, allowed_scopes

DAY_MS = 24 * 3_600_000
IDLE_MS = 14 * DAY_MS
ABSOLUTE_MS = 90 * DAY_MS
RECENT_MS = 15 * 60_000
TOKEN_BYTES = 32


@dataclass(frozen=True)
class OpenedSession:
    """A new session with its cookie, which is shown this once."""

    cookie: str = field(repr=False)
    csrf_token: str = field(repr=False)
    record: SessionRecord


class Sessions:
    """Opens, finds, renews and ends sessions.

    Args:
        clock: For their ends.
        secret: The server's.
    """

    def __init__(self, clock: Clock, secret: bytes) -> None:
        self._clock = clock
        self._secret = secret

    def open(
        self, connection: Connection, user_id: str, *, org_id: str = "", ip: str = "", user_agent: str = ""
    ) -> OpenedSession:
        """Open a session for somebody who just proved who they are.

        Args:
            connection: A transaction.
            user_id: Who.
            org_id: For which organisation it acts; the personal one if "".
            ip: From where.
            user_agent: As the browser names itself; cut after 200 characters.
        """
        now = self._clock.now_ms()
        cookie = secrets.token_urlsafe(TOKEN_BYTES)
        record = SessionRecord(
            id=new_id(),
            user_id=user_id,
            org_id=org_id or repository.personal_org(connection, user_id),
            created_ms=now,
            last_seen_ms=now,
            authenticated_ms=now,
            expires_ms=now + ABSOLUTE_MS,
            ip=ip,
            user_agent="".join(c for c in user_agent if c.isprintable())[:200],
        )
        session_repository.add_session(connection, record, self._digest(cookie))
        return OpenedSession(cookie, self.csrf_token(cookie), record)

    def find(self, connection: Connection, cookie: str) -> tuple[Principal, SessionRecord]:
        """Return who a cookie belongs to.

        Raises:
            CredentialRefused: It is unknown, has ended, or its user may not come in any more.
        """
        record = session_repository.session_by_digest(connection, self._digest(cookie))
        if record is None:
            raise CredentialRefused("unknown")
        now = self._clock.now_ms()
        if now >= record.expires_ms or now >= record.last_seen_ms + IDLE_MS:
            raise CredentialRefused("expired")
        member = session_repository.session_member(connection, record)
        if member is None:
            raise CredentialRefused("disabled")
        role, caps, weight, is_staff = member
        principal = Principal(
            org_id=record.org_id,
            user_id=record.user_id,
            role=role,
            scopes=allowed_scopes(role, is_staff=is_staff),
            session_id=record.id,
            member_caps=caps,
            weight=weight,
            is_staff=is_staff,
            authenticated_ms=record.authenticated_ms,
        )
        return principal, record

    def renew(
        self, connection: Connection, session_id: str, user_id: str, *, org_id: str = "", is_proved: bool = False
    ) -> OpenedSession:
        """Give a session another id; the old cookie opens nothing from then on.

        Args:
            connection: A transaction.
            session_id: Which.
            user_id: Whose it must be.
            org_id: The organisation for which it acts from now on; "" leaves it.
            is_proved: Whether the user proved the password just now.

        Raises:
            UnknownThing: The session has ended.
        """
        mine = [r for r in self.list(connection, user_id) if r.id == session_id]
        if not mine or not session_repository.end_session(connection, user_id, session_id):
            raise UnknownThing("session", session_id)
        cookie = secrets.token_urlsafe(TOKEN_BYTES)
        now = self._clock.now_ms()
        record = replace(
            mine[0],
            id=new_id(),
            org_id=org_id or mine[0].org_id,
            last_seen_ms=now,
            authenticated_ms=now if is_proved else mine[0].authenticated_ms,
        )
        session_repository.add_session(connection, record, self._digest(cookie))
        return OpenedSession(cookie, self.csrf_token(cookie), record)

    def list(self, connection: Connection, user_id: str) -> list[SessionRecord]:
        """Return a user's sessions, newest first."""
        now = self._clock.now_ms()
        found = session_repository.sessions_of(connection, user_id, now)
        return [record for record in found if now < record.last_seen_ms + IDLE_MS]

    def end(self, connection: Connection, user_id: str, session_id: str) -> None:
        """End one session of a user.

        Raises:
            UnknownThing: There is none, or it is somebody else's.
        """
        if not session_repository.end_session(connection, user_id, session_id):
            raise UnknownThing("session", session_id)

    def end_all(self, connection: Connection, user_id: str, *, besides: str = "", org_id: str = "") -> int:
        """End a user's sessions, perhaps besides one, perhaps only those that act for one organisation."""
        return session_repository.end_sessions(connection, user_id, besides=besides, org_id=org_id)

    def csrf_token(self, cookie: str) -> str:
        """Return what a page must send along with every write; follows from the cookie and the server's secret."""
        return digest(self._secret, "csrf", cookie)

    def is_recent(self, principal: Principal) -> bool:
        """Whether a session proved its password within the last 15 minutes."""
        return bool(principal.session_id) and self._clock.now_ms() - principal.authenticated_ms < RECENT_MS

    def _digest(self, cookie: str) -> str:
        return digest(self._secret, "session", cookie)
