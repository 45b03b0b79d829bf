"""The script's worker for pools of real processes: no networks, flat pictures. Knows no process and no cluster.

With it a cluster can be tried, and its own cost measured, before a model is installed on any machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from keelbill.serving.messages import Beat, Cancel, Event, FromWorker, Run, Said, Setup, Started, Stop, ToWorker
from keelbill.serving.scripted import MODEL, ScriptedPool

STEP_S = 0.002


class Rehearsal:
    """Plays the script's worker in a thread.

    Args:
        setup: Who it is.
        send: Passes its reports on.
        read: Reads an input picture by its reference.
        step_s: Seconds of one step.
    """

    def __init__(
        self,
        setup: Setup,
        send: Callable[[FromWorker], None],
        read: Callable[[str], bytes],
        *,
        step_s: float = STEP_S,
    ) -> None:
        self._setup = setup
        self._send = send
        self._pool = ScriptedPool(slots=setup.jobs, step_s=step_s, native_side=128, read=read)
        self._worker = self._pool.workers()[0].name
        self._loop = asyncio.new_event_loop()
        self._steps = 0

    @property
    def inbox(self) -> Rehearsal:
        """Itself: orders are put here."""
        return self

    def put(self, order: ToWorker) -> None:
        """Follow an order, from any thread."""
        self._loop.call_soon_threadsafe(self._follow, order)

    def run(self) -> None:
        """Play until told to stop."""
        try:
            self._loop.create_task(self._pool.start(self._tell, self._lost))
            self._loop.run_forever()
            self._loop.run_until_complete(self._pool.stop())
        finally:
            self._loop.close()

    def beat(self) -> Beat:
        """Return a sign of life."""
        running = len(self._pool.workers()[0].running)
        return Beat(
            device="script",
            models=(MODEL, ""),
            slots=self._setup.jobs - running,
            activity="painting" if running else "idle",
            steps=self._steps,
        )

    def _follow(self, order: ToWorker) -> None:
        if isinstance(order, Run):
            self._pool.run(self._worker, order.job)
            self._send(self.beat())
        elif isinstance(order, Cancel):
            self._pool.cancel(order.job_id, order.reason)
        elif isinstance(order, Stop):
            self._loop.stop()

    def _tell(self, job_id: str, epoch: int, event: Event) -> None:
        self._steps += 1
        if isinstance(event, Started):
            event = Started(self._setup.name, event.attempt)
        self._send(Said(job_id, epoch, event))

    def _lost(self, worker: str, epochs: Mapping[str, int], reason: str) -> None:
        raise RuntimeError("the script names no fault here")


def build(setup: Setup, send: Callable[[FromWorker], None], read: Callable[[str], bytes]) -> Rehearsal:
    """Make the script's worker."""
    return Rehearsal(setup, send, read)
