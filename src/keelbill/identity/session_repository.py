"""Queries of sessions, single-use tokens, attempts and the audit log. Knows no rules and sees digests only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from keelbill.core.principal import Caps, Role
from keelbill.db.statements import insert_absent
from keelbill.identity.models import (
    audit_log,
    login_session,
    membership,
    one_time_token,
    org,
    person,
    sign_in_attempt,
)
from keelbill.identity.repository import caps_of
from keelbill.identity.schemas import AuditEntry, SessionRecord

# Sessions


def add_session(connection: Connection, record: SessionRecord, digest: str) -> None:
    """Keep a new session."""
    connection.execute(insert(login_session).values(**vars(record), digest=digest))


def session_by_digest(connection: Connection, digest: str) -> SessionRecord | None:
    """Return the session that a cookie names."""
    row = connection.execute(select(login_session).where(login_session.c.digest == digest)).one_or_none()
    return None if row is None else _session(row)


def session_member(connection: Connection, record: SessionRecord) -> tuple[Role, Caps, int, bool] | None:
    """Return role, caps, weight and staff flag of a session's user; nothing if the user may not come in."""
    query = (
        select(membership, org.c.weight, person.c.is_staff)
        .join(org, org.c.id == membership.c.org_id)
        .join(person, person.c.id == membership.c.user_id)
        .where(membership.c.org_id == record.org_id, membership.c.user_id == record.user_id)
        .where(org.c.deleted_ms == 0, person.c.disabled_ms == 0)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.role, caps_of(row), row.weight, row.is_staff)


def sessions_of(connection: Connection, user_id: str, now_ms: int) -> list[SessionRecord]:
    """Return a user's sessions, newest first."""
    alive = (login_session.c.user_id == user_id) & (login_session.c.expires_ms > now_ms)
    return [
        _session(row)
        for row in connection.execute(select(login_session).where(alive).order_by(login_session.c.id.desc()))
    ]


def change_session(connection: Connection, session_id: str, **values: object) -> bool:
    """Change columns of a session; false if it has ended."""
    return (
        connection.execute(update(login_session).where(login_session.c.id == session_id).values(**values)).rowcount == 1
    )


def touch_sessions(connection: Connection, uses: Iterable[tuple[str, int]]) -> None:
    """Note when sessions were used last: (session, milliseconds)."""
    for session_id, at_ms in uses:
        newer = (login_session.c.id == session_id) & (login_session.c.last_seen_ms < at_ms)
        connection.execute(update(login_session).where(newer).values(last_seen_ms=at_ms))


def end_session(connection: Connection, user_id: str, session_id: str) -> bool:
    """End one session of a user; false if there is none."""
    mine = (login_session.c.id == session_id) & (login_session.c.user_id == user_id)
    return connection.execute(delete(login_session).where(mine)).rowcount == 1


def end_sessions(connection: Connection, user_id: str, *, besides: str = "", org_id: str = "") -> int:
    """End a user's sessions, perhaps besides one, perhaps only those that act for one organisation."""
    which = (login_session.c.user_id == user_id) & (login_session.c.id != besides)
    if org_id:
        which = which & (login_session.c.org_id == org_id)
    return connection.execute(delete(login_session).where(which)).rowcount


# Tokens


def add_token(connection: Connection, digest: str, purpose: str, user_id: str, payload: str, expires_ms: int) -> None:
    """Keep a single-use token."""
    values = {"digest": digest, "purpose": purpose, "user_id": user_id, "payload": payload, "expires_ms": expires_ms}
    connection.execute(insert(one_time_token).values(**values))


def take_token(connection: Connection, digest: str, purpose: str, now_ms: int) -> tuple[str, str] | None:
    """Use a token up and return its user and payload; nothing if it is used, old or of another purpose."""
    this = (one_time_token.c.digest == digest) & (one_time_token.c.purpose == purpose)
    taken = delete(one_time_token).where(this, one_time_token.c.expires_ms > now_ms)
    row = connection.execute(taken.returning(one_time_token.c.user_id, one_time_token.c.payload)).one_or_none()
    return None if row is None else (row.user_id, row.payload)


def has_token(connection: Connection, digest: str, purpose: str, now_ms: int) -> bool:
    """Whether a token could be used up now."""
    this = (one_time_token.c.digest == digest) & (one_time_token.c.purpose == purpose)
    query = select(one_time_token.c.digest).where(this, one_time_token.c.expires_ms > now_ms)
    return connection.execute(query).first() is not None


def drop_tokens(connection: Connection, user_id: str, *purposes: str) -> None:
    """Void a user's unused tokens of some purposes."""
    mine = (one_time_token.c.user_id == user_id) & one_time_token.c.purpose.in_(purposes)
    connection.execute(delete(one_time_token).where(mine))


# Attempts


def attempt(connection: Connection, who: str, now_ms: int) -> tuple[int, int, int]:
    """Return failures, the last and the next allowed time of somebody, and lock the row until the commit."""
    insert_absent(connection, sign_in_attempt, {"who": who, "failures": 0, "last_ms": now_ms, "next_ms": 0})
    row = connection.execute(select(sign_in_attempt).where(sign_in_attempt.c.who == who).with_for_update()).one()
    return row.failures, row.last_ms, row.next_ms


def set_attempt(connection: Connection, who: str, failures: int, last_ms: int, next_ms: int) -> None:
    """Change what is known of somebody's attempts."""
    values = {"failures": failures, "last_ms": last_ms, "next_ms": next_ms}
    connection.execute(update(sign_in_attempt).where(sign_in_attempt.c.who == who).values(**values))


def clear_attempt(connection: Connection, who: str) -> None:
    """Forget somebody's failures."""
    connection.execute(delete(sign_in_attempt).where(sign_in_attempt.c.who == who))


# Audit log and cleaning


def add_audit(connection: Connection, entry: AuditEntry) -> None:
    """Append a line."""
    connection.execute(insert(audit_log).values(**vars(entry)))


def audit_lines(connection: Connection, org_id: str, before_id: str, limit: int) -> list[AuditEntry]:
    """Return lines, newest first; of all organisations if `org_id` is ""."""
    query = select(audit_log).order_by(audit_log.c.id.desc()).limit(limit)
    if org_id:
        query = query.where(audit_log.c.org_id == org_id)
    if before_id:
        query = query.where(audit_log.c.id < before_id)
    return [AuditEntry(**row._mapping) for row in connection.execute(query)]


def sweep(connection: Connection, now_ms: int, idle_before_ms: int, attempts_before_ms: int) -> int:
    """Drop sessions, tokens and attempts that no longer matter, and return how many rows went."""
    ended = (login_session.c.expires_ms <= now_ms) | (login_session.c.last_seen_ms <= idle_before_ms)
    gone = connection.execute(delete(login_session).where(ended)).rowcount
    gone += connection.execute(delete(one_time_token).where(one_time_token.c.expires_ms <= now_ms)).rowcount
    old = sign_in_attempt.c.last_ms <= attempts_before_ms
    return gone + connection.execute(delete(sign_in_attempt).where(old)).rowcount


def _session(row: Row[Any]) -> SessionRecord:
    return SessionRecord(**{name: value for name, value in row._mapping.items() if name != "digest"})
