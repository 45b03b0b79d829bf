"""Takes requests in: price held, jobs written, idempotency key bound, all in one transaction. Knows no queue."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import InvalidRequest
from keelbill.core.ids import new_id
from keelbill.core.principal import Principal
from keelbill.core.types import Micro
from keelbill.jobs import repository
from keelbill.jobs.errors import OtherRequest
from keelbill.jobs.leases import Leases
from keelbill.jobs.schemas import Idempotency, ImageRequest, Job, Ticket
from keelbill.ledger.service import HOLD_LIFE_MS, Ledger
from keelbill.serving.messages import ImageTask

KEY_LIFE_MS: Final = 86_400_000
FIRST_EPOCH: Final = 1
"""Of a job that is written as claimed."""

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_FREES_KEY: Final = ("failed", "cancelled")


Beside = Callable[[Connection, tuple[str, ...]], None]
"""Told the ids of new jobs in the transaction that writes them; what it raises undoes everything."""


def check_key(idempotency: Idempotency | None) -> None:
    """Check the form of an idempotency key.

    Raises:
        InvalidRequest: It is not 1 to 255 visible ASCII characters.
    """
    if idempotency is not None and not _KEY.fullmatch(idempotency.key):
        raise InvalidRequest("idempotency-key: from 1 to 255 visible ASCII characters, without spaces")


@dataclass(frozen=True)
class Order:
    """Requests that are priced and ready to be written.

    Attributes:
        principal: Who asks.
        jobs: One for each picture.
        price_version: Of the price list that the amounts are from.
        idempotency: The client's name for the request.
        beside: What else is written with the jobs.
        secrets: For each job what its worker is told and nobody writes down.
        tasks: For each job what is to be made.
    """

    principal: Principal
    jobs: tuple[Job, ...]
    price_version: str
    idempotency: Idempotency | None
    beside: Beside | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    tasks: tuple[ImageTask, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A worker on which room is kept for a job that is being written.

    Attributes:
        worker: Its name.
        lease_s: How long the claim holds without being renewed.
    """

    worker: str
    lease_s: float


