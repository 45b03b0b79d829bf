"""One denoising step of many strangers' pictures at a time. Knows nothing of prompts' texts, pixels or who asked.

Requests of different sizes, lengths, samplers and guidance share every forward pass and join or leave between passes.
On the CPU, in strict mode, a picture is the same to the last bit whatever else is in the batch.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import torch
from torch import Tensor

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.conditioning import Prompt, Share, blend, shares_of
from keelbill.engine.control import steering
from keelbill.engine.guidance import Branch, Guidance
from keelbill.engine.mmdit import LowRankUpdate, MMDiT, Modulation
from keelbill.engine.samplers import Evaluation, Sampler, evaluation_sigmas
from keelbill.engine.turns import Turn, choose

TABLE_ROWS: Final = 64
"""Noise levels whose modulation is computed together."""

DEFAULT_TOKEN_BUDGET: Final = 32_768
"""Image and text tokens of one forward pass."""


@dataclass(frozen=True)
class Release:
    """Lets go of a soft mask's places one after the other: the lighter a place, the sooner it is painted anew.

    Args:
        start: Noise level at which only places of 1 are painted.
        end: Noise level at which all are.
        strength: How much of this to use, from 0 (the plain mask) to 1.

    References:
        | Differential Diffusion: Giving Each Pixel Its Strength (Levin and Fried, 2023)
    """

    start: float
    end: float = 0.0
    strength: float = 1.0

    def mask(self, mask: Tensor, sigma: float) -> Tensor:
        """Return the mask at a noise level."""
        threshold = (sigma - self.end) / (self.start - self.end)
        return (mask >= threshold).to(mask.dtype) * self.strength + mask * (1 - self.strength)


@dataclass(frozen=True)
class Repaint:
    """Keep a picture outside a mask.

    Args:
        original: Clean latents with shape ``(C, h, w)``.
        noise: The noise that the run started from, same shape.
        mask: 1 where the picture is painted anew, 0 where it is kept, with shape ``(1, h, w)``.
        release: How the mask changes during the run, if it does.
    """

    original: Tensor
    noise: Tensor
    mask: Tensor
    release: Release | None = None

    def before(self, x: Tensor, sigma: float) -> Tensor:
        """Put the original, noised to `sigma`, outside the mask."""
        kept, mask = sigma * self.noise + (1 - sigma) * self.original, self._mask(sigma)
        return x * mask + kept * (1 - mask)

    def after(self, denoised: Tensor, sigma: float = 0.0) -> Tensor:
        """Put the clean original outside the mask of an estimate that was made at `sigma`."""
        mask = self._mask(sigma)
        return denoised * mask + self.original * (1 - mask)

    def _mask(self, sigma: float) -> Tensor:
        return self.mask if self.release is None else self.release.mask(self.mask, sigma)


@dataclass(frozen=True)
class Sampling:
    """One picture's way from noise to latents: all that the batch needs to know of a request.

    Args:
        x: Start with shape ``(C, h, w)`` in float32: noise, or noised latents.
        sigmas: Noise levels, strictly decreasing, usually ending with 0.
        sampler: How to step along them.
        guidance: Which branches are evaluated and how they are combined.
        conditionings: The encoded prompt of each branch, or several that share the picture; branches that have none of
            their own use the positive one.
        noise: Draws the next Gaussian of the start's shape from this picture's own generator.
        repaint: What to keep, if not everything is painted.
        update: Low-rank changes of the transformer (LoRA).
    """

    x: Tensor
    sigmas: Sequence[float]
    sampler: Sampler
    guidance: Guidance
    conditionings: Mapping[Branch, Prompt]
    noise: Callable[[], Tensor]
    repaint: Repaint | None = None
    update: LowRankUpdate | None = None

    @property
    def steps(self) -> int:
        """Number of steps of the schedule."""
        return len(self.sigmas) - 1

    def on(self, device: torch.device) -> Sampling:
        """Return the same with start, noise and what is kept on a device."""
        if device.type == "cpu":
            return self
        draw, kept = self.noise, self.repaint
        if kept is not None:
            kept = replace(
                kept, original=kept.original.to(device), noise=kept.noise.to(device), mask=kept.mask.to(device)
            )
        return replace(self, x=self.x.to(device), noise=lambda: draw().to(device), repaint=kept)

    def shares(self, branch: Branch, sigma: float) -> list[tuple[int, Share]]:
        """Return what a branch follows at a noise level, with places in its list of shares."""
        shares = shares_of(self.conditionings[_source(branch)])
        return [(place, share) for place, share in enumerate(shares) if share.acts(sigma)]


def _source(branch: Branch) -> Branch:
    return branch if branch is Branch.NEGATIVE else Branch.POSITIVE


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
        self._pooled = {
            (branch, place): share.conditioning.pooled
            for branch, prompt in sampling.conditionings.items()
            for place, share in enumerate(shares_of(prompt))
        }
        self._ahead = deque(OrderedDict.fromkeys(evaluation_sigmas(sampling.sampler, sampling.sigmas)))
        self._known: dict[float, dict[tuple[Branch, int], Modulation]] = {}

    def row(self, sigma: float, branch: Branch, place: int) -> Modulation:
        if sigma not in self._known:
            self._compute(sigma)
        return self._known[sigma][_source(branch), place]

    def _compute(self, sigma: float) -> None:
        group = [sigma]
        while self._ahead and len(group) < TABLE_ROWS:
            upcoming = self._ahead.popleft()
            if upcoming not in group:
                group.append(upcoming)
        sigmas = torch.tensor(group, dtype=torch.float32)
        tables = {
            key: self._transformer.modulation(sigmas, pooled.expand(len(group), -1), self._update)
            for key, pooled in self._pooled.items()
        }
        self._known = {s: {key: table.row(i) for key, table in tables.items()} for i, s in enumerate(group)}


@dataclass
class _Running:
    ticket: int
    sampling: Sampling
    tables: _Tables
    evaluations: Generator[Evaluation, Tensor, Tensor]
    wanted: Evaluation
    x: Tensor = field(init=False)
    branches: dict[Branch, list[tuple[int, Share]]] = field(init=False)
    turn: Turn = field(init=False)

    def __post_init__(self) -> None:
        self.want(self.wanted)
        self.turn = Turn(self.tokens * self.sampling.steps)

    def want(self, evaluation: Evaluation) -> None:
        """Note the next evaluation and what it takes."""
        s = self.sampling
        self.wanted = evaluation
        self.x = s.repaint.before(evaluation.x, evaluation.sigma) if s.repaint else evaluation.x
        self.branches = _branches(s, evaluation)

    @property
    def tokens(self) -> int:
        """Tokens of the next evaluation, all branches."""
        _, height, width = self.x.shape
        total = 0
        for shares in self.branches.values():
            for _, share in shares:
                rows, columns = share.places(height, width)
                total += -(-rows // 2) * -(-columns // 2) + share.conditioning.context.shape[0]
        return total

    def estimate(self, velocities: Mapping[Branch, Sequence[Tensor]]) -> Tensor:
        """Combine the branches' velocities into the denoised estimate."""
        return _estimate(self.sampling, self.wanted, self.x, self.branches, velocities)


