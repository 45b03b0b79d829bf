"""Queries of policies, the audit trail and the review queue. Knows no rules."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert, select, update

from keelbill.db.statements import insert_absent
from keelbill.moderation.models import moderation_event, moderation_policy, moderation_review
from keelbill.moderation.schemas import Note, Review


def policy(connection: Connection, org_id: str) -> dict[str, str]:
    """Return what an organisation wrote into its policy; nothing if it never did."""
    text = connection.scalar(select(moderation_policy.c.actions).where(moderation_policy.c.org_id == org_id))
    actions: dict[str, str] = json.loads(text or "{}")
    return actions


def set_policy(connection: Connection, org_id: str, actions: Mapping[str, str], user_id: str, now_ms: int) -> None:
    """Write an organisation's policy."""
    values = {"actions": json.dumps(dict(actions), sort_keys=True), "changed_by": user_id, "changed_ms": now_ms}
    if not insert_absent(connection, moderation_policy, {"org_id": org_id, **values}):
        mine = moderation_policy.c.org_id == org_id
        connection.execute(update(moderation_policy).where(mine).values(values))


def add_notes(connection: Connection, notes: Sequence[Note]) -> None:
    """Append to the audit trail."""
    if notes:
        connection.execute(insert(moderation_event), [vars(note) for note in notes])


def notes(connection: Connection, org_id: str, before_id: str, limit: int) -> list[Note]:
    """Return lines of the audit trail, newest first; of every organisation if `org_id` is ""."""
    return [Note(**row) for row in _newest(connection, moderation_event, org_id, before_id, limit)]


def add_review(connection: Connection, review: Review) -> None:
    """Put a prompt into the review queue."""
    connection.execute(insert(moderation_review).values(vars(review)))


def reviews(connection: Connection, org_id: str, state: str, before_id: str, limit: int) -> list[Review]:
    """Return prompts in the queue, newest first; of every organisation if `org_id` is "", in any state if it is ""."""
    return [Review(**row) for row in _newest(connection, moderation_review, org_id, before_id, limit, state)]


def find_review(connection: Connection, org_id: str, review_id: str) -> Review | None:
    """Return one prompt of the queue; of any organisation if `org_id` is ""."""
    query = select(moderation_review).where(moderation_review.c.id == review_id)
    if org_id:
        query = query.where(moderation_review.c.org_id == org_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else Review(**row)


def decide(connection: Connection, review_id: str, state: str, user_id: str, note: str, now_ms: int) -> bool:
    """Close an open review.

    Returns:
        Whether it was open.
    """
    this = (moderation_review.c.id == review_id) & (moderation_review.c.state == "open")
    values = {"state": state, "decided_by": user_id, "note": note, "decided_ms": now_ms}
    return connection.execute(update(moderation_review).where(this).values(values)).rowcount == 1


def forget_texts(connection: Connection, created_before_ms: int) -> int:
    """Erase the prompts of old reviews, decided or not; the rest of the rows stays.

    Returns:
        How many were erased.
    """
    old = (moderation_review.c.created_ms < created_before_ms) & (moderation_review.c.text != "")
    return connection.execute(update(moderation_review).where(old).values(text="")).rowcount


def _newest(
    connection: Connection, table: Table, org_id: str, before_id: str, limit: int, state: str = ""
) -> list[dict[str, Any]]:
    query = select(table).order_by(table.c.id.desc()).limit(limit)
    if org_id:
        query = query.where(table.c.org_id == org_id)
    if before_id:
        query = query.where(table.c.id < before_id)
    if state:
        query = query.where(table.c.state == state)
    return [dict(row) for row in connection.execute(query).mappings()]
