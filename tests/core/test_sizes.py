"""Sizes of pictures that come and go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.core.sizes import RATIOS, core_size, nearest_ratio, published_size, scaled_to
from keelbill.core.types import Size


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        ("1:1", "1024x1024"),
        ("16:9", "1344x768"),
        ("21:9", "1536x640"),
        ("3:2", "1216x832"),
        ("5:4", "1088x896"),
        ("9:16", "768x1344"),
        ("9:21", "640x1536"),
        ("2:3", "832x1216"),
        ("4:5", "896x1088"),
    ],
)
def test_published_sizes(ratio: str, size: str) -> None:
    assert str(published_size(ratio)) == size


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        ("1:1", "1536x1536"),
        ("5:4", "1632x1344"),
        ("3:2", "1824x1248"),
        ("16:9", "2016x1152"),
        ("21:9", "2304x960"),
        ("4:5", "1344x1632"),
        ("2:3", "1248x1824"),
        ("9:16", "1152x2016"),
        ("9:21", "960x2304"),
    ],
)
def test_core_sizes(ratio: str, size: str) -> None:
    assert str(core_size(ratio)) == size


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_published_size_is_nearest_to_itself(ratio: str) -> None:
    assert nearest_ratio(published_size(ratio)) == ratio


@pytest.mark.parametrize(
    ("size", "ratio"),
    [("1024x1024", "1:1"), ("1536x1024", "3:2"), ("1024x1536", "2:3"), ("1792x1024", "16:9"), ("256x256", "1:1")],
)
def test_sizes_that_openai_clients_send(size: str, ratio: str) -> None:
    assert nearest_ratio(Size.parse(size)) == ratio


@given(st.integers(64, 3000), st.integers(64, 3000))
def test_scaling_keeps_shape_and_lands_near_a_megapixel(width: int, height: int) -> None:
    size = scaled_to(Size(width, height), 1_048_576)
    assert size.width % 16 == size.height % 16 == 0
    assert max(size.width, size.height) <= 4096
    short = min(width, height) / max(width, height)
    if short > 1 / 8:
        assert 0.85 < size.width * size.height / 1_048_576 < 1.15
        assert size.width / size.height == pytest.approx(width / height, rel=0.06)
