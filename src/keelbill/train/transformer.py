"""Trains the diffusion transformer on latents of rendered scenes. Knows nothing of how the weights are shipped.

References:
    | Scaling Rectified Flow Transformers for High-Resolution Image Synthesis (Esser et al., 2024)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from keelbill.engine.autoencoder import SmallAutoencoder
from keelbill.engine.conditioning import Conditioning
from keelbill.engine.config import LatentFormat, MMDiTConfig
from keelbill.engine.mmdit import MMDiT
from keelbill.train.stage import Log, MovingAverage, Progress, StopSignal, Trainable, learning_rate, train

Scenes = Callable[[int, random.Random], tuple[Tensor, list[str]]]
"""Renders scenes: a count and a source of chance in, pixels ``(B, 3, H, W)`` in uint8 and their captions out."""

EncodeTexts = Callable[[Sequence[str]], list[Conditioning]]


@dataclass(frozen=True)
class TransformerRecipe:
    """How the transformer is trained.

    Attributes:
        config: Sizes of the network.
        batch: Pictures of a step.
        fresh: New scenes of a step; the rest were seen before, with other noise.
        pool: Scenes that are kept.
        peak: Highest learning rate.
        warmup: Steps until the peak.
        decay_from: Share of the budget at which the rate begins to fall.
        drop: Share of pictures whose prompt is empty, so that guidance has something to move away from.
        average: Decay of the moving average of the weights.
        seed: Of everything.
    """

    config: MMDiTConfig = field(
        default_factory=lambda: MMDiTConfig(depth=6, width=192, pos_side=64, context_dim=384, pooled_dim=384)
    )
    batch: int = 64
    fresh: int = 8
    pool: int = 24_576
    peak: float = 1.2e-3
    warmup: int = 100
    decay_from: float = 0.6
    drop: float = 0.1
    average: float = 0.999
    seed: int = 0


@dataclass(frozen=True)
class Example:
    """One scene as the transformer sees it: latents ``(C, h, w)`` in bfloat16 and the encoded caption."""

    latents: Tensor
    prompt: Conditioning


class ScenePool:
    """Keeps rendered and encoded scenes by the length of their captions, so that batches need no padding.

    Args:
        scenes: Where new ones come from.
        autoencoder: Encodes their pixels.
        latents: Scales their latents.
        encode_texts: Encodes their captions.
        capacity: How many are kept; the oldest make room.
    """

    def __init__(
        self,
        scenes: Scenes,
        autoencoder: SmallAutoencoder,
        latents: LatentFormat,
        encode_texts: EncodeTexts,
        capacity: int,
    ) -> None:
        self.scenes = scenes
        self.autoencoder = autoencoder
        self.latents = latents
        self.encode_texts = encode_texts
        self.capacity = capacity
        self._by_length: dict[int, list[Example]] = {}

    def __len__(self) -> int:
        return sum(len(examples) for examples in self._by_length.values())

    @torch.no_grad()
    def add(self, count: int, rng: random.Random) -> None:
        """Render, encode and keep new scenes."""
        pixels, captions = self.scenes(count, rng)
        with torch.autocast(pixels.device.type, torch.bfloat16):
            raw = self.autoencoder.encode(pixels.float() / 255)
        latents = self.latents.to_model(raw).bfloat16()
        for i, prompt in enumerate(self.encode_texts(captions)):
            kept = self._by_length.setdefault(prompt.context.shape[0], [])
            kept.append(Example(latents[i], prompt))
            share = len(kept) / len(self)
            if len(self) > self.capacity:
                # Every length gives up its oldest at the rate at which it grows.
                longest = max(self._by_length.values(), key=len) if share < 1e-2 else kept
                longest.pop(0)

    def draw(self, count: int, rng: random.Random) -> list[Example]:
        """Draw examples whose captions have one length, each length as often as it occurs."""
        lengths = sorted(self._by_length)
        length = rng.choices(lengths, [len(self._by_length[n]) for n in lengths])[0]
        return rng.choices(self._by_length[length], k=count)


def flow_loss(
    model: MMDiT, examples: Sequence[Example], empty: Conditioning | None, generator: torch.Generator
) -> Tensor:
    """Mean squared error of the velocity at random noise levels.

    Args:
        model: The transformer.
        examples: Scenes with captions of one length.
        empty: Takes the place of every caption, if given.
        generator: Source of noise and noise levels.
    """
    x0 = torch.stack([e.latents for e in examples]).float()
    prompts = [empty or e.prompt for e in examples]
    context = torch.stack([p.context for p in prompts])
    pooled = torch.stack([p.pooled for p in prompts])
    sigma = torch.sigmoid(torch.randn(len(examples), generator=generator)).to(x0.device)
    noise = torch.randn(x0.shape, generator=generator).to(x0.device)
    level = sigma.view(-1, 1, 1, 1)
    x = (1 - level) * x0 + level * noise
    with torch.autocast(x0.device.type, torch.bfloat16):
        velocity = model(x, sigma, context, pooled)
    return F.mse_loss(velocity.float(), noise - x0)


def train_transformer(
    pool: ScenePool,
    folder: Path,
    *,
    budget_s: float,
    recipe: TransformerRecipe,
    log: Log,
    device: str = "cpu",
    first_scenes: int = 2048,
    stop: StopSignal | None = None,
    on_checkpoint: Callable[[MMDiT, Progress], None] | None = None,
) -> MMDiT:
    """Train, or go on training, a transformer, and return it with averaged weights.

    Args:
        pool: Where examples come from.
        folder: Holds the checkpoint ``transformer.safetensors``.
        budget_s: Seconds for the stage, restarts counted together.
        recipe: How to train.
        log: Receives lines of progress.
        device: Where the network runs.
        first_scenes: Scenes that are made before the first step.
        stop: A flag that ends the stage early.
        on_checkpoint: Receives the network with averaged weights from time to time, to look at.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    model = MMDiT(recipe.config, strict=False)
    model.init_weights(generator, base=recipe.config.pos_side)
    model = model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.peak, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    state = Trainable(model, optimizer, MovingAverage(model, recipe.average), generator, Progress())
    path = folder / "transformer.safetensors"
    if state.resume(path):
        log(f"transformer: resumed at step {state.progress.step}")
    rng = random.Random(f"{recipe.seed}/{state.progress.step}")
    while len(pool) < min(first_scenes, pool.capacity):
        pool.add(64, rng)
    log(f"transformer: {sum(p.numel() for p in model.parameters()):,} parameters, {len(pool)} scenes to begin with")
    empty = pool.encode_texts([""])[0]

    def take_step(fraction: float) -> tuple[float, int]:
        pool.add(recipe.fresh, rng)
        examples = pool.draw(recipe.batch, rng)
        dropped = sum(rng.random() < recipe.drop for _ in examples)
        rate = learning_rate(
            recipe.peak, state.progress.step, fraction, warmup=recipe.warmup, decay_from=recipe.decay_from
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        parts = [(examples[dropped:], None), (examples[:dropped], empty)]
        total = 0.0
        for part, prompt in parts:
            if part:
                loss = flow_loss(model, part, prompt, generator) * (len(part) / len(examples))
                loss.backward()
                total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if on_checkpoint and state.progress.step and state.progress.step % 500 == 0:
            averaged = MMDiT(recipe.config, strict=False).to(device)
            state.average.copy_to(averaged)
            on_checkpoint(averaged.eval().requires_grad_(False), state.progress)
        return total, len(examples)

    train(state, take_step, path=path, budget_s=budget_s, log=log, stop=stop)
    state.average.copy_to(model)
    return model.eval().requires_grad_(False)
