"""Finds people for the installation's administrators. Knows no rules; who may look is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, or_, select

from keelbill.identity.models import membership, org, person

MAX_PAGE = 100


@dataclass(frozen=True)
class Account:
    """A person with the organisation that is their own.

    Attributes:
        id: Of the person.
        email: As its owner wrote it, "" for none.
        name: For greeting.
        org_id: Of the personal organisation.
        teams: How many teams the person belongs to.
        is_staff: Whether the person administers the installation.
        is_verified: Whether the address is proved.
        disabled_ms: When access was taken away, 0 if not.
        created_ms: Milliseconds since 1970.
    """

    id: str
    email: str
    name: str
    org_id: str
    teams: int
    is_staff: bool
    is_verified: bool
    disabled_ms: int
    created_ms: int


def search(connection: Connection, text: str = "", *, before_id: str = "", limit: int = 50) -> list[Account]:
    """Return people whose address or name contains some text, or whose id or organisation it is; newest first."""
    own = (
        select(membership.c.user_id, func.min(org.c.id).label("org_id"))
        .join(org)
        .where(org.c.kind == "personal")
        .group_by(membership.c.user_id)
        .subquery()
    )
    teams = (
        select(func.count())
        .select_from(membership.join(org))
        .where(membership.c.user_id == person.c.id, org.c.kind == "team", org.c.deleted_ms == 0)
        .scalar_subquery()
    )
    query = select(person, own.c.org_id, teams.label("teams")).outerjoin(own, own.c.user_id == person.c.id)
    if text:
        wanted = text.strip().lower()
        query = query.where(
            or_(
                func.lower(person.c.email_shown).contains(wanted, autoescape=True),
                func.lower(person.c.name).contains(wanted, autoescape=True),
                person.c.id == wanted,
                own.c.org_id == wanted,
            )
        )
    if before_id:
        query = query.where(person.c.id < before_id)
    rows = connection.execute(query.order_by(person.c.id.desc()).limit(limit))
    return [
        Account(
            id=row.id,
            email=row.email_shown,
            name=row.name,
            org_id=row.org_id or "",
            teams=int(row.teams),
            is_staff=row.is_staff,
            is_verified=bool(row.verified_ms),
            disabled_ms=row.disabled_ms,
            created_ms=row.created_ms,
        )
        for row in rows
    ]
