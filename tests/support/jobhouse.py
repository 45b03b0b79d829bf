"""All that makes pictures for money, without a network: real tables, ledger and queue; scripted workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from keelbill.core.clock import Clock, SystemClock
from keelbill.core.ids import new_id
from keelbill.core.principal import Principal
from keelbill.core.settings import Settings
from keelbill.core.types import micro
from keelbill.db.base import Database
from keelbill.gallery.service import Gallery
from keelbill.jobs import repository
from keelbill.jobs.book import Book, Parts
from keelbill.jobs.janitor import Janitor
from keelbill.jobs.schemas import ImageRequest, Job
from keelbill.jobs.service import Jobs
from keelbill.ledger.prices import PriceList
from keelbill.ledger.schemas import Balance
from keelbill.ledger.service import Ledger
from keelbill.serving.admission import Limits
from keelbill.serving.gateway import Gateway
from keelbill.serving.messages import ImageTask
from keelbill.serving.scripted import Fault, ScriptedPool
from keelbill.storage.blobs import BlobStore
from keelbill.usage.service import Usage
from keelbill.webhooks.seals import Seals
from keelbill.webhooks.service import Webhooks

PRICE = micro("6.5")


@dataclass
class House:
    """One server process without its front doors.

    Attributes:
        database: Real.
        folder: For blobs.
        clock: Of everything except the pauses of asyncio.
        settings: Change them before `open`.
        pool: The scripted workers.
    """

    database: Database
    folder: Path
    clock: Clock = field(default_factory=SystemClock)
    settings: Settings = field(default_factory=Settings)
    pool: ScriptedPool = field(default_factory=ScriptedPool)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.blobs = BlobStore(self.folder / "blobs", delete_grace_s=0.0)
        self.ledger = Ledger(self.clock, PriceList.load(), self.settings)
        self.gallery = Gallery(
            self.database,
            self.blobs,
            self.clock,
            forget_job=repository.forget_result,
            needed_elsewhere=repository.wants_blob,
        )
        self.usage = Usage(self.database, self.clock)
        self.webhooks = Webhooks(self.database, self.clock, self.settings, Seals(bytes(32)))
        parts = Parts(
            self.database,
            self.blobs,
            self.ledger,
            self.gallery,
            self.usage,
            self.webhooks,
            self.clock,
            self.settings,
        )
        self.book = Book(parts)
        self.gateway = Gateway(self.pool, self.book, self.clock, limits=self.limits)
        self.jobs = Jobs(self.book, self.gateway)
        self.janitor = Janitor(self.book, self.gateway)

    def account(self, funds: str = "25", **more: Any) -> Principal:
        """Open an account with some credits."""
        who = Principal(org_id=new_id(), user_id=new_id(), **{"key_id": new_id(), **more})

        def fund(connection: Any) -> None:
            self.ledger.open_wallet(connection, who.org_id)
            if micro(funds):
                self.ledger.adjust(connection, who.org_id, micro(funds), "tests", "for the test")

        self.database.write_now(fund)
        return who

    def balance(self, who: Principal) -> Balance:
        """Return what an account has."""
        return self.database.read_now(lambda connection: self.ledger.balance(connection, who.org_id))

    def job(self, job_id: str) -> Job:
        """Return a job's row."""
        found = self.database.read_now(lambda connection: repository.find(connection, job_id))
        assert found is not None
        return found

    def sound(self) -> bool:
        """Return whether the books of the ledger agree."""
        return self.database.read_now(self.ledger.verify) == []

    async def until(self, job_id: str, *states: str) -> Job:
        """Wait until a job is in one of some states."""
        async with asyncio.timeout(60):
            while (job := self.job(job_id)).state not in states:
                await asyncio.sleep(0.01)
        return job


def wish(prompt: str = "a red fox", **more: Any) -> ImageRequest:
    """Return a request for a small picture; keywords of ImageTask or of ImageRequest."""
    own = {"service", "front", "route", "requested_model", "request_id", "price", "deadline_s", "is_async", "client"}
    asked = {name: more.pop(name) for name in list(more) if name in own}
    task = ImageTask(**{"prompt": prompt, "width": 64, "height": 64, "seed": 7, **more})
    return ImageRequest(**{"service": "sd3.5-large", "requested_model": "sd3.5-large", "task": task, **asked})


class Houses:
    """Builds server processes over one database and one folder."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder

    @asynccontextmanager
    async def open(self, *faults: Fault, start: bool = True, **more: Any) -> AsyncIterator[House]:
        """Build one and start it, or leave it without workers; keywords of ScriptedPool or House."""
        own = {"clock", "settings", "limits"}
        kept = {name: more.pop(name) for name in list(more) if name in own}
        pool = ScriptedPool(**{"faults": faults, "workers": int(start), **more})
        house = House(self.database, self.folder, pool=pool, **kept)
        if start:
            await house.janitor.recover()
            await house.gateway.start()
        yield house
        await house.gateway.stop()


@pytest.fixture
def houses(database: Database, tmp_path: Path) -> Houses:
    """Builds server processes, on SQLite and on PostgreSQL."""
    return Houses(database, tmp_path)


@pytest.fixture
async def house(houses: Houses) -> AsyncIterator[House]:
    """A running server process with one quick worker, on SQLite and on PostgreSQL."""
    async with houses.open() as opened:
        yield opened


def ids(jobs: Iterable[Job]) -> list[str]:
    """Return the ids of jobs."""
    return [job.id for job in jobs]
