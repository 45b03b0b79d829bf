"""Notices to the owners of an organisation about what concerns all of it. Knows neither money nor pictures."""

from __future__ import annotations

from collections.abc import Callable

from keelbill.db.base import Database
from keelbill.identity import repository
from keelbill.identity.mail import Letter, Postman


async def tell_owners(database: Database, postman: Postman, org_id: str, write: Callable[[str], Letter]) -> int:
    """Post a letter to each owner who has an address; return how many.

    Args:
        database: Where members are.
        postman: Who delivers.
        org_id: Whose owners.
        write: Makes the letter to one address.
    """
    members = await database.read(lambda connection: repository.members(connection, org_id))
    addresses = [member.email for member in members if member.role == "owner" and member.email]
    for address in addresses:
        postman.post(write(address))
    return len(addresses)


def recharge_off_letter(to: str, base_url: str, reason: str) -> Letter:
    """Return the message that automatic purchases of credits were switched off."""
    link = f"{base_url}/billing"
    text = (
        "Credits could not be bought automatically three times in a row, so this was switched off.\n"
        f"The last reason was: {' '.join(reason.split())}\n\n"
        f"Look at your card and switch it on again here:\n\n{link}\n"
    )
    return Letter(to, "Credits are no longer bought automatically", text, link)
