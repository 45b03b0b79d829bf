"""Sizes and shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.core.types import AspectRatio, Size
from keelbill.imaging.resize import cover, flatten, size_for_ratio, stretch


def test_the_wanted_size_leaves_pixels_alone() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(cover(pixels, Size(4, 4)), pixels)


def test_cover_keeps_the_centre_and_does_not_distort() -> None:
    pixels = np.zeros((100, 300, 3), dtype=np.uint8)
    pixels[:, 100:200] = 255
    assert cover(pixels, Size(50, 50)).min() == 255


def test_stretch_keeps_everything() -> None:
    pixels = np.zeros((100, 300, 3), dtype=np.uint8)
    pixels[:, 100:200] = 255
    small = stretch(pixels, Size(30, 30))
    assert small[:, :7].max() == 0
    assert small[:, 13:17].min() == 255


def test_transparent_colours_do_not_bleed() -> None:
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[:, :4] = (255, 0, 0, 255)
    pixels[:, 4:] = (0, 255, 0, 0)
    small = stretch(pixels, Size(2, 2))
    assert flatten(small)[:, :, 1].min() >= small[:, :, 1].max()


def test_flatten_lays_on_white() -> None:
    assert flatten(np.zeros((2, 2, 4), dtype=np.uint8)).tolist() == [[[255] * 3] * 2] * 2


@given(
    width=st.integers(1, 200),
    height=st.integers(1, 200),
    target=st.builds(Size, st.integers(1, 64), st.integers(1, 64)),
)
def test_cover_always_gives_the_size(width: int, height: int, target: Size) -> None:
    assert cover(np.zeros((height, width, 3), np.uint8), target).shape == (target.height, target.width, 3)


@pytest.mark.parametrize("native", [128, 256, 512, 1024])
@pytest.mark.parametrize("ratio", list(AspectRatio))
def test_every_ratio_keeps_about_the_native_area(native: int, ratio: AspectRatio) -> None:
    wide, tall = (int(part) for part in ratio.split(":"))
    size = size_for_ratio(wide, tall, native**2, 16)
    size.require_multiple(16)
    assert 0.8 <= size.width * size.height / native**2 <= 1.06
    assert 0.8 <= size.width / size.height / (wide / tall) <= 1.25


def test_a_square_is_the_native_square() -> None:
    assert size_for_ratio(1, 1, 128**2, 16) == Size(128, 128)
