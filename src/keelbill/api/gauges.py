"""Reads what describes a moment, or is kept elsewhere: queue, workers, writer, money. Knows no HTTP.

Money is read from the database when somebody scrapes, so that a charge costs nothing more, and what another process
moves (the command line, for instance) is counted too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy import Connection

from keelbill.core.errors import AppError
from keelbill.core.ids import new_id
from keelbill.ledger import flows
from keelbill.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from keelbill.api.platform import Platform
    from keelbill.serving.messages import WorkerInfo

SETTLED_MS: Final = 10_000
"""Where several write at a time, a movement with a smaller id may be committed later; after this time none is."""

PATIENCE_S: Final = 2.0
"""A scrape does not wait longer for the database."""

log = structlog.get_logger("keelbill.gauges")


class Gauges:
    """Brings the metrics of a platform up to the moment.

    Args:
        platform: Whose. Movements are counted from now on.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._metrics = platform.telemetry
        self._mark = new_id()
        self._swept = 0
        self._one_at_a_time = asyncio.Lock()

    async def update(self) -> None:
        """Look at every part. A database that is away leaves the money as it was last seen."""
        self._queue()
        async with self._one_at_a_time:
            swept = self._platform.janitor.swept_holds
            self._metrics.orphan_holds.inc(swept - self._swept)
            self._swept = swept
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._money()
            except (AppError, TimeoutError) as error:
                log.warning("money_not_measured", reason=str(error) or "timeout")

    def _queue(self) -> None:
        metrics, snapshot = self._metrics, self._platform.gateway.snapshot()
        metrics.queue_jobs.clear()
        for state, by_model in (("queued", snapshot.queued), ("running", snapshot.running)):
            for name, jobs in by_model.items():
                metrics.queue_jobs.labels(state, metrics.model(name)).inc(jobs)
        metrics.queue_gpu.set(snapshot.queue_ms / 1000)
        metrics.desired_workers.set(snapshot.desired_workers)
        metrics.db_queue.set(self._platform.db.waiting)
        show_workers(metrics, snapshot.workers)

    async def _money(self) -> None:
        database, after = self._platform.db, self._mark
        before = "" if database.dialect == "sqlite" else f"{int(new_id()[:12], 16) - SETTLED_MS:012x}"

        def look(connection: Connection) -> tuple[dict[str, int], str, tuple[int, int | None]]:
            return *flows.moved(connection, after, before), flows.open_holds(connection)

        by_kind, self._mark, (holds, oldest_ms) = await database.read(look)
        for kind, amount in by_kind.items():
            self._metrics.moved(kind, amount)
        self._metrics.holds_open.set(holds)
        age_ms = 0 if oldest_ms is None else self._platform.clock.now_ms() - oldest_ms
        self._metrics.hold_age.set(max(age_ms, 0) / 1000)


class LoadWatch:
    """Notices which models workers have loaded since the last look.

    Args:
        metrics: Told of each.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._known: dict[str, frozenset[str]] = {}

    def look(self, workers: Iterable[WorkerInfo]) -> None:
        """Compare the workers with what they were; one that was away has started anew."""
        ready = {worker.name: frozenset(worker.models) - {""} for worker in workers if worker.ready}
        for name, models in ready.items():
            for model in sorted(models - self._known.get(name, frozenset())):
                self._metrics.loaded(model, "job" if self._known.get(name) else "start")
        self._known = ready


def show_workers(metrics: Metrics, workers: tuple[WorkerInfo, ...]) -> None:
    """Show which workers are up and what they use; labels are their numbers, not their names."""
    metrics.worker_up.clear()
    metrics.gpu_memory.clear()
    for number, worker in enumerate(workers):
        metrics.worker_up.labels(str(number)).set(int(worker.ready))
        for kind, size_bytes in (("host", worker.memory_bytes), ("accelerator", worker.accelerator_bytes)):
            if size_bytes:
                metrics.gpu_memory.labels(str(number), kind).set(size_bytes)
