"""Queries of people, organisations and memberships. Knows no rules."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from keelbill.core.principal import Caps, Role
from keelbill.db.statements import insert_absent
from keelbill.identity.models import credential_version, external_identity, invitation, membership, org, person
from keelbill.identity.schemas import Invitation, Member, Organization, Person

CAP_COLUMNS = {"cap_request": "per_request", "cap_day": "per_day", "cap_month": "per_month", "cap_total": "total"}


def cap_values(caps: Caps) -> dict[str, int | None]:
    """Return caps as columns."""
    return {column: getattr(caps, name) for column, name in CAP_COLUMNS.items()}


def caps_of(row: Row[Any], prefix: str = "") -> Caps:
    """Return the caps in a row, whose columns may carry a prefix."""
    values = row._mapping
    return Caps(**{name: values[prefix + column] for column, name in CAP_COLUMNS.items()})


# People


def is_empty(connection: Connection) -> bool:
    """Whether there are no people at all."""
    return connection.execute(select(person.c.id).limit(1)).first() is None


def add_person(connection: Connection, user_id: str, now_ms: int, **values: object) -> bool:
    """Keep a new person; false if the address is taken."""
    defaults: dict[str, object] = {
        "id": user_id,
        "email": None,
        "email_shown": "",
        "name": "",
        "picture_url": "",
        "password_hash": "",
        "verified_ms": 0,
        "granted_ms": 0,
        "is_staff": False,
        "disabled_ms": 0,
        "created_ms": now_ms,
    }
    return insert_absent(connection, person, defaults | values)


def change_person(connection: Connection, user_id: str, **values: object) -> bool:
    """Change columns of a person; false if there is none."""
    return connection.execute(update(person).where(person.c.id == user_id).values(**values)).rowcount == 1


def mark_granted(connection: Connection, user_id: str, now_ms: int) -> bool:
    """Note that the free grant was asked for; false if it was before."""
    first = (person.c.id == user_id) & (person.c.granted_ms == 0)
    return connection.execute(update(person).where(first).values(granted_ms=now_ms)).rowcount == 1


def find_person(connection: Connection, user_id: str) -> Person | None:
    """Return a person by id."""
    row = connection.execute(select(person).where(person.c.id == user_id)).one_or_none()
    return None if row is None else _person(row)


def person_by_email(connection: Connection, email: str) -> Person | None:
    """Return a person by the sign-in form of the address."""
    row = connection.execute(select(person).where(person.c.email == email)).one_or_none()
    return None if row is None else _person(row)


def password_of(connection: Connection, user_id: str) -> str:
    """Return a person's password hash, "" if there is none."""
    found = connection.execute(select(person.c.password_hash).where(person.c.id == user_id)).scalar_one_or_none()
    return found or ""


def unclaimed_owner(connection: Connection) -> Person | None:
    """Return the local owner that nobody has claimed yet."""
    free = person.c.email.is_(None) & (person.c.password_hash == "") & person.c.is_staff
    row = connection.execute(select(person).where(free).order_by(person.c.id).limit(1)).one_or_none()
    return None if row is None else _person(row)


def all_people(connection: Connection, limit: int = 1000) -> list[Person]:
    """Return everybody, oldest first."""
    return [_person(row) for row in connection.execute(select(person).order_by(person.c.id).limit(limit))]


def external_owner(connection: Connection, issuer: str, subject: str) -> str:
    """Return whose an identity at another provider is, or ""."""
    mine = (external_identity.c.issuer == issuer) & (external_identity.c.subject == subject)
    return connection.execute(select(external_identity.c.user_id).where(mine)).scalar_one_or_none() or ""


def link_external(connection: Connection, issuer: str, subject: str, user_id: str, email: str, now_ms: int) -> bool:
    """Tie an identity at another provider to a person; false if it is tied already."""
    values = {"issuer": issuer, "subject": subject, "user_id": user_id, "email": email, "created_ms": now_ms}
    return insert_absent(connection, external_identity, values)


# Organisations


def add_org(connection: Connection, org_id: str, name: str, kind: str, now_ms: int) -> None:
    """Keep a new organisation."""
    values = {"id": org_id, "name": name, "kind": kind, "weight": 1, "created_ms": now_ms, "deleted_ms": 0}
    connection.execute(insert(org).values(**values))


def change_org(connection: Connection, org_id: str, **values: object) -> None:
    """Change columns of an organisation."""
    connection.execute(update(org).where(org.c.id == org_id).values(**values))


def add_member(connection: Connection, org_id: str, user_id: str, role: Role, now_ms: int) -> bool:
    """Take a person in; false if the person is a member."""
    none = dict.fromkeys(CAP_COLUMNS)
    values = {"org_id": org_id, "user_id": user_id, "role": role, "created_ms": now_ms}
    return insert_absent(connection, membership, values | none)


def change_member(connection: Connection, org_id: str, user_id: str, **values: object) -> None:
    """Change columns of a membership."""
    connection.execute(update(membership).where(_is_member(org_id, user_id)).values(**values))


