"""The embedded model's autoencoder: shapes, sizes read off tensors, precision."""

from __future__ import annotations

import pytest
import torch

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.autoencoder import SmallAutoencoder, SmallAutoencoderConfig
from support.models import random_weights

CONFIGS = [
    SmallAutoencoderConfig(widths=(8, 12, 16)),
    SmallAutoencoderConfig(widths=(8, 8, 8), latent=4, encoder_blocks=(1, 1, 2), decoder_blocks=(1, 2, 1)),
]


def network(config: SmallAutoencoderConfig) -> SmallAutoencoder:
    autoencoder = SmallAutoencoder(config)
    random_weights(autoencoder)
    return autoencoder.eval().requires_grad_(False)


@pytest.mark.parametrize("config", CONFIGS)
def test_an_eighth_of_the_side(config: SmallAutoencoderConfig) -> None:
    autoencoder = network(config)
    pixels = torch.rand(2, 3, 64, 96)
    latents = autoencoder.encode(pixels)
    assert latents.shape == (2, config.latent, 8, 12)
    decoded = autoencoder.decode(latents)
    assert decoded.shape == pixels.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1


@pytest.mark.parametrize("config", CONFIGS)
def test_sizes_are_read_off_shapes(config: SmallAutoencoderConfig) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in network(config).state_dict().items()}
    assert SmallAutoencoderConfig.from_tensors(shapes) == config


def test_default_size() -> None:
    parameters = sum(p.numel() for p in SmallAutoencoder().parameters())
    assert 2.2e6 < parameters < 2.6e6


def test_each_picture_by_itself() -> None:
    autoencoder = network(CONFIGS[0])
    pixels = torch.rand(3, 3, 64, 64)
    together = autoencoder.encode(pixels)
    assert all((autoencoder.encode(pixels[i : i + 1])[0] - together[i]).abs().max() < 1e-5 for i in range(3))


def test_half_precision_is_close() -> None:
    autoencoder = network(CONFIGS[0])
    pixels = torch.rand(1, 3, 64, 64)
    exact = autoencoder.encode(pixels)
    rough = autoencoder.to(torch.bfloat16).encode(pixels)
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() / exact.norm() < 2e-2


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 4, 64, 64), (1, 3, 60, 64)])
def test_pixels_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="pixels"):
        network(CONFIGS[0]).encode(torch.zeros(shape))


def test_latents_of_another_shape() -> None:
    with pytest.raises(InvalidInput, match="latents"):
        network(CONFIGS[0]).decode(torch.zeros(1, 4, 8, 8))


def test_other_tensors() -> None:
    with pytest.raises(BadWeights, match="not a small autoencoder"):
        SmallAutoencoderConfig.from_tensors({"encoder.conv_in.weight": (8, 12, 3, 3)})
