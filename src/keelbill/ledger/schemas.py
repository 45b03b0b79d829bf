"""What the ledger hands out. Knows no tables."""

from __future__ import annotations

from dataclasses import dataclass

from keelbill.core.types import Micro

_NOTHING = Micro(0)


@dataclass(frozen=True)
class Balance:
    """An organisation's credits in micro-credits.

    Attributes:
        posted: All that is there.
        held: Reserved by jobs that wait or run.
    """

    posted: Micro
    held: Micro

    @property
    def available(self) -> Micro:
        """What a new request may spend."""
        return Micro(self.posted - self.held)


@dataclass(frozen=True)
class Transfer:
    """A movement as its organisation sees it.

    Attributes:
        id: 32 hex digits; later ones are larger.
        kind: ``grant``, ``promo``, ``topup``, ``capture``, ``refund``, ``expiry`` or ``adjust``.
        amount: Micro-credits; negative if they left the wallet.
        note: For people.
        actor: Who did it, such as ``user:…``; ``system:`` for us.
        created_ms: Milliseconds since 1970.
        item: For captures, the item of the price list; "" otherwise.
        job_id: For captures.
        key_id: For captures by an API key.
        price_version: For captures, the price list.
    """

    id: str
    kind: str
    amount: Micro
    note: str
    actor: str
    created_ms: int
    item: str = ""
    job_id: str = ""
    key_id: str = ""
    price_version: str = ""


@dataclass(frozen=True)
class Mismatch:
    """Two numbers that should be equal and are not.

    Attributes:
        rule: What was compared.
        subject: Where, such as ``wallet 12``.
        expected: As recomputed from the movements.
        found: As stored.
    """

    rule: str
    subject: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.rule}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Lot:
    """Credits that came together.

    Attributes:
        category: ``free``, ``promo`` or ``paid``.
        remaining: Micro-credits that were not spent yet.
        expires_ms: When they expire, in milliseconds since 1970; nothing means never.
    """

    category: str
    remaining: Micro
    expires_ms: int | None


@dataclass(frozen=True)
class RechargeRule:
    """When and how much an organisation buys by itself; amounts in micro-credits.

    Attributes:
        is_enabled: Whether it happens.
        threshold: Buy when less than this is available.
        amount: How much at a time.
        monthly_cap: Never more than this in a month (UTC).
        failures: Purchases in a row that came to nothing; the third switches it off.
        has_card: Whether a card is on file, from an earlier purchase.
    """

    is_enabled: bool = False
    threshold: Micro = _NOTHING
    amount: Micro = _NOTHING
    monthly_cap: Micro = _NOTHING
    failures: int = 0
    has_card: bool = False


@dataclass(frozen=True)
class Receipt:
    """A purchase of credits.

    Attributes:
        id: 32 hex digits; later ones are larger.
        org_id: Who bought.
        provider: Who collected the money.
        credits: What was bought, in micro-credits.
        money_minor: What it cost, in cents.
        currency: Three lower-case letters.
        status: ``created``, ``paid``, ``failed``, ``expired``, ``refunded`` or ``disputed``.
        taken_back: Credits that left again because money went back, in micro-credits.
        is_automatic: Whether it was bought by a rule and not by a person.
        created_ms: Milliseconds since 1970.
    """

    id: str
    org_id: str
    provider: str
    credits: Micro
    money_minor: int
    currency: str
    status: str
    taken_back: Micro
    is_automatic: bool
    created_ms: int