def remove_member(connection: Connection, org_id: str, user_id: str) -> None:
    """Put a person out."""
    connection.execute(delete(membership).where(_is_member(org_id, user_id)))


def role_in(connection: Connection, org_id: str, user_id: str) -> Role | None:
    """Return a person's role, or nothing for strangers and in organisations that were deleted."""
    query = select(membership.c.role).join(org).where(_is_member(org_id, user_id), org.c.deleted_ms == 0)
    found: Role | None = connection.execute(query).scalar_one_or_none()
    return found


def other_owners(connection: Connection, org_id: str, user_id: str) -> int:
    """Count the owners besides a person; keeps their rows from changing until the commit."""
    query = (
        select(membership.c.user_id)
        .where(membership.c.org_id == org_id, membership.c.role == "owner")
        .order_by(membership.c.user_id)
        .with_for_update()
    )
    return sum(found != user_id for found in connection.execute(query).scalars())


def members(connection: Connection, org_id: str) -> list[Member]:
    """Return an organisation's members, longest first."""
    query = (
        select(membership, person.c.email_shown, person.c.name)
        .join(person)
        .where(membership.c.org_id == org_id)
        .order_by(membership.c.created_ms, membership.c.user_id)
    )
    return [
        Member(row.user_id, row.email_shown, row.name, row.role, caps_of(row), row.created_ms)
        for row in connection.execute(query)
    ]


def orgs_of(connection: Connection, user_id: str, default: str = "") -> tuple[Organization, ...]:
    """Return a person's organisations, the personal one first."""
    query = (
        select(org.c.id, org.c.name, org.c.kind, membership.c.role)
        .join(membership)
        .where(membership.c.user_id == user_id, org.c.deleted_ms == 0)
        .order_by(org.c.kind, org.c.created_ms, org.c.id)
    )
    return tuple(
        Organization(row.id, row.name, row.kind, row.role, is_default=row.id == default)
        for row in connection.execute(query)
    )


def personal_org(connection: Connection, user_id: str) -> str:
    """Return a person's own organisation."""
    query = select(org.c.id).join(membership).where(membership.c.user_id == user_id, org.c.kind == "personal")
    return str(connection.execute(query.order_by(org.c.id).limit(1)).scalar_one())


# Invitations


def add_invitation(connection: Connection, record: Invitation, digest: str) -> None:
    """Keep an invitation; an older one for the same address gives way."""
    same = (invitation.c.org_id == record.org_id) & (invitation.c.email == record.email)
    connection.execute(delete(invitation).where(same))
    connection.execute(insert(invitation).values(**vars(record), digest=digest))


def invitations(connection: Connection, org_id: str, now_ms: int) -> list[Invitation]:
    """Return an organisation's open invitations, newest first."""
    is_open = (invitation.c.org_id == org_id) & (invitation.c.expires_ms > now_ms)
    return [
        _invitation(row)
        for row in connection.execute(select(invitation).where(is_open).order_by(invitation.c.id.desc()))
    ]


def remove_invitation(connection: Connection, org_id: str, invitation_id: str) -> bool:
    """Forget an invitation; false if there is none."""
    mine = (invitation.c.org_id == org_id) & (invitation.c.id == invitation_id)
    return connection.execute(delete(invitation).where(mine)).rowcount == 1


def has_invitation(connection: Connection, digest: str, now_ms: int) -> bool:
    """Whether the invitation that a link names is open."""
    this = (invitation.c.digest == digest) & (invitation.c.expires_ms > now_ms)
    return connection.execute(select(invitation.c.id).where(this)).first() is not None


def take_invitation(connection: Connection, digest: str, now_ms: int) -> Invitation | None:
    """Return and forget the invitation that a link names, if it is open."""
    this = (invitation.c.digest == digest) & (invitation.c.expires_ms > now_ms)
    row = connection.execute(delete(invitation).where(this).returning(invitation)).one_or_none()
    return None if row is None else _invitation(row)


# The version of all credentials


def bump_version(connection: Connection) -> None:
    """Make every process look at the database again before it believes its cache."""
    insert_absent(connection, credential_version, {"id": 1, "version": 0})
    connection.execute(update(credential_version).values(version=credential_version.c.version + 1))


def read_version(connection: Connection) -> int:
    """Return a number that grows with every change of keys, people and memberships."""
    return int(connection.execute(select(func.coalesce(func.max(credential_version.c.version), 0))).scalar_one())


def _is_member(org_id: str, user_id: str) -> Any:
    return (membership.c.org_id == org_id) & (membership.c.user_id == user_id)


def _person(row: Row[Any]) -> Person:
    return Person(
        id=row.id,
        email=row.email_shown,
        name=row.name,
        picture_url=row.picture_url,
        has_password=bool(row.password_hash),
        verified_ms=row.verified_ms,
        is_staff=row.is_staff,
        disabled_ms=row.disabled_ms,
        created_ms=row.created_ms,
    )


def _invitation(row: Row[Any]) -> Invitation:
    return Invitation(**{name: value for name, value in row._mapping.items() if name != "digest"})
