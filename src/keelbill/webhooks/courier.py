"""Works off the queue of messages: at most five tries each, with growing pauses. Knows nothing of what they say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import AppError
from keelbill.db.base import Database
from keelbill.webhooks import repository
from keelbill.webhooks.caller import Caller
from keelbill.webhooks.schemas import Delivery, Sealed
from keelbill.webhooks.seals import Seals
from keelbill.webhooks.signatures import headers

PAUSES_S: Final = (10, 60, 300, 1800)  # after the first, second, third and fourth try
MAX_TRIES: Final = len(PAUSES_S) + 1
DISABLE_AFTER: Final = 5  # messages in a row that were given up
BATCH: Final = 16
CLAIM_MS: Final = 60_000  # longer than any call lasts; after a crash the message is tried again

log = logging.getLogger(__name__)


class Courier:
    """Delivers queued messages in the background; at least once each, unless the receiver keeps failing.

    Args:
        database: Where the queue is kept.
        clock: Decides what is due.
        caller: Sends.
        seals: Opens the secrets that sign.
        idle_s: Pause between looks at an empty queue.
        on_try: Told what became of each try: ``delivered``, ``postponed`` or ``given_up``; for metrics.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        caller: Caller,
        seals: Seals,
        *,
        idle_s: float = 2.0,
        on_try: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._caller = caller
        self._seals = seals
        self._idle_s = idle_s
        self._on_try = on_try
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look at the queue at once."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled; a database that is away for a while is waited for."""
        while True:
            try:
                delivered = await self.deliver_due()
            except AppError as error:
                log.warning("webhooks wait: %s", error)
                delivered = 0
            if not delivered:
                await self._rest()

    async def deliver_due(self) -> int:
        """Try every message that is due, up to 16 at a time; return how many were tried."""
        now_ms = self._clock.now_ms()
        due = await self._database.write(lambda c: repository.claim_due(c, now_ms, now_ms + CLAIM_MS, BATCH))
        async with asyncio.TaskGroup() as tries:
            for delivery, url, sealed in due:
                tries.create_task(self._try(delivery, url, sealed))
        return len(due)

    async def _rest(self) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(self._idle_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _try(self, delivery: Delivery, url: str, sealed: Sealed) -> None:
        body, now_ms = delivery.payload.encode(), self._clock.now_ms()
        status, problem = 0, ""
        try:
            secrets = self._seals.open(delivery.webhook_id, sealed, now_ms)
            status = await self._caller.post(url, body, headers(secrets, delivery.id, now_ms // 1000, body))
        except AppError as error:
            problem = error.message
        if not problem and not 200 <= status < 300:
            problem = f"the receiver answered with status {status}"
        outcome = await self._database.write(lambda connection: self._note(connection, delivery, status, problem))
        self._on_try(outcome)

    def _note(self, connection: Connection, delivery: Delivery, status: int, problem: str) -> str:
        """Write down how a try went, and return that in one word."""
        now_ms = self._clock.now_ms()
        webhook = repository.find(connection, delivery.webhook_id)
        if webhook is None:  # removed meanwhile, with its messages
            return "given_up"
        outcome = "given_up"
        values: dict[str, object] = {"last_status": status, "last_error": problem}
        if not problem:
            outcome = "delivered"
            values |= {"state": "delivered", "finished_ms": now_ms}
            repository.change(connection, webhook.id, {"failures": 0})
        elif delivery.attempts < MAX_TRIES and status != 410:  # 410 Gone: the receiver wants no more
            outcome = "postponed"
            values |= {"next_ms": now_ms + PAUSES_S[delivery.attempts - 1] * 1000}
        else:
            values |= {"state": "given_up", "finished_ms": now_ms}
            if repository.count_failure(connection, webhook.id) >= DISABLE_AFTER or status == 410:
                repository.change(connection, webhook.id, {"enabled": False})
                repository.give_up_waiting(connection, webhook.id, now_ms, "the webhook was turned off")
        repository.change_delivery(connection, delivery.id, values)
        return outcome
