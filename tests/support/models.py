"""Small random networks of the SD3 family. Their pictures mean nothing; their arithmetic is the product's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from keelbill.engine.autoencoder import SmallAutoencoder, SmallAutoencoderConfig
from keelbill.engine.conditioning import Conditioning
from keelbill.engine.config import LatentFormat, MMDiTConfig
from keelbill.engine.mmdit import MMDiT
from keelbill.engine.model import Model, SamplingDefaults
from keelbill.engine.preview import LinearPreview

SD3_SHAPED = MMDiTConfig(depth=3, width=128, pos_side=24, context_dim=64, pooled_dim=32, qk_norm=False)
MEDIUM_SHAPED = MMDiTConfig(depth=4, width=128, pos_side=48, context_dim=64, pooled_dim=32, dual_blocks=(0, 1))
LARGE_SHAPED = MMDiTConfig(depth=3, width=192, pos_side=24, context_dim=64, pooled_dim=32)
VARIANTS = {"sd3": SD3_SHAPED, "3.5-medium": MEDIUM_SHAPED, "3.5-large": LARGE_SHAPED}


def random_weights(module: torch.nn.Module, seed: int = 0) -> None:
    """Fill every parameter and buffer so that no path is trivial."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            values = torch.randn(tensor.shape, generator=generator)
            if name.endswith(("ln_q.weight", "ln_k.weight")):
                values = 1 + 0.1 * values
            elif tensor.ndim > 1 and name != "pos_embed":
                values = values / tensor[0].numel() ** 0.5
            else:
                values = 0.1 * values
            tensor.copy_(values)


def transformer(
    config: MMDiTConfig = LARGE_SHAPED, *, dtype: torch.dtype = torch.float32, seed: int = 0, strict: bool = True
) -> MMDiT:
    """Make a small random transformer."""
    network = MMDiT(config, strict=strict)
    random_weights(network, seed)
    positions = network.pos_embed
    network = network.to(dtype).eval().requires_grad_(False)
    network.pos_embed = positions
    return network


class HashedText:
    """A text encoder that turns each prompt into tokens drawn from its digest; longer prompts give more tokens."""

    def __init__(self, config: MMDiTConfig) -> None:
        self.config = config

    def encode(self, prompts: Sequence[str]) -> list[Conditioning]:
        """Encode each prompt by itself."""
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: str) -> Conditioning:
        digest = hashlib.sha256(prompt.encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
        tokens = 2 + len(prompt.split())

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        return Conditioning(draw(tokens, self.config.context_dim), draw(self.config.pooled_dim))


def model(config: MMDiTConfig = LARGE_SHAPED, *, dtype: torch.dtype = torch.float32) -> Model:
    """Make a whole small random model."""
    autoencoder = SmallAutoencoder(SmallAutoencoderConfig(widths=(8, 12, 16)))
    random_weights(autoencoder)
    matrix = torch.linspace(-0.2, 0.2, 48).view(16, 3)
    return Model(
        name="tiny",
        hash="0" * 64,
        transformer=transformer(config, dtype=dtype),
        autoencoder=autoencoder.eval().requires_grad_(False),
        text=HashedText(config),
        latents=LatentFormat(scale=(1.2,) * 16, shift=(0.1,) * 16),
        defaults=SamplingDefaults(steps=4, cfg=3.0, sampler="euler", schedule="trailing", shift=1.0),
        native_side=64,
        preview=LinearPreview(matrix, torch.full((3,), 0.5)),
    )
