"""From a request to pixels: prompt, noise, steps, picture. Knows nothing of files, users or picture formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from keelbill.core.errors import InvalidInput
from keelbill.core.types import MAX_SEED, Size
from keelbill.engine.batch import Batch, Failed, Finished, Repaint, Sampling, Stepped
from keelbill.engine.guidance import Branch, ClassifierFree, Guidance, SkipLayer, Unguided
from keelbill.engine.model import Model
from keelbill.engine.samplers import SAMPLERS
from keelbill.engine.schedules import SCHEDULES, sigmas, sigmas_for_strength

MAX_STEPS = 1000


@dataclass(frozen=True)
class GenerationRequest:
    """One picture that somebody wants.

    Args:
        prompt: What to paint.
        negative_prompt: What to avoid; used while guidance is on.
        width: In pixels; nothing means the model's own size.
        height: Likewise.
        seed: Of the first picture, 0 to 2**64 - 1.
        index: Which picture of a series; picture ``k`` of seed ``s`` is the picture of seed ``s + k``.
        steps: 1 to 1000.
        cfg: Strength of classifier-free guidance; 1 or less means none.
        guided: Noise levels between which guidance is on.
        sampler: A name from `SAMPLERS`.
        schedule: A name from `SCHEDULES`.
        shift: Of the schedule, above 0.
        image: Picture to start from, in [0, 1] with shape ``(3, H, W)``.
        strength: How much of `image` is painted anew, from 0 (nothing) to 1 (everything).
        mask: 1 where `image` is painted anew, 0 where it is kept, soft in between, with shape ``(1, H, W)``.
        skip_layers: Blocks left out by skip-layer guidance; none means it is off.
        skip_scale: Strength of skip-layer guidance.
        skip_window: Part of the steps in which it is on.
    """

    prompt: str
    negative_prompt: str = ""
    width: int | None = None
    height: int | None = None
    seed: int = 0
    index: int = 0
    steps: int | None = None
    cfg: float | None = None
    guided: tuple[float, float] = (0.0, 1.0)
    sampler: str | None = None
    schedule: str | None = None
    shift: float | None = None
    image: Tensor | None = None
    strength: float = 1.0
    mask: Tensor | None = None
    skip_layers: tuple[int, ...] = ()
    skip_scale: float = 2.5
    skip_window: tuple[float, float] = (0.01, 0.2)


@dataclass(frozen=True)
class StepEvent:
    """One more evaluation is done; `step` counts from 1."""

    step: int
    steps: int
    sigma: float


@dataclass(frozen=True)
class PreviewEvent:
    """Quick colours of the estimate, in [0, 1] with shape ``(3, h, w)``, an eighth of the picture's size."""

    rgb: Tensor


@dataclass(frozen=True)
class DoneEvent:
    """The picture, in [0, 1] with shape ``(3, H, W)`` in float32."""

    pixels: Tensor


@dataclass(frozen=True)
class Resolved:
    """A request with every default filled in and every value checked."""

    width: int
    height: int
    seed: int
    steps: int
    cfg: float
    sampler: str
    schedule: str
    shift: float


