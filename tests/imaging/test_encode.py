"""Pixels to bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keelbill.core.errors import InvalidInput
from keelbill.imaging.decode import ImageFormat, decode, sniff
from keelbill.imaging.encode import encode, from_pixels, to_pixels

SMOOTH = np.stack([*np.meshgrid(np.arange(64), np.arange(48)), np.full((48, 64), 128)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))])
def test_an_array_that_is_no_picture(pixels: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="uint8 with shape"):
        encode(pixels, ImageFormat.PNG)


@pytest.mark.parametrize("kind", list(ImageFormat))
def test_the_bytes_are_of_the_format_asked_for(kind: ImageFormat) -> None:
    assert sniff(encode(SMOOTH, kind)) is kind


@pytest.mark.parametrize(("kind", "bound"), [(ImageFormat.PNG, 0), (ImageFormat.JPEG, 6), (ImageFormat.WEBP, 8)])
def test_values_survive_as_well_as_the_format_allows(kind: ImageFormat, bound: int) -> None:
    again = decode(encode(SMOOTH, kind))
    assert np.abs(again.astype(int) - SMOOTH).max() <= bound


def test_transparency_becomes_white_in_jpeg() -> None:
    clear = np.zeros((16, 16, 4), np.uint8)
    assert decode(encode(clear, ImageFormat.JPEG)).min() > 250


def test_the_same_pixels_give_the_same_bytes() -> None:
    for kind in ImageFormat:
        assert encode(SMOOTH, kind) == encode(SMOOTH, kind)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8), st.just(3))))
def test_floats_and_back(pixels: np.ndarray) -> None:
    assert np.array_equal(to_pixels(from_pixels(pixels)), pixels)


def test_floats_are_rounded_and_clipped() -> None:
    values = np.array([-1.0, 0.0019, 0.00197, 2.0], dtype=np.float32)
    picture = np.broadcast_to(values, (3, 1, 4))
    assert to_pixels(picture)[0, :, 0].tolist() == [0, 0, 1, 255]
