"""From noise to latents as graphs ask for it: whose noise, which levels, what is kept. Knows no node and no pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from keelbill.core.types import MAX_SEED
from keelbill.engine.batch import Release, Repaint, Sampling
from keelbill.engine.guidance import Branch, ClassifierFree, Guidance, Perturbed, Rescaled, SkipLayer, Unguided
from keelbill.engine.pipeline import noise_source
from keelbill.engine.samplers import SAMPLERS, Evaluations, Sampler
from keelbill.engine.schedules import sigmas_for_denoise, validate_sigmas
from keelbill.graph.tensors.handles import Guider, ModelHandle, Noise, Painter, sigma_at
from keelbill.graph.tensors.latents import Latent, fitted, mask_on_grid, picture_size
from keelbill.graph.tensors.prompts import prompt_of

if TYPE_CHECKING:
    from keelbill.engine.conditioning import Prompt
    from keelbill.engine.control import Control
    from keelbill.graph.context import Context, Models
    from keelbill.graph.tensors.controls import Use

NOTHING_LEFT: Final = 1e-6


def levels(models: Models, model: ModelHandle, schedule: str, steps: int, denoise: float = 1.0) -> Tensor:
    """Return the noise levels of a run with a model; empty if nothing is to be denoised.

    Args:
        models: Where the model is.
        model: Whose shift counts.
        schedule: A schedule's name.
        steps: 1 to 10,000.
        denoise: Part of the way, 0 to 1: the last `steps` of a longer run.
    """
    if denoise <= 0:
        return torch.zeros(0)
    return sigmas_for_denoise(schedule, steps, model.open(models).shift, 1.0 if denoise > 0.9999 else denoise)


def cut(sigmas: Tensor, start: int, end: int, *, keeps_noise: bool) -> Tensor:
    """Return the levels from one step to another; unless noise is to be kept, the last one becomes 0."""
    part = sigmas[: end + 1] if end < len(sigmas) - 1 else sigmas
    if len(part) and not keeps_noise and part[-1] != 0:
        part = torch.cat([part[:-1], part.new_zeros(1)])
    return part[start:] if start < len(part) - 1 else part[:0]


def denoise(
    context: Context, guider: Guider, latent: Latent, noise: Noise, sampler: str, sigmas: Tensor
) -> tuple[Latent, Latent]:
    """Denoise a batch of latents, each by itself in the batch that all share.

    Args:
        context: Where the sampling is done.
        guider: Who paints what.
        latent: What to start from.
        noise: Put on it first.
        sampler: Its name.
        sigmas: Noise levels, strictly decreasing in [0, 1]; fewer than two leave all as it is.

    Returns:
        The latents at the last level, and the last estimate of the clean ones. At a level above 0 they are divided by
        what is left of the signal, so that a run without fresh noise goes on where this one ended.

    Raises:
        InvalidInput: Parts come from different kinds of models, or a level is out of range.
    """
    if len(sigmas) < 2:
        return dict(latent), dict(latent)
    painter = guider.model.open(context.models)
    marks: list[float] = validate_sigmas(sigmas.tolist()).tolist()
    latent = fitted(painter.native_side, latent)
    plan = _Plan(context.models, painter, guider, latent, marks, sampler)
    count = latent["samples"].shape[0]
    indices = list(latent.get("batch_index") or range(count))
    runs = [plan.sampling(place, *_noises(noise, plan.start.shape, indices, place)) for place in range(count)]
    done = context.sample(painter.transformer, runs, preview=painter.preview)
    signal = 1.0 - marks[-1]
    ends = torch.stack([each.float().cpu() for each in done]) / (signal if signal > NOTHING_LEFT else 1.0)
    estimates = torch.stack([each.last.float().cpu() for each in plan.witnesses])
    return _back(painter, latent, ends), _back(painter, latent, estimates)


def _back(painter: Painter, latent: Latent, samples: Tensor) -> Latent:
    return {**latent, "samples": painter.latents.to_raw(samples)}


def _noises(
    noise: Noise, shape: Sequence[int], indices: Sequence[int], place: int
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Return one latent's first noise, and where later noise comes from.

    The first one is the latent's part of one draw for the whole batch, or the draw of its index, if it has one. Later
    ones come from the latent's own generator, so that none depends on the others.
    """
    one = tuple(shape[1:])
    if noise.seed is None:
        return torch.zeros(one), noise_source(0, one)
    own = noise_source((noise.seed + indices[place]) & MAX_SEED, one)
    own()
    whole = torch.Generator().manual_seed(noise.seed)
    if list(indices) == list(range(shape[0])):
        return torch.randn(tuple(shape), generator=whole)[place], own
    for _ in range(indices[place]):
        torch.randn((1, *one), generator=whole)
    return torch.randn((1, *one), generator=whole)[0], own


