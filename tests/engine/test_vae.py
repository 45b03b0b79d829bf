"""The SD3 autoencoder against an independent implementation, in both directions, and in tiles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.naming import Part, find_parts
from keelbill.engine.vae import SD3VAE, VAEConfig

SMALL = VAEConfig(widths=(32, 32, 64, 64))


@pytest.fixture(scope="module")
def vae() -> SD3VAE:
    torch.manual_seed(0)
    return SD3VAE(SMALL).eval().requires_grad_(False)


def test_parity_with_diffusers_in_both_directions() -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(1)
    reference = diffusers.AutoencoderKL(
        block_out_channels=(32, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=16,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()
    folder: dict[str, Tensor] = reference.state_dict()
    sources = find_parts({name: tuple(t.shape) for name, t in folder.items()})[Part.VAE]
    official = {name: source.build(folder.__getitem__) for name, source in sources.items()}
    config = VAEConfig.from_tensors({name: tuple(t.shape) for name, t in official.items()})
    ours = SD3VAE(config).eval().requires_grad_(False)
    ours.load_state_dict(official)
    pixels, latents = torch.rand(2, 3, 32, 48), torch.randn(2, 16, 4, 6)

    with torch.no_grad():
        expected_latents = reference.encode(2 * pixels - 1).latent_dist.mean
        expected_pixels = (reference.decode(latents).sample / 2 + 0.5).clamp(0, 1)

    assert config == SMALL
    torch.testing.assert_close(ours.encode(pixels), expected_latents, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.decode(latents), expected_pixels, atol=1e-5, rtol=0)


def test_default_sizes_are_those_of_the_released_autoencoder() -> None:
    with torch.device("meta"):
        released = SD3VAE()
    assert sum(p.numel() for p in released.encoder.parameters()) == pytest.approx(34.3e6, rel=0.005)
    assert sum(p.numel() for p in released.decoder.parameters()) == pytest.approx(49.5e6, rel=0.005)
    shapes = {name: tuple(t.shape) for name, t in released.state_dict().items()}
    assert VAEConfig.from_tensors(shapes) == VAEConfig()


def test_another_networks_tensors_are_refused() -> None:
    with pytest.raises(BadWeights, match="not an SD3 autoencoder"):
        VAEConfig.from_tensors({"encoder.conv_in.weight": (32, 3, 3, 3)})


def test_pixels_stay_in_range(vae: SD3VAE) -> None:
    pixels = vae.decode(torch.randn(1, 16, 2, 3) * 50)
    assert pixels.shape == (1, 3, 16, 24)
    assert float(pixels.min()) >= 0
    assert float(pixels.max()) <= 1


def test_odd_size_is_refused(vae: SD3VAE) -> None:
    with pytest.raises(InvalidInput, match="30x32"):
        vae.encode(torch.zeros(1, 3, 32, 30))


def test_bfloat16_answers_in_float32() -> None:
    small = SD3VAE(SMALL).to(torch.bfloat16).requires_grad_(False)
    assert small.decode(torch.randn(1, 16, 2, 2)).dtype is torch.float32


def correlation(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1])


class TestTiles:
    def test_one_tile_is_the_plain_path(self, vae: SD3VAE) -> None:
        latents = torch.randn(1, 16, 4, 4)
        assert torch.equal(vae.decode_tiled(latents), vae.decode(latents))

    def test_decoding_in_tiles_is_near_the_plain_path(self, vae: SD3VAE) -> None:
        latents = torch.randn(1, 16, 20, 13, generator=torch.Generator().manual_seed(2))
        assert correlation(vae.decode_tiled(latents, tile=10, overlap=4), vae.decode(latents)) > 0.7

    def test_encoding_in_tiles_is_near_the_plain_path(self, vae: SD3VAE) -> None:
        pixels = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(2))
        assert correlation(vae.encode_tiled(pixels, tile=6, overlap=3), vae.encode(pixels)) > 0.7

    @pytest.mark.parametrize("overlap", [0, 1, 3, 7])
    def test_blending_an_exact_function_is_exact(
        self, vae: SD3VAE, overlap: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nearest(latents: Tensor) -> Tensor:
            return latents[:, :3].repeat_interleave(8, -1).repeat_interleave(8, -2)

        monkeypatch.setattr(vae, "_decode", nearest)
        latents = torch.rand(1, 16, 19, 8)
        torch.testing.assert_close(vae.decode_tiled(latents, tile=8, overlap=overlap), nearest(latents))

    def test_too_large_for_memory_falls_back_to_tiles(self, vae: SD3VAE, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = vae._decode

        def small_memory(latents: Tensor) -> Tensor:
            if latents.shape[-1] > 64:
                raise torch.OutOfMemoryError("no room")
            return plain(latents)

        monkeypatch.setattr(vae, "_decode", small_memory)
        assert vae.decode(torch.zeros(1, 16, 2, 70)).shape == (1, 3, 16, 560)

    def test_overlap_as_large_as_the_tile(self, vae: SD3VAE) -> None:
        with pytest.raises(InvalidInput, match="overlap"):
            vae.decode_tiled(torch.zeros(1, 16, 9, 9), tile=4, overlap=4)
