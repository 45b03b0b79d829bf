"""Which free worker gets the job whose turn it is. Pure: knows no queue, no clock and no pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keelbill.serving.messages import WorkerInfo


@dataclass(frozen=True)
class Needs:
    """What a job asks of its worker, besides room.

    Attributes:
        alone: Whether nothing else may run there. A job that lost a worker may be what ended it, and would take its
            neighbours with it a second time.
        more_than_bytes: Memory that was too little for it.
    """

    alone: bool = False
    more_than_bytes: int = 0

    def fits(self, worker: WorkerInfo) -> bool:
        """Return whether a worker has memory enough, as far as one knows."""
        return worker.capacity_bytes > self.more_than_bytes or not self.more_than_bytes


def choose(model: str, needs: Needs, free: Iterable[WorkerInfo], busy: Mapping[str, int]) -> WorkerInfo | None:
    """Choose among free workers: one that has the model in memory, and of those the one with the fewest jobs.

    Args:
        model: That the job names.
        needs: What else it asks.
        free: Workers that would take a job.
        busy: Jobs of each by name.

    Returns:
        Nothing if none of them will do now.
    """
    fitting = [worker for worker in free if needs.fits(worker) and not (needs.alone and busy[worker.name])]
    return min(fitting, key=lambda worker: (model not in worker.models, busy[worker.name]), default=None)
