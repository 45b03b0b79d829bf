"""One denoising step of many strangers' pictures at a time. Knows nothing of prompts' texts, pixels or who asked.

Requests of different sizes, lengths, samplers and guidance share every forward pass and join or leave between passes.
On the CPU, in strict mode, a picture is the same to the last bit whatever else is in the batch.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.conditioning import Conditioning
from keelbill.engine.guidance import Branch, Guidance
from keelbill.engine.mmdit import LowRankUpdate, MMDiT, Modulation
from keelbill.engine.samplers import Evaluation, Sampler, evaluation_sigmas

TABLE_ROWS: Final = 64
"""Noise levels whose modulation is computed together."""

DEFAULT_TOKEN_BUDGET: Final = 32_768
"""Image and text tokens of one forward pass."""


@dataclass(frozen=True)
class Repaint:
    """Keep a picture outside a mask.

    Args:
        original: Clean latents with shape ``(C, h, w)``.
        noise: The noise that the run started from, same shape.
        mask: 1 where the picture is painted anew, 0 where it is kept, with shape ``(1, h, w)``.
    """

    original: Tensor
    noise: Tensor
    mask: Tensor

    def before(self, x: Tensor, sigma: float) -> Tensor:
        """Put the original, noised to `sigma`, outside the mask."""
        kept = sigma * self.noise + (1 - sigma) * self.original
        return x * self.mask + kept * (1 - self.mask)

    def after(self, denoised: Tensor) -> Tensor:
        """Put the clean original outside the mask of a denoised estimate."""
        return denoised * self.mask + self.original * (1 - self.mask)


@dataclass(frozen=True)
class Sampling:
    """One picture's way from noise to latents: all that the batch needs to know of a request.

    Args:
        x: Start with shape ``(C, h, w)`` in float32: noise, or noised latents.
        sigmas: Noise levels, strictly decreasing, usually ending with 0.
        sampler: How to step along them.
        guidance: Which branches are evaluated and how they are combined.
        conditionings: The encoded prompt of each branch; the skip-layer branch uses the positive one.
        noise: Draws the next Gaussian of the start's shape from this picture's own generator.
        repaint: What to keep, if not everything is painted.
        update: Low-rank changes of the transformer (LoRA).
    """

    x: Tensor
    sigmas: Sequence[float]
    sampler: Sampler
    guidance: Guidance
    conditionings: Mapping[Branch, Conditioning]
    noise: Callable[[], Tensor]
    repaint: Repaint | None = None
    update: LowRankUpdate | None = None

    @property
    def steps(self) -> int:
        """Number of steps of the schedule."""
        return len(self.sigmas) - 1

    def conditioning(self, branch: Branch) -> Conditioning:
        """Return the encoded prompt of a branch."""
        return self.conditionings[Branch.POSITIVE if branch is Branch.SKIP else branch]


@dataclass(frozen=True)
class Stepped:
    """A request has come one evaluation further.

    Args:
        ticket: Which request.
        step: Steps begun, from 1.
        steps: Steps in all.
        sigma: Noise level of the evaluation.
        denoised: Estimate of the clean latents with shape ``(C, h, w)``.
    """

    ticket: int
    step: int
    steps: int
    sigma: float
    denoised: Tensor


@dataclass(frozen=True)
class Finished:
    """A request's latents are done, with shape ``(C, h, w)``, as the transformer left them."""

    ticket: int
    latents: Tensor


@dataclass(frozen=True)
class Failed:
    """A request had to be given up; its neighbours go on."""

    ticket: int
    error: BadWeights


Event = Stepped | Finished | Failed


