"""The multimodal diffusion transformer of the SD3 family. Knows nothing of schedules, guidance, prompts or files.

Parameters carry the names of the official single files, so a checkpoint loads without translation.

References:
    | Scaling Rectified Flow Transformers for High-Resolution Image Synthesis (Esser et al., 2024)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keelbill.core.errors import InvalidInput
from keelbill.engine.attention import QKV, Attend, Packing, attend_image, attend_jointly, itself
from keelbill.engine.config import HEAD_DIM, MMDiTConfig
from keelbill.engine.layers import (
    Embedder,
    Linear,
    PatchEmbed,
    RMSNorm,
    crop_positions,
    gelu,
    modulate,
    norm,
    patchify,
    plain_linear,
    position_table,
    strict_linear,
    time_embedding,
    unpatchify,
)


class Attention(nn.Module):
    """Projections of one stream's attention."""

    def __init__(self, width: int, *, qk_norm: bool, projects: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        if projects:
            self.proj = nn.Linear(width, width)
        self.ln_q = RMSNorm(HEAD_DIM) if qk_norm else nn.Identity()
        self.ln_k = RMSNorm(HEAD_DIM) if qk_norm else nn.Identity()

    def project(self, linear: Linear, x: Tensor) -> QKV:
        """Turn tokens with shape ``(..., W)`` into normalised queries, keys and values."""
        q, k, v = linear(self.qkv, x).unflatten(-1, (3, -1, HEAD_DIM)).unbind(-3)
        return self.ln_q(q), self.ln_k(k), v


class MLP(nn.Module):
    """Two linear layers with the tanh form of GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def run(self, linear: Linear, x: Tensor) -> Tensor:
        """Transform tokens with shape ``(..., W)``."""
        return linear(self.fc2, gelu(linear(self.fc1, x)))


class Stream(nn.Module):
    """One modality's half of a joint block.

    Args:
        width: Channels.
        qk_norm: Whether queries and keys are normalised.
        dual: Whether there is a second attention among this stream's own tokens.
        ends: Whether the stream ends here: it gives keys and values but is not carried on.
    """

    def __init__(self, width: int, *, qk_norm: bool, dual: bool = False, ends: bool = False) -> None:
        super().__init__()
        self.chunks = 2 if ends else 9 if dual else 6
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, self.chunks * width))
        self.attn = Attention(width, qk_norm=qk_norm, projects=not ends)
        if dual:
            self.attn2 = Attention(width, qk_norm=qk_norm, projects=True)
        if not ends:
            self.mlp = MLP(width)

    @property
    def modulation(self) -> nn.Linear:
        """The adaLN linear layer."""
        layer = self.adaLN_modulation[1]
        if not isinstance(layer, nn.Linear):
            raise TypeError("adaLN ends in a linear layer")
        return layer

    def finish(
        self, linear: Linear, x: Tensor, attended: Tensor, m: Sequence[Tensor], second: Tensor | None = None
    ) -> Tensor:
        """Add attention, the second attention if there is one, and MLP; `m` holds the modulation chunks."""
        x = torch.addcmul(x, m[2], linear(self.attn.proj, attended))
        if second is not None:
            x = torch.addcmul(x, m[8], linear(self.attn2.proj, second))
        return torch.addcmul(x, m[5], self.mlp.run(linear, modulate(norm(x), m[3], m[4])))


class JointBlock(nn.Module):
    """One transformer block over image and text."""

    def __init__(self, config: MMDiTConfig, index: int) -> None:
        super().__init__()
        self.ends = index == config.depth - 1
        self.dual = index in config.dual_blocks
        self.context_block = Stream(config.width, qk_norm=config.qk_norm, ends=self.ends)
        self.x_block = Stream(config.width, qk_norm=config.qk_norm, dual=self.dual)

    def run(
        self,
        linear: Linear,
        x: Tensor,
        c: Tensor,
        mx: Sequence[Tensor],
        mc: Sequence[Tensor],
        joint: Attend,
        own: Callable[[QKV], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Transform image tokens `x` and text tokens `c`, modulated by `mx` and `mc`."""
        image, text = self.x_block, self.context_block
        xn = norm(x)
        attended, attended_text = joint(
            image.attn.project(linear, modulate(xn, mx[0], mx[1])),
            text.attn.project(linear, modulate(norm(c), mc[0], mc[1])),
        )
        second = own(image.attn2.project(linear, modulate(xn, mx[6], mx[7]))) if self.dual else None
        x = image.finish(linear, x, attended, mx, second)
        if not self.ends:
            c = text.finish(linear, c, attended_text, mc)
        return x, c


class FinalLayer(nn.Module):
    """Turns image tokens into patches of velocity."""

    def __init__(self, config: MMDiTConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.width, config.patch**2 * config.out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.width, 2 * config.width))

    @property
    def modulation(self) -> nn.Linear:
        """The adaLN linear layer."""
        layer = self.adaLN_modulation[1]
        if not isinstance(layer, nn.Linear):
            raise TypeError("adaLN ends in a linear layer")
        return layer


