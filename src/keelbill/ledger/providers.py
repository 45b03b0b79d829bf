"""What every payment provider offers, and what it tells us. Knows no provider and no tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Step = Literal["paid", "failed", "expired", "refunded", "disputed", "other"]


@dataclass(frozen=True)
class ProviderEvent:
    """One message of a provider, reduced to what may decide about money.

    Attributes:
        id: The provider's; a second message with it is a copy.
        type: The provider's word for it.
        step: What it means to us.
        checkout_ref: The purchase, for ``paid``, ``failed`` and ``expired``.
        charge_ref: The charge behind it.
        money_minor: What was paid, or what was given back so far, in cents.
        currency: Three lower-case letters.
        customer_ref: Who paid, for automatic purchases.
    """

    id: str
    type: str
    step: Step
    checkout_ref: str = ""
    charge_ref: str = ""
    money_minor: int = 0
    currency: str = ""
    customer_ref: str = ""


@dataclass(frozen=True)
class Order:
    """A purchase that a provider is to collect.

    Attributes:
        payment_id: Ours; also keeps a repeated call from making two purchases.
        org_id: Who buys.
        money_minor: In cents.
        currency: Three lower-case letters.
        description: For the receipt.
    """

    payment_id: str
    org_id: str
    money_minor: int
    currency: str
    description: str


@dataclass(frozen=True)
class Checkout:
    """Where a buyer pays.

    Attributes:
        url: To send the buyer to.
        ref: The provider's name for the purchase.
    """

    url: str
    ref: str


class Provider(Protocol):
    """Collects money. All methods block; all may raise `ProviderFailed`."""

    name: str

    def create_checkout(self, order: Order, success_url: str, cancel_url: str) -> Checkout:
        """Open a page where the buyer pays."""
        ...

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        """Check a message's signature over its raw bytes and read it; raises `BadSignature`."""
        ...

    def parse_event(self, body: str) -> ProviderEvent:
        """Read a message whose signature was checked when it arrived."""
        ...

    def look_up(self, checkout_ref: str) -> ProviderEvent:
        """Ask how a purchase stands, for the page that the buyer returns to."""
        ...

    def refund(self, charge_ref: str, money_minor: int, key: str) -> None:
        """Give money back; `key` keeps a repeated call from doing it twice."""
        ...

    def charge_again(self, customer_ref: str, order: Order) -> str:
        """Collect from somebody who paid before and is not there now; returns the charge."""
        ...
