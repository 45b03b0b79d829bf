"""Workers on many machines: one actor of a Ray cluster per accelerator, or per machine where there is none.

Ray places them and notices that they died; turns, leases and tries stay the queue's. Machines that join get workers
while everything runs, and the jobs of those that leave are lost and made again. Knows no queue and no torch; Ray is
imported when the pool starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from keelbill.core.clock import Clock, SystemClock
from keelbill.core.errors import NotInstalled, Unavailable
from keelbill.core.settings import Settings, default_home
from keelbill.serving import rehearsal
from keelbill.serving.actor import Actor, Build, Labourer
from keelbill.serving.member import Member, Patience
from keelbill.serving.messages import Beat, Cancel, FromWorker, JobSpec, Run, Setup, Stop, ToWorker, WorkerInfo
from keelbill.serving.pool import OnCapacity, OnEvent, OnLost
from keelbill.storage.blobs import BlobStore

RESOURCE: Final = "keelbill"
"""Custom resource of a machine that says how many workers it gets, instead of its accelerators."""

LOOK_S: Final = 1.0
"""How often the list of machines is compared with the workers."""

WATCH_S: Final = 0.25
LEAST_PAUSE_S: Final = 0.2
MOST_PAUSE_S: Final = 30.0
STEADY_S: Final = 60.0
FIRST_WORKER_S: Final = 60.0
KNOCK_S: Final = 10.0

_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Place:
    """Where one worker belongs.

    Args:
        node: The machine's id in the cluster.
        index: Counts the machine's workers.
        gpus: Accelerators that it gets, 0 or 1.
        threads: Of the processor that it may use.
    """

    node: str
    index: int
    gpus: int
    threads: int

    @property
    def name(self) -> str:
        """The worker's name, unique in the cluster."""
        return f"node-{self.node[:8]}-{self.index}"


@dataclass
class _Member(Member):
    actor: Any = None
    pid: int = 0
    outbox: asyncio.Queue[ToWorker] = field(default_factory=asyncio.Queue)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def end(self, reason: str) -> None:
        """Give it up; its jobs are lost for this reason."""
        if not self.gone.is_set():
            self.reason = reason
            self.gone.set()


