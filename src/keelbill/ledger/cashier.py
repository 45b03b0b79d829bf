"""Works off what payment providers sent and buys credits that run low, beside the requests. Knows no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from keelbill.core.errors import AppError
from keelbill.ledger.payments import Payments
from keelbill.ledger.recharger import Disabled, Recharger

EVERY_S: Final = 10.0
"""Pause between two looks at what waits, when nobody wakes the cashier."""

_log = structlog.get_logger(__name__)


class Cashier:
    """Acts on stored messages at once when it is woken, and on everything that waits every ten seconds.

    Args:
        payments: With the messages.
        recharger: With the automatic purchases.
        on_disabled: Awaited for each organisation whose automatic purchases were switched off.
        every_s: Pause in seconds.
    """

    def __init__(
        self,
        payments: Payments,
        recharger: Recharger,
        on_disabled: Callable[[Disabled], Awaitable[None]],
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self.payments = payments
        self.recharger = recharger
        self._on_disabled = on_disabled
        self._every_s = every_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Say that a message came."""
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled; what fails now is tried again."""
        while True:
            try:
                await self.work()
            except AppError as error:
                _log.warning("payments_wait", reason=str(error))
            try:
                async with asyncio.timeout(self._every_s):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()

    async def work(self) -> None:
        """Act once on everything that waits."""
        await self.payments.process()
        for switched_off in await self.recharger.run_due():
            _log.warning("recharge_switched_off", org=switched_off.org_id, reason=switched_off.reason)
            await self._on_disabled(switched_off)
