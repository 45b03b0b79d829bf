"""Trains the embedded model's autoencoder on crops of pictures and measures its latents.
Knows nothing of captions, transformers or where pictures come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from keelbill.engine.autoencoder import SmallAutoencoder, SmallAutoencoderConfig
from keelbill.engine.config import LatentFormat
from keelbill.train.stage import Log, MovingAverage, Progress, StopSignal, Trainable, learning_rate, train

Pictures = Callable[[int, torch.Generator], Tensor]
"""Gives N pictures as uint8 with shape ``(N, 3, side, side)``, drawn with the generator."""


@dataclass(frozen=True)
class AutoencoderRecipe:
    """How the autoencoder is trained.

    Args:
        config: Sizes of the network.
        batch: Crops in one step.
        peak: Highest learning rate; 3e-3 diverges.
        latent_noise: Standard deviation of the noise that teaches the decoder to tolerate diffusion errors.
        seed: Of the weights and of every draw.
    """

    config: SmallAutoencoderConfig = field(default_factory=SmallAutoencoderConfig)
    batch: int = 16
    peak: float = 1.2e-3
    warmup: int = 60
    clip: float = 0.3
    latent_noise: float = 0.05
    seed: int = 0


def load_pictures(paths: Sequence[Path], side: int) -> NDArray[np.uint8]:
    """Read pictures as RGBA, scaled to a square: an array with shape ``(N, side, side, 4)``."""
    out = np.zeros((len(paths), side, side, 4), np.uint8)
    for index, path in enumerate(paths):
        with Image.open(path) as opened:
            picture = opened.convert("RGBA")
        if picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.LANCZOS)
        out[index] = np.asarray(picture)
    return out


class Crops:
    """Square crops of photographs, and of cut-out objects on simple grounds.

    Args:
        photographs: RGBA with shape ``(N, s, s, 4)``; may be empty.
        objects: RGBA with transparent ground, shape ``(M, s, s, 4)``; may be empty if there are photographs.
        side: Side of the crops in pixels.
        photograph_share: Share of crops that are photographs when both kinds are there.
    """

    def __init__(
        self,
        photographs: NDArray[np.uint8],
        objects: NDArray[np.uint8],
        side: int,
        photograph_share: float = 0.3,
    ) -> None:
        self.photographs = photographs
        self.objects = objects
        self.side = side
        self.share = 1.0 if not len(objects) else 0.0 if not len(photographs) else photograph_share

    def __call__(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw crops as uint8 with shape ``(count, 3, side, side)``."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        crops = [self._photograph(rng) if rng.random() < self.share else self._object(rng) for _ in range(count)]
        return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)

    def _photograph(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        picture = self.photographs[rng.integers(len(self.photographs))]
        return self._crop(picture[..., :3], rng)

    def _object(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        whole = max(self.side, self.objects.shape[1])
        canvas = Image.fromarray(_ground(whole, rng)).convert("RGBA")
        for _ in range(int(rng.integers(1, 3))):
            sprite = Image.fromarray(self.objects[rng.integers(len(self.objects))])
            side = int(whole * rng.uniform(0.3, 0.95))
            scaled = sprite.resize((side, side), Image.Resampling.BILINEAR)
            canvas.alpha_composite(scaled, (int(rng.integers(whole - side + 1)), int(rng.integers(whole - side + 1))))
        if rng.random() < 0.5:
            small = canvas.resize((self.side, self.side), Image.Resampling.BOX)
            return np.asarray(small)[..., :3]
        return self._crop(np.asarray(canvas)[..., :3], rng)

    def _crop(self, picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        top, left = rng.integers(picture.shape[0] - self.side + 1, size=2)
        crop = picture[top : top + self.side, left : left + self.side]
        return crop[:, ::-1] if rng.random() < 0.5 else crop


def _ground(side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A plain colour or a linear gradient between two, with shape ``(side, side, 3)``."""
    first, second = rng.integers(0, 256, (2, 3)).astype(np.float32)
    if rng.random() < 0.4:
        second = first
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    weight = ramp[:, None] * rng.random() + ramp[None, :] * rng.random()
    mixed = first + (second - first) * np.clip(weight, 0, 1)[..., None]
    ground: NDArray[np.uint8] = mixed.astype(np.uint8)
    return ground


_SOBEL = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))


def reconstruction_loss(decoded: Tensor, target: Tensor, latents: Tensor) -> Tensor:
    """L1, half of L2, twice the L1 of Sobel gradients, and a little weight on the latents' size.

    Args:
        decoded: Float32 pixels around [-1, 1] with shape ``(B, 3, H, W)``.
        target: Likewise.
        latents: Raw latents with shape ``(B, C, h, w)``.
    """
    difference = decoded - target
    sobel = torch.tensor(_SOBEL, device=decoded.device) / 8
    kernels = torch.stack([sobel, sobel.T])[:, None]
    gradients = F.conv2d(difference.flatten(0, 1)[:, None], kernels)
    pixel = difference.abs().mean() + 0.5 * difference.square().mean()
    return pixel + 2 * gradients.abs().mean() + 1e-3 * latents.float().square().mean()


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pixels in [0, 1]."""
    return -10 * math.log10(max(float((a - b).square().mean()), 1e-12))


def train_autoencoder(
    pictures: Pictures,
    folder: Path,
    *,
    budget_s: float,
    recipe: AutoencoderRecipe,
    log: Log,
    stop: StopSignal | None = None,
) -> SmallAutoencoder:
    """Train, or go on training, an autoencoder, and return it with averaged weights.

    Args:
        pictures: The source of crops.
        folder: Holds the checkpoint ``autoencoder.safetensors``.
        budget_s: Seconds for the stage, restarts counted together.
        recipe: How to train.
        log: Receives lines of progress.
        stop: A flag that ends the stage early.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = SmallAutoencoder(recipe.config)
    nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.peak, betas=(0.9, 0.98), weight_decay=1e-4)
    state = Trainable(model, optimizer, MovingAverage(model, 0.998), generator, Progress())
    path = folder / "autoencoder.safetensors"
    if state.resume(path):
        log(f"autoencoder: resumed at step {state.progress.step}")

    def take_step(fraction: float) -> tuple[float, int]:
        crops = pictures(recipe.batch, generator)
        x = crops.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            z = model.encoder(x)
            noise = torch.randn(z.shape, generator=generator) * recipe.latent_noise
            y = model.decoder(z + noise)
        loss = reconstruction_loss(y.float(), x, z)
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
    model.eval()
    return model


@torch.no_grad()
def reconstruct(model: SmallAutoencoder, pixels: Tensor) -> Tensor:
    """Encode and decode pixels in [0, 1] with shape ``(B, 3, H, W)`` in bfloat16 arithmetic."""
    with torch.autocast("cpu", torch.bfloat16):
        return model.decode(model.encode(pixels))


@torch.no_grad()
def measure_latents(model: SmallAutoencoder, pictures: Pictures, count: int, *, seed: int = 1) -> LatentFormat:
    """Measure each latent channel's mean and standard deviation over some pictures.

    Returns:
        The format that makes every channel's mean 0 and standard deviation 1.
    """
    generator = torch.Generator().manual_seed(seed)
    latents = []
    for start in range(0, count, 32):
        pixels = pictures(min(32, count - start), generator).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            latents.append(model.encode(pixels))
    z = torch.cat(latents)
    mean, deviation = z.mean((0, 2, 3)), z.std((0, 2, 3)).clamp_min(1e-3)
    scale = tuple(round(float(1 / d), 6) for d in deviation)
    return LatentFormat(scale, tuple(round(float(m), 6) for m in mean), channels=z.shape[1])
