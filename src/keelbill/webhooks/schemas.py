"""A registered address and one call to it, as other parts see them. Knows neither HTTP nor tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Event = Literal["job.succeeded", "job.failed", "credits.low", "key.revoked"]
EVENTS: Final[tuple[Event, ...]] = get_args(Event)
State = Literal["waiting", "delivered", "given_up"]


@dataclass(frozen=True)
class Webhook:
    """An address that an organisation wants called.

    Attributes:
        id: 32 hex digits.
        org_id: Whose.
        url: What is called.
        events: What it is called for.
        enabled: Whether it is called at all.
        failures: Deliveries in a row that were given up.
        created_ms: Milliseconds since 1970.
    """

    id: str
    org_id: str
    url: str
    events: tuple[str, ...]
    enabled: bool
    failures: int
    created_ms: int


@dataclass(frozen=True)
class Sealed:
    """The secrets that sign what goes to an address, as they are kept.

    Attributes:
        now: The newest.
        former: The one before, "" if there is none.
        former_until_ms: Until when that one signs too, milliseconds since 1970.
    """

    now: str
    former: str = ""
    former_until_ms: int = 0


@dataclass(frozen=True)
class Keyed:
    """An address with its newest secret, for whoever just had it made.

    Attributes:
        webhook: The address.
        secret: ``whsec_`` and base64.
    """

    webhook: Webhook
    secret: str


@dataclass(frozen=True)
class Delivery:
    """One message to one address.

    Attributes:
        id: 32 hex digits; the same on every try, so that a receiver can pass over what it has seen.
        webhook_id: Where to.
        event: What happened.
        payload: The body, JSON.
        state: Waiting for its next try, delivered, or given up.
        attempts: Tries so far, at most 5.
        next_ms: When it is tried next, milliseconds since 1970.
        last_status: HTTP status of the last try, 0 without an answer.
        last_error: Why the last try failed, "" if it did not.
        created_ms: Milliseconds since 1970.
        finished_ms: Likewise, 0 while it waits.
    """

    id: str
    webhook_id: str
    event: str
    payload: str
    state: str
    attempts: int
    next_ms: int
    last_status: int
    last_error: str
    created_ms: int
    finished_ms: int
