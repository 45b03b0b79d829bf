"""Pictures of graphs that take part in the worker's batches, beside those of plain jobs. Knows no graph and no job."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch

from keelbill.engine.batch import Batch, Stepped

if TYPE_CHECKING:
    from keelbill.engine.batch import Event, Sampling
    from keelbill.engine.mmdit import MMDiT
    from keelbill.serving.bench import Heard
    from keelbill.serving.studio import Studio, Studios

T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """Something that another thread wants done by the loop."""

    work: Callable[[], None]


@dataclass(frozen=True)
class Sitting:
    """One picture in a batch."""

    batch: Batch
    ticket: int
    heard: Callable[[Event | Exception], None]


class Sittings:
    """All pictures of graphs that are being denoised. Of one thread, the worker's loop.

    Args:
        studios: The models in memory, with their batches.
    """

    def __init__(self, studios: Studios) -> None:
        self._studios = studios
        self._sittings: dict[tuple[int, int], Sitting] = {}
        self._guests: dict[int, Batch] = {}
        """Batches of transformers that belong to no studio, by their identity."""

    def __len__(self) -> int:
        return len(self._sittings)

    def busy(self) -> list[Batch]:
        """Return all batches that have something to do, those of plain jobs too."""
        batches = [studio.batch for studio in self._studios.all()] + list(self._guests.values())
        return [batch for batch in batches if len(batch)]

    def sit(self, transformer: MMDiT, samplings: Sequence[Sampling], heard: Heard) -> list[Sitting]:
        """Admit pictures; see `keelbill.serving.bench.Loop.sit`."""
        batch = self._batch_of(transformer)
        sittings = []
        for place, sampling in enumerate(samplings):
            sitting = Sitting(batch, batch.admit(sampling), partial(heard, place))
            self._sittings[id(batch), sitting.ticket] = sitting
            sittings.append(sitting)
        return sittings

    def leave(self, sittings: Sequence[Sitting]) -> None:
        """Forget pictures; those that are done already are passed over."""
        for sitting in sittings:
            if self._sittings.pop((id(sitting.batch), sitting.ticket), None) is not None:
                sitting.batch.cancel(sitting.ticket)

    def hear(self, batch: Batch, event: Event) -> bool:
        """Pass on what happened to a picture; false if it is no graph's."""
        key = (id(batch), event.ticket)
        sitting = self._sittings.get(key)
        if sitting is None:
            return False
        if not isinstance(event, Stepped):
            del self._sittings[key]
        sitting.heard(event)
        return True

    def fail(self, batch: Batch, error: Exception) -> None:
        """End all graphs' pictures of a batch."""
        mine = [sitting for sitting in self._sittings.values() if sitting.batch is batch]
        self.leave(mine)
        for sitting in mine:
            sitting.heard(error)

    def free(self) -> None:
        """Forget the models that are not painting, and give their memory back."""
        self._studios.drop_idle()
        self._guests = {key: batch for key, batch in self._guests.items() if len(batch)}
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _batch_of(self, transformer: MMDiT) -> Batch:
        for studio in self._studios.all():
            if studio.model.transformer is transformer:
                return studio.batch
        self._guests = {key: batch for key, batch in self._guests.items() if len(batch)}
        return self._guests.setdefault(id(transformer), Batch(transformer))


class Counter:
    """The worker's loop as other threads see it: they leave an order and wait.

    Args:
        put: Leaves an order in the loop's inbox.
        sittings: Of the loop.
        studio: Returns a model's studio; called by the loop.
    """

    def __init__(self, put: Callable[[Ask], None], sittings: Sittings, studio: Callable[[str], Studio]) -> None:
        self._put = put
        self._sittings = sittings
        self._studio = studio

    def studio(self, name: str) -> Studio:
        """Return a model's studio, loading the model if need be."""
        return self._ask(lambda: self._studio(name))

    def sit(self, transformer: MMDiT, samplings: Sequence[Sampling], heard: Heard) -> Callable[[], None]:
        """Let pictures take part in a transformer's batch; see `keelbill.serving.bench.Loop.sit`."""
        sittings = self._ask(lambda: self._sittings.sit(transformer, samplings, heard))
        return lambda: self._ask(lambda: self._sittings.leave(sittings))

    def free(self) -> None:
        """Forget the models that are not painting."""
        self._ask(self._sittings.free)

    def _ask(self, work: Callable[[], T]) -> T:
        future: Future[T] = Future()

        def do() -> None:
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - it is raised where the order came from
                future.set_exception(error)

        self._put(Ask(do))
        return future.result()
