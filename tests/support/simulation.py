"""A small world of clients, workers, messages, crashes and a clock, all decided by a seed, around the real ledger.

The SQL is real and runs on SQLite in memory. The jobs are a table of this module's own with the rules that any keeper
of jobs follows: epochs, leases, one transaction for a job's end and its money. After every step the world compares the
database with what it remembers. A failure names its seed, and the seed replays it.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from keelbill.core.errors import PaymentRequired
from keelbill.core.principal import Caps
from keelbill.core.types import Micro
from keelbill.db.base import Database, metadata, open_database
from keelbill.db.statements import Prepared
from keelbill.ledger import models
from keelbill.ledger.audit import recompute
from keelbill.ledger.models import Category, Kind, System
from keelbill.ledger.movements import Movement
from keelbill.ledger.prices import PriceList
from keelbill.ledger.service import Ledger
from support.ledgers import START_MS, HandClock, Terms

own = MetaData()
jobs = Table(
    "sim_job",
    own,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("lease_ms", BigInteger, nullable=False),
    Column("result_epoch", Integer),
)
keys = Table(
    "sim_idempotency", own, Column("key", String(40), primary_key=True), Column("job_id", String(32), nullable=False)
)

_job: BindParameter[str] = bindparam("b_job", type_=String())
_epoch: BindParameter[int] = bindparam("b_epoch", type_=Integer())
_now: BindParameter[int] = bindparam("b_now", type_=BigInteger())
ADD_KEY = Prepared(insert(keys).values(key=bindparam("b_key"), job_id=_job), unless_there=True)
FREE_KEY = Prepared(keys.delete().where(keys.c.job_id == _job))
FIND_KEY = Prepared(select(keys.c.job_id).where(keys.c.key == bindparam("b_key")))
ADD_JOB = Prepared(
    insert(jobs).values(id=_job, org_id=bindparam("b_org"), state="queued", attempt=0, epoch=0, lease_ms=0)
)
CLAIM = Prepared(
    update(jobs)
    .where(jobs.c.id == _job, jobs.c.state == "queued")
    .values(state="running", epoch=jobs.c.epoch + 1, attempt=jobs.c.attempt + 1, lease_ms=bindparam("b_lease"))
    .returning(jobs.c.epoch)
)
RENEW = Prepared(
    update(jobs)
    .where(jobs.c.id == _job, jobs.c.epoch == _epoch, jobs.c.state == "running")
    .values(lease_ms=bindparam("b_lease"))
)
SUCCEED = Prepared(
    update(jobs)
    .where(jobs.c.id == _job, jobs.c.epoch == _epoch, jobs.c.state == "running")
    .values(state="succeeded", result_epoch=_epoch)
)
END = Prepared(
    update(jobs)
    .where(jobs.c.id == _job, or_(jobs.c.state == "queued", jobs.c.state == "running"))
    .values(state=bindparam("b_state"))
)
REQUEUE = Prepared(update(jobs).where(jobs.c.id == _job, jobs.c.state == "running").values(state="queued"))
LOST = Prepared(select(jobs.c.id, jobs.c.attempt).where(jobs.c.state == "running", jobs.c.lease_ms <= _now))
QUEUED = Prepared(select(jobs.c.id).where(jobs.c.state == "queued").order_by(jobs.c.id))
LIVE = Prepared(select(jobs.c.id).where(jobs.c.state == "running", jobs.c.lease_ms > _now))
CHECK = (
    "SELECT j.id, j.state, j.epoch, j.result_epoch, j.lease_ms, h.state, h.amount "
    "FROM sim_job j JOIN hold h ON h.job_id = j.id"
)
SUMS = (
    "SELECT w.org_id, w.posted, w.held,"
    " (SELECT coalesce(sum(h.amount), 0) FROM hold h WHERE h.wallet_id = w.id AND h.state = 'held'),"
    " (SELECT coalesce(sum(l.remaining), 0) FROM lot l WHERE l.wallet_id = w.id),"
    " (SELECT coalesce(sum(l.held), 0) FROM lot l WHERE l.wallet_id = w.id),"
    " (SELECT coalesce(sum(b.held), 0) FROM budget b WHERE b.scope_id = 'k' || w.org_id AND b.period = 'total')"
    " FROM wallet w WHERE w.id >= 0"
)

LEASE_MS = 15_000
ORGS = ("org0", "org1")
START = 9_000_000


class Violation(AssertionError):
    """A promise of the ledger was broken."""


class _Crash(Exception):
    """The process died before the commit."""


@dataclass
class Rules:
    """How jobs are kept. Mutants change one of these."""

    epoch_is_checked: bool = True
    key_is_taken_first: bool = True
    check_is_in_the_update: bool = True
    sweeper_asks_for_leases: bool = True
    payments_have_references: bool = True


@dataclass
class Memory:
    """What the world knows to be true, apart from the database."""

    added: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ORGS, START))
    price_of: dict[str, int] = field(default_factory=dict)
    org_of: dict[str, str] = field(default_factory=dict)
    key_of: dict[str, str] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)
    expired: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ORGS, 0))


class Stage:
    """A database in memory that is set back for each world."""

    def __init__(self) -> None:
        self.database: Database = open_database("sqlite://")
        money = [table for table in metadata.sorted_tables if table in vars(models).values()]
        metadata.create_all(self.database.engine, tables=money)
        own.create_all(self.database.engine)
        self.prices = PriceList.load()
        self._blank = sqlite3.connect(":memory:")
        ledger = Ledger(HandClock(), PriceList.load(), Terms(), new_id=iter(map("{:026d}".format, range(9))).__next__)
        for org in ORGS:
            self.database.write_now(lambda c, org=org: ledger.open_wallet(c, org))  # type: ignore[misc]
            first = Movement(Kind.TOPUP, System.PAYMENTS, START)
            self.database.write_now(lambda c, org=org, m=first: ledger.credit(c, org, m))  # type: ignore[misc]
        self.database.read_now(lambda c: self.raw(c).backup(self._blank))

    @staticmethod
    def raw(connection: Connection) -> sqlite3.Connection:
        raw: Any = connection.connection.dbapi_connection
        return raw  # type: ignore[no-any-return]

    def reset(self) -> None:
        self.database.read_now(lambda c: self._blank.backup(self.raw(c)))

    def close(self) -> None:
        self.database.close_now()
        self._blank.close()


class World:
    """One run: everything in it follows from the seed."""

    def __init__(self, stage: Stage, seed: int, rules: Rules | None = None) -> None:
        stage.reset()
        self.database = stage.database
        self.seed = seed
        self.rules = rules or Rules()
        self.chance = random.Random(seed)
        self.clock = HandClock(START_MS)
        self.numbers = 10
        self.ledger = Ledger(self.clock, stage.prices, Terms(), new_id=self._new_id)
        self.memory = Memory()
        self.price = 3_000_000
        self.network: list[tuple[str, str, int]] = []
        self.requests: list[tuple[str, str, str | None]] = []
        self.sent_keys: list[tuple[str, str]] = []
        self.history: list[str] = []

    def run(self, steps: int) -> None:
        """Take steps, comparing after each; then let everything end and compare all."""
        actions: list[tuple[int, Callable[[], None]]] = [
            (7, self._submit),
            (5, self._claim),
            (8, self._deliver),
            (2, self._renew),
            (2, self._cancel),
            (3, self._tick),
            (2, self._recover),
            (2, self._sweep),
            (1, self._payment),
            (1, self._grant_for_a_while),
            (1, self._expire),
            (1, self._change_price),
        ]
        weights, functions = zip(*actions, strict=True)
        for _ in range(steps):
            action = self.chance.choices(functions, weights)[0]
            try:
                action()
            except (DBAPIError, sqlite3.Error) as error:
                raise self._violation(f"the database refused: {error}") from error
            self._compare()
        self._finish()

    # What happens.

    def _submit(self) -> None:
        """A client asks for a picture, sometimes again under the same key."""
        if self.requests and self.chance.random() < 0.5:
            self._act(*self.requests.pop(self.chance.randrange(len(self.requests))))
            return
        if self.sent_keys and self.chance.random() < 0.3:
            key, org = self.chance.choice(self.sent_keys)
        else:
            key, org = f"key {self._new_id()}", self.chance.choice(ORGS)
            self.sent_keys.append((key, org))
        found = self.database.read_now(lambda c: FIND_KEY.row(c, b_key=key))
        enough = self.database.read_now(lambda c: self.ledger.balance(c, org)).available >= self.price
        if found is None and enough:  # what a hurried implementation decides by; ours decides again inside
            self.requests.append((org, key, None))

    def _act(self, org: str, key: str, _: str | None) -> None:
        job = f"job {self._new_id()}"
        price = self.price
        caps = Caps(total=15_000_000) if self.chance.random() < 0.3 else Caps()
        life = self.chance.choice((10_000, 40_000, 900_000))

        def operation(connection: Connection) -> bool:
            if self.rules.key_is_taken_first and not ADD_KEY.count(connection, b_key=key, b_job=job):
                return False
            self.ledger.reserve(
                connection,
                org_id=org,
                job_id=job,
                amount=Micro(price),
                price_version="now",
                key_id=f"k{org}",
                member_id="m",
                key_caps=caps,
                expires_ms=self.clock.ms + life,
            )
            ADD_JOB.count(connection, b_job=job, b_org=org)
            if not self.rules.key_is_taken_first:
                ADD_KEY.count(connection, b_key=key, b_job=job)
            return True

        try:
            made = self._maybe_crash(operation)
        except PaymentRequired:
            return
        if made:
            self.memory.price_of[job], self.memory.org_of[job], self.memory.key_of[job] = price, org, key

    def _claim(self) -> None:
        """A worker takes a queued job; what it will send is decided now and arrives some time, or twice, or never."""
        rows = self.database.read_now(QUEUED.rows)
        if not rows:
            return
        job = self.chance.choice(rows)[0]
        lease = self.clock.ms + LEASE_MS
        row = self._maybe_crash(lambda c: CLAIM.row(c, b_job=job, b_lease=lease))
        if row is None:
            return
        kind = self.chance.choices(("succeed", "fail", "nothing"), (8, 1, 2))[0]
        for _ in range(self.chance.choices((1, 2), (8, 2))[0]):
            self.network.append((kind, job, row[0]))

    def _deliver(self) -> None:
        """A message arrives, in any order."""
        if not self.network:
            return
        kind, job, epoch = self.network.pop(self.chance.randrange(len(self.network)))
        if kind == "succeed":
            self._maybe_crash(lambda c: self._succeed(c, job, epoch), resend=(kind, job, epoch))
        elif kind == "fail":
            self._maybe_crash(lambda c: self._give_back(c, job, "failed"), resend=(kind, job, epoch))

    def _succeed(self, connection: Connection, job: str, epoch: int) -> None:
        if self.rules.epoch_is_checked:
            if not SUCCEED.count(connection, b_job=job, b_epoch=epoch):
                return
        elif not END.count(connection, b_job=job, b_state="succeeded"):
            return
        else:
            connection.exec_driver_sql("UPDATE sim_job SET result_epoch = ? WHERE id = ?", (epoch, job))
        self.ledger.capture(connection, job)

    def _give_back(self, connection: Connection, job: str, state: str) -> None:
        """End a job without a picture; whether that is still possible, the hold says."""
        if self.ledger.void(connection, job, state):
            END.count(connection, b_job=job, b_state=state)
            FREE_KEY.count(connection, b_job=job)

    def _renew(self) -> None:
        for _, job, epoch in self.network[:3]:
            lease = self.clock.ms + LEASE_MS
            self._maybe_crash(lambda c, j=job, e=epoch, t=lease: RENEW.count(c, b_job=j, b_epoch=e, b_lease=t))  # type: ignore[misc]

    def _cancel(self) -> None:
        """A client goes away, perhaps after its picture was made."""
        if self.memory.org_of:
            job = self.chance.choice(list(self.memory.org_of))
            self._maybe_crash(lambda c: self._give_back(c, job, "cancelled"))

    def _recover(self) -> None:
        """Jobs whose lease ran out go back to the queue once, then fail."""

        def operation(connection: Connection) -> None:
            for job, attempt in LOST.rows(connection, b_now=self.clock.ms):
                if attempt < 2:
                    REQUEUE.count(connection, b_job=job)
                else:
                    self._give_back(connection, job, "failed")

        self._maybe_crash(operation)

    def _sweep(self) -> None:
        def live(connection: Connection, asked: list[str]) -> set[str]:
            return {row[0] for row in LIVE.rows(connection, b_now=self.clock.ms)} & set(asked)

        def operation(connection: Connection) -> None:
            self.ledger.sweep(connection, live if self.rules.sweeper_asks_for_leases else None)
            connection.exec_driver_sql(
                "DELETE FROM sim_idempotency WHERE job_id IN (SELECT job_id FROM hold WHERE state = 'voided')"
            )
            connection.exec_driver_sql(
                "UPDATE sim_job SET state = 'failed' WHERE state IN ('queued', 'running') AND lease_ms <= ? "
                "AND id IN (SELECT job_id FROM hold WHERE state = 'voided')",
                (self.clock.ms,),
            )

        self._maybe_crash(operation)

    def _payment(self) -> None:
        """A provider says that somebody paid, now or again."""
        reference = f"payment {self.chance.randrange(4)}"
        self._credit(ORGS[int(reference[-1]) % 2], 3_000_000, reference)

    def _grant_for_a_while(self) -> None:
        org = self.chance.choice(ORGS)
        expires = self.clock.ms + self.chance.choice((5_000, 60_000))
        self._credit(org, 2_000_000, f"promo {self._new_id()}", Category.PROMO, expires)

    def _credit(
        self, org: str, amount: int, reference: str, category: Category = Category.PAID, expires_ms: int | None = None
    ) -> None:
        movement = Movement(
            Kind.TOPUP,
            System.PAYMENTS,
            amount,
            category,
            expires_ms,
            reference if self.rules.payments_have_references else None,
        )
        done = self._maybe_crash(lambda c: self.ledger.credit(c, org, movement) or None)
        if done and reference not in self.memory.paid:
            self.memory.paid.add(reference)
            self.memory.added[org] += amount

    def _expire(self) -> None:
        def operation(connection: Connection) -> list[Any]:
            self.ledger.expire_lots(connection)
            return list(
                connection.exec_driver_sql(
                    "SELECT w.org_id, sum(t.amount) FROM ledger_transfer t JOIN wallet w ON w.id = t.debit_wallet "
                    "WHERE t.kind = 'expiry' GROUP BY w.org_id"
                )
            )

        for org, total in self._maybe_crash(operation) or ():
            self.memory.expired[org] = total

    def _change_price(self) -> None:
        self.price = self.chance.choice((1_000_000, 3_000_000, 6_500_000))

    def _tick(self) -> None:
        self.clock.ms += self.chance.choice((10, 1_000, 1_000, 6_000, 20_000, -30_000))

    # How it is done, and judged.

    def _new_id(self) -> str:
        self.numbers += 1
        return f"{self.numbers:026d}"

    def _write(self, operation: Callable[[Connection], Any]) -> Any:
        self.history.append(getattr(operation, "__qualname__", "").split(".")[1:2][0])
        return self.database.write_now(operation)

    def _maybe_crash(self, operation: Callable[[Connection], Any], resend: tuple[str, str, int] | None = None) -> Any:
        """Run an operation, or die before its commit; a worker whose result was not acknowledged sends it again."""
        if self.chance.random() >= 0.06:
            return self._write(operation)

        def dies(connection: Connection) -> None:
            operation(connection)
            raise _Crash

        try:
            self.database.write_now(dies)
        except _Crash:
            if resend:
                self.network.append(resend)
        return None

    def _compare(self) -> None:
        self.database.read_now(self._compare_inside)

    def _compare_inside(self, connection: Connection) -> None:
        raw = Stage.raw(connection)
        charged = dict.fromkeys(ORGS, 0)
        users: dict[str, str] = {}
        for job, state, epoch, result_epoch, lease_ms, hold, amount in raw.execute(CHECK):
            if job not in self.memory.price_of:
                raise self._violation(f"{job} was made by a transaction that was undone")
            if amount != self.memory.price_of[job]:
                raise self._violation(f"{job} costs {amount}, promised were {self.memory.price_of[job]}")
            if (state == "succeeded") != (hold == "captured"):
                raise self._violation(f"{job} is {state} and its hold is {hold}")
            if state == "succeeded" and result_epoch != epoch:
                raise self._violation(f"{job} took a stale result")
            if state == "running" and lease_ms > self.clock.ms and hold != "held":
                raise self._violation(f"{job} runs and its hold is {hold}")
            if hold == "captured":
                charged[self.memory.org_of[job]] += amount
            if hold != "voided":
                key = self.memory.key_of[job]
                if users.setdefault(key, job) != job:
                    raise self._violation(f"{key} was charged twice")
        for org, posted, held, holds, left, left_held, budgeted in raw.execute(SUMS):
            expected = self.memory.added[org] - charged[org] - self.memory.expired[org]
            if posted != expected:
                raise self._violation(f"{org} has {posted}, expected {expected}")
            if not (held == holds == left_held and posted == left and 0 <= held <= posted and budgeted <= held):
                raise self._violation(f"{org}: {posted=} {held=} {holds=} {left=} {left_held=} {budgeted=}")

    def _finish(self) -> None:
        """Let every lease run out: then nothing may stay reserved."""
        self.clock.ms += 4_000_000
        calm = self.chance
        self.chance = random.Random(0)
        self.chance.random = lambda: 1.0  # type: ignore[method-assign]
        for _ in range(3):
            self._recover()
            self._sweep()
            self._compare()
        self.chance = calm
        if self.seed % 10 == 0:  # the comparison after each step sees most; this sees all and takes as long as a run
            wrong = self.database.read_now(recompute)
            if wrong:
                raise self._violation("; ".join(map(str, wrong)))
        if self.database.read_now(
            lambda c: Stage.raw(c).execute("SELECT count(*) FROM hold WHERE state='held'").fetchone()
        )[0]:
            raise self._violation("a hold stayed open")

    def _violation(self, what: str) -> Violation:
        return Violation(f"seed {self.seed}: {what} (after {' '.join(self.history[-12:])})")
