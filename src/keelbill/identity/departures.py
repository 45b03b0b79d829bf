"""Says who may no longer act for an organisation. Knows neither jobs nor money."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from keelbill.identity.models import api_key, membership, org, person


@dataclass(frozen=True)
class Claim:
    """Somebody who acts for an organisation.

    Attributes:
        org_id: The organisation.
        user_id: The member.
        key_id: The API key, "" for a session.
    """

    org_id: str
    user_id: str
    key_id: str = ""


def departed(connection: Connection, claims: Iterable[Claim]) -> set[Claim]:
    """Return those who may no longer act: put out, disabled, their organisation closed, or their key revoked.

    Args:
        connection: Inside a read.
        claims: Whom to look at.
    """
    asked = set(claims)
    if not asked:
        return set()
    users, keys = {claim.user_id for claim in asked}, {claim.key_id for claim in asked if claim.key_id}
    members = (
        select(membership.c.org_id, membership.c.user_id)
        .join(person, person.c.id == membership.c.user_id)
        .join(org, org.c.id == membership.c.org_id)
        .where(membership.c.user_id.in_(users), person.c.disabled_ms == 0, org.c.deleted_ms == 0)
    )
    present = {(row.org_id, row.user_id) for row in connection.execute(members)}
    gone = select(api_key.c.id).where(api_key.c.id.in_(keys), api_key.c.revoked_ms > 0)
    revoked = set(connection.execute(gone).scalars()) if keys else set()
    return {claim for claim in asked if (claim.org_id, claim.user_id) not in present or claim.key_id in revoked}