class _Plan:
    """What all latents of a batch have in common."""

    def __init__(
        self, models: Models, painter: Painter, guider: Guider, latent: Latent, marks: list[float], sampler: str
    ) -> None:
        self.witnesses: list[Witness] = []
        samples: Tensor = latent["samples"].float().cpu()
        self.start = painter.latents.to_model(samples) if torch.any(samples) else samples
        self._models = models
        self._painter = painter
        self._marks = marks
        self._sampler = SAMPLERS.get(sampler)
        self._guidance = _guidance(guider, painter)
        self._picture = picture_size(latent)
        self._followed = {Branch.POSITIVE: guider.positive}
        if guider.negative is not None and guider.cfg != 1.0:
            self._followed[Branch.NEGATIVE] = guider.negative
        uses = [
            use for entries in self._followed.values() for _, options in entries for use in options.get("controls", ())
        ]
        self._pictures = max((len(use.image) for use in uses), default=1)
        self._controls: dict[tuple[int, int], Control] = {}
        self._prompts: dict[int, dict[Branch, Prompt]] = {}
        self._mask = mask_on_grid(latent)
        amount = guider.model.release
        self._release = Release(marks[0], marks[-1], amount) if amount and self._mask is not None else None
        self._update = guider.model.update()

    def prompts(self, place: int) -> dict[Branch, Prompt]:
        """Return what one latent follows; the same for all, unless pictures that differ steer them."""
        turn = place % self._pictures
        if turn not in self._prompts:
            grid = int(self.start.shape[-2]), int(self.start.shape[-1])
            self._prompts[turn] = {
                branch: prompt_of(
                    entries, self._painter, self._picture, grid, lambda use: self._control(use, grid, turn)
                )
                for branch, entries in self._followed.items()
            }
        return self._prompts[turn]

    def _control(self, use: Use, grid: tuple[int, int], turn: int) -> Control:
        key = id(use), turn % len(use.image)
        if key not in self._controls:
            self._controls[key] = use.control(self._models, self._painter, grid, turn)
        return self._controls[key]

    def sampling(self, place: int, first: Tensor, later: Callable[[], Tensor]) -> Sampling:
        """Return one latent's way."""
        original = self.start[place]
        x = self._marks[0] * first + (1 - self._marks[0]) * original
        repaint = None
        if self._mask is not None:
            repaint = Repaint(original, first, self._mask[place], self._release)
        witness = Witness(self._sampler)
        self.witnesses.append(witness)
        return Sampling(x, self._marks, witness, self._guidance, self.prompts(place), later, repaint, self._update)


@dataclass
class Witness:
    """A sampler that remembers the last estimate that it was given.

    Args:
        inner: Who steps.
    """

    inner: Sampler
    last: Tensor = field(default_factory=lambda: torch.zeros(0))

    @property
    def order(self) -> int:
        """As of the sampler inside."""
        return self.inner.order

    @property
    def evaluations(self) -> int:
        """As of the sampler inside."""
        return self.inner.evaluations

    @property
    def stochastic(self) -> bool:
        """As of the sampler inside."""
        return self.inner.stochastic

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Callable[[], Tensor]) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        steps = self.inner.run(x, sigmas, noise)
        try:
            wanted = next(steps)
            while True:
                self.last = yield wanted
                wanted = steps.send(self.last)
        except StopIteration as end:
            latents: Tensor = end.value
            return latents


def _guidance(guider: Guider, painter: Painter) -> Guidance:
    guidance: Guidance = Unguided()
    if guider.negative is not None and guider.cfg != 1.0:
        guidance = ClassifierFree(guider.cfg, mixes=True)
    if guider.model.rescale:
        guidance = Rescaled(guidance, guider.model.rescale)
    if guider.model.apart:
        guidance = Perturbed(guidance, guider.model.apart)
    skip = guider.model.skip
    if skip is None:
        return guidance
    layers = frozenset(layer for layer in skip.layers if 0 <= layer < painter.transformer.config.depth)
    if not layers or skip.scale <= 0 or skip.start >= skip.end:
        return guidance
    interval = sigma_at(skip.end, painter.shift), sigma_at(skip.start, painter.shift)
    return SkipLayer(guidance, layers, skip.scale, interval=interval, rescale=skip.rescale)


def with_first(sigmas: Tensor, sigma: float) -> Tensor:
    """Return levels of which the first is another."""
    if not len(sigmas):
        return sigmas
    return torch.cat([sigmas.new_tensor([sigma]), sigmas[1:]])


def split(sigmas: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Return the levels up to a step and those from it on; both have the level between them."""
    return sigmas[: step + 1], sigmas[step:]
