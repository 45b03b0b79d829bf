"""Chooses the next job and its worker: whose turn it is, who is free, what a second try needs. Starts nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from keelbill.serving.messages import Event, Failed, JobSpec, WorkerInfo
from keelbill.serving.placing import Needs, choose
from keelbill.serving.queue import FairQueue
from keelbill.serving.roll import Job, Roll

MAX_LOSSES: Final = 2


class Turns:
    """Brings waiting jobs and free workers together.

    Args:
        queue: What waits.
        roll: The jobs.
        workers: Asks for all workers.
    """

    def __init__(self, queue: FairQueue, roll: Roll, workers: Callable[[], list[WorkerInfo]]) -> None:
        self._queue = queue
        self._roll = roll
        self._workers = workers
        self._claiming: Counter[str] = Counter()
        self._solo: dict[str, Job] = {}

    def free(self) -> dict[str, WorkerInfo]:
        """Return the workers that would take a job; one that has a job for itself does not."""
        kept = {job.worker for job in self._solo.values()}
        free = [w for w in self._workers() if w.ready and w.slots - self._claiming[w.name] > 0]
        return {worker.name: worker for worker in free if worker.name not in kept}

    def seat(self, model: str) -> str:
        """Keep room for a job that is written and claimed at once; return the worker's name, "" if there is no room.

        The room is owed back by `unseat`.
        """
        free = self.free()
        worker = choose(model, Needs(), free.values(), self._busy(free))
        if worker is None:
            return ""
        self._claiming[worker.name] += 1
        return worker.name

    def unseat(self, worker: str) -> None:
        """Give up the room that was kept: the job has it now, or does not come."""
        self._claiming[worker] -= 1

    def deal(self, now_s: float) -> Iterator[tuple[Job, bool]]:
        """Take jobs from the queue while there are free workers.

        Yields:
            A job, and whether it has a worker now, of which `began` is then owed; without one, none has the memory
            that it needs. The jobs that wait for a particular worker are put back at the end.
        """
        aside: list[JobSpec] = []
        reserved: set[str] = set()
        while len(self._queue):
            free = {name: worker for name, worker in self.free().items() if name not in reserved}
            if not free:
                break
            busy = self._busy(free)
            least = min(free.values(), key=lambda worker: busy[worker.name])
            spec = self._queue.pop(now_s, warm=least.models)
            if spec is None:
                break
            job = self._roll.active[spec.job_id]
            worker = choose(spec.task.model, job.needs, free.values(), busy)
            if worker is not None:
                self._assign(job, worker)
                yield job, True
            elif not any(job.needs.fits(worker) for worker in self._workers()):
                yield job, False
            else:
                aside.append(spec)
                if job.needs.alone:
                    reserved.add(least.name)  # nothing new begins there, so that it will be empty soon
        for spec in aside:
            self._queue.push_front(spec)

    def claimed(self, job: Job) -> None:
        """Note that the book has answered a job's claim, whatever it said."""
        self.unseat(job.worker)

    def leave(self, job: Job) -> bool:
        """Note that a job has left its worker; return whether it had the worker for itself."""
        return self._solo.pop(job.id, None) is not None

    def roomier(self, job: Job, event: Event) -> Needs | None:
        """Return what a job needs that ran out of memory, if there is a worker with more of it."""
        if not isinstance(event, Failed) or event.code != "out_of_memory" or not event.retriable or job.wish:
            return None
        workers = self._workers()
        had_bytes = max((w.capacity_bytes for w in workers if w.name == job.worker), default=0)
        needs = replace(job.needs, more_than_bytes=had_bytes)
        return needs if had_bytes and any(needs.fits(worker) for worker in workers) else None

    def _busy(self, free: dict[str, WorkerInfo]) -> dict[str, int]:
        return {name: len(worker.running) + self._claiming[name] for name, worker in free.items()}

    def _assign(self, job: Job, worker: WorkerInfo) -> None:
        job.state, job.worker = "claiming", worker.name
        self._claiming[worker.name] += 1
        if job.needs.alone:
            self._solo[job.id] = job


def lost(job: Job) -> Failed | None:
    """Note that a job's worker was lost; return how the job fails, or nothing if it is tried again, alone."""
    job.losses += 1
    job.blame += 1
    if job.losses >= MAX_LOSSES:
        code = "worker_lost_twice" if job.blame >= MAX_LOSSES else "worker_lost"
        return Failed(code, "The worker was lost twice while it made this picture.")
    job.needs = replace(job.needs, alone=True)
    return None
