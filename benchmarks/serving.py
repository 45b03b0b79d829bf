"""Measure the serving layer: pictures per second and waiting with real workers, and the gateway alone.

    python benchmarks/serving.py [--jobs 8] [--rounds 3] [--gateway-jobs 2000] [--cluster] [--only PART]

Real workers paint with the embedded model on the processor: mixed sizes and step counts, with 1, 4 and 16 clients, up
to eight pictures in a step against one at a time, in turns; a small request among large ones against the same request
alone; and what a job costs besides its painting, with a worker process and, with ``--cluster``, with one of Ray. Read
the ratios; the times are this machine's. `static_batching.py` compares with lists of requests.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import psutil  # type: ignore[import-untyped]  # ships no annotations

from keelbill.serving.admission import Limits
from keelbill.serving.devices import usable_cores
from keelbill.serving.gateway import Gateway
from keelbill.serving.local import LocalPool
from keelbill.serving.messages import Failed, ImageTask, JobSpec, Setup, Succeeded
from keelbill.serving.pool import WorkerPool
from keelbill.serving.scripted import ScriptedPool

SHAPES = ((128, 128, 8), (96, 160, 12), (64, 64, 16), (160, 96, 6))
"""Width, height and steps of the mixed requests."""

SMALL = ImageTask(prompt="a pebble", width=64, height=64, steps=16)
LARGE = ImageTask(prompt="a wide hill", width=128, height=128, steps=28)
TOGETHER = 8
"""Pictures that the sharing worker takes at a time."""

LONE_GOAL = 1.3


class Book:
    """Claims and stores without a database, so that only the serving layer is measured."""

    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}

    async def claim(self, job_id: str, worker: str, lease_s: float) -> int | None:
        """Claim at once."""
        self.epochs[job_id] = self.epochs.get(job_id, 0) + 1
        return self.epochs[job_id]

    async def renew(self, epochs: Mapping[str, int], lease_s: float) -> set[str]:
        """Keep every lease."""
        return set(epochs)

    async def succeed(self, job_id: str, epoch: int, result: Succeeded) -> bool:
        """Store nothing."""
        return True

    async def fail(self, job_id: str, epoch: int, failure: Failed) -> bool:
        """Note nothing."""
        return True

    async def cancelled(self, job_id: str, epoch: int, reason: str) -> bool:
        """Note nothing."""
        return True

    async def requeue(self, job_id: str, epoch: int, reason: str) -> int | None:
        """Allow one more try."""
        return 2


@asynccontextmanager
async def serving(pool: WorkerPool) -> AsyncIterator[Gateway]:
    """Bring a gateway up, with a worker that is ready, and down again."""
    gateway = Gateway(pool, Book(), limits=Limits(10**6, 10**6))
    await gateway.start()
    while not any(worker.ready and worker.slots for worker in gateway.workers()):
        await asyncio.sleep(0.01)
    try:
        yield gateway
    finally:
        await gateway.stop()


_names = itertools.count()


async def ask(gateway: Gateway, org: str, task: ImageTask) -> tuple[float, Succeeded]:
    """Have one picture made; return the seconds it took, and its end."""
    job_id = f"job{next(_names)}"
    begun_s = time.perf_counter()
    await gateway.submit(JobSpec(job_id=job_id, org_id=org, task=task, cost_ms=200))
    end = await gateway.result(job_id)
    if not isinstance(end, Succeeded):
        raise SystemExit(f"a picture was not made: {end}")
    return time.perf_counter() - begun_s, end


async def load(gateway: Gateway, tasks: Sequence[ImageTask], at_a_time: int) -> tuple[float, list[float]]:
    """Run all tasks with so many clients and return the seconds in all and of each."""
    waiting = iter(tasks)
    took_s: list[float] = []

    async def client(org: str) -> None:
        for task in waiting:
            took_s.append((await ask(gateway, org, task))[0])

    begun_s = time.perf_counter()
    await asyncio.gather(*(client(f"org{i}") for i in range(at_a_time)))
    return time.perf_counter() - begun_s, took_s


def p95(took_s: Sequence[float]) -> float:
    """Return the time below which 95 of 100 lie."""
    return quantiles(took_s, n=20, method="inclusive")[18] if len(took_s) > 1 else took_s[0]


def show(name: str, all_s: float, took_s: Sequence[float]) -> float:
    """Print one row and return the jobs per second."""
    rate = len(took_s) / all_s
    print(
        f"{name:34} {rate:9.2f} jobs/s   p50 {median(took_s) * 1e3:8.1f} ms   p95 {p95(took_s) * 1e3:8.1f} ms",
        flush=True,
    )
    return rate


async def overhead(name: str, gateway: Gateway, goal_ms: float, task: ImageTask, count: int = 30) -> None:
    """Print what lone jobs take beyond their worker's own time, with a goal for the median."""
    beyond_s = []
    for _ in range(count + 3):
        took_s, end = await ask(gateway, "org", task)
        beyond_s.append(took_s - sum(end.phases.values()) / 1000)
    middle_ms = median(beyond_s[3:]) * 1000  # the first ones load the model
    verdict = "reached" if middle_ms < goal_ms else "missed"
    print(f"{name:34} p50 {middle_ms:8.1f} ms   goal below {goal_ms:g} ms: {verdict}", flush=True)