def noise_source(seed: int, shape: tuple[int, ...]) -> Callable[[], Tensor]:
    """Return a function that draws one picture's Gaussians, on the CPU in float32, one after the other."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator)


class Pipeline:
    """Makes pictures with one model.

    Args:
        model: The networks.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def resolve(self, request: GenerationRequest) -> Resolved:
        """Fill in the model's defaults and check every value.

        Raises:
            InvalidInput: A value is out of its range; the message names it.
            UnknownName: There is no such sampler or schedule.
        """
        model, defaults = self.model, self.model.defaults
        width, height = request.width, request.height
        if request.image is not None:
            height_in, width_in = request.image.shape[-2:]
            width, height = width or width_in, height or height_in
        size = Size(width or model.native_side, height or model.native_side)
        size.require_multiple(model.multiple)
        if max(size.width, size.height) > model.largest_side:
            raise InvalidInput("size", str(size), f"at most {model.largest_side} pixels on each side for {model.name}")
        steps = defaults.steps if request.steps is None else request.steps
        if not 1 <= steps <= MAX_STEPS:
            raise InvalidInput("steps", steps, f"a whole number from 1 to {MAX_STEPS}")
        if not 0 <= request.strength <= 1:
            raise InvalidInput("strength", request.strength, "from 0 to 1")
        if request.image is None and request.mask is not None:
            raise InvalidInput("mask", "a mask without an image", "given together with image")
        if not 0 <= request.seed + request.index <= MAX_SEED:
            raise InvalidInput("seed", request.seed + request.index, f"a whole number from 0 to {MAX_SEED}")
        cfg = defaults.cfg if request.cfg is None else request.cfg
        if not 0 <= cfg <= 100:
            raise InvalidInput("cfg", cfg, "from 0 to 100")
        shift = defaults.shift if request.shift is None else request.shift
        if not 0 < shift <= 100:
            raise InvalidInput("shift", shift, "above 0 and at most 100")
        for index in request.skip_layers:
            if not 0 <= index < model.transformer.config.depth:
                raise InvalidInput("skip_layers", index, f"from 0 to {model.transformer.config.depth - 1}")
        sampler = request.sampler or defaults.sampler
        schedule = request.schedule or defaults.schedule
        SAMPLERS.get(sampler)
        SCHEDULES.get(schedule)
        return Resolved(size.width, size.height, request.seed + request.index, steps, cfg, sampler, schedule, shift)

    @torch.inference_mode()
    def prepare(self, request: GenerationRequest) -> Sampling:
        """Encode the prompt and draw the noise: everything that a batch needs.

        Raises:
            InvalidInput: As :meth:`resolve`.
        """
        model, r = self.model, self.resolve(request)
        guidance = self._guidance(request, r)
        names = [Branch.POSITIVE] + ([Branch.NEGATIVE] if r.cfg > 1 else [])
        prompts = [request.prompt, request.negative_prompt][: len(names)]
        conditionings = dict(zip(names, model.text.encode(prompts), strict=True))
        factor, channels = model.latents.factor, model.latents.channels
        shape = (channels, r.height // factor, r.width // factor)
        noise = noise_source(r.seed, shape)
        first = noise()
        repaint = None
        if request.image is None:
            levels = sigmas(r.schedule, r.steps, r.shift).tolist()
            x = levels[0] * first
        else:
            levels = sigmas_for_strength(r.schedule, r.steps, r.shift, request.strength).tolist()
            original = self.encode(_fit(request.image, r.height, r.width))
            x = levels[0] * first + (1 - levels[0]) * original
            if request.mask is not None:
                mask = F.interpolate(_fit(request.mask, r.height, r.width)[None], shape[1:], mode="area")[0]
                repaint = Repaint(original, first, mask)
        return Sampling(x, levels, SAMPLERS.get(r.sampler), guidance, conditionings, noise, repaint)

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """Turn pixels in [0, 1] with shape ``(3, H, W)`` into the transformer's latents ``(C, H/8, W/8)``."""
        return self.model.latents.to_model(self.model.autoencoder.encode(pixels[None])[0].float().cpu())

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Turn the transformer's latents ``(C, h, w)`` into pixels in [0, 1] with shape ``(3, 8h, 8w)``."""
        raw = self.model.latents.to_raw(latents.float())
        return self.model.autoencoder.decode(raw[None])[0].float().cpu().clamp(0, 1)

    def finish(self, request: GenerationRequest, latents: Tensor) -> Tensor:
        """Decode a request's latents; outside the mask the pixels of its own picture are put back.

        Returns:
            Pixels in [0, 1] with shape ``(3, H, W)``.
        """
        pixels = self.decode(latents)
        if request.image is not None and request.mask is not None:
            height, width = pixels.shape[-2:]
            mask = _fit(request.mask, height, width)
            pixels = pixels * mask + _fit(request.image, height, width) * (1 - mask)
        return pixels

    def generate(
        self, request: GenerationRequest, *, preview_every: int = 0
    ) -> Iterator[StepEvent | PreviewEvent | DoneEvent]:
        """Make one picture; closing the iterator cancels it at the current step.

        Args:
            request: What to make.
            preview_every: Steps between previews; 0 means none.

        Raises:
            InvalidInput: As :meth:`resolve`.
            BadWeights: The network gave values that are not numbers.
        """
        r = self.resolve(request)
        if request.image is not None and request.strength == 0:
            yield DoneEvent(_fit(request.image, r.height, r.width))
            return
        batch = Batch(self.model.transformer)
        batch.admit(self.prepare(request))
        for event in batch.run():
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Stepped):
                yield StepEvent(event.step, event.steps, event.sigma)
                if preview_every and self.model.preview and event.step % preview_every == 0:
                    yield PreviewEvent(self.model.preview(event.denoised))
            if isinstance(event, Finished):
                yield DoneEvent(self.finish(request, event.latents))

    def picture(self, request: GenerationRequest) -> Tensor:
        """Make one picture and return its pixels in [0, 1] with shape ``(3, H, W)``."""
        *_, last = self.generate(request)
        if not isinstance(last, DoneEvent):
            raise TypeError("a run ends with its picture")
        return last.pixels

    def _guidance(self, request: GenerationRequest, r: Resolved) -> Guidance:
        guidance: Guidance = ClassifierFree(r.cfg, interval=request.guided) if r.cfg > 1 else Unguided()
        if request.skip_layers:
            start, end = request.skip_window
            guidance = SkipLayer(guidance, frozenset(request.skip_layers), request.skip_scale, start, end)
        return guidance


def _fit(pixels: Tensor, height: int, width: int) -> Tensor:
    if pixels.shape[-2:] == (height, width):
        return pixels
    return F.interpolate(pixels[None], (height, width), mode="bilinear", antialias=True)[0].clamp(0, 1)
