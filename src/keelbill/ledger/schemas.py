"""What the ledger hands out. Knows no tables."""

from __future__ import annotations

from dataclasses import dataclass

from keelbill.core.types import Micro


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
