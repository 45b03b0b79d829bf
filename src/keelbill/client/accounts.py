"""What a server says about an account, as services without pictures. Knows no money beyond the number it is told."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from keelbill.client.wire import Exchange, Reply, Request


@dataclass(frozen=True)
class Organisation:
    """An organisation that the key's owner belongs to."""

    id: str
    name: str
    role: str
    is_default: bool


@dataclass(frozen=True)
class Account:
    """Whose key it is."""

    id: str
    email: str
    organizations: tuple[Organisation, ...]


@dataclass(frozen=True)
class Engine:
    """An engine that the v1 routes accept."""

    id: str
    name: str
    description: str
    type: str


def balance() -> Exchange[Decimal]:
    """Return the credits that are left, exactly; a credit is worth one US cent."""
    reply = yield Request("GET", "/v1/user/balance")
    return balance_of(reply)


def account() -> Exchange[Account]:
    """Return whose key this is, and the organisations of its owner."""
    reply = yield Request("GET", "/v1/user/account")
    found = _table(reply, reply.json())
    listed = found.get("organizations", [])
    organisations = [_table(reply, item) for item in listed] if isinstance(listed, list) else []
    return Account(
        id=_text(found, "id"),
        email=_text(found, "email"),
        organizations=tuple(
            Organisation(_text(item, "id"), _text(item, "name"), _text(item, "role"), bool(item.get("is_default")))
            for item in organisations
        ),
    )


def engines() -> Exchange[list[Engine]]:
    """Return the engines that the v1 routes accept."""
    reply = yield Request("GET", "/v1/engines/list")
    listed = reply.json()
    if not isinstance(listed, list):
        raise reply.unexpected("is no list of engines")
    tables = [_table(reply, item) for item in listed]
    return [
        Engine(_text(item, "id"), _text(item, "name"), _text(item, "description"), _text(item, "type"))
        for item in tables
    ]


def balance_of(reply: Reply) -> Decimal:
    """Read the answer to a question for the balance.

    Raises:
        UnexpectedAnswerError: It is none.
    """
    credit = _table(reply, reply.json()).get("credits")
    if isinstance(credit, bool) or not isinstance(credit, int | Decimal):
        raise reply.unexpected("holds no number of credits")
    return Decimal(credit)


def _table(reply: Reply, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise reply.unexpected("is not the expected JSON object")
    return value


def _text(table: dict[str, object], name: str) -> str:
    value = table.get(name, "")
    return value if isinstance(value, str) else ""