class _Tables:
    """Modulation of a request's evaluations, computed ahead in groups of noise levels."""

    def __init__(self, transformer: MMDiT, sampling: Sampling) -> None:
        self._transformer = transformer
        self._update = sampling.update
        self._pooled = {branch: c.pooled for branch, c in sampling.conditionings.items()}
        self._ahead = deque(OrderedDict.fromkeys(evaluation_sigmas(sampling.sampler, sampling.sigmas)))
        self._known: dict[float, dict[Branch, Modulation]] = {}

    def row(self, sigma: float, branch: Branch) -> Modulation:
        if sigma not in self._known:
            self._compute(sigma)
        return self._known[sigma][Branch.POSITIVE if branch is Branch.SKIP else branch]

    def _compute(self, sigma: float) -> None:
        group = [sigma]
        while self._ahead and len(group) < TABLE_ROWS:
            upcoming = self._ahead.popleft()
            if upcoming not in group:
                group.append(upcoming)
        sigmas = torch.tensor(group, dtype=torch.float32)
        tables = {
            branch: self._transformer.modulation(sigmas, pooled.expand(len(group), -1), self._update)
            for branch, pooled in self._pooled.items()
        }
        self._known = {s: {b: table.row(i) for b, table in tables.items()} for i, s in enumerate(group)}


