"""Measure the serving layer: pictures per minute and waiting with real workers, and the gateway alone.

    python benchmarks/serving.py [--jobs 12] [--gateway-jobs 2000] [--cluster]

Real workers paint with the embedded model on the processor: mixed sizes and step counts, at 1, 4 and 16 jobs at a
time, several pictures in a step against one at a time; a small request that comes while large ones are painted; and
what a job costs besides its painting, with a worker process and, with ``--cluster``, with one of Ray. Read the ratios;
the times are this machine's. `static_batching.py` compares with lists of requests.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles

from keelbill.serving.admission import Limits
from keelbill.serving.gateway import Gateway
from keelbill.serving.local import LocalPool
from keelbill.serving.messages import Failed, ImageTask, JobSpec, Setup, Succeeded
from keelbill.serving.pool import WorkerPool
from keelbill.serving.scripted import ScriptedPool

SHAPES = ((128, 128, 8), (96, 160, 12), (64, 64, 16), (160, 96, 6))


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


async def load(pool: WorkerPool, tasks: Sequence[ImageTask], at_a_time: int) -> tuple[float, list[float]]:
    """Run all tasks with so many clients and return the seconds in all and of each."""
    gateway = Gateway(pool, Book(), limits=Limits(10**6, 10**6))
    await gateway.start()
    while not any(worker.ready and worker.slots for worker in gateway.workers()):
        await asyncio.sleep(0.01)
    names = itertools.count()
    waiting = iter(tasks)
    took_s: list[float] = []

    async def client(org: str) -> None:
        for task in waiting:
            job_id = f"job{next(names)}"
            begun_s = time.perf_counter()
            await gateway.submit(JobSpec(job_id=job_id, org_id=org, task=task))
            end = await gateway.result(job_id)
            assert isinstance(end, Succeeded), end
            took_s.append(time.perf_counter() - begun_s)

    begun_s = time.perf_counter()
    await asyncio.gather(*(client(f"org{i}") for i in range(at_a_time)))
    all_s = time.perf_counter() - begun_s
    await gateway.stop()
    return all_s, took_s


def show(name: str, all_s: float, took_s: Sequence[float]) -> float:
    """Print one row and return the jobs per second."""
    ordered = quantiles(took_s, n=20) if len(took_s) > 1 else [took_s[0]] * 19
    rate = len(took_s) / all_s
    print(f"{name:34} {rate:9.2f} jobs/s   p50 {median(took_s) * 1e3:8.1f} ms   p95 {ordered[18] * 1e3:8.1f} ms")
    return rate


async def overhead(name: str, pool: WorkerPool, goal_ms: float, task: ImageTask, count: int = 30) -> None:
    """Print what lone jobs take beyond their worker's own time, with a goal for the median."""
    gateway = Gateway(pool, Book(), limits=Limits(10**6, 10**6))
    await gateway.start()
    while not any(worker.ready and worker.slots for worker in gateway.workers()):
        await asyncio.sleep(0.01)
    beyond_s = []
    for number in range(count + 3):
        begun_s = time.perf_counter()
        await gateway.submit(JobSpec(job_id=f"job{number}", org_id="org", task=task))
        end = await gateway.result(f"job{number}")
        assert isinstance(end, Succeeded), end
        beyond_s.append(time.perf_counter() - begun_s - sum(end.phases.values()) / 1000)
    await gateway.stop()
    middle_ms = median(beyond_s[3:]) * 1000  # the first ones load the model
    verdict = "reached" if middle_ms < goal_ms else "missed"
    print(f"{name:34} p50 {middle_ms:8.1f} ms   goal below {goal_ms:g} ms: {verdict}")


