"""The transformer against an independent implementation, against itself in a crowd, and at its edges."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.config import MMDiTConfig
from keelbill.engine.layers import TILES, agreeing_tiles, crop_positions, position_table, strict_linear
from keelbill.engine.mmdit import LowRankUpdate, MMDiT
from keelbill.engine.naming import Part, to_folder
from support.models import LARGE_SHAPED, MEDIUM_SHAPED, VARIANTS, transformer

SHAPES = [((16, 32, 32), 77, 0.9), ((16, 24, 40), 154, 0.5), ((16, 40, 16), 77, 0.0375)]


def relative(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


def peer(network: MMDiT, dtype: torch.dtype) -> torch.nn.Module:
    """Build the same network with the reference library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers import SD3Transformer2DModel

        c = network.config
        other = SD3Transformer2DModel(
            sample_size=32,
            patch_size=2,
            in_channels=16,
            num_layers=c.depth,
            attention_head_dim=64,
            num_attention_heads=c.heads,
            joint_attention_dim=c.context_dim,
            caption_projection_dim=c.width,
            pooled_projection_dim=c.pooled_dim,
            out_channels=16,
            pos_embed_max_size=c.pos_side,
            qk_norm="rms_norm" if c.qk_norm else None,
            dual_attention_layers=c.dual_blocks,
        )
    other.load_state_dict(to_folder(Part.TRANSFORMER, network.state_dict()))
    ready: torch.nn.Module = other.to(dtype).eval()
    return ready


def rows(config: MMDiTConfig, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    latents = [torch.randn(shape, generator=generator) for shape, _, _ in SHAPES]
    contexts = [torch.randn(n, config.context_dim, generator=generator).to(dtype) for _, n, _ in SHAPES]
    pooled = torch.randn(3, config.pooled_dim, generator=generator).to(dtype)
    return latents, contexts, torch.tensor([s for _, _, s in SHAPES]), pooled


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 1e-2)])
def test_parity_with_reference(variant: str, dtype: torch.dtype, tolerance: float) -> None:
    network = transformer(VARIANTS[variant], dtype=dtype)
    latents, contexts, sigmas, pooled = rows(network.config, dtype)
    other = peer(network, dtype)
    with torch.inference_mode():
        packed = network.forward_packed(latents, contexts, network.modulation(sigmas, pooled))
        for i, out in enumerate(packed):
            expected = other(
                hidden_states=latents[i][None].to(dtype),
                encoder_hidden_states=contexts[i][None],
                pooled_projections=pooled[i : i + 1],
                timestep=sigmas[i : i + 1] * 1000,
                return_dict=False,
            )[0][0]
            assert relative(out, expected) <= tolerance
            if dtype is torch.float32:
                assert (out - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_simple_path_equals_packed_path(variant: str) -> None:
    network = transformer(VARIANTS[variant])
    latents, contexts, sigmas, pooled = rows(network.config, torch.float32)
    with torch.inference_mode():
        packed = network.forward_packed(latents, contexts, network.modulation(sigmas, pooled))
        for i, out in enumerate(packed):
            plain = network(latents[i][None], sigmas[i : i + 1], contexts[i][None], pooled[i : i + 1])[0]
            assert relative(plain, out) < 2e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_crowd_row_is_bitwise_its_own(dtype: torch.dtype) -> None:
    network = transformer(MEDIUM_SHAPED, dtype=dtype)
    latents, contexts, sigmas, pooled = rows(network.config, dtype)
    with torch.inference_mode():
        packed = network.forward_packed(latents, contexts, network.modulation(sigmas, pooled))
        for i, out in enumerate(packed):
            table = network.modulation(sigmas[i : i + 1], pooled[i : i + 1])
            assert torch.equal(network.forward_packed([latents[i]], [contexts[i]], table)[0], out)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 7, 120, 128, 129, 700, 900])
