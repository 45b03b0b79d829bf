"""Codes that are worth credits: made, checked and redeemed. Knows no payment provider.

A code is 20 random characters of base32 and one that checks them, in groups: 100 bits of chance. Only its hash is
stored, so the table is worth nothing to a thief.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from keelbill.core.clock import Clock
from keelbill.core.errors import AppError, InvalidInput, RateLimited
from keelbill.core.ids import new_id as fresh_id
from keelbill.core.types import Micro
from keelbill.db.base import Database
from keelbill.db.statements import insert_absent
from keelbill.ledger.errors import VoucherRefused
from keelbill.ledger.models import Category, Kind, System, voucher, voucher_try, voucher_use
from keelbill.ledger.movements import Movement
from keelbill.ledger.service import Ledger

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
TRIES = 5
TRIES_WINDOW_MS = 60 * 60 * 1000
DAY_MS = 24 * 60 * 60 * 1000


def make_code() -> str:
    """Return a new code, such as ``ABCDE-FGHIJ-KLMNO-PQRST-U``."""
    characters = "".join(secrets.choice(ALPHABET) for _ in range(20))
    whole = characters + _check(characters)
    return "-".join(whole[start : start + 5] for start in range(0, len(whole), 5))


def read_code(text: str) -> str | None:
    """Return the 20 characters of a code however it was typed; nothing if it cannot be one."""
    characters = "".join(text.upper().split()).replace("-", "").replace("0", "O").replace("1", "I").replace("8", "B")
    if len(characters) != 21 or any(character not in ALPHABET for character in characters):
        return None
    return characters[:20] if _check(characters[:20]) == characters[20] else None


def _check(characters: str) -> str:
    """Return a character that changes when one is mistyped, and nearly always when two neighbours are swapped."""
    total = sum((2 * place + 1) * ALPHABET.index(character) for place, character in enumerate(characters))
    return ALPHABET[total % 32]


def _hash(characters: str) -> str:
    return hashlib.sha256(characters.encode()).hexdigest()


class Vouchers:
    """Makes and redeems codes.

    Args:
        ledger: That the credits go to.
        clock: The time.
        new_id: Makes ids that grow with time.
    """

    def __init__(self, ledger: Ledger, clock: Clock, new_id: Callable[[], str] = fresh_id) -> None:
        self._ledger = ledger
        self._clock = clock
        self._new_id = new_id

    def create(
        self,
        connection: Connection,
        amount: Micro,
        *,
        uses: int = 1,
        days: int | None = None,
        category: Category = Category.PAID,
        credits_last_days: int | None = None,
        created_by: str,
        note: str = "",
    ) -> str:
        """Make a code.

        Args:
            connection: Inside a transaction.
            amount: What one use is worth, in micro-credits.
            uses: How many organisations may use it, once each.
            days: How long it can be redeemed; nothing means for ever.
            category: ``paid``, or ``promo`` for a gift.
            credits_last_days: How long the credits last after they were redeemed; nothing means for ever.
            created_by: Who made it.
            note: For administrators.

        Returns:
            The code; it cannot be shown again.

        Raises:
            InvalidInput: A number is below 1.
        """
        numbers = (("credits", amount), ("uses", uses), ("days", days), ("credits_last_days", credits_last_days))
        for field, number in numbers:
            if number is not None and number < 1:
                raise InvalidInput(field, number, "more than 0")
        code, now = make_code(), self._clock.now_ms()
        connection.execute(
            insert(voucher).values(
                code_hash=_hash(read_code(code) or ""),
                micro_credits=amount,
                category=category.value,
                max_uses=uses,
                expires_ms=None if days is None else now + days * DAY_MS,
                credits_last_ms=None if credits_last_days is None else credits_last_days * DAY_MS,
                note=note,
                created_by=created_by,
                created_ms=now,
            )
        )
        return code

    def all(self, connection: Connection) -> list[Any]:
        """Return the rows of all vouchers, newest first; their codes are not known."""
        return list(connection.execute(select(voucher).order_by(voucher.c.created_ms.desc(), voucher.c.code_hash)))

    async def redeem_patiently(self, database: Database, org_id: str, code: str, actor_id: str = "") -> Micro:
        """As `redeem`, with five wrong codes an hour; what `redeem` refuses counts."""
        result = await database.write(lambda c: self.attempt(c, org_id, code, actor_id))
        if isinstance(result, AppError):
            raise result
        return result

    def attempt(self, connection: Connection, org_id: str, code: str, actor_id: str = "") -> Micro | AppError:
        """Redeem a code; a refusal is returned, not raised, so that the count of tries outlives the transaction."""
        now = self._clock.now_ms()
        connection.execute(delete(voucher_try).where(voucher_try.c.tried_ms <= now - TRIES_WINDOW_MS))
        recent = select(func.count(), func.min(voucher_try.c.tried_ms)).where(voucher_try.c.org_id == org_id)
        tries, oldest = connection.execute(recent).one()
        if tries >= TRIES:
            wait_s = max(1, -(-(oldest + TRIES_WINDOW_MS - now) // 1000))
            return RateLimited(f"code: {TRIES} wrong codes an hour are allowed.", retry_after_s=wait_s)
        savepoint = connection.begin_nested()
        try:
            amount = self.redeem(connection, org_id, code, actor_id)
        except VoucherRefused as refusal:
            savepoint.rollback()
            connection.execute(insert(voucher_try).values(id=self._new_id(), org_id=org_id, tried_ms=now))
            return refusal
        savepoint.commit()
        return amount

    def redeem(self, connection: Connection, org_id: str, code: str, actor_id: str = "") -> Micro:
        """Put a code's worth into an organisation's wallet, once.

        Returns:
            What was added, in micro-credits.

        Raises:
            VoucherRefused: The code is mistyped, unknown, used up, expired, or this organisation used it before.
        """
        characters = read_code(code)
        if characters is None:
            raise VoucherRefused("code: this is not a complete code; it has 21 letters and digits.")
        code_hash, now = _hash(characters), self._clock.now_ms()
        row = connection.execute(select(voucher).where(voucher.c.code_hash == code_hash)).one_or_none()
        if row is None:
            raise VoucherRefused("code: there is no such code.")
        if row.expires_ms is not None and row.expires_ms <= now:
            raise VoucherRefused("code: it has expired.")
        use = {"code_hash": code_hash, "org_id": org_id, "used_ms": now}
        if not insert_absent(connection, voucher_use, use):
            raise VoucherRefused("code: it was redeemed before.")
        counted = connection.execute(
            update(voucher)
            .where(voucher.c.code_hash == code_hash, voucher.c.used < voucher.c.max_uses)
            .values(used=voucher.c.used + 1)
        )
        if counted.rowcount == 0:
            raise VoucherRefused("code: it was redeemed before.")
        is_gift = row.category == Category.PROMO
        movement = Movement(
            Kind.PROMO if is_gift else Kind.TOPUP,
            System.PROMO if is_gift else System.PAYMENTS,
            row.micro_credits,
            Category(row.category),
            expires_ms=None if row.credits_last_ms is None else now + row.credits_last_ms,
            reference=f"voucher:{code_hash}:{org_id}",
            actor_type="user",
            actor_id=actor_id,
            note="voucher",
        )
        if not self._ledger.credit(connection, org_id, movement):
            raise VoucherRefused("code: it was redeemed before.")
        return Micro(row.micro_credits)