class ClusterPool:
    """The workers of a Ray cluster.

    Args:
        template: Set-up of every worker but for its name and threads.
        read: Reads an input picture by its reference; blocking.
        address: Of the cluster: ``auto``, ``local`` for one on this machine alone, ``ray://…`` or ``host:port``.
        build: Makes the one who works, inside the actor; else it paints with the installed models.
        clock: Tells the time.
        patience: How long a worker may be silent.
    """

    def __init__(
        self,
        template: Setup,
        read: Callable[[str], bytes],
        address: str = "auto",
        *,
        build: Build | None = None,
        clock: Clock | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.patience = patience or Patience()
        self._template = template
        self._read = read
        self._address = address
        self._build: Build = build or _paint
        self._members: dict[Place, _Member] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._kills: set[asyncio.Task[None]] = set()
        self._on_event: OnEvent = lambda job_id, epoch, event: None
        self._on_lost: OnLost = lambda worker, epochs, reason: None
        self._on_capacity: OnCapacity = lambda: None
        self._is_stopping = False
        self._settled = asyncio.Event()
        self._ray: Any = None

    # ------------------------------------------------------------ the pool

    async def start(self, on_event: OnEvent, on_lost: OnLost, on_capacity: OnCapacity = lambda: None) -> None:
        """Join the cluster; returns when a worker has given a sign of life, or none has for a minute.

        Raises:
            NotInstalled: Ray is not installed here.
            Unavailable: There is no cluster at the address.
        """
        self._on_event, self._on_lost, self._on_capacity = on_event, on_lost, on_capacity
        # Ray starts a cluster of its own in the main thread only.
        self._ray = _join("local") if self._address == "local" else await asyncio.to_thread(_join, self._address)
        self._tasks = [asyncio.create_task(self._look_for_ever()), asyncio.create_task(self._watch())]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), FIRST_WORKER_S)

    async def stop(self) -> None:
        """End every worker and leave the cluster."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        members = list(self._members.values())
        for member in members:
            member.outbox.put_nowait(Stop())
        if members:
            await asyncio.sleep(0)
        for member in members:
            member.end("stopped")
        await asyncio.gather(*(m.task for m in members if m.task), return_exceptions=True)
        await asyncio.gather(*self._kills, return_exceptions=True)
        if self._ray is not None:
            await asyncio.to_thread(self._ray.shutdown)
            self._ray = None

    def run(self, worker: str, job: JobSpec) -> None:
        """Hand a job to a worker."""
        member = next((m for m in self._members.values() if m.name == worker), None)
        if member is None or not self._is_ready(member):
            self._on_lost(worker, {job.job_id: job.epoch}, "killed")
            return
        member.takes(job, self.clock.monotonic_s())
        member.outbox.put_nowait(Run(job))

    def cancel(self, job_id: str, reason: str) -> None:
        """Ask for a job to end at its next step; a worker that does not comply is ended."""
        for member in self._members.values():
            if job_id in member.jobs:
                member.cancelled_at_s.setdefault(job_id, self.clock.monotonic_s())
                member.outbox.put_nowait(Cancel(job_id, reason))

    def acknowledge(self, job_id: str, epoch: int) -> None:
        """Do nothing: a worker keeps a report until its number was named, and then the picture is in this process."""

    def workers(self) -> list[WorkerInfo]:
        """Return all workers; those of machines that left are gone."""
        return [member.info(is_ready=self._is_ready(member)) for member in self._members.values()]

    def pid(self, worker: str) -> int:
        """Return the process id of a worker on its machine, 0 while it has none."""
        return next((member.pid for member in self._members.values() if member.name == worker), 0)

    def node(self, worker: str) -> str:
        """Return the id of the machine of a worker, empty if there is no such worker."""
        return next((place.node for place, member in self._members.items() if member.name == worker), "")

    def _is_ready(self, member: _Member) -> bool:
        return member.beat is not None and not member.gone.is_set() and not self._is_stopping

    # ------------------------------------------------------------ machines

    async def _look_for_ever(self) -> None:
        while True:
            try:
                nodes = await asyncio.to_thread(self._ray.nodes)
            except (self._ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
                _log.warning("cluster_unreachable", reason=str(error))
            else:
                self._reconcile(set(places(nodes)))
            await asyncio.sleep(LOOK_S)

    def _reconcile(self, wanted: set[Place]) -> None:
        """Give every place a worker, and take it from those that are gone."""
        for place in wanted - self._members.keys():
            setup = msgspec.structs.replace(self._template, name=place.name, threads=place.threads)
            member = self._members[place] = _Member(setup)
            member.task = asyncio.create_task(self._supervise(place, member))
            _log.info("cluster_place_found", worker=place.name, gpus=place.gpus)
        for place in self._members.keys() - wanted:
            self._members[place].end("node lost")
            del self._members[place]
            _log.warning("cluster_place_lost", worker=place.name)

    # ------------------------------------------------------------ one worker

    async def _supervise(self, place: Place, member: _Member) -> None:
        """Keep a place occupied: start its worker, listen until it ends, say so, start it again after a pause."""
        pause_s = LEAST_PAUSE_S
        while self._members.get(place) is member and not self._is_stopping:
            await self._live(place, member)
            lived_s = self.clock.monotonic_s() - member.started_at_s
            if self._members.get(place) is not member or self._is_stopping:
                return
            _log.warning("worker_ended", worker=member.name, reason=member.reason, again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = LEAST_PAUSE_S if lived_s > STEADY_S else min(2 * pause_s, MOST_PAUSE_S)

    async def _live(self, place: Place, member: _Member) -> None:
        member.begins(self.clock.monotonic_s())
        member.gone.clear()
        member.outbox, member.pid = asyncio.Queue(), 0
        actor = member.actor = await asyncio.to_thread(self._hire, place, member)
        talk = [
            asyncio.create_task(self._listen(member, actor)),
            asyncio.create_task(self._order(member, actor)),
            asyncio.create_task(self._until_gone(member)),
        ]
        try:
            await asyncio.wait(talk, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in talk:
                task.cancel()
            await asyncio.gather(*talk, return_exceptions=True)
            member.end("killed")
            kill = asyncio.create_task(asyncio.to_thread(self._dismiss, actor))
            self._kills.add(kill)
            kill.add_done_callback(self._kills.discard)
            epochs = member.lose()
            if epochs and not self._is_stopping:
                self._on_lost(member.name, epochs, member.reason)

    async def _until_gone(self, member: _Member) -> None:
        await member.gone.wait()

    def _hire(self, place: Place, member: _Member) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        kind = self._ray.remote(
            num_cpus=1,
            num_gpus=place.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(place.node, soft=False),
        )(Actor)
        return kind.remote(msgspec.msgpack.encode(member.setup), self._build)

    def _dismiss(self, actor: Any) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError, AttributeError):
            self._ray.kill(actor, no_restart=True)

    async def _listen(self, member: _Member, actor: Any) -> None:
        """Ask for reports until the actor is gone."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            member.pid = await actor.begin.remote()
            seen = 0
            while True:
                try:
                    reports: list[tuple[int, bytes]] = await actor.reports.remote(seen)
                except self._ray.exceptions.ActorUnavailableError:
                    await asyncio.sleep(WATCH_S)  # asked again; its silence is what ends it
                    continue
                for number, encoded in reports:
                    seen = number
                    self._hear(member, encoded)

    def _hear(self, member: _Member, encoded: bytes) -> None:
        report: FromWorker = msgspec.msgpack.decode(encoded, type=FromWorker)
        now_s = self.clock.monotonic_s()
        if not isinstance(report, Beat):
            member.says(report, now_s)
            self._on_event(report.job_id, report.epoch, report.event)
        elif member.beats(report, now_s):
            self._settled.set()
            self._on_capacity()

    async def _order(self, member: _Member, actor: Any) -> None:
        """Pass orders on, one after the other; input pictures travel with their job."""
        pending: set[asyncio.Task[None]] = set()
        while True:
            order = await member.outbox.get()
            pictures: dict[str, bytes] = {}
            if isinstance(order, Run):
                refs = [ref for ref in (order.job.task.image, order.job.task.mask) if ref]
                if refs:
                    pictures = await asyncio.to_thread(self._pictures, refs)
            sent = actor.order.remote(msgspec.msgpack.encode(order), pictures)
            task = asyncio.create_task(self._arrives(member, sent))
            pending.add(task)
            task.add_done_callback(pending.discard)

    def _pictures(self, refs: list[str]) -> dict[str, bytes]:
        found = {}
        for ref in refs:
            with contextlib.suppress(OSError):  # the worker says that the picture is missing
                found[ref] = self._read(ref)
        return found

    async def _arrives(self, member: _Member, sent: Awaitable[None]) -> None:
        try:
            await sent
        except self._ray.exceptions.RayError:
            member.end("killed")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            for member in list(self._members.values()):
                reason = member.complaint(self.clock.monotonic_s(), self.patience)
                if reason and not member.gone.is_set():
                    member.end(reason)


