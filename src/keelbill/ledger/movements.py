"""Credits that come and go outside a job: grants, purchases, corrections, expiry. Knows no payment provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from keelbill.ledger import lots, repository
from keelbill.ledger.models import Category, Kind, System


@dataclass(frozen=True)
class Movement:
    """A movement to be written.

    Attributes:
        kind: Why.
        system: The system's wallet at the other end.
        amount: Micro-credits, more than 0.
        category: Of credits that come in.
        expires_ms: When credits that come in expire; nothing means never.
        reference: That may be written only once, such as a payment's; nothing if it may be repeated.
        actor_type: ``user``, ``operator`` or ``system``.
        actor_id: Who.
        note: For people.
    """

    kind: Kind
    system: System
    amount: int
    category: Category = Category.PAID
    expires_ms: int | None = None
    reference: str | None = None
    actor_type: str = "system"
    actor_id: str = ""
    note: str = ""


class Mover:
    """Writes movements between a customer's wallet and the system's.

    Args:
        new_id: Makes ids that grow with time.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id

    def credit(self, connection: Connection, wallet_id: int, movement: Movement, now_ms: int) -> bool:
        """Put credits into a wallet; false if the movement's reference was there already."""
        transfer_id = self._new_id()
        if not self._insert(connection, transfer_id, int(movement.system), wallet_id, movement, now_ms):
            return False
        repository.ADD_POSTED.count(connection, wallet=wallet_id, amount=movement.amount)
        lots.INSERT.count(
            connection,
            id=self._new_id(),
            wallet=wallet_id,
            source=transfer_id,
            category=movement.category.value,
            expires=movement.expires_ms,
            amount=movement.amount,
        )
        return True

    def debit(
        self,
        connection: Connection,
        wallet_id: int,
        movement: Movement,
        now_ms: int,
        categories: Sequence[str] = tuple(Category),
    ) -> bool:
        """Take credits that nobody holds out of a wallet; false if there are too few, and nothing was changed."""
        repository.LOCK_WALLET.row(connection, wallet=wallet_id)
        if sum(lots.free_in(connection, wallet_id, category) for category in categories) < movement.amount:
            return False
        if not repository.TAKE_POSTED.count(connection, wallet=wallet_id, amount=movement.amount):
            return False
        lots.spend(connection, wallet_id, movement.amount, categories)
        self._insert(connection, self._new_id(), wallet_id, int(movement.system), movement, now_ms)
        return True

    def expire(self, connection: Connection, now_ms: int, limit: int = 500) -> int:
        """Move what is left of expired lots to EXPIRED; what a running job holds stays until it ends.

        Returns:
            How many lots were touched.
        """
        touched = 0
        for lot_id, wallet_id in lots.DUE.rows(connection, now=now_ms, limit=limit):
            repository.LOCK_WALLET.row(connection, wallet=wallet_id)
            amount = lots.free_of(connection, lot_id)
            if amount and lots.TAKE.count(connection, lot=lot_id, amount=amount):
                repository.TAKE_POSTED.count(connection, wallet=wallet_id, amount=amount)
                movement = Movement(Kind.EXPIRY, System.EXPIRED, amount, note="credits expired")
                self._insert(connection, self._new_id(), wallet_id, int(System.EXPIRED), movement, now_ms)
                touched += 1
        return touched

    def _insert(
        self, connection: Connection, transfer_id: str, debit: int, credit: int, movement: Movement, now_ms: int
    ) -> bool:
        inserted = repository.INSERT_TRANSFER.count(
            connection,
            id=transfer_id,
            kind=movement.kind.value,
            debit=debit,
            credit=credit,
            amount=movement.amount,
            reference=movement.reference,
            actor_type=movement.actor_type,
            actor_id=movement.actor_id,
            note=movement.note,
            now=now_ms,
        )
        return inserted == 1
