"""Enlarging networks from files: names of three generations, the compact kind, tiles, and files that are none."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.esrgan import OVERLAP, CompactNet, FileUpscaler, RRDBNet, build_esrgan
from support.models import random_weights

WIDTH, GROWTH = 8, 4
Tensors = dict[str, Tensor]


def large(doublings: int = 2, fold: int = 1, blocks: int = 2) -> Tensors:
    """Weights of a small network of the large kind, by the names of today."""
    network = RRDBNet(blocks, WIDTH, GROWTH, doublings, fold)
    random_weights(network, 5)
    return dict(network.state_dict())


def compact(factor: int = 2) -> Tensors:
    network = CompactNet(3, WIDTH, factor)
    random_weights(network, 6)
    return dict(network.state_dict())


def second(tensors: Tensors) -> Tensors:
    """The names of the second generation."""
    found = {}
    for name, tensor in tensors.items():
        now = re.sub(r"^body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2", name)
        now = now.replace("conv_body", "trunk_conv").replace("conv_up", "upconv").replace("conv_hr", "HRconv")
        found[now] = tensor
    return found


def first(tensors: Tensors, blocks: int = 2) -> Tensors:
    """The names of the first generation, in which an enlargement without weights stands before each doubling."""
    doublings = sum(name.startswith("conv_up") and name.endswith("weight") for name in tensors)
    places = {"conv_first": "0", "conv_body": f"1.sub.{blocks}"}
    places |= {f"conv_up{number}": str(3 * number) for number in range(1, doublings + 1)}
    places |= {"conv_hr": str(3 * doublings + 2), "conv_last": str(3 * doublings + 4)}
    found = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        if match := re.fullmatch(r"body\.(\d+)\.rdb(\d)\.conv(\d)", module):
            found[f"model.1.sub.{match[1]}.RDB{match[2]}.conv{match[3]}.0.{kind}"] = tensor
        else:
            found[f"model.{places[module]}.{kind}"] = tensor
    return found


def built(tensors: Tensors) -> FileUpscaler:
    return build_esrgan(tensors, dtype=torch.float32)


@pytest.mark.parametrize(("doublings", "fold", "factor"), [(0, 1, 1), (1, 1, 2), (2, 1, 4), (2, 2, 2), (2, 4, 1)])
@pytest.mark.parametrize("names", [first, second, dict])
def test_names_of_every_generation(names: type[Tensors], doublings: int, fold: int, factor: int) -> None:
    tensors, pixels = large(doublings, fold), torch.rand(3, 20, 28)
    network = built(names(tensors))
    assert network.factor == factor
    out = network.enlarge(pixels, tile=64)
    assert out.shape == (3, 20 * factor, 28 * factor)
    assert torch.equal(out, built(tensors).enlarge(pixels, tile=64))


def test_what_the_large_kind_computes() -> None:
    """One block, written out anew from the paper."""
    tensors, pixels = large(doublings=1, blocks=1), torch.rand(1, 3, 6, 5)

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1)

    x = conv("conv_first", pixels)
    y = x
    for number in (1, 2, 3):
        seen = [y]
        for place in (1, 2, 3, 4):
            seen.append(F.leaky_relu(conv(f"body.0.rdb{number}.conv{place}", torch.cat(seen, 1)), 0.2))
        y = y + 0.2 * conv(f"body.0.rdb{number}.conv5", torch.cat(seen, 1))
    x = x + conv("conv_body", x + 0.2 * y)
    x = F.leaky_relu(conv("conv_up1", x.repeat_interleave(2, -1).repeat_interleave(2, -2)), 0.2)
    x = conv("conv_last", F.leaky_relu(conv("conv_hr", x), 0.2))
    assert torch.allclose(built(tensors).network(pixels), x, atol=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_the_compact_kind(factor: int) -> None:
    tensors = compact(factor)
    pixels = torch.rand(3, 9, 7)
    network = built(tensors)
    assert (network.factor, network.enlarge(pixels, tile=64).shape) == (factor, (3, 9 * factor, 7 * factor))
    silent = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    nearest = pixels.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    assert torch.equal(built(silent).enlarge(pixels, tile=64), nearest)


@pytest.mark.parametrize("wrapper", ["params_ema.", "params."])
def test_wrapped_names(wrapper: str) -> None:
    assert built({wrapper + name: tensor for name, tensor in first(large()).items()}).factor == 4


@pytest.mark.parametrize(("tensors", "fold"), [(large(), 1), (large(2, 2), 2), (compact(), 1)])
def test_tiles_tell_nothing_of_their_edges(tensors: Tensors, fold: int) -> None:
    """Weights so small that nothing far away acts: what is left at the edges would be a fault of the tiles."""
    network, pixels = built({name: 0.3 * tensor for name, tensor in tensors.items()}), torch.rand(3, 101, 87)
    told: list[tuple[int, int]] = []
    tiled = network.enlarge(pixels, tile=40, step=lambda place, count: told.append((place, count)))
    whole = network.enlarge(pixels, tile=101)
    assert told == [(place, 9) for place in range(9)]
    assert float((tiled - whole).abs().max()) < 1e-5
    assert OVERLAP % fold == 0


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiny_pictures(side: int) -> None:
    assert built(large(2, 4)).enlarge(torch.rand(3, side, side), tile=64).shape == (3, side, side)


def test_wrong_shape_is_named() -> None:
    with pytest.raises(InvalidInput, match="pixels"):
        built(compact()).enlarge(torch.rand(1, 8, 8), tile=8)


class TestNoNetworks:
    @pytest.mark.parametrize(
        ("tensors", "said"),
        [
            ({}, "of a kind that is known"),
            ({"transformer.weight": torch.zeros(2)}, "of a kind that is known"),
            ({"model.0.weight": torch.zeros(2)}, "of a kind that is known"),
            ({"conv_first.weight": torch.zeros(2), "body.0.rdb1.conv1.weight": torch.zeros(3)}, "kind that is known"),
            (large(3), "enlarges 8 times"),
            (large(0, 2), "smaller than they go in"),
            ({"body.0.weight": torch.zeros(2), "body.1.weight": torch.zeros(2)}, "does not make pixels"),
            (large() | {"extra": torch.zeros(1)}, "extra"),
            ({name: tensor for name, tensor in large().items() if name != "conv_hr.bias"}, "conv_hr.bias"),
            (large() | {"conv_hr.bias": torch.zeros(3)}, "conv_hr.bias"),
            (large() | {"conv_hr.bias": torch.full((WIDTH,), float("nan"))}, "conv_hr.bias"),
        ],
    )
    def test_are_refused(self, tensors: Tensors, said: str) -> None:
        with pytest.raises(BadWeights, match=said):
            built(tensors)