def places(nodes: Sequence[Mapping[str, Any]]) -> list[Place]:
    """Decide which machines get how many workers.

    A machine gets as many as it has of the resource ``keelbill``; else one for each accelerator. Machines without
    accelerators get one each only where no machine has any, and none if they offer no processor.
    """
    alive = [node for node in nodes if node["Alive"]]
    has_gpus = any(node["Resources"].get("GPU", 0) >= 1 for node in alive)
    found = []
    for node in alive:
        resources = node["Resources"]
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
        count = int(resources.get(RESOURCE, gpus if has_gpus else min(cpus, 1)))
        threads = max(1, cpus // count) if count else 1
        found += [Place(node["NodeID"], index, int(index < gpus), threads) for index in range(count)]
    return found


def cluster_pool(settings: Settings, address: str) -> ClusterPool:
    """Make the pool that the settings ask for.

    Args:
        settings: Which model, and whether the script paints.
        address: Of the cluster, as in :class:`ClusterPool`.
    """
    blobs = BlobStore(settings.blobs_folder)
    template = Setup(
        name="",
        home="",
        blobs="",
        model=settings.model,
        device=settings.device,
        dtype=settings.dtype,
        moderate=settings.moderation == "on",
        service=settings.image_service,
        packs=settings.node_packs,
    )
    return ClusterPool(template, blobs.read, address, build=rehearsal.build if settings.scripted_engine else None)


def _paint(setup: Setup, send: Callable[[FromWorker], None], read: Callable[[str], bytes]) -> Labourer:
    from keelbill.serving import worker  # imports torch: inside the actor only

    # Every machine has the models in a data folder of its own.
    return worker.build(msgspec.structs.replace(setup, home=str(default_home())), send, read)


def _join(address: str) -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise NotInstalled("A cluster needs Ray: pip install 'keelbill[cluster]'.") from error
    where: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        where["include_dashboard"] = False
    _knock(address)
    on_end = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**where)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_end)  # Ray would end the process at once; the server drains first
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise Unavailable(f"There is no Ray cluster at {address!r}: {error}") from error
    return ray


def _knock(address: str) -> None:
    """Find out at once that nobody listens; Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), KNOCK_S).close()
    except OSError as error:
        raise Unavailable(f"There is no Ray cluster at {address!r}: {error}") from error
