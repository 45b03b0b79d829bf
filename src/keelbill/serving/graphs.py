"""The graphs that a worker runs at a moment. Knows neither queue nor batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keelbill.graph.cache import Caches
from keelbill.serving.bench import Bench
from keelbill.serving.graph_run import GraphRun
from keelbill.serving.image_service import ImageService
from keelbill.serving.messages import Cancelled, Event, Failed, GraphTask, JobSpec, Setup, Succeeded

if TYPE_CHECKING:
    from keelbill.serving.finish import Finisher
    from keelbill.serving.sittings import Counter
    from keelbill.storage.shelves import Shelves


@dataclass(frozen=True)
class GraphDone:
    """A graph has ended."""

    job: JobSpec
    end: Succeeded | Failed | Cancelled


class Graphs:
    """Begins graphs, each in a thread of its own, and remembers them until they have ended.

    Args:
        setup: Of the worker.
        counter: The worker's loop as the graphs see it.
        finisher: Makes pictures of latents.
        shelves: The model files that graphs name.
        read: Reads an input picture by its reference.
    """

    def __init__(
        self, setup: Setup, counter: Counter, finisher: Finisher, shelves: Shelves, read: Callable[[str], bytes]
    ) -> None:
        self.shelves = shelves
        self._setup = setup
        self._counter = counter
        self._finisher = finisher
        self._read = read
        self._caches = Caches()
        self._runs: dict[str, GraphRun] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def begin(
        self, job: JobSpec, task: GraphTask, say: Callable[[JobSpec, Event], None], done: Callable[[GraphDone], None]
    ) -> None:
        """Run a graph.

        Args:
            job: Whose it is.
            task: The graph.
            say: Told what happens inside.
            done: Told once how it ended, by the graph's thread; then `end` is owed.
        """
        remote = ImageService(self._setup.service, job.secret) if self._setup.service else None
        bench = Bench(
            self._counter,
            self._finisher,
            self.shelves,
            self._read,
            task.files,
            filter_above=job.task.filter_above,
            remote=remote,
            default=self._setup.model,
        )
        self._runs[job.job_id] = run = GraphRun(
            job, task, bench, self._caches, lambda event: say(job, event), lambda end: done(GraphDone(job, end))
        )
        run.start()

    def end(self, job: JobSpec) -> None:
        """Forget a graph that has ended."""
        del self._runs[job.job_id]

    def interrupt(self, job_id: str, reason: str) -> None:
        """Ask for a graph to end soon; what does not run is passed over."""
        if job_id in self._runs:
            self._runs[job_id].interrupt(reason)

    def interrupt_all(self, reason: str) -> None:
        """Ask for all graphs to end soon."""
        for run in self._runs.values():
            run.interrupt(reason)
