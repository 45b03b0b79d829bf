"""The ledger against a model of a few lines, with operations that a machine chooses."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keelbill.core.errors import PaymentRequired
from keelbill.core.principal import Caps
from keelbill.ledger.audit import recompute
from keelbill.ledger.errors import AlreadyReserved, HoldNotOpen
from keelbill.ledger.models import Category
from support.ledgers import ORG, Bank
from support.simulation import Stage

amounts = st.integers(0, 10_000_000)
jobs = st.integers(0, 8).map(str)
_stage: list[Stage] = []


class Books(RuleBasedStateMachine):
    """Keeps beside the ledger: what came in, what is held, what was charged."""

    def __init__(self) -> None:
        super().__init__()
        if not _stage:
            _stage.append(Stage())
        _stage[0].reset()
        self.bank = Bank(_stage[0].database)
        self.has = 0
        self.held: dict[str, int] = {}
        self.ended: set[str] = set()
        self.of_key = 0

    @initialize()
    def open(self) -> None:
        self.bank.open()

    @rule(amount=st.integers(1, 20_000_000), category=st.sampled_from(Category))
    def fill(self, amount: int, category: Category) -> None:
        self.bank.add(f"{amount // 1_000_000}.{amount % 1_000_000:06}", category=category)
        self.has += amount

    @rule(job=jobs, amount=amounts, cap=st.none() | st.integers(0, 30_000_000))
    def reserve(self, job: str, amount: int, cap: int | None) -> None:
        fits = amount <= self.has - sum(self.held.values()) and (cap is None or self.of_key + amount <= cap)
        try:
            self.bank.reserve(job, f"{amount / 1_000_000:.6f}", key_caps=Caps(total=cap))
        except AlreadyReserved:
            assert job in self.held or job in self.ended
            return
        except PaymentRequired:
            assert not fits
            return
        assert fits
        assert job not in self.held
        assert job not in self.ended
        self.held[job] = amount
        self.of_key += amount

    @rule(job=jobs)
    def capture(self, job: str) -> None:
        try:
            charged = self.bank.capture(job)
        except HoldNotOpen:
            assert job not in self.held
            return
        assert charged == self.held.pop(job)
        self.has -= charged
        self.ended.add(job)

    @rule(job=jobs)
    def void(self, job: str) -> None:
        assert self.bank.void(job) == (job in self.held)
        if job in self.held:
            self.of_key -= self.held.pop(job)
            self.ended.add(job)

    @precondition(lambda self: self.held)
    @rule()
    def sweep(self) -> None:
        self.bank.clock.advance(16 * 60)
        assert self.bank.database.write_now(self.bank.ledger.sweep) == len(self.held)
        self.of_key -= sum(self.held.values())
        self.ended |= set(self.held)
        self.held.clear()

    @invariant()
    def the_books_agree(self) -> None:
        balance = self.bank.database.read_now(lambda c: self.bank.ledger.balance(c, ORG))
        assert (balance.posted, balance.held) == (self.has, sum(self.held.values()))

    def teardown(self) -> None:
        assert self.bank.database.read_now(recompute) == []
        super().teardown()


Books.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestBooks = Books.TestCase


def teardown_module() -> None:
    for stage in _stage:
        stage.close()
