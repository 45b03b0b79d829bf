"""Masks: 1 is repainted, 0 is kept."""

from __future__ import annotations

import numpy as np
import pytest

from keelbill.core.errors import BadImage, InvalidInput
from keelbill.core.types import Size
from keelbill.imaging import masks


def dot(side: int = 41) -> np.ndarray:
    mask = np.zeros((side, side), np.float32)
    mask[side // 2, side // 2] = 1
    return mask


def test_an_opaque_picture_has_no_transparency_to_read() -> None:
    with pytest.raises(BadImage, match="give a mask"):
        masks.from_transparency(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize("pixels", [-1, 101])
def test_grow_out_of_range(pixels: int) -> None:
    with pytest.raises(InvalidInput, match="from 0 to 100 pixels"):
        masks.grow(dot(), pixels)


def test_white_is_repainted_and_black_is_kept() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0] = 255
    assert masks.from_brightness(pixels).tolist() == [[1, 1], [0, 0]]


def test_transparent_white_is_kept() -> None:
    pixels = np.full((1, 1, 4), 255, np.uint8)
    pixels[..., 3] = 0
    assert masks.from_brightness(pixels).tolist() == [[0]]


def test_transparent_parts_are_repainted() -> None:
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, 0, 3] = 255
    assert masks.from_transparency(pixels).tolist() == [[0, 1]]


def test_growing_by_nothing_changes_nothing() -> None:
    assert np.array_equal(masks.grow(dot(), 0), dot())


def test_growing_widens_softly_and_keeps_what_was_in() -> None:
    grown = masks.grow(dot(), 8)
    assert grown[20, 20] == 1
    assert 0.3 < grown[20, 12] < 0.7
    assert grown[20, 0] == 0


def test_a_mask_is_cut_like_its_picture() -> None:
    mask = np.zeros((10, 30), np.float32)
    mask[:, 10:20] = 1
    assert masks.fit(mask, Size(5, 5)).min() == 1
