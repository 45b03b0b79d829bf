"""The tables of people, organisations, credentials and the audit log. Knows columns, not rules.

Secrets are stored as keyed digests only. A time of 0 means never, a text of "" means none.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    event,
)

from keelbill.db.base import metadata

person = Table(
    "person",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("email", String(320), unique=True),  # as `addresses.sign_in_form` writes it; NULL: none
    Column("email_shown", String(320), nullable=False),  # as its owner wrote it
    Column("name", String(200), nullable=False),
    Column("picture_url", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("verified_ms", BigInteger, nullable=False),
    Column("granted_ms", BigInteger, nullable=False),  # when the free grant was asked for
    Column("is_staff", Boolean, nullable=False),
    Column("disabled_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

org = Table(
    "org",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("kind", String(8), nullable=False),  # personal or team
    Column("weight", Integer, nullable=False),  # in the fair queue, 1 to 8
    Column("created_ms", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger, nullable=False),
)

membership = Table(
    "membership",
    metadata,
    Column("org_id", String(32), ForeignKey("org.id"), primary_key=True),
    Column("user_id", String(32), ForeignKey("person.id"), primary_key=True, index=True),
    Column("role", String(8), nullable=False),
    Column("cap_request", BigInteger),
    Column("cap_day", BigInteger),
    Column("cap_month", BigInteger),
    Column("cap_total", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
)

invitation = Table(
    "invitation",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("org.id"), nullable=False, index=True),
    Column("email", String(320), nullable=False),
    Column("role", String(8), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("invited_by", String(32), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("org.id"), nullable=False, index=True),
    Column("user_id", String(32), ForeignKey("person.id"), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("stub", String(16), nullable=False),
    Column("scopes", Text, nullable=False),  # names, separated by spaces
    Column("cap_request", BigInteger),
    Column("cap_day", BigInteger),
    Column("cap_month", BigInteger),
    Column("cap_total", BigInteger),
    Column("rate_limit", Integer),
    Column("networks", Text, nullable=False),  # CIDR blocks, separated by spaces; "": everywhere
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger, nullable=False),
    Column("last_used_ip", String(45), nullable=False),
    Column("revoked_ms", BigInteger, nullable=False),
    Column("rotated_from", String(32), nullable=False),
    Column("replaced_by", String(32), nullable=False),
)

login_session = Table(
    "login_session",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("user_id", String(32), ForeignKey("person.id"), nullable=False, index=True),
    Column("org_id", String(32), ForeignKey("org.id"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("authenticated_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("ip", String(45), nullable=False),
    Column("user_agent", String(200), nullable=False),
)

one_time_token = Table(
    "one_time_token",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("purpose", String(16), nullable=False),
    Column("user_id", String(32), nullable=False, index=True),  # "" for an address that nobody has
    Column("payload", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
)

external_identity = Table(
    "external_identity",
    metadata,
    Column("issuer", String(255), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("user_id", String(32), ForeignKey("person.id"), nullable=False, index=True),
    Column("email", String(320), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

sign_in_attempt = Table(
    "sign_in_attempt",
    metadata,
    Column("who", String(64), primary_key=True),  # a digest of an address of either kind
    Column("failures", Integer, nullable=False),
    Column("last_ms", BigInteger, nullable=False, index=True),
    Column("next_ms", BigInteger, nullable=False),
)

credential_version = Table(
    "credential_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("version", BigInteger, nullable=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("org_id", String(32), nullable=False),
    Column("actor_kind", String(8), nullable=False),  # user, key, system
    Column("actor_id", String(32), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(128), nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("ip", String(45), nullable=False),
    Column("request_id", String(32), nullable=False),
    Index("ix_audit_log_org_id_id", "org_id", "id"),
)

AUDIT_GUARDS = {
    "sqlite": tuple(
        f"CREATE TRIGGER audit_log_no_{what.lower()} BEFORE {what} ON audit_log "
        "BEGIN SELECT RAISE(ABORT, 'the audit log only appends'); END"
        for what in ("UPDATE", "DELETE")
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION audit_log_only_appends() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log only appends'; END $$",
        "CREATE TRIGGER audit_log_only_appends BEFORE UPDATE OR DELETE ON audit_log "
        "FOR EACH ROW EXECUTE FUNCTION audit_log_only_appends()",
    ),
}
"""Statements that make the database itself refuse changes of the log; migrations run them too."""

for _dialect, _statements in AUDIT_GUARDS.items():
    for _statement in _statements:
        event.listen(audit_log, "after_create", DDL(_statement).execute_if(dialect=_dialect))  # type: ignore[no-untyped-call]
