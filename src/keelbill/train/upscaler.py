"""Trains the x4 upscaler on crops that were made small, some of them by way of the autoencoder.
Knows nothing of captions or where pictures come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from keelbill.engine.autoencoder import SmallAutoencoder
from keelbill.engine.upscale import FACTOR, Upscaler, UpscalerConfig, plain
from keelbill.train.autoencoder import Pictures, psnr, reconstruction_loss
from keelbill.train.export import averaged
from keelbill.train.stage import Log, MovingAverage, Progress, StopSignal, Trainable, learning_rate, train


@dataclass(frozen=True)
class UpscalerRecipe:
    """How the upscaler is trained.

    Args:
        config: Sizes of the network.
        batch: Crops in one step.
        peak: Highest learning rate.
        warmup: Steps until the peak.
        clip: Largest gradient norm.
        decoded_share: Share of small pictures that went through the autoencoder, as those that the model paints do.
        latent_noise: Highest standard deviation of noise on their latents.
        average: Decay of the moving average of the weights.
        seed: Of the weights and of every draw.
    """

    config: UpscalerConfig = field(default_factory=UpscalerConfig)
    batch: int = 16
    peak: float = 1e-3
    warmup: int = 60
    clip: float = 0.5
    decoded_share: float = 0.6
    latent_noise: float = 0.15
    average: float = 0.998
    seed: int = 0


def shrink(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Make pictures four times smaller, each batch by one of three filters drawn by chance.

    Args:
        pixels: In [0, 1] with shape ``(B, 3, H, W)``, sides multiples of 4.
        generator: Source of chance.
    """
    size = (pixels.shape[2] // FACTOR, pixels.shape[3] // FACTOR)
    kind = int(torch.randint(3, (1,), generator=generator))
    if kind == 0:
        return F.interpolate(pixels, size, mode="area")
    mode = "bilinear" if kind == 1 else "bicubic"
    return F.interpolate(pixels, size, mode=mode, antialias=True, align_corners=False).clamp(0, 1)


@torch.no_grad()
def degrade(pixels: Tensor, autoencoder: SmallAutoencoder, noise: float, generator: torch.Generator) -> Tensor:
    """Send small pictures through the autoencoder with noisy latents, as painted ones come out of it."""
    with torch.autocast("cpu", torch.bfloat16):
        latents = autoencoder.encode(pixels)
        level = noise * torch.rand((len(pixels), 1, 1, 1), generator=generator)
        return autoencoder.decode(latents + level * torch.randn(latents.shape, generator=generator)).float().clamp(0, 1)


def train_upscaler(
    pictures: Pictures,
    autoencoder: SmallAutoencoder,
    folder: Path,
    *,
    budget_s: float,
    recipe: UpscalerRecipe,
    log: Log,
    stop: StopSignal | None = None,
) -> Upscaler:
    """Train, or go on training, an upscaler, and return it with averaged weights.

    Args:
        pictures: The source of sharp crops whose sides are multiples of 32.
        autoencoder: Of the model whose pictures will be enlarged.
        folder: Holds the checkpoint ``upscaler.safetensors``.
        budget_s: Seconds for the stage, restarts counted together.
        recipe: How to train.
        log: Receives lines of progress.
        stop: A flag that ends the stage early.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = Upscaler(recipe.config)
    nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.peak, betas=(0.9, 0.98), weight_decay=1e-4)
    state = Trainable(model, optimizer, MovingAverage(model, recipe.average), generator, Progress())
    path = folder / "upscaler.safetensors"
    if state.resume(path):
        log(f"upscaler: resumed at step {state.progress.step}")

    def take_step(fraction: float) -> tuple[float, int]:
        sharp = pictures(recipe.batch, generator).float() / 255
        small = shrink(sharp, generator)
        decoded = round(recipe.batch * recipe.decoded_share)
        if decoded:
            small[:decoded] = degrade(small[:decoded], autoencoder, recipe.latent_noise, generator)
        with torch.autocast("cpu", torch.bfloat16):
            enlarged = model(small)
        loss = reconstruction_loss(2 * enlarged.float(), 2 * sharp, torch.zeros(1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        rate = learning_rate(recipe.peak, state.progress.step, fraction, warmup=recipe.warmup, decay_from=0.5)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        return float(loss.detach()), recipe.batch

    train(state, take_step, path=path, budget_s=budget_s, log=log, stop=stop)
    state.average.copy_to(model)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def gain_db(model: Upscaler, pictures: Sequence[Tensor], generator: torch.Generator) -> float:
    """By how many dB the network beats the plain enlargement, on average over batches in [0, 1]."""
    gains = []
    for sharp in pictures:
        small = shrink(sharp, generator)
        gains.append(psnr(model(small).clamp(0, 1), sharp) - psnr(plain(small).clamp(0, 1), sharp))
    return sum(gains) / len(gains)


def export_upscaler(run: Path, out: Path) -> Path:
    """Write the averaged weights of a run as a file that `engine.upscale.load_upscaler` reads, in float16.

    Args:
        run: Holds the checkpoint ``upscaler.safetensors``.
        out: Folder for the file.
    """
    tensors = {name: tensor.half().contiguous() for name, tensor in averaged(run / "upscaler.safetensors").items()}
    out.mkdir(parents=True, exist_ok=True)
    path = out / "upscaler.safetensors"
    save_file(tensors, path)
    return path
