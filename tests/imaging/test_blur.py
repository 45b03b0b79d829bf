"""Pictures that must not be recognised any more."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from keelbill.core.errors import InvalidInput
from keelbill.imaging.blur import blur

Pixels = NDArray[np.uint8]


def checkers(width: int, height: int, cell: int) -> Pixels:
    rows, columns = np.indices((height, width)) // cell
    return np.repeat((((rows + columns) % 2) * 255).astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_an_array_that_is_no_picture(array: Pixels) -> None:
    with pytest.raises(InvalidInput, match="uint8 with shape"):
        blur(array)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (64, 64), (1024, 640), (90, 2000)])
def test_size_and_kind_stay(width: int, height: int) -> None:
    result = blur(np.full((height, width, 3), 90, dtype=np.uint8))
    assert result.shape == (height, width, 3)
    assert result.dtype == np.uint8
    assert np.abs(result.astype(int) - 90).max() <= 1


@pytest.mark.parametrize("cell", [4, 16, 32])
def test_detail_is_gone(cell: int) -> None:
    assert blur(checkers(512, 512, cell)).std() < 3


def test_what_is_lost_cannot_be_sharpened_back() -> None:
    sharp = checkers(512, 512, 24)
    soft = blur(sharp)
    back = np.asarray(Image.fromarray(soft).filter(ImageFilter.UnsharpMask(radius=20, percent=500, threshold=0)))
    agreement = np.corrcoef(back.reshape(-1), sharp.reshape(-1))[0, 1]
    assert abs(agreement) < 0.2


def test_two_pictures_that_agree_in_the_large_look_the_same() -> None:
    chance = np.random.default_rng(1)
    noise = chance.integers(0, 2, (512, 512, 1), dtype=np.uint8).repeat(3, axis=2) * 255
    assert np.abs(blur(noise).astype(int) - blur(np.ascontiguousarray(noise[::-1])).astype(int)).max() <= 12


def test_the_mood_stays() -> None:
    picture = np.zeros((200, 300, 3), dtype=np.uint8)
    picture[:100] = (40, 90, 220)
    picture[100:] = (30, 140, 40)
    result = blur(picture)
    assert result[5, 150, 2] > result[5, 150, 1] + 60
    assert result[-5, 150, 1] > result[-5, 150, 2] + 60


def test_an_outline_of_transparency_does_not_stay() -> None:
    picture = np.zeros((128, 128, 4), dtype=np.uint8)
    picture[32:96, 32:96] = (200, 30, 30, 255)
    picture[:32, :, :3] = (0, 255, 0)  # hidden behind full transparency
    result = blur(picture)
    assert result.shape == (128, 128, 4)
    assert (result[:, :, 3] == 255).all()
    assert (result[:8, :8, :3] > 230).all()


def test_the_same_picture_gives_the_same_bytes() -> None:
    picture = checkers(300, 200, 7)
    before = picture.copy()
    assert np.array_equal(blur(picture), blur(picture))
    assert np.array_equal(picture, before)
