"""What the nodes of a graph reach in a worker: models, pictures, the shared batch. Knows no graph and no message."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import torch

from keelbill.core.errors import BadWeights, NotFound, UnknownModel
from keelbill.core.types import Size
from keelbill.engine.batch import Failed, Finished, Stepped
from keelbill.engine.esrgan import build_esrgan
from keelbill.engine.loader import best_device
from keelbill.engine.sd3text import TOKENIZER_FILES
from keelbill.engine.upscale import load_upscaler
from keelbill.engine.weights import open_weights
from keelbill.graph.errors import Interrupted
from keelbill.imaging.blur import blur
from keelbill.imaging.decode import ImageFormat
from keelbill.imaging.encode import encode, from_pixels, to_pixels
from keelbill.imaging.resize import flatten, stretch
from keelbill.serving.finish import Finisher
from keelbill.serving.tasks import plan
from keelbill.storage.hub import EMBEDDED
from keelbill.storage.published import PUBLIC_MODELS, engine_for
from keelbill.storage.shelves import UPSCALER, Shelves

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from keelbill.engine.batch import Event, Sampling
    from keelbill.engine.mmdit import MMDiT
    from keelbill.engine.model import Model
    from keelbill.engine.preview import LinearPreview
    from keelbill.engine.upscale import Enlarger
    from keelbill.serving.messages import ImageTask
    from keelbill.serving.studio import Studio

LOOK_S: Final = 0.25
"""How often a waiting graph looks whether somebody stopped it."""

Heard = Callable[[int, "Event | Exception"], None]
Remote = Callable[[str, dict[str, str], dict[str, bytes]], bytes]
"""Calls a route of an image service with form fields and files, and returns a picture's bytes."""


class Loop(Protocol):
    """The worker's loop, which owns models and batches, as other threads see it."""

    def studio(self, name: str) -> Studio:
        """Return a model's studio, loading the model if need be."""
        ...

    def sit(self, transformer: MMDiT, samplings: Sequence[Sampling], heard: Heard) -> Callable[[], None]:
        """Let pictures take part in a transformer's batch.

        Args:
            transformer: Whose batch.
            samplings: One for each picture.
            heard: Told by the loop what happens to the picture of a place in `samplings`.

        Returns:
            What ends them before their time.
        """
        ...

    def free(self) -> None:
        """Forget the models that are not painting."""
        ...


class Interrupt:
    """A wish to stop, from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Wish it."""
        self.reason = reason
        self._event.set()

    def check(self) -> None:
        """Obey it.

        Raises:
            Interrupted: It was wished.
        """
        if self._event.is_set():
            raise Interrupted(self.reason)


class ShelvedModels:
    """The installed models as graphs name them.

    Args:
        loop: Loads them.
        shelves: Finds them.
    """

    def __init__(self, loop: Loop, shelves: Shelves) -> None:
        self._loop = loop
        self._shelves = shelves

    def checkpoint(self, name: str) -> Model:
        """Return a whole model; see `keelbill.graph.context.Models`."""
        found = self._shelves.find("checkpoints", name)
        if not found.model:
            raise UnknownModel("checkpoint", name, self._shelves.names("checkpoints"))
        return self._loop.studio(found.model).model

    def stand_in(self, folder: str, name: str) -> Model | None:
        """Return the installed model of which a name stands for a part, or nothing if it is a file."""
        found = self._shelves.find(folder, name)
        return self._loop.studio(found.model).model if found.model else None

    def tensors(self, folder: str, name: str) -> dict[str, Tensor]:
        """Return the tensors of a file, on the CPU."""
        file = open_weights(self._path(folder, name))
        return {key: file.read(key) for key in file.shapes}

    def tokenizer(self, name: str) -> str:
        """Return the tokeniser's file that lies beside a T5 file.

        Raises:
            BadWeights: There is none.
        """
        path = self._path("text_encoders", name)
        for place in (path.parent, path.parent.parent):
            for file in TOKENIZER_FILES:
                if (place / file).is_file():
                    return (place / file).read_text(encoding="utf-8")
        raise BadWeights(
            f"{name} has no tokeniser.", hint=f"Put the tokenizer.json of T5 v1.1 at {TOKENIZER_FILES[0]}."
        )

    def _path(self, folder: str, name: str) -> Path:
        path = self._shelves.find(folder, name).path
        if path is None:
            raise UnknownModel(f"file in {folder}", name, self._shelves.names(folder))
        return path

    def upscaler(self, name: str) -> Enlarger:
        """Return an enlarging network; see `keelbill.graph.context.Models`."""
        if self._shelves.find("upscale_models", name).model == UPSCALER:
            return load_upscaler()
        device = best_device()
        dtype = torch.float32 if device == "cpu" else torch.float16
        return build_esrgan(self.tensors("upscale_models", name), dtype=dtype, device=device)


