"""Credits: reserve before the work, capture after it, or give back. Knows neither jobs nor payment providers.

Every method runs inside its caller's transaction, so that "the picture is stored" and "the price is taken" happen
together or not at all. Locks are taken in one order: hold, wallet, budgets, lots.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import InvalidInput
from keelbill.core.ids import new_id as fresh_id
from keelbill.core.principal import Caps
from keelbill.core.types import MICRO_PER_CREDIT, Micro, micro
from keelbill.ledger import audit, budgets, grants, lots, recharges, repository
from keelbill.ledger.errors import AlreadyReserved, HoldNotOpen, NoWallet, OutOfCredits
from keelbill.ledger.models import Category, Kind, System, wallet
from keelbill.ledger.movements import Movement, Mover
from keelbill.ledger.prices import PriceList
from keelbill.ledger.schemas import Balance, Lot, Mismatch, Transfer

Live = Callable[[Connection, list[str]], set[str]]
"""Says which of some jobs still run under a lease."""

HOLD_LIFE_MS = 15 * 60 * 1000
"""How long a hold lasts unless its job asks for more."""

REFUND_LIFE_MS = 24 * 60 * 60 * 1000
"""How long a refund may take at the provider before its credits can be spent again."""

UNLIMITED_STEP = micro(10_000)
"""How much an unlimited wallet is topped up by at a time."""

_NO_CAPS = Caps()


class Terms(Protocol):
    """What the ledger reads of the settings."""

    @property
    def billing(self) -> str:
        """``credits``, or ``unlimited``: wallets are topped up when they run short, so that nobody is refused."""
        ...

    @property
    def free_credits(self) -> str:
        """Credits of a new account, such as ``"25"``."""
        ...


class Ledger:
    """The credits of all organisations.

    Args:
        clock: The time.
        prices: What things cost.
        terms: The settings: whether credits run out, and how many are free.
        new_id: Makes ids that grow with time; tests give their own.
    """

    def __init__(
        self,
        clock: Clock,
        prices: PriceList,
        terms: Terms,
        *,
        new_id: Callable[[], str] = fresh_id,
    ) -> None:
        self.clock = clock
        self.prices = prices
        self.is_unlimited = terms.billing == "unlimited"
        self.free_credits = micro(terms.free_credits)
        self._new_id = new_id
        self._mover = Mover(new_id)

    def open_wallet(self, connection: Connection, org_id: str) -> bool:
        """Give an organisation an empty wallet; false if it has one."""
        return repository.open_wallet(connection, org_id)

    def balance(self, connection: Connection, org_id: str) -> Balance:
        """Return what an organisation has and what is reserved of it.

        Raises:
            NoWallet: It has no wallet.
        """
        found = repository.balance(connection, org_id)
        if found is None:
            raise NoWallet(org_id)
        return found

    def lots(self, connection: Connection, org_id: str) -> list[Lot]:
        """Return what is left of each grant and purchase, in the order in which it will be spent."""
        return lots.left(connection, self._wallet_id(connection, org_id))

    def transfers(
        self, connection: Connection, org_id: str, before_id: str | None = None, limit: int = 50
    ) -> list[Transfer]:
        """Return an organisation's movements, newest first.

        Args:
            connection: Inside a read.
            org_id: Whose.
            before_id: Id of the last one of the page before.
            limit: At most this many.
        """
        return repository.transfers(connection, self._wallet_id(connection, org_id), before_id, limit)

    def reserve(
        self,
        connection: Connection,
        *,
        org_id: str,
        job_id: str,
        amount: Micro,
        price_version: str,
        key_id: str = "",
        member_id: str = "",
        key_caps: Caps = _NO_CAPS,
        member_caps: Caps = _NO_CAPS,
        expires_ms: int | None = None,
        item: str = "",
    ) -> str:
        """Set the price of a job aside, before any work.

        Args:
            connection: Inside the transaction that makes the job.
            org_id: Who pays.
            job_id: What for; a job has one hold however often it is tried.
            amount: In micro-credits, fixed from now on.
            price_version: The list that the amount is from.
            key_id: The API key that asked, or "".
            member_id: The member who asked.
            key_caps: Of the key.
            member_caps: Of the member.
            expires_ms: When the hold ends by itself, in milliseconds since 1970; else after 15 minutes.
            item: Of the price list.

        Returns:
            The hold's id.

        Raises:
            OutOfCredits: The balance does not cover it.
            CapReached: A cap does not; the message names it and when it resets.
            AlreadyReserved: The job has a hold.
            NoWallet: The organisation has no wallet.
        """
        if amount < 0:
            raise InvalidInput("amount", amount, "0 or more micro-credits")
        now = self.clock.now_ms()
        budgets.check_request(key_caps, "key", amount)
        budgets.check_request(member_caps, "member", amount)
        wallet_id = self._reserve_in_wallet(connection, org_id, amount, now)
        taken = budgets.reserve(connection, org_id, (key_id, key_caps), (member_id, member_caps), now, amount)
        hold_id = self._new_id()
        fresh = repository.INSERT_HOLD.count(
            connection,
            hold=hold_id,
            wallet=wallet_id,
            amount=amount,
            job=job_id,
            item=item,
            key=key_id,
            member=member_id,
            version=price_version,
            capped=bool(taken),
            now=now,
            expires=now + HOLD_LIFE_MS if expires_ms is None else expires_ms,
        )
        if not fresh:
            raise AlreadyReserved(f"job {job_id!r} has a hold")
        budgets.link(connection, hold_id, taken)
        missing = lots.reserve(connection, wallet_id, hold_id, amount, now)
        if missing:
            raise OutOfCredits(amount, amount - missing)
        return hold_id

    def capture(self, connection: Connection, job_id: str) -> Micro:
        """Take the price of a job that succeeded; call it in the transaction that records the success.

        Returns:
            What was charged, in micro-credits.

        Raises:
            HoldNotOpen: It was taken or given back before; roll the transaction back.
        """
        return self._take(connection, job_id, Kind.CAPTURE, System.REVENUE)

    def hold_purchase(self, connection: Connection, org_id: str, job_id: str, reference: str) -> Micro:
        """Set aside what nobody holds of one purchase, in whole credits, so that it can be paid back.

        Args:
            connection: Inside a transaction.
            org_id: Whose.
            job_id: Names the hold.
            reference: Of the movement that brought the credits.

        Returns:
            How much, in micro-credits; 0 if nothing is left, and then nothing is held.
        """
        found = lots.of_reference(connection, reference)
        if found is None:
            return Micro(0)
        lot_id, wallet_id, _ = found
        repository.LOCK_WALLET.row(connection, wallet=wallet_id)
        amount = lots.free_of(connection, lot_id) // MICRO_PER_CREDIT * MICRO_PER_CREDIT
        if amount <= 0 or repository.RESERVE.row(connection, org=org_id, amount=amount) is None:
            return Micro(0)
        now, hold_id = self.clock.now_ms(), self._new_id()
        repository.INSERT_HOLD.count(
            connection,
            hold=hold_id,
            wallet=wallet_id,
            amount=amount,
            job=job_id,
            item="refund",
            key="",
            member="",
            version=self.prices.version,
            capped=False,
            now=now,
            expires=now + REFUND_LIFE_MS,
        )
        lots.HOLD_LOT.count(connection, lot=lot_id, amount=amount)
        lots.INSERT_HOLD_LOT.count(connection, hold=hold_id, lot=lot_id, amount=amount)
        return Micro(amount)

    def finish_refund(self, connection: Connection, job_id: str) -> Micro:
        """Take out what `hold_purchase` set aside, after the money went back.

        Raises:
            HoldNotOpen: It was taken or given back before.
        """
        return self._take(connection, job_id, Kind.REFUND, System.REFUNDS)

    def _take(self, connection: Connection, job_id: str, kind: Kind, system: System) -> Micro:
        now = self.clock.now_ms()
        row = repository.CAPTURE_HOLD.row(connection, job=job_id, now=now)
        if row is None:
            raise HoldNotOpen(f"the price of job {job_id!r} is not reserved any more")
        hold_id, wallet_id, amount, is_capped = row
        if amount == 0:
            return Micro(0)
        spent = repository.SPEND_HELD.row(connection, wallet=wallet_id, amount=amount)
        if spent is None:
            raise HoldNotOpen(f"wallet {wallet_id} holds less than job {job_id!r} reserved")
        if is_capped:
            budgets.SPEND.count(connection, hold=hold_id, amount=amount)
        lots.SPEND_LOTS.count(connection, hold=hold_id)
        repository.INSERT_CAPTURE.count(
            connection,
            id=self._new_id(),
            kind=kind.value,
            debit=wallet_id,
            credit=int(system),
            amount=amount,
            hold=hold_id,
            now=now,
        )
        available, threshold, org_id = spent
        if threshold is not None and available < threshold:
            recharges.enqueue(connection, org_id, now)
        return Micro(amount)

    def void(self, connection: Connection, job_id: str, reason: str) -> bool:
        """Give the price of a job back; false if it was taken or given back before.

        Args:
            connection: Inside the transaction that records how the job ended.
            job_id: Whose.
            reason: Up to 64 characters, such as ``failed`` or ``cancelled``.
        """
        row = repository.VOID_HOLD.row(connection, job=job_id, now=self.clock.now_ms(), reason=reason[:64])
        if row is None:
            return False
        hold_id, wallet_id, amount, is_capped = row
        repository.RELEASE_HELD.count(connection, wallet=wallet_id, amount=amount)
        if is_capped:
            budgets.RELEASE.count(connection, hold=hold_id, amount=amount)
        lots.RELEASE_LOTS.count(connection, hold=hold_id)
        return True

    def sweep(self, connection: Connection, live: Live | None = None, limit: int = 200, *, grace_ms: int = 0) -> int:
        """Give back expired holds whose jobs do not run any more.

        Args:
            connection: Inside a transaction.
            live: Says which jobs still run under a lease; without it, none does.
            limit: At most this many holds are looked at.
            grace_ms: How long ago they must have expired.

        Returns:
            How many were given back.
        """
        rows = repository.EXPIRED_HOLDS.rows(connection, now=self.clock.now_ms() - grace_ms, limit=limit)
        job_ids = [str(row[0]) for row in rows]
        running = live(connection, job_ids) if live and job_ids else set()
        return sum(self.void(connection, job_id, "expired") for job_id in job_ids if job_id not in running)

    def expire_lots(self, connection: Connection, limit: int = 500) -> int:
        """Remove credits whose time is over, except what running jobs hold; returns how many lots were touched."""
        return self._mover.expire(connection, self.clock.now_ms(), limit)

    def grant_free(self, connection: Connection, org_id: str, identity: str) -> bool:
        """Give a new account its free credits, once per account and once per person.

        Args:
            connection: Inside a transaction.
            org_id: Whose.
            identity: A verified e-mail address, or issuer and subject of a sign-in.

        Returns:
            Whether they were given; false if the account or the identity had them before.
        """
        wallet_id = self._wallet_id(connection, org_id)
        now = self.clock.now_ms()
        flag = wallet.update().where(wallet.c.id == wallet_id)
        first = connection.execute(flag.where(wallet.c.free_granted_ms.is_(None)).values(free_granted_ms=now))
        if first.rowcount == 0:
            return False
        if self.free_credits == 0:
            return True
        movement = Movement(
            Kind.GRANT,
            System.GRANTS,
            self.free_credits,
            Category.FREE,
            reference=grants.reference(identity),
            note="free credits",
        )
        if self._mover.credit(connection, wallet_id, movement, now):
            return True
        connection.execute(flag.values(free_granted_ms=None))
        return False

    def adjust(self, connection: Connection, org_id: str, amount: Micro, actor: str, note: str) -> None:
        """Add or take credits by hand.

        Args:
            connection: Inside a transaction.
            org_id: Whose.
            amount: Micro-credits, negative to take; not 0.
            actor: Who does it.
            note: Why; it stays in the history.

        Raises:
            InvalidInput: The amount is 0, or more than is available would be taken.
            NoWallet: The organisation has no wallet.
        """
        wallet_id = self._wallet_id(connection, org_id)
        if amount == 0:
            raise InvalidInput("amount", 0, "more or less than 0 credits")
        movement = Movement(
            Kind.ADJUST, System.ADJUST, abs(amount), Category.FREE, actor_type="operator", actor_id=actor, note=note
        )
        if amount > 0:
            self._mover.credit(connection, wallet_id, movement, self.clock.now_ms())
        elif not self._mover.debit(connection, wallet_id, movement, self.clock.now_ms()):
            raise InvalidInput("amount", amount, "no more than what is available")

    def credit(self, connection: Connection, org_id: str, movement: Movement) -> bool:
        """Put credits into a wallet; false if the movement's reference was used before.

        Raises:
            NoWallet: The organisation has no wallet.
        """
        return self._mover.credit(connection, self._wallet_id(connection, org_id), movement, self.clock.now_ms())

    def debit(
        self, connection: Connection, org_id: str, movement: Movement, categories: tuple[str, ...] = tuple(Category)
    ) -> bool:
        """Take credits that nobody holds; false if there are too few of those categories, and nothing was changed.

        Raises:
            NoWallet: The organisation has no wallet.
        """
        wallet_id = self._wallet_id(connection, org_id)
        return self._mover.debit(connection, wallet_id, movement, self.clock.now_ms(), categories)

    def available_of(self, connection: Connection, org_id: str, category: Category) -> Micro:
        """Return what nobody holds of a category of credits."""
        return Micro(lots.free_in(connection, self._wallet_id(connection, org_id), category))

    def verify(self, connection: Connection) -> list[Mismatch]:
        """Recompute every stored sum from the movements and return what does not agree."""
        return audit.recompute(connection)

    def check_books(self, connection: Connection) -> list[Mismatch]:
        """Verify and keep the result, for the administrators' page; inside a write."""
        found = self.verify(connection)
        audit.remember(connection, self._new_id(), self.clock.now_ms(), found)
        return found

    def _reserve_in_wallet(self, connection: Connection, org_id: str, amount: int, now: int) -> int:
        row = repository.RESERVE.row(connection, org=org_id, amount=amount)
        if row is None and self.is_unlimited:
            self._top_up(connection, org_id, amount, now)
            row = repository.RESERVE.row(connection, org=org_id, amount=amount)
        if row is None:
            raise OutOfCredits(amount, self.balance(connection, org_id).available)
        return int(row[0])

    def _top_up(self, connection: Connection, org_id: str, amount: int, now: int) -> None:
        step = max(amount, UNLIMITED_STEP)
        movement = Movement(Kind.GRANT, System.GRANTS, step, Category.FREE, note="unlimited use")
        self._mover.credit(connection, self._wallet_id(connection, org_id), movement, now)

    def _wallet_id(self, connection: Connection, org_id: str) -> int:
        row = repository.FIND_WALLET.row(connection, org=org_id)
        if row is None:
            raise NoWallet(org_id)
        return int(row[0])