async def among_large(gateway: Gateway, count: int) -> list[float]:
    """Return the seconds that small requests take, one after the other, while two large ones are always painted."""
    is_done = asyncio.Event()

    async def large(org: str) -> None:
        while not is_done.is_set():
            await ask(gateway, org, LARGE)

    crowd = [asyncio.create_task(large(f"large{number}")) for number in range(2)]
    took_s = []
    for number in range(count):
        await asyncio.sleep(0.5 + 0.037 * number)  # not in step with the large ones
        took_s.append((await ask(gateway, "small", SMALL))[0])
    is_done.set()
    await asyncio.gather(*crowd)
    return took_s


async def lone_small(one: Gateway, many: Gateway, count: int, rounds: int) -> None:
    """Print how long a small request takes alone and among large ones, in turns."""
    alone_s: list[float] = []
    shared_s: list[float] = []
    for _ in range(rounds):
        alone_s += [(await ask(many, "small", SMALL))[0] for _ in range(count)]
        shared_s += await among_large(many, count)
    queued_s = await among_large(one, count)
    for name, took_s in (("alone", alone_s), ("up to 8 a step", shared_s), ("one at a time", queued_s)):
        show(f"  {name}", sum(took_s), took_s)
    ratio = p95(shared_s) / p95(alone_s)
    verdict = "reached" if ratio <= LONE_GOAL else "missed"
    print(f"  {'':32} p95 among / p95 alone {ratio:.2f}   goal at most {LONE_GOAL:g}: {verdict}")
    print(f"  {'':32} p50 among / p50 alone {median(shared_s) / median(alone_s):.2f}", flush=True)


def on_ray(home: Path) -> WorkerPool:
    """Make a cluster of this machine alone, whose worker follows a script."""
    from keelbill.core.settings import Settings
    from keelbill.serving.cluster import cluster_pool

    return cluster_pool(Settings(home=home, scripted_engine=True), "local")


def mini(home: Path, jobs: int) -> LocalPool:
    """Make one real worker that takes so many jobs at a time, with all cores as in a server."""
    threads = usable_cores()
    folder = str(home)
    setup = Setup(name="w", home=folder, blobs=folder, model="keelbill-mini", device="cpu", threads=threads, jobs=jobs)
    return LocalPool([setup])


