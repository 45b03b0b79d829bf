"""ControlNets in graphs: which picture steers which prompt, and what of it a network sees. Knows no sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from keelbill.core.errors import InvalidInput
from keelbill.engine.control import Control, ControlNet, check_fits, load_control
from keelbill.engine.loader import best_device
from keelbill.graph.tensors.handles import ControlHandle, Painter, VaeHandle, sigma_at
from keelbill.graph.tensors.latents import PLACE, mask_planes, repeated, resized

if TYPE_CHECKING:
    from keelbill.graph.context import Models

Entries = list[list[Any]]


@dataclass(frozen=True)
class Use:
    """A ControlNet that a prompt is steered by.

    Args:
        network: The network.
        vae: Makes latents of the picture.
        image: With shape ``(B, H, W, C)``; one picture for each latent of a batch, from the start again if there are
            fewer.
        strength: Factor on what it adds.
        start: Part of the run, 0 to 1, at which it begins.
        end: Part at which it ends.
        mask: What is to be painted anew, for networks that know masks; with shape ``(B, 1, H, W)``.
    """

    network: ControlNet
    vae: VaeHandle
    image: Tensor
    strength: float
    start: float
    end: float
    mask: Tensor | None = None

    @property
    def size_bytes(self) -> int:
        """What it holds in memory besides the network."""
        return self.image.nbytes

    def control(self, models: Models, painter: Painter, grid: tuple[int, int], place: int) -> Control:
        """Return it as the sampler takes it, for one latent of a batch.

        Args:
            models: Where the autoencoder is.
            painter: Who is steered.
            grid: Height and width of the latent.
            place: Of the latent in its batch.

        Raises:
            InvalidInput: The network was made for another model.
        """
        check_fits(self.network, painter.transformer)
        height, width = PLACE * grid[0], PLACE * grid[1]
        plane = self.image[place % len(self.image), ..., :3].movedim(-1, 0)[None].float()
        plane = plane if plane.shape[-2:] == (height, width) else resized(plane, height, width)
        hole = None
        if self.mask is not None:
            mask = repeated(self.mask, place + 1)[place:]
            hole = F.interpolate(mask, (height, width), mode="bilinear").round()
            plane = plane * (1 - hole)
        coder = self.vae.open(models)
        hint = painter.latents.to_model(coder.autoencoder.encode(plane.to(coder.device)).float().cpu())
        if hole is not None and self.network.config.hint_channels > hint.shape[1]:
            hint = torch.cat([hint, 1 - F.interpolate(hole, grid, mode="nearest")], dim=1)
        interval = sigma_at(self.end, painter.shift), sigma_at(self.start, painter.shift)
        return Control(self.network, hint[0], self.strength, interval)


def load(models: Models, name: str) -> ControlHandle:
    """Return a ControlNet.

    Raises:
        BadWeights: The file is none of the SD3 family.
    """
    device = best_device()
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    return ControlHandle(load_control(models.tensors("controlnet", name), dtype=dtype, device=device))


def applied(
    conditioning: Entries,
    handle: ControlHandle,
    image: Tensor,
    vae: VaeHandle | None,
    strength: float,
    span: tuple[float, float] = (0.0, 1.0),
    mask: Tensor | None = None,
) -> Entries:
    """Return prompts that are steered by a picture, on top of what steers them already.

    Args:
        conditioning: The prompts.
        handle: The network.
        image: With shape ``(B, H, W, C)``.
        vae: Makes latents of it.
        strength: 0 leaves the prompts as they are.
        span: Part of the run in which it acts, from and to, 0 to 1.
        mask: What is to be painted anew, for networks that know masks.

    Raises:
        InvalidInput: There is no VAE; all ControlNets of this family need one.
    """
    if strength == 0:
        return conditioning
    if vae is None:
        raise InvalidInput("vae", "nothing", "connected: this ControlNet sees the picture as latents")
    use = Use(handle.network, vae, image, strength, *span, None if mask is None else mask_planes(mask))
    return [[tokens, {**options, "controls": (*options.get("controls", ()), use)}] for tokens, options in conditioning]
