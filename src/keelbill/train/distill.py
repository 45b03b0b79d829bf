"""Teaches a transformer to do in few steps without guidance what its teacher does in many with it.
Knows nothing of how the weights are shipped.

One step of the student covers several guided Euler steps of the teacher; the student starts as the teacher's copy.

References:
    | On Distillation of Guided Diffusion Models (Meng et al., 2023)
    | Progressive Distillation for Fast Sampling of Diffusion Models (Salimans and Ho, 2022)
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from keelbill.engine.conditioning import Conditioning
from keelbill.engine.mmdit import MMDiT
from keelbill.engine.schedules import sigmas
from keelbill.train.stage import Log, MovingAverage, Progress, StopSignal, Trainable, learning_rate, train
from keelbill.train.transformer import Example, ScenePool


@dataclass(frozen=True)
class DistillRecipe:
    """How a student is taught.

    Attributes:
        steps: Of the student.
        substeps: Guided steps of the teacher within one of the student's.
        cfg: Guidance scale of the teacher.
        shift: Of the student's schedule; above 1 spends more of its steps on high noise.
        batch: Pictures of a step.
        fresh: New scenes of a step.
        peak: Highest learning rate.
        warmup: Steps until the peak.
        average: Decay of the moving average of the weights.
        seed: Of everything.
    """

    steps: int = 4
    substeps: int = 3
    cfg: float = 3.5
    shift: float = 2.0
    batch: int = 32
    fresh: int = 2
    peak: float = 4e-4
    warmup: int = 20
    average: float = 0.98
    seed: int = 0

    @property
    def levels(self) -> list[float]:
        """The student's noise levels, from 1 to 0."""
        return [float(level) for level in sigmas("trailing", self.steps, self.shift)]


@torch.no_grad()
def teach(
    teacher: MMDiT,
    x: Tensor,
    start: Tensor,
    end: Tensor,
    prompts: tuple[Tensor, Tensor],
    empty: Conditioning,
    *,
    substeps: int,
    cfg: float,
) -> Tensor:
    """Return the straight velocity that leads where the teacher's guided steps lead.

    Args:
        teacher: The frozen transformer.
        x: Noisy latents with shape ``(B, C, h, w)``.
        start: Their noise levels, with shape ``(B,)``.
        end: The levels to reach, below `start`.
        prompts: Context ``(B, L, D)`` and pooled ``(B, P)``.
        empty: The empty prompt.
        substeps: Steps of the teacher.
        cfg: Its guidance scale.
    """
    context, pooled = prompts
    nothing = (empty.context.expand(len(x), -1, -1), empty.pooled.expand(len(x), -1))
    span = ((end - start) / substeps).view(-1, 1, 1, 1)
    moved = x
    for step in range(substeps):
        level = start + (end - start) * (step / substeps)
        with torch.autocast(x.device.type, torch.bfloat16):
            wanted = teacher(moved, level, context, pooled).float()
            unwanted = teacher(moved, level, *nothing).float()
        moved = moved + span * (unwanted + cfg * (wanted - unwanted))
    return (moved - x) / (end - start).view(-1, 1, 1, 1)


def distill_loss(
    student: MMDiT,
    teacher: MMDiT,
    examples: Sequence[Example],
    empty: Conditioning,
    recipe: DistillRecipe,
    generator: torch.Generator,
) -> Tensor:
    """Mean squared distance of the student's velocity from the teacher's, at the student's own noise levels."""
    x0 = torch.stack([example.latents for example in examples]).float()
    context = torch.stack([example.prompt.context for example in examples])
    pooled = torch.stack([example.prompt.pooled for example in examples])
    levels = torch.tensor(recipe.levels)
    step = torch.randint(recipe.steps, (len(examples),), generator=generator)
    start, end = levels[step].to(x0.device), levels[step + 1].to(x0.device)
    noise = torch.randn(x0.shape, generator=generator).to(x0.device)
    level = start.view(-1, 1, 1, 1)
    x = (1 - level) * x0 + level * noise
    target = teach(teacher, x, start, end, (context, pooled), empty, substeps=recipe.substeps, cfg=recipe.cfg)
    with torch.autocast(x0.device.type, torch.bfloat16):
        velocity = student(x, start, context, pooled)
    return F.mse_loss(velocity.float(), target)


def distill_transformer(
    teacher: MMDiT,
    pool: ScenePool,
    folder: Path,
    *,
    budget_s: float,
    recipe: DistillRecipe,
    log: Log,
    first_scenes: int = 1024,
    stop: StopSignal | None = None,
) -> MMDiT:
    """Teach, or go on teaching, a student, and return it with averaged weights.

    Args:
        teacher: The trained transformer; stays as it is.
        pool: Where examples come from.
        folder: Holds the checkpoint ``turbo.safetensors``.
        budget_s: Seconds for the stage, restarts counted together.
        recipe: How to teach.
        log: Receives lines of progress.
        first_scenes: Scenes that are made before the first step.
        stop: A flag that ends the stage early.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    student = MMDiT(teacher.config, strict=False)
    student.load_state_dict(teacher.state_dict())
    optimizer = torch.optim.AdamW(student.parameters(), recipe.peak, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    state = Trainable(student, optimizer, MovingAverage(student, recipe.average), generator, Progress())
    path = folder / "turbo.safetensors"
    if state.resume(path):
        log(f"turbo: resumed at step {state.progress.step}")
    rng = random.Random(f"{recipe.seed}/{state.progress.step}")
    while len(pool) < min(first_scenes, pool.capacity):
        pool.add(64, rng)
    empty = pool.encode_texts([""])[0]

    def take_step(fraction: float) -> tuple[float, int]:
        pool.add(recipe.fresh, rng)
        examples = pool.draw(recipe.batch, rng)
        rate = learning_rate(recipe.peak, state.progress.step, fraction, warmup=recipe.warmup, decay_from=0.5)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss = distill_loss(student, teacher, examples, empty, recipe, generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach()), len(examples)

    train(state, take_step, path=path, budget_s=budget_s, log=log, stop=stop)
    state.average.copy_to(student)
    return student.eval().requires_grad_(False)
