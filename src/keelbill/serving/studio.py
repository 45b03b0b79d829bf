"""The models that a worker has in memory, each with its batch. Knows neither jobs nor messages."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import psutil  # type: ignore[import-untyped]  # ships no annotations
import torch

from keelbill import __version__
from keelbill.core.errors import InvalidInput
from keelbill.core.settings import Settings
from keelbill.engine.batch import Batch
from keelbill.engine.loader import Placement, best_device, load_model, parse_dtype
from keelbill.engine.pipeline import Pipeline
from keelbill.engine.upscale import UPSCALER
from keelbill.imaging.metadata import Recipe
from keelbill.serving.tasks import Plan
from keelbill.storage.hub import Hub

if TYPE_CHECKING:
    from keelbill.engine.model import Model
    from keelbill.serving.messages import ImageTask

ENGINE_NAME: Final = f"keelbill {__version__}"
KEPT_MODELS: Final = 2
LARGE_CARD_BYTES: Final = 36 * 2**30
_DECIDING: Final = ("torch", "transformers", "tokenizers")

LoadModel = Callable[[str], "Model"]
"""Loads a model by its name."""


class Studio:
    """One model that is ready to paint.

    Args:
        model: The networks.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.pipeline = Pipeline(model)
        self.batch = Batch(model.transformer)

    @property
    def device(self) -> torch.device:
        """Where the transformer lies."""
        return self.model.transformer.device

    def recipe(self, task: ImageTask, plan: Plan) -> Recipe:
        """Return what a finished picture of this model carries."""
        if plan.request is None:
            raise InvalidInput("plan", "nothing", "one in which the model paints")
        known, model = self.pipeline.resolve(plan.request), self.model
        is_whole = task.kind == "generate"
        is_scaled = (known.width, known.height) != (plan.size.width, plan.size.height)
        return Recipe(
            prompt=task.recipe_prompt or task.prompt,
            negative=task.negative_prompt,
            model=model.name,
            model_hash=model.hash,
            seed=task.seed,
            width=plan.size.width,
            height=plan.size.height,
            steps=known.steps,
            cfg=known.cfg,
            sampler=known.sampler,
            schedule=known.schedule,
            shift=known.shift,
            strength=plan.request.strength,
            image_hash=task.image,
            mask_hash=task.mask,
            device=describe(self.device),
            dtype=str(next(model.transformer.parameters()).dtype).removeprefix("torch."),
            versions={name: version(name) for name in _DECIDING if name in sys.modules},
            engine=ENGINE_NAME,
            kind="" if is_whole else task.kind,
            painted_prompt=plan.request.prompt if plan.request.prompt != (task.recipe_prompt or task.prompt) else "",
            painted_width=known.width if is_scaled else 0,
            painted_height=known.height if is_scaled else 0,
            enlarger=UPSCALER if is_scaled else "",
        )


class Studios:
    """The most recently used models, loaded by need.

    Args:
        load: Loads a model by its name.
        default: The name that "" means.
        kept: Models in memory at a time; one that is painting is never dropped.
    """

    def __init__(self, load: LoadModel, default: str, *, kept: int = KEPT_MODELS) -> None:
        self._load = load
        self.default = default
        self._kept = kept
        self._studios: OrderedDict[str, Studio] = OrderedDict()

    @property
    def names(self) -> tuple[str, ...]:
        """Names in memory, with "" if the default is."""
        known = tuple(self._studios)
        return (*known, "") if self.default in known else known

    def all(self) -> list[Studio]:
        """Return the studios in memory."""
        return list(self._studios.values())

    def has(self, name: str) -> bool:
        """Return whether a model is in memory."""
        return (name or self.default) in self._studios

    def get(self, name: str) -> Studio:
        """Return a model's studio, loading the model if need be.

        Raises:
            UnknownModel: It is not installed.
            BadWeights: Its files cannot be used.
        """
        name = name or self.default
        if name not in self._studios:
            self._make_room()
            self._studios[name] = Studio(self._load(name))
        self._studios.move_to_end(name)
        return self._studios[name]

    def drop_idle(self) -> None:
        """Forget all models that are not painting, to make room for something larger."""
        self._studios = OrderedDict((name, each) for name, each in self._studios.items() if len(each.batch))

    def _make_room(self) -> None:
        idle = [name for name, studio in self._studios.items() if not len(studio.batch)]
        for name in idle[: max(0, len(self._studios) - self._kept + 1)]:
            del self._studios[name]


def loader(settings: Settings, device: str) -> LoadModel:
    """Return who loads installed models onto a device."""
    device = best_device() if device == "auto" else device
    text = device
    if device.startswith("cuda") and torch.cuda.mem_get_info(device)[1] <= LARGE_CARD_BYTES:
        text = "cpu"  # the text encoders beside the transformer would not fit
    placement = Placement(device, parse_dtype(settings.dtype), text_device=text)

    def load(name: str) -> Model:
        found = Hub.from_settings(settings).get(name)
        return load_model(found.path, name=found.name, extras=found.extras, placement=placement)

    return load


def describe(device: torch.device) -> str:
    """Name a device, with what else decides the last bits of its sums."""
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        return f"cpu {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()} threads"
    return device.type


def capacity_bytes(description: str) -> int:
    """Return the memory of the accelerator that a worker uses, or of the host if it uses none.

    Args:
        description: Of its device, as `describe` gives it; it names the current accelerator.
    """
    if description.startswith("cuda") and torch.cuda.is_initialized():
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    return int(psutil.virtual_memory().total)
