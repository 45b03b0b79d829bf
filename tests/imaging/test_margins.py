"""Margins for outpainting: mirror images, and masks that rise over the seam."""

from __future__ import annotations

import numpy as np

from keelbill.imaging.margins import SEAM, Margins

PIXELS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


def test_the_picture_stays_and_its_mirror_image_is_around_it() -> None:
    wide = Margins(left=2, top=1, right=0, bottom=3).widened(PIXELS)
    assert wide.shape == (8, 7, 3)
    assert np.array_equal(wide[1:5, 2:], PIXELS)
    assert np.array_equal(wide[1:5, 1], PIXELS[:, 0])
    assert np.array_equal(wide[0, 2:], PIXELS[0])


def test_a_margin_wider_than_the_picture() -> None:
    assert Margins(right=23).widened(PIXELS).shape == (4, 28, 3)


def test_nothing_of_the_picture_is_new_and_all_is_beyond_the_seam() -> None:
    mask = Margins(left=100, bottom=8).mask(40, 50)
    assert mask.shape == (48, 150)
    assert mask.dtype == np.float32
    assert not mask[:40, 100:].any()
    assert (mask[:, : 100 - int(SEAM)] == 1).all()
    assert mask[40:, 120].tolist() == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]


def test_a_margin_of_one_pixel_is_new() -> None:
    assert Margins(top=1).mask(2, 2).tolist() == [[1, 1], [0, 0], [0, 0]]


def test_it_is_named_as_it_is_typed() -> None:
    assert str(Margins(1, 2, 3, 4)) == "1,2,3,4"
