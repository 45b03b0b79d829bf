"""Sizes, aspect ratios and seeds."""

from __future__ import annotations

import pytest

from keelbill.core.errors import InvalidInput
from keelbill.core.types import MAX_SEED, PUBLISHED_SIZES, AspectRatio, Size, random_seed, seed


@pytest.mark.parametrize("value", [-1, MAX_SEED + 1])
def test_seed_out_of_range(value: int) -> None:
    with pytest.raises(InvalidInput, match="seed"):
        seed(value)


def test_random_seeds_are_in_range_and_differ() -> None:
    seeds = {random_seed() for _ in range(50)}
    assert len(seeds) > 40
    assert all(1 <= s < 2**32 for s in seeds)


@pytest.mark.parametrize("text", ["", "1024", "x", "1024x", "-1x5", "12.5x10", "1024x768x3"])
def test_malformed_size(text: str) -> None:
    with pytest.raises(InvalidInput, match="WIDTHxHEIGHT"):
        Size.parse(text)


def test_size_reads_and_writes() -> None:
    assert Size.parse("1024X768") == Size(1024, 768)
    assert str(Size(1024, 768)) == "1024x768"


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (Size(1000, 64), "width 1000 is not allowed; width must be a multiple of 64; nearest: 960 or 1024."),
        (Size(64, 65), "nearest: 64 or 128"),
        (Size(32, 64), "from 64 to 4096"),
        (Size(64, 8192), "height 8192"),
    ],
)
def test_size_off_the_grid(size: Size, message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        size.require_multiple(64)
    assert message in str(error.value)


def test_published_sizes_have_their_ratios() -> None:
    assert len(PUBLISHED_SIZES) == len(AspectRatio) == 9
    for ratio in AspectRatio:
        across, down = map(int, ratio.value.split(":"))
        size = ratio.size
        size.require_multiple(64)
        assert abs(size.width / size.height / (across / down) - 1) < 0.05
        assert 0.9 < size.width * size.height / 2**20 < 1.05
