"""ControlNets of the SD3 family: networks that steer the transformer by a picture. Knows no files and no pixels.

There are two kinds. One has joint blocks and embeds latents and prompt by itself; the other (SD3.5 Large) has plain
blocks and starts from the transformer's own embedded tokens. Both add one residual for a group of the transformer's
blocks.

References:
    | Adding Conditional Control to Text-to-Image Diffusion Models (Zhang et al., 2023)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.attention import QKV, attend_image, attend_jointly
from keelbill.engine.conditioning import Conditioning, Share
from keelbill.engine.config import HEAD_DIM, MMDiTConfig
from keelbill.engine.layers import (
    Embedder,
    PatchEmbed,
    crop_positions,
    modulate,
    norm,
    patchify,
    plain_linear,
    time_embedding,
)
from keelbill.engine.mmdit import JointBlock, MMDiT, Stream
from keelbill.engine.naming import depth_of, transformer_sources
from keelbill.engine.weights import load_into


@dataclass(frozen=True)
class ControlConfig:
    """Sizes of a ControlNet.

    Args:
        depth: Number of blocks.
        width: Channels of a token, as the transformer's.
        pooled_dim: Width of the prompt's summary.
        hint_channels: Channels of the picture's latents, with those of a mask if it takes one.
        context_dim: Width of the prompt's tokens; 0 for plain blocks, which do not see the prompt.
        in_channels: Channels of the latents; 0 if it starts from the transformer's tokens.
        pos_side: Side of its position table; 0 if it has none.
        patch: Side of a patch.
        qk_norm: Whether queries and keys are normalised.
        dual_blocks: Blocks with a second attention.
    """

    depth: int
    width: int
    pooled_dim: int
    hint_channels: int
    context_dim: int = 0
    in_channels: int = 0
    pos_side: int = 0
    patch: int = 2
    qk_norm: bool = False
    dual_blocks: tuple[int, ...] = ()

    @classmethod
    def from_tensors(cls, shapes: Mapping[str, Sequence[int]]) -> ControlConfig:
        """Read the sizes off the shapes of tensors with official names.

        Raises:
            BadWeights: The shapes are not those of a ControlNet of the SD3 family.
        """
        for name in ("pos_embed_input.proj.weight", "controlnet_blocks.0.weight", "y_embedder.mlp.0.weight"):
            if name not in shapes:
                raise BadWeights(f"This is not a ControlNet of the SD3 family: it has no tensor {name!r}.")
        width, hint_channels, patch, _ = shapes["pos_embed_input.proj.weight"]
        dual = (re.match(r"joint_blocks\.(\d+)\.x_block\.attn2\.qkv\.weight", name) for name in shapes)
        return cls(
            depth=depth_of(shapes),
            width=width,
            pooled_dim=shapes["y_embedder.mlp.0.weight"][1],
            hint_channels=hint_channels,
            context_dim=shapes["context_embedder.weight"][1] if "context_embedder.weight" in shapes else 0,
            in_channels=shapes["x_embedder.proj.weight"][1] if "x_embedder.proj.weight" in shapes else 0,
            pos_side=isqrt(shapes["pos_embed"][1]) if "pos_embed" in shapes else 0,
            patch=patch,
            qk_norm="joint_blocks.0.x_block.attn.ln_q.weight" in shapes,
            dual_blocks=tuple(sorted(int(match[1]) for match in dual if match)),
        )

    @property
    def ignores_pooled(self) -> bool:
        """Whether it was trained with zeros for the prompt's summary: it sees the prompt's tokens, and no mask."""
        return self.context_dim > 0 and self.hint_channels == self.in_channels


class PlainBlock(nn.Module):
    """One transformer block over image tokens alone."""

    def __init__(self, config: ControlConfig) -> None:
        super().__init__()
        self.x_block = Stream(config.width, qk_norm=config.qk_norm)

    def run(self, x: Tensor, m: Sequence[Tensor]) -> Tensor:
        """Transform tokens, modulated by `m`."""
        qkv: QKV = self.x_block.attn.project(plain_linear, modulate(norm(x), m[0], m[1]))
        return self.x_block.finish(plain_linear, x, attend_image(qkv), m)


class ControlNet(nn.Module):
    """The network, whose parameters carry the official names of the transformer's parts.

    Args:
        config: Its sizes.
    """

    pos_embed: Tensor

    def __init__(self, config: ControlConfig) -> None:
        super().__init__()
        self.config = config
        self.x_embedder = PatchEmbed(config.in_channels, config.width, config.patch) if config.in_channels else None
        if config.pos_side:
            self.register_buffer("pos_embed", torch.zeros(1, config.pos_side**2, config.width))
        self.pos_embed_input = PatchEmbed(config.hint_channels, config.width, config.patch)
        self.t_embedder = Embedder(256, config.width)
        self.y_embedder = Embedder(config.pooled_dim, config.width)
        self.context_embedder = nn.Linear(config.context_dim, config.width) if config.context_dim else None
        # One block more than there are, because the text's stream ends in no block here.
        sizes = MMDiTConfig(
            config.depth + 1, config.width, 0, config.context_dim, config.pooled_dim,
            qk_norm=config.qk_norm, dual_blocks=config.dual_blocks,
        )  # fmt: skip
        self.joint_blocks = nn.ModuleList(
            JointBlock(sizes, index) if config.context_dim else PlainBlock(config) for index in range(config.depth)
        )
        self.controlnet_blocks = nn.ModuleList(nn.Linear(config.width, config.width) for _ in range(config.depth))

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.pos_embed_input.proj.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.pos_embed_input.proj.weight.device

    def residuals(
        self, latents: Tensor, tokens: Tensor, hint: Tensor, sigma: float, prompt: Conditioning
    ) -> list[Tensor]:
        """Compute what is added to the transformer's tokens.

        Args:
            latents: Noisy latents with shape ``(C, h, w)``, filled up to whole patches.
            tokens: The same as the transformer has embedded them, with shape ``(N, W)``.
            hint: The picture's latents, and maybe a mask, with shape ``(hint_channels, h, w)``.
            sigma: Noise level.
            prompt: The encoded prompt.

        Returns:
            One residual for each block, with shape ``(N, W)``.

        Raises:
            InvalidInput: The hint has other channels.
        """
        config, device, dtype = self.config, self.device, self.dtype
        if hint.shape[0] != config.hint_channels:
            raise InvalidInput("control image", f"{hint.shape[0]} channels", f"of {config.hint_channels} channels")
        x = self._start(latents.to(device), tokens.to(device)) + _embedded(self.pos_embed_input, hint.to(device), dtype)
        pooled = torch.zeros_like(prompt.pooled) if config.ignores_pooled else prompt.pooled
        time = time_embedding(torch.tensor([sigma], device=device)).to(dtype)
        vector = self.t_embedder.run(plain_linear, time)
        vector = F.silu(vector + self.y_embedder.run(plain_linear, pooled[None].to(device, dtype)))
        c: Tensor | None = None
        if self.context_embedder is not None:
            c = self.context_embedder(prompt.context[None].to(device, dtype))
        found = []
        for block, out in zip(self.joint_blocks, self.controlnet_blocks, strict=True):
            x, c = self._block(block, x, c, vector)
            found.append(out(x)[0])
        return found

    def _start(self, latents: Tensor, tokens: Tensor) -> Tensor:
        if self.x_embedder is None:
            return tokens[None].to(self.dtype)
        x = _embedded(self.x_embedder, latents, self.dtype)
        if not self.config.pos_side:
            return x
        rows, columns = (side // self.config.patch for side in latents.shape[-2:])
        if max(rows, columns) > self.config.pos_side:
            raise InvalidInput("latent size", f"{rows}x{columns} patches", f"at most {self.config.pos_side} a side")
        return (x + crop_positions(self.pos_embed, rows, columns)).to(self.dtype)

    def _block(self, block: nn.Module, x: Tensor, c: Tensor | None, vector: Tensor) -> tuple[Tensor, Tensor | None]:
        def chunks(stream: Stream) -> Sequence[Tensor]:
            table: Tensor = stream.modulation(vector)
            return tuple(table.unsqueeze(1).split(self.config.width, dim=-1))

        if isinstance(block, PlainBlock):
            return block.run(x, chunks(block.x_block)), c
        if not isinstance(block, JointBlock) or c is None:
            raise TypeError("a ControlNet has plain blocks, or joint blocks and a prompt")
        mx, mc = chunks(block.x_block), chunks(block.context_block)
        return block.run(plain_linear, x, c, mx, mc, attend_jointly, attend_image)


def _embedded(embedder: PatchEmbed, latents: Tensor, dtype: torch.dtype) -> Tensor:
    weight, bias = embedder.as_linear()
    return F.linear(patchify(latents[None].to(dtype), embedder.proj.stride[0]), weight, bias)


@dataclass(frozen=True)
class Control:
    """A ControlNet at work on one picture.

    Args:
        network: The network.
        hint: What it sees, with shape ``(hint_channels, h, w)`` of the whole latent.
        strength: Factor on its residuals.
        interval: Lowest and highest noise level at which it acts, in [0, 1], bounds included.
    """

    network: ControlNet
    hint: Tensor
    strength: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)


Residuals = Callable[[Tensor, Tensor], list[Tensor]]


def steering(share: Share, sigma: float) -> Residuals | None:
    """Return what computes a prompt's residuals from filled latents and embedded tokens; nothing if none acts."""
    acting = [control for control in share.controls if control.interval[0] <= sigma <= control.interval[1]]
    return partial(_summed, acting, share, sigma) if acting else None