async def lone_small(pool: WorkerPool, count: int) -> list[float]:
    """Return the seconds that small requests take, one after the other, while two large ones are always painted."""
    gateway = Gateway(pool, Book(), limits=Limits(10**6, 10**6))
    await gateway.start()
    while not any(worker.ready and worker.slots for worker in gateway.workers()):
        await asyncio.sleep(0.01)
    is_done = asyncio.Event()

    async def large(org: str) -> None:
        for number in itertools.count():
            if is_done.is_set():
                return
            task = ImageTask(prompt="a wide hill", width=256, height=256, steps=16, seed=number)
            await gateway.submit(JobSpec(job_id=f"{org} {number}", org_id=org, task=task, cost_ms=4000))
            await gateway.result(f"{org} {number}")

    crowd = [asyncio.create_task(large(f"large{number}")) for number in range(2)]
    took_s = []
    for number in range(count):
        await asyncio.sleep(0.3)
        task = ImageTask(prompt="a pebble", width=64, height=64, steps=4, seed=number)
        begun_s = time.perf_counter()
        await gateway.submit(JobSpec(job_id=f"small {number}", org_id="small", task=task, cost_ms=200))
        await gateway.result(f"small {number}")
        took_s.append(time.perf_counter() - begun_s)
    is_done.set()
    await asyncio.gather(*crowd)
    await gateway.stop()
    return took_s


def on_ray(home: Path) -> WorkerPool:
    """Make a cluster of this machine alone, whose worker follows a script."""
    from keelbill.core.settings import Settings
    from keelbill.serving.cluster import cluster_pool

    return cluster_pool(Settings(home=home, scripted_engine=True), "local")


def mini(home: Path, jobs: int) -> LocalPool:
    """Make one real worker that takes so many jobs at a time."""
    setup = Setup(name="w", home=str(home), blobs=str(home), model="keelbill-mini", device="cpu", threads=0, jobs=jobs)
    return LocalPool([setup])


async def main(jobs: int, gateway_jobs: int, *, cluster: bool) -> None:
    """Measure and print."""
    print("gateway alone: scripted workers, no time per step")
    tiny = [ImageTask(prompt="a kite", seed=i, steps=1) for i in range(gateway_jobs)]
    for at_a_time in (1, 16, 64):
        pool = ScriptedPool(workers=4, slots=16, picture_bytes=2000)
        show(f"  {at_a_time} at a time", *await load(pool, tiny[: 300 if at_a_time == 1 else None], at_a_time))

    print("embedded model, one worker, mixed sizes and steps")
    tasks = [
        ImageTask(prompt=f"a red kite over hill {i}", width=w, height=h, steps=steps, seed=i)
        for i, (w, h, steps) in zip(range(jobs), itertools.cycle(SHAPES), strict=False)
    ]
    with tempfile.TemporaryDirectory() as folder:
        for at_a_time in (1, 4, 16):
            alone = show(f"  {at_a_time} clients, one at a time", *await load(mini(Path(folder), 1), tasks, at_a_time))
            together = show(
                f"  {at_a_time} clients, up to 8 a step", *await load(mini(Path(folder), 8), tasks, at_a_time)
            )
            print(f"  {'':32} ratio {together / alone:.2f}")

        print("a small request among two large ones, one worker")
        waits_s = {}
        for most, name in ((1, "one at a time"), (8, "up to 8 a step")):
            took_s = await lone_small(mini(Path(folder), most), max(4, jobs // 2))
            show(f"  {name}", sum(took_s), took_s)
            waits_s[most] = max(took_s)
        print(f"  {'':32} the slowest comes {waits_s[1] / waits_s[8]:.1f} times sooner")

        print("a job besides its painting")
        small = ImageTask(prompt="a pebble", width=64, height=64, steps=1, seed=1)
        await overhead("  a worker process", mini(Path(folder), 1), 10.0, small)
        if cluster:
            await overhead("  a worker of Ray, following a script", on_ray(Path(folder)), 25.0, small)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--jobs", type=int, default=12)
    arguments.add_argument("--gateway-jobs", type=int, default=2000)
    arguments.add_argument("--cluster", action="store_true", help="measure with Ray too")
    chosen = arguments.parse_args()
    asyncio.run(main(chosen.jobs, chosen.gateway_jobs, cluster=chosen.cluster))
