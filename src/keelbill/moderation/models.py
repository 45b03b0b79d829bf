"""The tables of policies, of the audit trail and of the review queue. Knows columns, not rules."""

from __future__ import annotations

from sqlalchemy import DDL, BigInteger, Column, Index, Integer, String, Table, Text, event

from keelbill.db.base import metadata

moderation_policy = Table(
    "moderation_policy",
    metadata,
    Column("org_id", String(32), primary_key=True),
    Column("actions", Text, nullable=False),  # JSON: category -> action
    Column("changed_by", String(32), nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

moderation_event = Table(
    "moderation_event",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), nullable=False),
    Column("user_id", String(32), nullable=False),
    Column("key_id", String(32), nullable=False),  # "" for a session
    Column("request_id", String(64), nullable=False),
    Column("action", String(8), nullable=False),  # block, review or allow
    Column("category", String(32), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("span_length", Integer, nullable=False),  # characters of the prompt that the rule matched
    Column("text_hash", String(64), nullable=False),  # keyed; tells equal prompts, not what they say
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_moderation_event_org_id_id", "org_id", "id"),
)

moderation_review = Table(
    "moderation_review",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), nullable=False),
    Column("user_id", String(32), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("category", String(32), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("text", Text, nullable=False),  # "" once its time is over
    Column("text_hash", String(64), nullable=False),
    Column("state", String(8), nullable=False),  # open, approved or rejected
    Column("decided_by", String(32), nullable=False),
    Column("note", Text, nullable=False),
    Column("decided_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_moderation_review_org_id_state_id", "org_id", "state", "id"),
    Index("ix_moderation_review_created_ms", "created_ms"),
)

EVENT_GUARDS = {
    "sqlite": tuple(
        f"CREATE TRIGGER moderation_event_no_{what.lower()} BEFORE {what} ON moderation_event "
        "BEGIN SELECT RAISE(ABORT, 'the moderation trail only appends'); END"
        for what in ("UPDATE", "DELETE")
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION moderation_event_only_appends() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the moderation trail only appends'; END $$",
        "CREATE TRIGGER moderation_event_only_appends BEFORE UPDATE OR DELETE ON moderation_event "
        "FOR EACH ROW EXECUTE FUNCTION moderation_event_only_appends()",
    ),
}
"""Statements that make the database itself refuse changes of the trail; migrations run them too."""

for _dialect, _statements in EVENT_GUARDS.items():
    for _statement in _statements:
        event.listen(moderation_event, "after_create", DDL(_statement).execute_if(dialect=_dialect))  # type: ignore[no-untyped-call]
