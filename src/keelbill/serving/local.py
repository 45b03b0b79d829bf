"""One child process per accelerator on this machine: starts them, watches them, ends and replaces them. Knows no torch.

Each child is started afresh (a forked one would inherit the listening socket) and talks over a local socket pair. It
is lost when its connection ends, when it gives no sign of life for 5 seconds, or when it makes no step for four times
the expected time and 10 seconds more.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from keelbill.core.clock import Clock, SystemClock
from keelbill.core.settings import Settings
from keelbill.serving.devices import threads_each, worker_devices
from keelbill.serving.member import Member, Patience
from keelbill.serving.messages import Beat, Cancel, JobSpec, Run, Setup, Stop, ToWorker, WorkerInfo
from keelbill.serving.pool import OnCapacity, OnEvent, OnLost
from keelbill.serving.wire import BrokenFrame, pack, read_report

STOP_PATIENCE_S: Final = 2.0
LEAST_PAUSE_S: Final = 0.1
MOST_PAUSE_S: Final = 30.0
STEADY_S: Final = 60.0
"""A worker that lived this long was no failed start; the next one starts at once."""

WATCH_S: Final = 0.25

_log = structlog.get_logger(__name__)


@dataclass
class _Child(Member):
    process: asyncio.subprocess.Process | None = None
    writer: asyncio.StreamWriter | None = None

    @property
    def is_ready(self) -> bool:
        return self.writer is not None and self.beat is not None

    def kill(self, reason: str) -> None:
        """End the process; its jobs are lost for this reason."""
        self.reason = reason
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()


class LocalPool:
    """The workers of one machine.

    Args:
        setups: One for each worker, names unique.
        clock: Tells the time.
        patience: How long a worker may be silent.
        environment: Of the workers, instead of this process's own.
    """

    def __init__(
        self,
        setups: Iterable[Setup],
        clock: Clock | None = None,
        *,
        patience: Patience | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.patience = patience or Patience()
        self._environment = environment
        self._children = {setup.name: _Child(setup) for setup in setups}
        self._tasks: list[asyncio.Task[None]] = []
        self._on_event: OnEvent = lambda job_id, epoch, event: None
        self._on_lost: OnLost = lambda worker, epochs, reason: None
        self._on_capacity: OnCapacity = lambda: None
        self._is_stopping = False
        self._settled = asyncio.Event()

    # ------------------------------------------------------------ the pool

    async def start(self, on_event: OnEvent, on_lost: OnLost, on_capacity: OnCapacity = lambda: None) -> None:
        """Start every worker; returns when one has given a sign of life, or ended before it could."""
        self._on_event, self._on_lost, self._on_capacity = on_event, on_lost, on_capacity
        self._tasks = [asyncio.create_task(self._supervise(child)) for child in self._children.values()]
        self._tasks.append(asyncio.create_task(self._watch()))
        await self._settled.wait()

    async def stop(self) -> None:
        """Ask every worker to end, then end it."""
        self._is_stopping = True
        children = list(self._children.values())
        for child in children:
            self._send(child, Stop())
        ends = [asyncio.create_task(c.process.wait()) for c in children if c.process is not None]
        if ends:
            await asyncio.wait(ends, timeout=STOP_PATIENCE_S)
        for child in children:
            child.kill("stopped")
        await asyncio.gather(*ends)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def run(self, worker: str, job: JobSpec) -> None:
        """Hand a job to a worker."""
        child = self._children[worker]
        if not child.is_ready:
            self._on_lost(worker, {job.job_id: job.epoch}, "killed")
            return
        child.takes(job, self.clock.monotonic_s())
        self._send(child, Run(job))

    def cancel(self, job_id: str, reason: str) -> None:
        """Ask for a job to end at its next step; a worker that does not comply is ended."""
        for child in self._children.values():
            if job_id in child.jobs:
                child.cancelled_at_s.setdefault(job_id, self.clock.monotonic_s())
                self._send(child, Cancel(job_id, reason))

    def acknowledge(self, job_id: str, epoch: int) -> None:
        """Do nothing: the worker kept nothing, because the finished picture lies in this process already.

        It waits here for the database for up to an hour. A copy in the worker could not outlive this process, since
        the worker ends with it.
        """

    def workers(self) -> list[WorkerInfo]:
        """Return all workers."""
        return [child.info(is_ready=child.is_ready and not self._is_stopping) for child in self._children.values()]

    def pid(self, worker: str) -> int | None:
        """Return a worker's process id, or nothing while it has none."""
        process = self._children[worker].process
        return None if process is None or process.returncode is not None else process.pid

    def _send(self, child: _Child, message: ToWorker) -> None:
        if child.writer is not None and not child.writer.is_closing():
            child.writer.write(pack(message))

    # ------------------------------------------------------------ one child

    async def _supervise(self, child: _Child) -> None:
        """Keep a worker alive: start it, listen until it ends, say so, start it again after a growing pause."""
        pause_s = LEAST_PAUSE_S
        while True:
            await self._live(child)
            lived_s = self.clock.monotonic_s() - child.started_at_s
            self._settled.set()
            if self._is_stopping:
                return
            pause_s = LEAST_PAUSE_S if lived_s > STEADY_S else min(2 * pause_s, MOST_PAUSE_S)
            _log.warning("worker_ended", worker=child.name, reason=child.reason, again_in_s=pause_s)
            await asyncio.sleep(pause_s)

    async def _live(self, child: _Child) -> None:
        ours, theirs = socket.socketpair()
        child.begins(self.clock.monotonic_s())
        with theirs:
            child.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "keelbill.serving.child",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                env=None if self._environment is None else dict(self._environment),
            )
        reader, child.writer = await asyncio.open_connection(sock=ours)
        try:
            self._send(child, child.setup)
            await self._listen(child, reader)
        finally:
            child.writer.close()
            child.writer = None
            child.kill(child.reason)
            self._lose(child)
            await child.process.wait()

    async def _listen(self, child: _Child, reader: asyncio.StreamReader) -> None:
        try:
            while (report := await read_report(reader)) is not None:
                now_s = self.clock.monotonic_s()
                if not isinstance(report, Beat):
                    child.says(report, now_s)
                    self._on_event(report.job_id, report.epoch, report.event)
                elif child.beats(report, now_s):
                    self._on_capacity()
                self._settled.set()
        except BrokenFrame as error:
            _log.error("worker_spoke_nonsense", worker=child.name, error=str(error))
            child.reason = "killed"

    def _lose(self, child: _Child) -> None:
        epochs = child.lose()
        if epochs and not self._is_stopping:
            self._on_lost(child.name, epochs, child.reason)

    # ------------------------------------------------------------ watching

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            for child in self._children.values():
                reason = child.complaint(self.clock.monotonic_s(), self.patience)
                if child.writer is not None and reason:
                    child.kill(reason)


def local_pool(settings: Settings) -> LocalPool:
    """Make the workers that the settings ask for: one for each accelerator, with an equal share of the processor."""
    devices = worker_devices(settings)
    threads = threads_each(settings, len(devices))
    return LocalPool(
        Setup(
            name=f"worker-{index}",
            home=str(settings.home),
            blobs=str(settings.blobs_folder),
            model=settings.model,
            device=device,
            dtype=settings.dtype,
            threads=threads,
            moderate=settings.moderation == "on",
            service=settings.image_service,
            packs=settings.node_packs,
        )
        for index, device in enumerate(devices)
    )
