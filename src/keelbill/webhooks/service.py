"""Registers addresses and queues what they are told; the queue is part of the caller's transaction. Sends nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import Conflict, InvalidInput, InvalidRequest
from keelbill.core.ids import new_id
from keelbill.core.settings import Settings
from keelbill.db.base import Database
from keelbill.webhooks import repository
from keelbill.webhooks.addresses import parse_url
from keelbill.webhooks.errors import NoSuchWebhook, WebhooksOff
from keelbill.webhooks.schemas import EVENTS, Delivery, Event, Keyed, Webhook
from keelbill.webhooks.seals import Seals
from keelbill.webhooks.signatures import new_secret

MAX_WEBHOOKS: Final = 10
MAX_PAGE: Final = 100
MAX_OVERLAP_S: Final = 30 * 86_400
OVERLAP_S: Final = 86_400
KEEP_DELIVERIES_MS: Final = 30 * 86_400_000


class Webhooks:
    """Addresses of organisations and the messages to them.

    Args:
        database: Where both are kept.
        clock: Stamps messages.
        settings: `webhooks` turns everything here on.
        seals: Closes the secrets that sign.
    """

    def __init__(self, database: Database, clock: Clock, settings: Settings, seals: Seals) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._seals = seals

    @property
    def is_on(self) -> bool:
        """Whether this installation calls anybody."""
        return self._settings.webhooks

    def emit(self, connection: Connection, org_id: str, event: Event, data: dict[str, object]) -> int:
        """Queue a message to every address of an organisation that wants this event; return how many.

        Belongs into the transaction that makes the event true, so that no message is lost or made up.
        """
        if not self.is_on:
            return 0
        wanted = [hook for hook in repository.of_org(connection, org_id) if hook.enabled and event in hook.events]
        if wanted:
            stamp = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
            payload = json.dumps({"type": event, "timestamp": stamp, "data": data}, separators=(",", ":"))
            repository.add_deliveries(connection, [self._message(hook.id, event, payload) for hook in wanted])
        return len(wanted)

    async def register(self, org_id: str, url: str, events: Sequence[str] = EVENTS) -> Keyed:
        """Register an address and return it with its secret, which is shown this once.

        Raises:
            Conflict: The organisation has ten already.
            ForbiddenAddress: The URL may not be called.
            InvalidRequest: An event is unknown, or none is given.
            WebhooksOff: This installation calls nobody.
        """
        self._require_on()
        parse_url(url, allow_private=self._settings.webhook_private_targets)
        record = Webhook(new_id(), org_id, url, _known(events), True, 0, self._clock.now_ms())
        secret = new_secret()

        def add(connection: Connection) -> None:
            if len(repository.of_org(connection, org_id)) >= MAX_WEBHOOKS:
                raise Conflict(f"webhooks: an account may register {MAX_WEBHOOKS}; remove one first.")
            repository.add(connection, record, self._seals.close(record.id, secret))

        await self._database.write(add)
        return Keyed(record, secret)

    async def of_org(self, org_id: str) -> list[Webhook]:
        """Return an organisation's addresses, oldest first."""
        self._require_on()
        return await self._database.read(lambda connection: repository.of_org(connection, org_id))

    async def change(
        self,
        org_id: str,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> Webhook:
        """Change an address; turning it on again forgets its failures.

        Raises:
            ForbiddenAddress: The URL may not be called.
            InvalidRequest: An event is unknown, or none is given.
            NoSuchWebhook: It does not exist or is somebody else's.
        """
        self._require_on()
        values: dict[str, object] = {}
        if url is not None:
            parse_url(url, allow_private=self._settings.webhook_private_targets)
            values["url"] = url
        if events is not None:
            values["events"] = " ".join(_known(events))
        if enabled is not None:
            values |= {"enabled": enabled, "failures": 0}

        def apply(connection: Connection) -> Webhook:
            _own(connection, org_id, webhook_id)
            if values:
                repository.change(connection, webhook_id, values)
            return _own(connection, org_id, webhook_id)

        return await self._database.write(apply)

    async def roll_secret(self, org_id: str, webhook_id: str, overlap_s: int = OVERLAP_S) -> Keyed:
        """Give an address a new secret, which is shown this once.

        Args:
            org_id: Whose the address is.
            webhook_id: Which.
            overlap_s: How long messages are signed with the old secret too, 0 to 30 days.

        Raises:
            InvalidInput: The overlap is out of range.
            NoSuchWebhook: It does not exist or is somebody else's.
        """
        self._require_on()
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise InvalidInput("overlap_s", overlap_s, f"0 to {MAX_OVERLAP_S}")
        secret, until_ms = new_secret(), self._clock.now_ms() + overlap_s * 1000

        def apply(connection: Connection) -> Keyed:
            found = _own(connection, org_id, webhook_id)
            repository.roll_secret(connection, webhook_id, self._seals.close(webhook_id, secret), until_ms)
            return Keyed(found, secret)

        return await self._database.write(apply)

    async def remove(self, org_id: str, webhook_id: str) -> None:
        """Forget an address and what was sent to it.

        Raises:
            NoSuchWebhook: It does not exist or is somebody else's.
        """
        self._require_on()

        def apply(connection: Connection) -> None:
            _own(connection, org_id, webhook_id)
            repository.remove(connection, webhook_id)

        await self._database.write(apply)

    async def deliveries(self, org_id: str, webhook_id: str, before_id: str = "", limit: int = 50) -> list[Delivery]:
        """Return messages to an address, newest first, at most 100.

        Raises:
            NoSuchWebhook: It does not exist or is somebody else's.
        """
        self._require_on()

        def query(connection: Connection) -> list[Delivery]:
            _own(connection, org_id, webhook_id)
            return repository.deliveries(connection, webhook_id, before_id, max(1, min(limit, MAX_PAGE)))

        return await self._database.read(query)

    async def redeliver(self, org_id: str, webhook_id: str, delivery_id: str) -> Delivery:
        """Queue a message once more, with fresh tries and the same id.

        Raises:
            NoSuchWebhook: Address or message do not exist or are somebody else's.
        """
        self._require_on()
        again = {"state": "waiting", "attempts": 0, "next_ms": self._clock.now_ms(), "finished_ms": 0}

        def apply(connection: Connection) -> Delivery:
            _own(connection, org_id, webhook_id)
            _delivery(connection, webhook_id, delivery_id)
            repository.change_delivery(connection, delivery_id, again)
            return _delivery(connection, webhook_id, delivery_id)

        return await self._database.write(apply)

    async def ping(self, org_id: str, webhook_id: str) -> Delivery:
        """Queue a message of the type ``ping``, so that a receiver can be tried out.

        Raises:
            NoSuchWebhook: It does not exist or is somebody else's.
        """
        self._require_on()
        stamp = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        payload = json.dumps({"type": "ping", "timestamp": stamp, "data": {}}, separators=(",", ":"))
        message = self._message(webhook_id, "ping", payload)

        def apply(connection: Connection) -> Delivery:
            _own(connection, org_id, webhook_id)
            repository.add_deliveries(connection, [message])
            return message

        return await self._database.write(apply)

    async def forget_old(self) -> int:
        """Drop messages that ended 30 days ago; return how many."""
        before_ms = self._clock.now_ms() - KEEP_DELIVERIES_MS
        return await self._database.write(lambda connection: repository.forget_finished(connection, before_ms))

    def _message(self, webhook_id: str, event: str, payload: str) -> Delivery:
        now_ms = self._clock.now_ms()
        return Delivery(new_id(), webhook_id, event, payload, "waiting", 0, now_ms, 0, "", now_ms, 0)

    def _require_on(self) -> None:
        if not self.is_on:
            raise WebhooksOff("This installation has webhooks turned off.")


def _known(events: Sequence[str]) -> tuple[str, ...]:
    unknown = sorted(set(events) - set(EVENTS))
    if unknown or not events:
        named = f"{', '.join(unknown)} is unknown; " if unknown else ""
        raise InvalidRequest(f"events: {named}name at least one of {', '.join(EVENTS)}")
    return tuple(event for event in EVENTS if event in events)


def _own(connection: Connection, org_id: str, webhook_id: str) -> Webhook:
    found = repository.find(connection, webhook_id)
    if found is None or found.org_id != org_id:
        raise NoSuchWebhook("There is no such webhook.")
    return found


def _delivery(connection: Connection, webhook_id: str, delivery_id: str) -> Delivery:
    found = repository.find_delivery(connection, delivery_id)
    if found is None or found.webhook_id != webhook_id:
        raise NoSuchWebhook("There is no such delivery.")
    return found