class Intake:
    """Writes jobs down and reserves their price.

    Args:
        ledger: Holds the price.
        clock: Stamps.
        leases: Of this server process, whose queue the jobs wait in.
    """

    def __init__(self, ledger: Ledger, clock: Clock, leases: Leases) -> None:
        self._ledger = ledger
        self._clock = clock
        self._leases = leases

    def order(
        self,
        principal: Principal,
        requests: Sequence[ImageRequest],
        costs_ms: Sequence[float],
        idempotency: Idempotency | None,
    ) -> Order:
        """Price some requests.

        Raises:
            UnknownName: The price list has no such service.
        """
        prices = self._ledger.prices
        version = prices.version
        amounts = [prices.price(asked.service) if asked.price is None else asked.price for asked in requests]
        jobs = tuple(
            self._job(principal, asked, amount, cost_ms, is_keyed=idempotency is not None)
            for asked, amount, cost_ms in zip(requests, amounts, costs_ms, strict=True)
        )
        return Order(
            principal,
            jobs,
            version,
            idempotency,
            secrets=tuple(asked.secret for asked in requests),
            tasks=tuple(asked.task for asked in requests),
        )

    def bound(self, connection: Connection, org_id: str, idempotency: Idempotency) -> Ticket | None:
        """Return the jobs of an earlier request with this key, unless the key is free (again).

        Raises:
            OtherRequest: The key was used for a different request.
        """
        row = repository.find_key(connection, org_id, idempotency.key)
        if row is None or row["created_ms"] <= self._clock.now_ms() - KEY_LIFE_MS:
            return None
        job_ids = tuple(row["job_ids"].split())
        jobs = repository.jobs_by_id(connection, job_ids)
        if len(jobs) < len(job_ids) or any(job.state in _FREES_KEY for job in jobs):
            return None
        if any(job.state == "succeeded" and not job.result_ref for job in jobs):
            return None  # the picture was deleted, so there is no answer to repeat
        if row["fingerprint"] != idempotency.fingerprint:
            raise OtherRequest
        return Ticket(job_ids, replayed=True, is_keyed=True, deadline_s=max(job.deadline_s for job in jobs))

    def take(self, connection: Connection, order: Order, claim: Claim | None = None) -> Ticket:
        """Write an order down, or return the ticket of the earlier request with its idempotency key.

        Args:
            connection: Inside a transaction.
            order: What is asked for.
            claim: The worker that begins the only job of the order as soon as it is durable.

        Raises:
            OtherRequest: The key was used for a different request.
            PaymentRequired: The balance or a cap does not cover all of it; nothing is taken.
        """
        if order.idempotency is not None:
            earlier = self._bind(connection, order, order.idempotency)
            if earlier is not None:
                return earlier
        caller, now_ms = order.principal, self._clock.now_ms()
        for job in order.jobs:
            self._ledger.reserve(
                connection,
                org_id=caller.org_id,
                job_id=job.id,
                amount=Micro(job.price_micro),
                price_version=order.price_version,
                key_id=caller.key_id,
                member_id=caller.user_id,
                key_caps=caller.caps,
                member_caps=caller.member_caps,
                expires_ms=now_ms + round(job.deadline_s * 1000) + HOLD_LIFE_MS,
                item=job.service,
            )
            if claim is None:
                repository.add(connection, job)
            else:
                until_ms = self._leases.until_ms(connection, claim.lease_s)
                repository.add_claimed(connection, job, FIRST_EPOCH, claim.worker, until_ms, now_ms)
        ids = tuple(job.id for job in order.jobs)
        if order.beside is not None:
            order.beside(connection, ids)
        deadline_s = max(job.deadline_s for job in order.jobs)
        return Ticket(ids, is_keyed=order.idempotency is not None, deadline_s=deadline_s)

    def _bind(self, connection: Connection, order: Order, idempotency: Idempotency) -> Ticket | None:
        org_id, job_ids = order.principal.org_id, " ".join(job.id for job in order.jobs)
        values = (org_id, idempotency.key, idempotency.fingerprint, job_ids, self._clock.now_ms())
        if repository.add_key(connection, *values):
            return None
        earlier = self.bound(connection, org_id, idempotency)
        if earlier is not None:
            return earlier
        former = repository.find_key(connection, org_id, idempotency.key)
        if former is not None:
            repository.drop_key(connection, org_id, idempotency.key, former["job_ids"])
        if repository.add_key(connection, *values):
            return None
        return self.bound(connection, org_id, idempotency)  # somebody else was quicker

    def _job(self, principal: Principal, asked: ImageRequest, amount: Micro, cost_ms: float, *, is_keyed: bool) -> Job:
        task = asked.task
        return Job(
            id=new_id(),
            org_id=principal.org_id,
            user_id=principal.user_id,
            key_id=principal.key_id,
            kind=task.kind,
            service=asked.service,
            front=asked.front,
            route=asked.route[:128],
            requested_model=asked.requested_model[:128],
            request_id=asked.request_id[:64],
            client=msgspec.json.encode(asked.client).decode(),
            task=msgspec.json.encode(task).decode(),
            image_ref=task.image,
            mask_ref=task.mask,
            state="queued",
            attempt=1,
            epoch=0,
            owner=self._leases.process_id,
            worker="",
            lease_ms=0,
            deadline_s=asked.deadline_s,
            weight=principal.weight,
            cost_ms=cost_ms,
            is_async=asked.is_async,
            is_keyed=is_keyed,
            price_micro=amount,
            charged_micro=0,
            error_code="",
            error_message="",
            result_ref="",
            media_type="",
            width=0,
            height=0,
            seed="",
            model="",
            is_filtered=False,
            run_ms=0.0,
            created_ms=self._clock.now_ms(),
            started_ms=0,
            finished_ms=0,
        )
