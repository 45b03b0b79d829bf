"""The last steps of a picture, beside the denoising of others: decode, enlarge, judge, encode. Knows no queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from keelbill.core.errors import BadWeights
from keelbill.engine.upscale import UPSCALER, Upscaler, load_upscaler
from keelbill.graph.origin import workflow_of
from keelbill.imaging.blur import blur
from keelbill.imaging.decode import ImageFormat
from keelbill.imaging.encode import encode, to_pixels
from keelbill.imaging.metadata import Recipe
from keelbill.imaging.resize import flatten
from keelbill.imaging.thumbnails import small_form
from keelbill.serving.messages import ImageTask, Succeeded
from keelbill.serving.studio import ENGINE_NAME, Studio
from keelbill.serving.tasks import Plan

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]

PLAIN: Final = "bicubic-x4"


class Classifier(Protocol):
    """Judges a picture."""

    def score(self, pixels: Pixels) -> float:
        """Return how surely it should not be shown, 0 to 1."""
        ...


def image_classifier() -> Classifier:
    """Load the image classifier that ships with the program."""
    classifier: Classifier = import_module("keelbill.moderation.image").ImageClassifier()
    return classifier


@dataclass
class Stopwatch:
    """Milliseconds by phase."""

    phases: dict[str, float]

    def time(self, phase: str, work: Callable[[], Pixels]) -> Pixels:
        """Do something and add its time to a phase."""
        begun_s = time.monotonic()
        try:
            return work()
        finally:
            self.phases[phase] = self.phases.get(phase, 0.0) + (time.monotonic() - begun_s) * 1000


class _SharedEnlarger:
    """The enlarging network, loaded when it is first needed; of several threads one at a time uses it."""

    def __init__(self, load: Callable[[], Upscaler]) -> None:
        self._load = load
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """By which recipes name it."""
        with self._lock:
            return self._known[1]

    def enlarge(self, pixels: Tensor) -> Tensor:
        """Turn pixels in [0, 1] with shape ``(3, H, W)`` into ``(3, 4H, 4W)``."""
        with self._lock:
            return self._known[0].enlarge(pixels)

    @cached_property
    def _known(self) -> tuple[Upscaler, str]:
        try:
            return self._load(), UPSCALER
        except BadWeights:
            return Upscaler().eval(), PLAIN  # untrained, the network enlarges as bicubic interpolation does


class Finisher:
    """Turns latents into files. Several threads may ask; one of them decodes and one enlarges at a time.

    Args:
        classify: Loads the image classifier when it is first needed; nothing turns it off.
        upscale: Loads the enlarging network when it is first needed.
    """

    def __init__(
        self, classify: Callable[[], Classifier] | None = None, upscale: Callable[[], Upscaler] = load_upscaler
    ) -> None:
        self._classify = classify
        self._enlarger = _SharedEnlarger(upscale)
        self._decoding = threading.Lock()
        self._judging = threading.Lock()

    @cached_property
    def _classifier(self) -> Classifier | None:
        return self._classify() if self._classify else None

    def compose(
        self, plan: Plan, studio: Studio, latents: Tensor | None, phases: dict[str, float] | None = None
    ) -> Pixels:
        """Make the finished pixels.

        Args:
            plan: How it is done.
            studio: Whose model painted.
            latents: What it painted; nothing if the plan has it paint nothing.
            phases: Milliseconds so far, by phase; added to.

        Returns:
            With shape ``(H, W, 3 or 4)``.
        """
        watch = Stopwatch({} if phases is None else phases)
        painted = None
        if latents is not None:
            at = latents
            with self._decoding:
                painted = watch.time("decode", lambda: to_pixels(studio.pipeline.decode(at).numpy()))
        return watch.time("enlarge", lambda: plan.compose(painted, self._enlarger))

    def score(self, pixels: Pixels) -> float:
        """Return how surely a picture ``(H, W, 3)`` should not be shown, 0 to 1; below 0 if nobody judges."""
        with self._judging:
            return -1.0 if self._classifier is None else self._classifier.score(pixels)

    def finish(
        self, task: ImageTask, plan: Plan, studio: Studio, latents: Tensor | None, phases: dict[str, float]
    ) -> Succeeded:
        """Make the finished file.

        Args:
            task: What was wanted.
            plan: How it is done.
            studio: Whose model painted.
            latents: What it painted; nothing if the plan has it paint nothing.
            phases: Milliseconds so far, by phase; added to.
        """
        pixels = self.compose(plan, studio, latents, phases)
        score = -1.0
        if task.filter_above <= 1:
            begun_s = time.monotonic()
            score = self.score(flatten(pixels))
            if score >= 0:
                phases["moderate"] = (time.monotonic() - begun_s) * 1000
        is_filtered = score >= 0 and score >= task.filter_above
        if is_filtered:
            pixels = blur(pixels)
        kind = ImageFormat(task.output_format)
        recipe = studio.recipe(task, plan) if plan.request else _unpainted(task, plan, self._enlarger.name)
        begun_s = time.monotonic()
        data = encode(pixels, kind, recipe, workflow="" if kind is ImageFormat.JPEG else workflow_of(recipe))
        thumb = small_form(pixels)
        phases["encode"] = (time.monotonic() - begun_s) * 1000
        return Succeeded(
            image=data,
            thumb=thumb,
            media_type=f"image/{kind}",
            width=plan.size.width,
            height=plan.size.height,
            seed=task.seed,
            model=recipe.model,
            model_hash=recipe.model_hash,
            filtered=is_filtered,
            score=score,
            seconds=sum(phases.values()) / 1000,
            phases=phases,
        )


def _unpainted(task: ImageTask, plan: Plan, model: str) -> Recipe:
    return Recipe(
        prompt=task.recipe_prompt or task.prompt,
        model=model,
        seed=task.seed,
        width=plan.size.width,
        height=plan.size.height,
        steps=1,
        strength=0.0,
        image_hash=task.image,
        mask_hash=task.mask,
        engine=ENGINE_NAME,
        kind="" if task.kind == "generate" else task.kind,
    )
