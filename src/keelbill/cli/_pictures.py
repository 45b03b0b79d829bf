"""Drives the engine for the commands: the only place of the command line that touches networks. Knows no options."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from keelbill import __version__
from keelbill.cli._orders import Order
from keelbill.core.errors import AppError, InvalidInput, OutOfMemory
from keelbill.imaging.encode import from_pixels, to_pixels
from keelbill.imaging.metadata import Recipe

if TYPE_CHECKING:
    from keelbill.engine.model import Model
    from keelbill.engine.pipeline import GenerationRequest, Resolved

ENGINE_NAME: Final = f"keelbill {__version__}"
_DECIDING: Final = ("torch", "transformers", "tokenizers")  # recorded if a picture needed them


class EngineMissing(AppError):
    """The light installation has no networks."""

    code = "engine_missing"
    status = 501


@dataclass(frozen=True)
class Picture:
    """A finished picture with shape ``(H, W, 3)``, its recipe, and the seconds it took without loading."""

    pixels: NDArray[np.uint8]
    recipe: Recipe
    seconds: float


def require_engine() -> None:
    """Check that torch is installed, without importing it.

    Raises:
        EngineMissing: It is not.
    """
    if find_spec("torch") is None:
        raise EngineMissing(
            "This needs the engine, which is not installed.", hint="Install it with: pip install 'keelbill[server]'"
        )


LARGE_CARD_BYTES: Final = 36 * 2**30


def check_names(sampler: str | None, schedule: str | None) -> None:
    """Check the names that only the engine knows, before a model is loaded.

    Raises:
        EngineMissing: The engine is not installed.
        UnknownName: There is no such sampler or schedule; the message lists those there are.
    """
    require_engine()
    from keelbill.engine.samplers import SAMPLERS
    from keelbill.engine.schedules import SCHEDULES

    if sampler is not None:
        SAMPLERS.get(sampler)
    if schedule is not None:
        SCHEDULES.get(schedule)


def load(name: str, dtype: str | None = None) -> Model:
    """Load a model by name or path, on the device of the settings.

    Args:
        name: Name or path.
        dtype: Precision; nothing means that of the settings.

    Raises:
        EngineMissing: The engine is not installed.
        UnknownModel: No model of that name is installed.
        BadWeights: Its files cannot be used.
        InvalidInput: The settings name a device that is not there.
    """
    require_engine()
    import torch

    from keelbill.core.settings import read_settings
    from keelbill.engine.loader import Placement, best_device, load_model, parse_dtype
    from keelbill.engine.weights import PICKLE_SUFFIXES
    from keelbill.storage.hub import locate

    settings = read_settings()
    path = Path(name).expanduser()
    if path.exists() and (os.sep in name or path.suffix in PICKLE_SUFFIXES):
        name = str(path.resolve())  # surely a path then, also for a pickle: the loader says why it is refused
    found = locate(name, settings)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = best_device() if settings.device == "auto" else settings.device
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[device]:
        usable = " or ".join(["auto", *(kind for kind, works in there.items() if works)])
        raise InvalidInput("setting device", device, f"{usable} on this machine")
    placement = Placement(device, parse_dtype(dtype or settings.dtype), text_device=_text_device(device))
    return load_model(found.path, name=found.name, extras=found.extras, placement=placement)


def changed(model: Model, loras: Sequence[tuple[Path, float]]) -> AbstractContextManager[Model]:
    """Lend a model with adapters in its weights.

    Args:
        model: Is as before when the context ends.
        loras: Files and strengths.

    Raises:
        BadWeights: A file is no LoRA for this model.
    """
    from keelbill.engine.adapted import Adapter, adapted

    return adapted(model, [Adapter(path, strength) for path, strength in loras])


def _text_device(device: str) -> str:
    """Keep text encoders on the host when the card is too small for SD3 Medium with all of them beside it."""
    import torch

    if device != "cuda":
        return device
    return device if torch.cuda.mem_get_info()[1] > LARGE_CARD_BYTES else "cpu"


def make(model: Model, order: Order, place: int, on_step: Callable[[int, int], None]) -> Picture:
    """Make one picture of an order.

    Args:
        model: The networks.
        order: What is wanted.
        place: Which picture of the order, from 0.
        on_step: Told how many steps are done, and of how many.

    Raises:
        InvalidInput: The model cannot do what is wanted, such as a size beyond its position table.
        OutOfMemory: The picture does not fit the device.
    """
    import torch

    from keelbill.engine.pipeline import DoneEvent, Pipeline, StepEvent

    request = _request(model, order, place)
    pipeline = Pipeline(model)
    recipe = _recipe(model, order, pipeline.resolve(request))
    start = time.perf_counter()
    try:
        for event in pipeline.generate(request):
            if isinstance(event, StepEvent):
                on_step(event.step, event.steps)
            if isinstance(event, DoneEvent):
                return Picture(to_pixels(event.pixels.numpy()), recipe, time.perf_counter() - start)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(
            f"A picture of {request.width}x{request.height} does not fit the memory of this device.",
            hint="Ask for a smaller size, or see `keelbill doctor`.",
        ) from error
    raise TypeError("a run ends with its picture")


def versions() -> Mapping[str, str]:
    """Return the versions of the libraries that decide pixels, of those that are in use."""
    return {name: version(name) for name in _DECIDING if name in sys.modules}


def device_of(model: Model) -> tuple[str, str]:
    """Return a model's device, with what else decides the last bits of its sums, and its precision.

    A processor's sums depend on its instruction set and, measured, on the number of threads that share a product.
    """
    import torch

    weight = next(model.transformer.parameters())
    kind = weight.device.type
    detail = torch.cuda.get_device_name(weight.device) if kind == "cuda" else ""
    if kind == "cpu":
        detail = f"{torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()} threads"
    return f"{kind} {detail}".strip(), str(weight.dtype).removeprefix("torch.")


def _request(model: Model, order: Order, place: int) -> GenerationRequest:
    import torch

    from keelbill.engine.pipeline import GenerationRequest

    size = order.size(model.native_side)
    image = mask = None
    if order.source:
        pixels, painted = order.source.fitted(size)
        image = torch.from_numpy(from_pixels(pixels))
        mask = None if painted is None else torch.from_numpy(painted)[None]
    return GenerationRequest(
        prompt=order.prompt,
        negative_prompt=order.negative,
        width=size.width,
        height=size.height,
        seed=order.seed + place,
        steps=order.steps,
        cfg=order.cfg,
        sampler=order.sampler,
        schedule=order.schedule,
        shift=order.shift,
        image=image,
        strength=order.source.strength if order.source else 1.0,
        mask=mask,
    )


def _recipe(model: Model, order: Order, known: Resolved) -> Recipe:
    device, dtype = device_of(model)
    return Recipe(
        prompt=order.prompt,
        negative=order.negative,
        model=model.name,
        model_hash=model.hash,
        seed=known.seed,
        width=known.width,
        height=known.height,
        steps=known.steps,
        cfg=known.cfg,
        sampler=known.sampler,
        schedule=known.schedule,
        shift=known.shift,
        strength=order.source.strength if order.source else 1.0,
        image_hash=order.source.image_hash if order.source else "",
        mask_hash=order.source.mask_hash if order.source else "",
        device=device,
        dtype=dtype,
        versions=versions(),
        engine=ENGINE_NAME,
        kind=order.source.kind if order.source else "",
    )