class Bench:
    """What one graph reaches while it runs.

    Args:
        loop: The worker's loop.
        finisher: Enlarges and judges.
        shelves: The model files.
        read: Reads an input picture by its reference.
        files: References by the names that the graph uses.
        filter_above: Score of the image classifier from which a picture is blurred; above 1 turns it off.
        remote: Calls the image service that this server is set to use; nothing if it is this server.
        default: Name of the model that paints where none is named.
    """

    def __init__(
        self,
        loop: Loop,
        finisher: Finisher,
        shelves: Shelves,
        read: Callable[[str], bytes],
        files: Mapping[str, str],
        *,
        filter_above: float,
        remote: Remote | None = None,
        default: str = EMBEDDED,
    ) -> None:
        self.models = ShelvedModels(loop, shelves)
        self.interrupt = Interrupt()
        self.pictures = 0
        """Painted so far."""
        self.remote = remote
        self._shelves = shelves
        self._default = default
        self._loop = loop
        self._finisher = finisher
        self._read = read
        self._files = files
        self._filter_above = filter_above

    def free(self) -> None:
        """Make room in memory."""
        self._loop.free()

    def read(self, name: str) -> bytes:
        """Return a picture that the graph names.

        Raises:
            NotFound: There is none.
        """
        if name not in self._files:
            raise NotFound(f"There is no picture {name!r} in your files.")
        return self._read(self._files[name])

    def sample(
        self, transformer: MMDiT, samplings: Sequence[Sampling], on_step: Callable[[Stepped], None]
    ) -> list[Tensor]:
        """Denoise beside the worker's other jobs.

        Args:
            transformer: Whose batch.
            samplings: One for each picture.
            on_step: Told of each step of the first picture that is not yet done.

        Returns:
            Final latents of each.
        """
        events: SimpleQueue[tuple[int, Event | Exception]] = SimpleQueue()
        leave = self._loop.sit(transformer, samplings, lambda place, event: events.put((place, event)))
        done: dict[int, Tensor] = {}
        try:
            while len(done) < len(samplings):
                self.interrupt.check()
                try:
                    place, event = events.get(timeout=LOOK_S)
                except Empty:
                    continue
                if isinstance(event, Exception):
                    raise event
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, Finished):
                    done[place] = event.latents
                elif place == min(set(range(len(samplings))) - set(done)):
                    on_step(event)
        finally:
            if len(done) < len(samplings):
                leave()
        self.pictures += len(samplings)
        return [done[place] for place in range(len(samplings))]

    def paint(self, task: ImageTask, images: Sequence[Tensor], on_step: Callable[[Stepped], None]) -> Tensor:
        """Make a picture as the REST API does.

        Returns:
            Pixels in [0, 1] with shape ``(H, W, 3)``.
        """
        files = [encode(to_pixels(image.movedim(-1, 0).cpu().numpy()), ImageFormat.PNG) for image in images]
        task = self._staffed(task)
        studio = self._loop.studio(task.model)
        how = plan(task, studio.model, lambda place: files[int(place)])
        latents = None
        if how.request is not None:
            sampling = studio.pipeline.prepare(how.request)
            (latents,) = self.sample(studio.model.transformer, [sampling], on_step)
        else:
            self.pictures += 1
        pixels = self._finisher.compose(how, studio, latents)
        return torch.from_numpy(from_pixels(flatten(pixels))).movedim(0, -1)

    def _staffed(self, task: ImageTask) -> ImageTask:
        """Name the installed model that stands for a published one; a stand-in keeps its own steps and guidance."""
        public = PUBLIC_MODELS.get(task.model)
        if public is None:
            return task
        engine = engine_for(public, installed=self._shelves.installed(), default=self._default)
        cfg = task.cfg if engine.model == public.name or engine.model == public.runs else engine.cfg
        return msgspec.structs.replace(task, model=engine.model, steps=engine.steps, cfg=cfg)

    def moderate(self, pixels: Tensor) -> Tensor:
        """Return a batch ``(B, H, W, C)`` with those pictures blurred that may not be shown."""
        if self._filter_above > 1:
            return pixels
        kept = []
        for picture in pixels:
            seen = flatten(to_pixels(picture.movedim(-1, 0).cpu().numpy()))
            if self._finisher.score(seen) >= self._filter_above:
                blurred = torch.from_numpy(from_pixels(blur(seen))).movedim(0, -1)
                picture = torch.cat([blurred, torch.ones_like(picture[..., 3:])], dim=-1)
            kept.append(picture)
        return torch.stack(kept)


def small_jpeg(preview: LinearPreview, denoised: Tensor, *, side: int) -> bytes:
    """Return a quick look at latents ``(C, h, w)`` as a JPEG whose longest side has `side` pixels."""
    pixels = to_pixels(preview(denoised).cpu().numpy())
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    return encode(stretch(pixels, Size(round(width * scale), round(height * scale))), ImageFormat.JPEG)