@dataclass
class _Running:
    ticket: int
    sampling: Sampling
    tables: _Tables
    evaluations: Generator[Evaluation, Tensor, Tensor]
    wanted: Evaluation
    x: Tensor = field(init=False)
    branches: tuple[Branch, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.want(self.wanted)

    def want(self, evaluation: Evaluation) -> None:
        """Note the next evaluation and what it takes."""
        s = self.sampling
        self.wanted = evaluation
        self.x = s.repaint.before(evaluation.x, evaluation.sigma) if s.repaint else evaluation.x
        self.branches = s.guidance.branches(evaluation.sigma, evaluation.step, s.steps)

    @property
    def tokens(self) -> int:
        """Tokens of the next evaluation, all branches."""
        _, height, width = self.x.shape
        text = sum(self.sampling.conditioning(b).context.shape[0] for b in self.branches)
        return len(self.branches) * (height // 2) * (width // 2) + text

    def estimate(self, velocities: Mapping[Branch, Tensor]) -> Tensor:
        """Combine the branches' velocities into the denoised estimate."""
        s = self.sampling
        denoised = self.x - self.wanted.sigma * s.guidance.combine(velocities)
        return s.repaint.after(denoised) if s.repaint else denoised


class Batch:
    """Runs any number of requests, one evaluation of several of them at a time.

    Args:
        transformer: The network that all of them share.
        token_budget: Most tokens of one forward pass; a request that is larger by itself runs alone.
    """

    def __init__(self, transformer: MMDiT, *, token_budget: int = DEFAULT_TOKEN_BUDGET) -> None:
        self.transformer = transformer
        self.token_budget = token_budget
        self._running: OrderedDict[int, _Running] = OrderedDict()
        self._next_ticket = 0

    def __len__(self) -> int:
        return len(self._running)

    @torch.inference_mode()
    def admit(self, sampling: Sampling) -> int:
        """Let a request take part from the next step on.

        Returns:
            Its ticket, by which events name it.

        Raises:
            InvalidInput: The schedule has no step.
        """
        if sampling.steps < 1:
            raise InvalidInput("sigmas", list(sampling.sigmas), "at least two noise levels")
        x = sampling.x.to(self.transformer.device, torch.float32)
        evaluations = sampling.sampler.run(x, sampling.sigmas, sampling.noise)
        ticket = self._next_ticket
        self._next_ticket += 1
        tables = _Tables(self.transformer, sampling)
        self._running[ticket] = _Running(ticket, sampling, tables, evaluations, next(evaluations))
        return ticket

    def cancel(self, ticket: int) -> bool:
        """Forget a request; its place is free at once.

        Returns:
            Whether it was still running.
        """
        running = self._running.pop(ticket, None)
        if running is None:
            return False
        running.evaluations.close()
        return True

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Evaluate the network once for as many requests as the budget allows, those that waited longest first."""
        chosen = self._choose()
        events: list[Event] = []
        velocities = self._evaluate(chosen)
        for running in chosen:
            events += self._advance(running, velocities[running.ticket])
        for running in chosen:
            if running.ticket in self._running:
                self._running.move_to_end(running.ticket)
        return events

    def run(self) -> Iterable[Event]:
        """Step until no request is left."""
        while self._running:
            yield from self.step()

    def _choose(self) -> list[_Running]:
        chosen: list[_Running] = []
        tokens = 0
        for running in self._running.values():
            if chosen and tokens + running.tokens > self.token_budget:
                break
            chosen.append(running)
            tokens += running.tokens
        return chosen

    def _evaluate(self, chosen: Sequence[_Running]) -> dict[int, dict[Branch, Tensor]]:
        groups: dict[frozenset[int], list[tuple[_Running, Branch]]] = {}
        for running in chosen:
            for branch in running.branches:
                skip = running.sampling.guidance.skip_layers if branch is Branch.SKIP else frozenset[int]()
                groups.setdefault(skip, []).append((running, branch))
        velocities: dict[int, dict[Branch, Tensor]] = {running.ticket: {} for running in chosen}
        for skip, rows in groups.items():
            out = self.transformer.forward_packed(
                [running.x for running, _ in rows],
                [running.sampling.conditioning(branch).context for running, branch in rows],
                Modulation.join([running.tables.row(running.wanted.sigma, branch) for running, branch in rows]),
                skip=skip,
                updates=[running.sampling.update for running, _ in rows],
            )
            for (running, branch), velocity in zip(rows, out, strict=True):
                velocities[running.ticket][branch] = velocity
        return velocities

    def _advance(self, running: _Running, velocities: Mapping[Branch, Tensor]) -> list[Event]:
        denoised = running.estimate(velocities)
        done = running.wanted
        steps = running.sampling.steps
        if not torch.isfinite(denoised).all():
            self.cancel(running.ticket)
            where = f"at step {done.step + 1} of {steps}"
            return [Failed(running.ticket, BadWeights(f"The network's output is not a number {where}."))]
        events: list[Event] = [Stepped(running.ticket, done.step + 1, steps, done.sigma, denoised)]
        try:
            running.want(running.evaluations.send(denoised))
        except StopIteration as end:
            del self._running[running.ticket]
            latents: Tensor = end.value
            repaint = running.sampling.repaint
            if repaint is not None and running.sampling.sigmas[-1] == 0:
                latents = repaint.after(latents)
            events.append(Finished(running.ticket, latents))
        return events


@torch.inference_mode()
def sample_alone(transformer: MMDiT, sampling: Sampling) -> Tensor:
    """Sample one picture by itself, branch after branch: the plain form of what :class:`Batch` does.

    Returns:
        Latents with shape ``(C, h, w)``.
    """
    guidance, repaint = sampling.guidance, sampling.repaint
    x = sampling.x.to(transformer.device, torch.float32)
    evaluations = sampling.sampler.run(x, sampling.sigmas, sampling.noise)
    wanted = next(evaluations)
    while True:
        x = repaint.before(wanted.x, wanted.sigma) if repaint else wanted.x
        velocities = {}
        for branch in guidance.branches(wanted.sigma, wanted.step, sampling.steps):
            prompt = sampling.conditioning(branch)
            modulation = transformer.modulation(torch.tensor([wanted.sigma]), prompt.pooled[None], sampling.update)
            skip = guidance.skip_layers if branch is Branch.SKIP else frozenset[int]()
            velocities[branch] = transformer.forward_packed(
                [x], [prompt.context], modulation, skip=skip, updates=[sampling.update]
            )[0]
        denoised = x - wanted.sigma * guidance.combine(velocities)
        denoised = repaint.after(denoised) if repaint else denoised
        try:
            wanted = evaluations.send(denoised)
        except StopIteration as end:
            latents: Tensor = end.value
            return repaint.after(latents) if repaint and sampling.sigmas[-1] == 0 else latents