def _branches(sampling: Sampling, wanted: Evaluation) -> dict[Branch, list[tuple[int, Share]]]:
    """Return what to evaluate; a branch other than the positive one that follows nothing is left out."""
    names = sampling.guidance.branches(wanted.sigma, wanted.step, sampling.steps)
    found = {branch: sampling.shares(branch, wanted.sigma) for branch in names}
    return {branch: shares for branch, shares in found.items() if shares or branch is Branch.POSITIVE}


def _changes(transformer: MMDiT, guidance: Guidance, branch: Branch) -> tuple[frozenset[int], frozenset[int]]:
    """Return the blocks that a branch leaves out, and those in which image tokens do not see each other."""
    none = frozenset[int]()
    skip = guidance.skip_layers if branch is Branch.SKIP else none
    return skip, frozenset({transformer.config.depth // 2}) if branch is Branch.APART else none


def _estimate(
    sampling: Sampling,
    wanted: Evaluation,
    x: Tensor,
    branches: Mapping[Branch, Sequence[tuple[int, Share]]],
    velocities: Mapping[Branch, Sequence[Tensor]],
) -> Tensor:
    """Return the denoised estimate behind `x`, given what every share of every branch predicts."""
    blended = {
        branch: blend(x, wanted.sigma, [share for _, share in shares], velocities[branch])
        for branch, shares in branches.items()
    }
    denoised = x - wanted.sigma * sampling.guidance.combine(blended)
    return sampling.repaint.after(denoised, wanted.sigma) if sampling.repaint else denoised


_Velocities = dict[int, dict[Branch, list[Tensor]]]


@dataclass(frozen=True)
class _Step:
    chosen: Sequence[_Running]
    passes: Generator[None, None, _Velocities]

    @property
    def tickets(self) -> set[int]:
        return {running.ticket for running in self.chosen}


def _never() -> bool:
    return False


class Batch:
    """Runs any number of requests, one evaluation of several of them at a time.

    Args:
        transformer: The network that all of them share.
        token_budget: Most tokens of one forward pass; a request that is larger by itself runs alone.

    Attributes:
        hurry: Asked after each block of the network: whether somebody waits who should be heard before the step ends.
    """

    def __init__(self, transformer: MMDiT, *, token_budget: int = DEFAULT_TOKEN_BUDGET) -> None:
        self.transformer = transformer
        self.token_budget = token_budget
        self._running: OrderedDict[int, _Running] = OrderedDict()
        self._next_ticket = 0
        self._paused: _Step | None = None
        self.hurry: Callable[[], bool] = _never

    @property
    def is_paused(self) -> bool:
        """Whether a step was begun that has not come to its end."""
        return self._paused is not None

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
        sampling = sampling.on(self.transformer.device)
        x = sampling.x.to(torch.float32)
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
        if self._paused is not None and not self._paused.tickets & self._running.keys():
            self._paused = None
        return True

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Evaluate the network once for as many requests as the budget allows, those that waited longest first.

        Large ones stand aside for small ones for a while; see `keelbill.engine.turns`. If somebody is in a hurry, the
        step pauses, and the next call ends it, or first makes the steps for which all in it stand aside.

        Returns:
            What happened; nothing if the step paused.
        """
        step, self._paused = self._next_step()
        while True:
            try:
                next(step.passes)
            except StopIteration as end:
                velocities: _Velocities = end.value
                break
            if self._paused is None and self.hurry():
                self._paused = step
                return []
        going_on = [running for running in step.chosen if running.ticket in self._running]
        events: list[Event] = []
        for running in going_on:
            events += self._advance(running, velocities[running.ticket])
        for running in going_on:
            if running.ticket in self._running:
                self._running.move_to_end(running.ticket)
        return events

    def run(self) -> Iterable[Event]:
        """Step until no request is left."""
        while self._running:
            yield from self.step()

    def _next_step(self) -> tuple[_Step, _Step | None]:
        """Return the step to make, and the one that stays paused meanwhile."""
        paused = self._paused
        waiting = {ticket: (running.turn, running.tokens) for ticket, running in self._running.items()}
        if paused is not None:
            trial = {ticket: (replace(turn), tokens) for ticket, (turn, tokens) in waiting.items()}
            if paused.tickets.intersection(choose(trial, self.token_budget)):
                return paused, None
        chosen = [self._running[ticket] for ticket in choose(waiting, self.token_budget)]
        return _Step(chosen, self._evaluate(chosen)), paused

    def _evaluate(self, chosen: Sequence[_Running]) -> Generator[None, None, _Velocities]:
        groups: dict[tuple[frozenset[int], frozenset[int]], list[tuple[_Running, Branch, int, Share]]] = {}
        for running in chosen:
            for branch, shares in running.branches.items():
                changes = _changes(self.transformer, running.sampling.guidance, branch)
                groups.setdefault(changes, []).extend((running, branch, place, share) for place, share in shares)
        velocities: _Velocities = {running.ticket: {branch: [] for branch in running.branches} for running in chosen}
        for (skip, apart), rows in groups.items():
            if not rows:
                continue
            out = yield from self.transformer.packed_passes(
                [share.cut(running.x) for running, _, _, share in rows],
                [share.conditioning.context for _, _, _, share in rows],
                Modulation.join(
                    [running.tables.row(running.wanted.sigma, branch, place) for running, branch, place, _ in rows]
                ),
                skip=skip,
                apart=apart,
                updates=[running.sampling.update for running, _, _, _ in rows],
                residuals=[steering(share, running.wanted.sigma) for running, _, _, share in rows],
            )
            for (running, branch, _, _), velocity in zip(rows, out, strict=True):
                velocities[running.ticket][branch].append(velocity)
        return velocities

    def _advance(self, running: _Running, velocities: Mapping[Branch, Sequence[Tensor]]) -> list[Event]:
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
    sampling = sampling.on(transformer.device)
    guidance, repaint = sampling.guidance, sampling.repaint
    x = sampling.x.to(torch.float32)
    evaluations = sampling.sampler.run(x, sampling.sigmas, sampling.noise)
    wanted = next(evaluations)
    while True:
        x = repaint.before(wanted.x, wanted.sigma) if repaint else wanted.x
        branches = _branches(sampling, wanted)
        velocities: dict[Branch, list[Tensor]] = {branch: [] for branch in branches}
        for branch, shares in branches.items():
            skip, apart = _changes(transformer, guidance, branch)
            for _, share in shares:
                prompt = share.conditioning
                modulation = transformer.modulation(torch.tensor([wanted.sigma]), prompt.pooled[None], sampling.update)
                velocities[branch] += transformer.forward_packed(
                    [share.cut(x)],
                    [prompt.context],
                    modulation,
                    skip=skip,
                    apart=apart,
                    updates=[sampling.update],
                    residuals=[steering(share, wanted.sigma)],
                )
        denoised = _estimate(sampling, wanted, x, branches, velocities)
        try:
            wanted = evaluations.send(denoised)
        except StopIteration as end:
            latents: Tensor = end.value
            return repaint.after(latents) if repaint and sampling.sigmas[-1] == 0 else latents
