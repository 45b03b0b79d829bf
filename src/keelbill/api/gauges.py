"""Reads the gauges that describe a moment: queue, workers, writer. Knows no HTTP; runs when somebody scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Gauge

if TYPE_CHECKING:
    from keelbill.api.platform import Platform
    from keelbill.serving.messages import WorkerInfo


def update_gauges(platform: Platform) -> None:
    """Bring the gauges of a platform up to the moment."""
    metrics, snapshot = platform.telemetry, platform.gateway.snapshot()
    metrics.queue_jobs.clear()
    for state, by_model in (("queued", snapshot.queued), ("running", snapshot.running)):
        for name, jobs in by_model.items():
            metrics.queue_jobs.labels(state, metrics.model(name)).inc(jobs)
    metrics.queue_gpu.set(snapshot.queue_ms / 1000)
    metrics.desired_workers.set(snapshot.desired_workers)
    metrics.db_queue.set(platform.db.waiting)
    _workers(metrics.worker_up, metrics.gpu_memory, snapshot.workers)


def _workers(up: Gauge, memory: Gauge, workers: tuple[WorkerInfo, ...]) -> None:
    up.clear()
    memory.clear()
    for number, worker in enumerate(workers):
        up.labels(str(number)).set(int(worker.ready))
        if worker.memory_bytes:
            memory.labels(str(number), "used").set(worker.memory_bytes)
