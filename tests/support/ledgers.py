"""A ledger with a clock that tests move."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection

from keelbill.core.principal import Caps
from keelbill.core.types import Micro, micro
from keelbill.db.base import Database
from keelbill.ledger.audit import audit
from keelbill.ledger.models import Category, Kind, System
from keelbill.ledger.movements import Movement
from keelbill.ledger.prices import PriceList
from keelbill.ledger.service import Ledger

ORG = "a" * 32
OTHER = "b" * 32
START_MS = 1_774_000_000_000  # 2026-03-20 09:46:40 UTC


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.ms = now_ms

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.ms / 1000, UTC)

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000

    def advance(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@dataclass(frozen=True)
class Terms:
    billing: str = "credits"
    free_credits: str = "25"


class Bank:
    """A ledger on a database, with one call for what tests do often."""

    def __init__(self, database: Database, terms: Terms | None = None) -> None:
        self.database = database
        self.clock = HandClock()
        self.numbers = itertools.count(1)
        self.ledger = Ledger(self.clock, PriceList.load(clock=self.clock), terms or Terms())

    def open(self, org_id: str = ORG, amount: str = "0", category: Category = Category.PAID, **more: int) -> None:
        """Open a wallet and fill it."""
        self.database.write_now(lambda c: self.ledger.open_wallet(c, org_id))
        if micro(amount):
            self.add(amount, org_id, category, **more)

    def add(
        self, amount: str, org_id: str = ORG, category: Category = Category.PAID, expires_ms: int | None = None
    ) -> None:
        movement = Movement(Kind.TOPUP, System.PAYMENTS, micro(amount), category, expires_ms=expires_ms)
        assert self.database.write_now(lambda c: self.ledger.credit(c, org_id, movement))

    def reserve(
        self,
        job: str,
        amount: str = "6.5",
        org_id: str = ORG,
        key: str = "key",
        key_caps: Caps | None = None,
        member_caps: Caps | None = None,
    ) -> str:
        def operation(connection: Connection) -> str:
            return self.ledger.reserve(
                connection,
                org_id=org_id,
                job_id=job,
                amount=micro(amount),
                price_version=self.ledger.prices.version,
                key_id=key,
                member_id="member",
                key_caps=key_caps or Caps(),
                member_caps=member_caps or Caps(),
                item="sd3.5-large",
            )

        return self.database.write_now(operation)

    def capture(self, job: str) -> Micro:
        return self.database.write_now(lambda c: self.ledger.capture(c, job))

    def void(self, job: str, reason: str = "failed") -> bool:
        return self.database.write_now(lambda c: self.ledger.void(c, job, reason))

    def charge(self, job: str, amount: str = "6.5", **more: Caps) -> None:
        self.reserve(job, amount, **more)  # type: ignore[arg-type]
        self.capture(job)

    def numbers_of(self, org_id: str = ORG) -> tuple[str, str, str]:
        """Return posted, held and available in credits, as text."""
        balance = self.database.read_now(lambda c: self.ledger.balance(c, org_id))
        return tuple(f"{each / 1_000_000:g}" for each in (balance.posted, balance.held, balance.available))  # type: ignore[return-value]

    def assert_sound(self) -> None:
        """Recompute the books."""
        assert [str(each) for each in audit(self.database)] == []


@pytest.fixture
def bank(database: Database) -> Bank:
    """A ledger on a fresh database."""
    return Bank(database)