async def crowd(one: Gateway, many: Gateway, clients: int, jobs: int, rounds: int) -> None:
    """Print rates and times of so many clients, one at a time and together in turns."""
    tasks = [
        ImageTask(prompt=f"a red kite over hill {i}", width=w, height=h, steps=steps, seed=i)
        for i, (w, h, steps) in zip(range(jobs), itertools.cycle(SHAPES), strict=False)
    ]
    measured = {one: Measured(), many: Measured()}
    for number in range(rounds):
        for gateway in (one, many) if number % 2 else (many, one):
            before_s = worker_s(gateway)
            all_s, took_s = await load(gateway, tasks, clients)
            measured[gateway].add(all_s, took_s, worker_s(gateway) - before_s)
    alone, together = measured[one], measured[many]
    show(f"  {clients} clients, one at a time", alone.all_s, alone.took_s)
    show(f"  {clients} clients, up to {TOGETHER} a step", together.all_s, together.took_s)
    print(
        f"  {'':32} ratio {alone.all_s / together.all_s:.2f}   of the processor's time per picture "
        f"{alone.worker_s / together.worker_s:.2f} ({1000 * alone.worker_s / len(alone.took_s):.0f} and "
        f"{1000 * together.worker_s / len(together.took_s):.0f} ms)",
        flush=True,
    )


@dataclass
class Measured:
    """What was measured of one way to serve."""

    all_s: float = 0.0
    took_s: list[float] = field(default_factory=list)
    worker_s: float = 0.0

    def add(self, all_s: float, took_s: list[float], worker_s: float) -> None:
        """Add one round."""
        self.all_s += all_s
        self.took_s += took_s
        self.worker_s += worker_s


def worker_s(gateway: Gateway) -> float:
    """Return the processor's seconds that the worker has used, which other programs hardly change."""
    pool = gateway.pool
    pid = pool.pid("w") if isinstance(pool, LocalPool) else None
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def gateway_alone(jobs: int) -> None:
    """Print rates of jobs that take no time."""
    print("gateway alone: scripted workers, no time per step")
    tiny = [ImageTask(prompt="a kite", seed=i, steps=1) for i in range(jobs)]
    for at_a_time in (1, 16, 64):
        async with serving(ScriptedPool(workers=4, slots=16, picture_bytes=2000)) as gateway:
            show(f"  {at_a_time} at a time", *await load(gateway, tiny[: 300 if at_a_time == 1 else None], at_a_time))


async def main(jobs: int, rounds: int, gateway_jobs: int, *, cluster: bool, only: str) -> None:
    """Measure and print all parts, or one."""
    if only in {"", "gateway"}:
        await gateway_alone(gateway_jobs)
    if only == "gateway":
        return
    small = ImageTask(prompt="a pebble", width=64, height=64, steps=1, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        async with serving(mini(home, 1)) as one, serving(mini(home, TOGETHER)) as many:
            for gateway in (one, many):
                await ask(gateway, "org", SMALL)  # loads the model
            if only in {"", "crowd"}:
                print("embedded model, one worker, mixed sizes and steps")
                for clients in (1, 4, 16):
                    await crowd(one, many, clients, max(jobs, 3 * clients if clients > 4 else jobs), rounds)
            if only in {"", "small"}:
                print("a small request among two large ones, one worker")
                await lone_small(one, many, max(4, jobs // 2), rounds)
            if only in {"", "overhead"}:
                print("a job besides its painting")
                await overhead("  a worker process", many, 10.0, small)
        if cluster and only in {"", "overhead"}:
            async with serving(on_ray(home)) as gateway:
                await overhead("  a worker of Ray, following a script", gateway, 25.0, small)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--jobs", type=int, default=8)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--gateway-jobs", type=int, default=2000)
    arguments.add_argument("--cluster", action="store_true", help="measure with Ray too")
    arguments.add_argument("--only", default="", choices=("gateway", "crowd", "small", "overhead"), help="one part")
    chosen = arguments.parse_args()
    asyncio.run(main(chosen.jobs, chosen.rounds, chosen.gateway_jobs, cluster=chosen.cluster, only=chosen.only))