def test_crowd_product_ignores_other_rows(dtype: torch.dtype, count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(1024, 256).to(dtype)
    x = torch.randn(1000, 1024, generator=generator).to(dtype)
    with torch.inference_mode():
        whole = strict_linear(layer, x)
        assert torch.equal(strict_linear(layer, x[:count]), whole[:count])
        assert torch.equal(strict_linear(layer, x[-count:]), whole[-count:])
        assert relative(whole, layer(x)) < (1e-6 if dtype is torch.float32 else 5e-3)


def test_agreeing_row_counts_are_of_one_kind() -> None:
    tiles = agreeing_tiles(1024, 256, torch.float32, torch.get_num_threads(), torch.get_float32_matmul_precision())
    assert 512 in tiles
    assert set(tiles) <= set(TILES)


def test_skipped_blocks_are_left_out() -> None:
    network = transformer(LARGE_SHAPED)
    latents, contexts, sigmas, pooled = rows(network.config, torch.float32)
    with torch.inference_mode():
        table = network.modulation(sigmas, pooled)
        whole = network.forward_packed(latents, contexts, table)
        skipped = network.forward_packed(latents, contexts, table, skip=frozenset({1}))
        block = network.blocks()[1]
        for stream in (block.x_block, block.context_block):
            stream.modulation.weight.zero_()
            stream.modulation.bias.zero_()
        identity = network.forward_packed(latents, contexts, network.modulation(sigmas, pooled))
    assert relative(skipped[0], whole[0]) > 1e-3
    assert all(relative(a, b) < 1e-6 for a, b in zip(skipped, identity, strict=True))


def test_low_rank_update_touches_only_its_row() -> None:
    network = transformer(LARGE_SHAPED)
    latents, contexts, sigmas, pooled = rows(network.config, torch.float32)
    generator = torch.Generator().manual_seed(3)
    names = ["joint_blocks.0.x_block.attn.qkv", "joint_blocks.1.context_block.mlp.fc1", "final_layer.linear"]
    modules = dict(network.named_modules())
    factors = {}
    for name in names:
        layer = modules[name]
        assert isinstance(layer, torch.nn.Linear)
        down = torch.randn(4, layer.in_features, generator=generator) * 0.1
        factors[name] = (down, torch.randn(layer.out_features, 4, generator=generator) * 0.1)
    update = LowRankUpdate(factors)
    with torch.inference_mode():
        table = network.modulation(sigmas, pooled)
        plain = network.forward_packed(latents, contexts, table)
        mixed = network.forward_packed(latents, contexts, table, updates=[None, update, None])
        for name, (down, up) in factors.items():
            modules[name].weight.add_(up @ down)
        merged = network.forward_packed(latents, contexts, table)
    assert torch.equal(mixed[0], plain[0])
    assert torch.equal(mixed[2], plain[2])
    assert relative(mixed[1], plain[1]) > 1e-2
    assert relative(mixed[1], merged[1]) < 1e-5


def test_configuration_is_read_off_shapes() -> None:
    for config in VARIANTS.values():
        shapes = {name: tuple(t.shape) for name, t in transformer(config).state_dict().items()}
        assert MMDiTConfig.from_tensors(shapes) == config


def test_parameter_counts_of_the_family() -> None:
    medium = MMDiTConfig(24, 1536, 192, 4096, 2048, qk_norm=False)
    large = MMDiTConfig(38, 2432, 192, 4096, 2048)
    dual = MMDiTConfig(24, 1536, 384, 4096, 2048, dual_blocks=tuple(range(13)))
    counts = [round(c.parameters() / 1e9, 3) for c in (medium, dual, large)]
    assert counts == [2.028, 2.243, 8.057]
    assert [c.family for c in (medium, dual, large)] == ["SD3 Medium", "SD3.5 Medium", "SD3.5 Large"]


def test_other_tensors_are_not_a_transformer() -> None:
    with pytest.raises(BadWeights, match=r"no tensor 'x_embedder\.proj\.weight'"):
        MMDiTConfig.from_tensors({"conv_in.weight": (320, 4, 3, 3)})


def test_latents_larger_than_the_position_table() -> None:
    network = transformer(LARGE_SHAPED)
    too_large = torch.zeros(1, 16, 100, 8)
    with pytest.raises(InvalidInput, match="at most 48"):
        network(too_large, torch.ones(1), torch.zeros(1, 3, 64), torch.zeros(1, 32))


def test_untrained_network_predicts_nothing() -> None:
    network = MMDiT(LARGE_SHAPED)
    network.init_weights(torch.Generator().manual_seed(0))
    out = network(torch.randn(2, 16, 8, 8), torch.ones(2), torch.randn(2, 3, 64), torch.randn(2, 32))
    assert torch.equal(out, torch.zeros_like(out))


def test_positions_are_cut_from_the_centre() -> None:
    table = position_table(64, 8, 8)
    grid = table.view(8, 8, 64)
    assert torch.equal(crop_positions(table, 2, 4), grid[3:5, 2:6].reshape(8, 64))
    assert torch.equal(grid[5, 2, :32], grid[1, 2, :32])
    assert torch.equal(grid[5, 2, 32:], grid[5, 7, 32:])
