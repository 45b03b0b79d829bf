"""Statements on wallets, transfers and holds. Knows no rule of business.

Every change of a sum is an expression with a guard in its WHERE, so that two writers can never both pass a check that
only one of them should. What runs for every picture is compiled once.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    String,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    union_all,
    update,
)

from keelbill.core.types import Micro
from keelbill.db.statements import Prepared, insert_absent
from keelbill.ledger.models import System, hold, transfer, wallet
from keelbill.ledger.schemas import Balance, Transfer

_amount = bindparam("amount", type_=BigInteger)

IS_OPEN = hold.c.state == literal_column("'held'", String)
"""As the partial index says it; with a parameter it would not be used."""

RESERVE = Prepared(
    update(wallet)
    .where(wallet.c.org_id == bindparam("org"), wallet.c.posted - wallet.c.held >= _amount)
    .values(held=wallet.c.held + _amount)
    .returning(wallet.c.id)
)
INSERT_HOLD = Prepared(
    insert(hold).values(
        id=bindparam("hold"),
        wallet_id=bindparam("wallet"),
        amount=_amount,
        state="held",
        job_id=bindparam("job"),
        item=bindparam("item"),
        api_key_id=bindparam("key"),
        member_id=bindparam("member"),
        price_version=bindparam("version"),
        is_capped=bindparam("capped"),
        created_ms=bindparam("now"),
        expires_ms=bindparam("expires"),
    ),
    unless_there=True,
)
CAPTURE_HOLD = Prepared(
    update(hold)
    .where(hold.c.job_id == bindparam("job"), hold.c.state == "held")
    .values(state="captured", resolved_ms=bindparam("now"))
    .returning(hold.c.id, hold.c.wallet_id, hold.c.amount, hold.c.is_capped)
)
VOID_HOLD = Prepared(
    update(hold)
    .where(hold.c.job_id == bindparam("job"), hold.c.state == "held")
    .values(state="voided", resolved_ms=bindparam("now"), reason=bindparam("reason"))
    .returning(hold.c.id, hold.c.wallet_id, hold.c.amount, hold.c.is_capped)
)
SPEND_HELD = Prepared(
    update(wallet)
    .where(wallet.c.id == bindparam("wallet"), wallet.c.held >= _amount)
    .values(posted=wallet.c.posted - _amount, held=wallet.c.held - _amount)
    .returning(wallet.c.posted - wallet.c.held, wallet.c.recharge_below, wallet.c.org_id)
)
RELEASE_HELD = Prepared(
    update(wallet)
    .where(wallet.c.id == bindparam("wallet"), wallet.c.held >= _amount)
    .values(held=wallet.c.held - _amount)
)
INSERT_CAPTURE = Prepared(
    insert(transfer).values(
        id=bindparam("id"),
        kind=bindparam("kind"),
        debit_wallet=bindparam("debit"),
        credit_wallet=bindparam("credit"),
        amount=_amount,
        hold_id=bindparam("hold"),
        actor_type="system",
        actor_id="",
        note="",
        created_ms=bindparam("now"),
    )
)
INSERT_TRANSFER = Prepared(
    insert(transfer).values(
        id=bindparam("id"),
        kind=bindparam("kind"),
        debit_wallet=bindparam("debit"),
        credit_wallet=bindparam("credit"),
        amount=_amount,
        external_ref=bindparam("reference"),
        actor_type=bindparam("actor_type"),
        actor_id=bindparam("actor_id"),
        note=bindparam("note"),
        created_ms=bindparam("now"),
    ),
    unless_there=True,
)
ADD_POSTED = Prepared(update(wallet).where(wallet.c.id == bindparam("wallet")).values(posted=wallet.c.posted + _amount))
TAKE_POSTED = Prepared(
    update(wallet)
    .where(wallet.c.id == bindparam("wallet"), wallet.c.posted - wallet.c.held >= _amount)
    .values(posted=wallet.c.posted - _amount)
)
LOCK_WALLET = Prepared(
    update(wallet).where(wallet.c.id == bindparam("wallet")).values(posted=wallet.c.posted).returning(wallet.c.posted)
)
FIND_WALLET = Prepared(select(wallet.c.id, wallet.c.posted, wallet.c.held).where(wallet.c.org_id == bindparam("org")))
EXPIRED_HOLDS = Prepared(
    select(hold.c.job_id)
    .where(IS_OPEN, hold.c.expires_ms <= bindparam("now"))
    .order_by(hold.c.expires_ms)
    .limit(bindparam("limit"))
)


def open_wallet(connection: Connection, org_id: str) -> bool:
    """Give an organisation an empty wallet; false if it has one."""
    return insert_absent(connection, wallet, {"org_id": org_id, "posted": 0, "held": 0})


def balance(connection: Connection, org_id: str) -> Balance | None:
    """Return an organisation's balance, or nothing if it has no wallet."""
    row = FIND_WALLET.row(connection, org=org_id)
    return None if row is None else Balance(Micro(row[1]), Micro(row[2]))


def hold_of(connection: Connection, job_id: str) -> Any:
    """Return the hold of a job, or nothing."""
    return connection.execute(select(hold).where(hold.c.job_id == job_id)).one_or_none()


def transfers(connection: Connection, wallet_id: int, before_id: str | None, limit: int) -> list[Transfer]:
    """Return a wallet's movements, newest first."""
    ends = (
        (transfer.c.credit_wallet, 1),
        (transfer.c.debit_wallet, -1),
    )
    parts = []
    for column, sign in ends:
        # "at least 0" is what the index covers; without it the index is not used
        part = select(transfer, (transfer.c.amount * sign).label("signed")).where(
            column == wallet_id, column >= literal_column("0")
        )
        if before_id is not None:
            part = part.where(transfer.c.id < before_id)
        parts.append(select(part.order_by(transfer.c.id.desc()).limit(limit).subquery()))
    found = union_all(*parts).subquery()
    query = (
        select(found, hold.c.item, hold.c.job_id, hold.c.api_key_id, hold.c.price_version)
        .select_from(found.outerjoin(hold, hold.c.id == found.c.hold_id))
        .order_by(found.c.id.desc())
        .limit(limit)
    )
    return [
        Transfer(
            id=row.id,
            kind=row.kind,
            amount=Micro(row.signed),
            note=row.note,
            actor=f"{row.actor_type}:{row.actor_id}",
            created_ms=row.created_ms,
            item=row.item or "",
            job_id=row.job_id or "",
            key_id=row.api_key_id or "",
            price_version=row.price_version or "",
        )
        for row in connection.execute(query)
    ]


def system_balances(connection: Connection) -> dict[System, int]:
    """Sum the movements of the system's wallets; their balances are stored nowhere."""
    totals = dict.fromkeys(System, 0)
    for column, sign in ((transfer.c.credit_wallet, 1), (transfer.c.debit_wallet, -1)):
        for wallet_id, total in connection.execute(
            select(column, func.sum(transfer.c.amount)).where(column < 0).group_by(column)
        ):
            totals[System(wallet_id)] += sign * int(total)
    return totals


def open_holds(connection: Connection) -> tuple[int, int | None]:
    """Return how many holds are open, and when the oldest was made in milliseconds since 1970."""
    row = connection.execute(select(func.count(), func.min(hold.c.created_ms)).where(IS_OPEN)).one()
    return int(row[0]), row[1]