@dataclass(frozen=True)
class Modulation:
    """All adaLN outputs for some rows: what time and pooled prompt do to every block.

    Args:
        table: One line per row, all blocks side by side, with shape ``(R, n)``.
    """

    table: Tensor

    def row(self, index: int) -> Modulation:
        """Return one row."""
        return Modulation(self.table[index : index + 1])

    @staticmethod
    def join(rows: Sequence[Modulation]) -> Modulation:
        """Put rows below each other."""
        return Modulation(torch.cat([r.table for r in rows]))


class LowRankUpdate:
    """Low-rank changes of linear layers (LoRA) for one row, by official layer name.

    Args:
        factors: Layer name to ``(down (r, in), up (out, r))``, the scale already in `up`.

    References:
        | LoRA: Low-Rank Adaptation of Large Language Models (Hu et al., 2021)
    """

    def __init__(self, factors: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        self.factors = dict(factors)


class MMDiT(nn.Module):
    """Predicts the velocity ``noise - picture`` from noisy latents, noise level and prompt.

    Args:
        config: Sizes.
        strict: Whether packed rows are computed so that none depends on the others to the last bit.
    """

    pos_embed: Tensor

    def __init__(self, config: MMDiTConfig, *, strict: bool = True) -> None:
        super().__init__()
        self.config = config
        self.strict = strict
        self.x_embedder = PatchEmbed(config.in_channels, config.width, config.patch)
        self.t_embedder = Embedder(256, config.width)
        self.y_embedder = Embedder(config.pooled_dim, config.width)
        self.context_embedder = nn.Linear(config.context_dim, config.width)
        self.joint_blocks = nn.ModuleList(JointBlock(config, i) for i in range(config.depth))
        self.final_layer = FinalLayer(config)
        self.register_buffer("pos_embed", torch.zeros(1, config.pos_side**2, config.width))

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.context_embedder.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.context_embedder.weight.device

    def blocks(self) -> list[JointBlock]:
        """Return the joint blocks in order."""
        return [b for b in self.joint_blocks if isinstance(b, JointBlock)]

    def init_weights(self, generator: torch.Generator, *, base: int = 16) -> None:
        """Prepare for training from scratch: every block starts as the identity, the output as zero.

        Args:
            generator: Source of randomness.
            base: Units that the position table spans; the token grid of the training size.
        """
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight, generator=generator)
                    nn.init.zeros_(module.bias)
            weight, bias = self.x_embedder.as_linear()
            nn.init.xavier_uniform_(weight, generator=generator)
            nn.init.zeros_(bias)
            adaptive = [layer for block in self.blocks() for layer in _adaptive(block)]
            for layer in [*adaptive, self.final_layer.modulation, self.final_layer.linear]:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
            self.pos_embed.copy_(position_table(self.config.width, self.config.pos_side, base))

    # ---------------------------------------------------------------- the simple path: one plain batch

    def forward(self, x: Tensor, sigma: Tensor, context: Tensor, pooled: Tensor) -> Tensor:
        """Predict velocities of a batch of equal sizes.

        Args:
            x: Noisy latents with shape ``(B, C, h, w)``.
            sigma: Noise levels in [0, 1] with shape ``(B,)``.
            context: Prompt tokens with shape ``(B, L, context_dim)``.
            pooled: Prompt summaries with shape ``(B, pooled_dim)``.

        Returns:
            Velocities with shape ``(B, C, h, w)``.
        """
        patch, (height, width) = self.config.patch, x.shape[-2:]
        table = self._modulation_table(plain_linear, sigma, pooled)
        per_block, final = self._split_table(table.unsqueeze(1))
        tokens = self._embed(patchify(x, patch), height // patch, width // patch)
        c = self.context_embedder(context.to(self.dtype))
        for block, (mx, mc) in zip(self.blocks(), per_block, strict=True):
            tokens, c = block.run(plain_linear, tokens, c, mx, mc, attend_jointly, attend_image)
        out = self.final_layer.linear(modulate(norm(tokens), *final))
        return unpatchify(out, height, width, patch)

    # ---------------------------------------------------------------- the packed path: rows of any size

    def modulation(self, sigmas: Tensor, pooled: Tensor, update: LowRankUpdate | None = None) -> Modulation:
        """Compute the adaLN outputs of rows ahead of time.

        Args:
            sigmas: Noise levels with shape ``(R,)``.
            pooled: Prompt summaries with shape ``(R, pooled_dim)``.
            update: Low-rank changes of the layers involved.
        """
        linear = _RowLinear(self, [update], [[slice(None)]])
        return Modulation(self._modulation_table(linear, sigmas, pooled))

    def forward_packed(
        self,
        latents: Sequence[Tensor],
        contexts: Sequence[Tensor],
        modulation: Modulation,
        *,
        skip: frozenset[int] = frozenset(),
        apart: frozenset[int] = frozenset(),
        updates: Sequence[LowRankUpdate | None] = (),
        residuals: Sequence[Callable[[Tensor, Tensor], list[Tensor]] | None] = (),
    ) -> list[Tensor]:
        """Predict velocities of rows of different sizes, noise levels and prompts in one pass.

        Args:
            latents: Noisy latents, each ``(C, h, w)``; sides that the patches do not divide are filled up.
            contexts: Prompt tokens, each ``(L, context_dim)``.
            modulation: One row for each latent, from :meth:`modulation`.
            skip: Blocks to leave out (skip-layer guidance).
            apart: Blocks in which image tokens do not see each other (perturbed-attention guidance).
            updates: Low-rank changes, one or none for each row.
            residuals: For each row what computes, from filled latents and embedded tokens, what is added after groups
                of blocks (ControlNets); or nothing.

        Returns:
            Velocities in float32, each with the shape of its latent.
        """
        passes = self.packed_passes(latents, contexts, modulation, skip, apart, updates, residuals)
        while True:
            try:
                next(passes)
            except StopIteration as end:
                out: list[Tensor] = end.value
                return out

    def packed_passes(
        self,
        latents: Sequence[Tensor],
        contexts: Sequence[Tensor],
        modulation: Modulation,
        skip: frozenset[int] = frozenset(),
        apart: frozenset[int] = frozenset(),
        updates: Sequence[LowRankUpdate | None] = (),
        residuals: Sequence[Callable[[Tensor, Tensor], list[Tensor]] | None] = (),
    ) -> Generator[None, None, list[Tensor]]:
        """Do what :meth:`forward_packed` does with a pause after each block, in which something else may be done."""
        patch, sizes = self.config.patch, [z.shape[-2:] for z in latents]
        latents = [_filled(z, patch) for z in latents]
        grids = [(z.shape[-2] // patch, z.shape[-1] // patch) for z in latents]
        packing = Packing(tuple(h * w for h, w in grids), tuple(c.shape[0] for c in contexts))
        image_linear = _RowLinear(self, updates, [packing.image_slices()])
        text_linear = _RowLinear(self, updates, [packing.text_slices()])
        linear = image_linear if not image_linear.updates else _StreamLinear(image_linear, text_linear)
        per_block, final = self._split_packed(modulation.table, packing)
        x = torch.cat(
            [
                self._embed(patchify(z[None].to(self.device), patch), h, w)[0]
                for z, (h, w) in zip(latents, grids, strict=True)
            ]
        )
        c = text_linear(self.context_embedder, torch.cat([t.to(self.device, self.dtype) for t in contexts]))
        added = [
            (rows, compute(z, x[rows]))
            for rows, compute, z in zip(packing.image_slices(), residuals, latents, strict=False)
            if compute is not None
        ]
        for index, (block, (mx, mc)) in enumerate(zip(self.blocks(), per_block, strict=True)):
            if index in apart:
                x, c = block.run(linear, x, c, mx, mc, packing.attend_apart, itself)
            elif index not in skip:
                x, c = block.run(linear, x, c, mx, mc, packing.attend_jointly, packing.attend_image)
            for rows, steps in added:
                x[rows] = x[rows] + steps[index * len(steps) // self.config.depth].to(x.device, x.dtype)
            yield
        out = image_linear(self.final_layer.linear, modulate(norm(x), *final)).float()
        return [
            unpatchify(row[None], patch * h, patch * w, patch)[0, :, : size[0], : size[1]]
            for row, (h, w), size in zip(out.split(packing.image), grids, sizes, strict=True)
        ]

    # ---------------------------------------------------------------- pieces of both

    def _embed(self, patches: Tensor, rows: int, columns: int) -> Tensor:
        if max(rows, columns) > self.config.pos_side:
            side = self.config.pos_side * self.config.patch
            raise InvalidInput("latent size", f"{rows * 2}x{columns * 2}", f"at most {side} on each side")
        weight, bias = self.x_embedder.as_linear()
        tokens = F.linear(patches.to(self.dtype), weight, bias)
        return (tokens + crop_positions(self.pos_embed, rows, columns)).to(tokens.dtype)

    def _modulation_table(self, linear: Linear, sigmas: Tensor, pooled: Tensor) -> Tensor:
        time = self.t_embedder.run(linear, time_embedding(sigmas.to(self.device)).to(self.dtype))
        vector = F.silu(time + self.y_embedder.run(linear, pooled.to(self.device, self.dtype)))
        layers = [layer for block in self.blocks() for layer in _adaptive(block)]
        return torch.cat([linear(layer, vector) for layer in [*layers, self.final_layer.modulation]], dim=-1)

    def _widths(self) -> list[int]:
        return [layer.out_features for block in self.blocks() for layer in _adaptive(block)] + [2 * self.config.width]

    def _split_table(self, table: Tensor) -> tuple[list[tuple[_Chunks, _Chunks]], _Chunks]:
        parts = [p.split(self.config.width, dim=-1) for p in table.split(self._widths(), dim=-1)]
        return list(zip(parts[0:-1:2], parts[1:-1:2], strict=True)), parts[-1]

    def _split_packed(self, table: Tensor, packing: Packing) -> tuple[list[tuple[_Chunks, _Chunks]], _Chunks]:
        width = self.config.width
        parts = table.split(self._widths(), dim=-1)
        image = [packing.spread_image(p).split(width, dim=-1) for p in (*parts[0:-1:2], parts[-1])]
        text = [packing.spread_text(p).split(width, dim=-1) for p in parts[1:-1:2]]
        return list(zip(image[:-1], text, strict=True)), image[-1]


_Chunks = tuple[Tensor, ...]


def _filled(latents: Tensor, patch: int) -> Tensor:
    """Repeat the last row or column so that patches divide both sides."""
    down, right = -latents.shape[-2] % patch, -latents.shape[-1] % patch
    return F.pad(latents[None], (0, right, 0, down), mode="replicate")[0] if down or right else latents


def _adaptive(block: JointBlock) -> tuple[nn.Linear, nn.Linear]:
    return block.x_block.modulation, block.context_block.modulation


class _RowLinear:
    """Applies layers to packed tokens of one stream, with each row's own low-rank change."""

    def __init__(
        self, model: MMDiT, updates: Sequence[LowRankUpdate | None], slices: Sequence[Sequence[slice]]
    ) -> None:
        self.base: Linear = strict_linear if model.strict and model.device.type == "cpu" else plain_linear
        self.updates = [(u, s) for u, s in zip(updates, slices[0], strict=False) if u is not None]
        self.names = {id(m): n for n, m in model.named_modules() if isinstance(m, nn.Linear)} if self.updates else {}

    def __call__(self, layer: nn.Linear, x: Tensor) -> Tensor:
        out = self.base(layer, x)
        for update, rows in self.updates:
            factors = update.factors.get(self.names[id(layer)])
            if factors is not None:
                down, up = (f.to(x.device, x.dtype) for f in factors)
                out[rows] = out[rows] + F.linear(F.linear(x[rows], down), up)
        return out


class _StreamLinear:
    """Chooses the image's or the text's rows by the layer's name."""

    def __init__(self, image: _RowLinear, text: _RowLinear) -> None:
        self.image = image
        self.text = text

    def __call__(self, layer: nn.Linear, x: Tensor) -> Tensor:
        chosen = self.text if ".context_block." in self.image.names[id(layer)] else self.image
        return chosen(layer, x)