def _summed(controls: Sequence[Control], share: Share, sigma: float, latents: Tensor, tokens: Tensor) -> list[Tensor]:
    total: list[Tensor] = []
    for control in controls:
        hint = share.cut(control.hint)
        down, right = latents.shape[-2] - hint.shape[-2], latents.shape[-1] - hint.shape[-1]
        if down or right:
            hint = F.pad(hint[None], (0, right, 0, down), mode="replicate")[0]
        found = control.network.residuals(latents, tokens, hint, sigma, share.conditioning)
        found = [each * control.strength for each in found]
        if total and len(total) != len(found):
            raise InvalidInput("ControlNets", f"{len(total)} and {len(found)} blocks", "of equal depth to be chained")
        total = [a + b for a, b in zip(total, found, strict=True)] if total else found
    return total


def check_fits(network: ControlNet, transformer: MMDiT) -> None:
    """Compare a ControlNet with the transformer that it is to steer.

    Raises:
        InvalidInput: It was made for another model.
    """
    ours, theirs = network.config, transformer.config
    fits = ours.width == theirs.width and ours.pooled_dim == theirs.pooled_dim and ours.depth <= theirs.depth
    if not fits or ours.context_dim not in (0, theirs.context_dim):
        raise InvalidInput(
            "ControlNet", f"one for a transformer of width {ours.width}",
            f"made for the model, whose transformer has width {theirs.width}",
        )  # fmt: skip


def load_control(tensors: Mapping[str, Tensor], *, dtype: torch.dtype, device: str = "cpu") -> ControlNet:
    """Build a ControlNet from the tensors of a file, in folder names or in the transformer's official ones.

    Raises:
        BadWeights: They are not those of a ControlNet of the SD3 family.
    """
    for prefix in ("controlnet.", "control_model."):
        if any(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    sources = transformer_sources(list(tensors), depth_of(tensors) + 1)
    official = {name: source.build(lambda stored: tensors[stored]) for name, source in sources.items()}
    config = ControlConfig.from_tensors({name: tuple(tensor.shape) for name, tensor in official.items()})
    if config.width % HEAD_DIM:
        raise BadWeights(f"This ControlNet is {config.width} wide, which is no multiple of {HEAD_DIM}.")
    with torch.device("meta"):
        network = ControlNet(config)
    load_into(network, {name: tensor.to(dtype) for name, tensor in official.items()}, "ControlNet")
    if config.pos_side:
        network.pos_embed = official["pos_embed"].float()  # the table stays in float32
    return network.to(device).eval().requires_grad_(False)
