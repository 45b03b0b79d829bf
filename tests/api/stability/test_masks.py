"""Masks as workers read them: white is painted anew, black is kept."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from keelbill.api.stability.masks import inverted, is_opaque, white_where_transparent
from keelbill.imaging.clean import CleanImage
from support.forms import cutout, png, size_of


def clean(data: bytes, *, has_alpha: bool = False) -> CleanImage:
    return CleanImage(data, *size_of(data), has_alpha=has_alpha)


def grey_at(mask: CleanImage, x: int, y: int) -> object:
    with Image.open(BytesIO(mask.png)) as image:
        assert image.mode == "L"
        return image.getpixel((x, y))


def test_black_becomes_white() -> None:
    mask = inverted(clean(png(8, 4, mode="L", colour=200)))
    assert grey_at(mask, 0, 0) == 55
    assert (mask.width, mask.height, mask.has_alpha) == (8, 4, False)


def test_colours_count_by_their_brightness() -> None:
    assert grey_at(inverted(clean(png(8, 4, colour=(255, 255, 255)))), 0, 0) == 0


def test_transparent_becomes_white() -> None:
    mask = white_where_transparent(clean(cutout(8, 4), has_alpha=True))
    assert (grey_at(mask, 0, 0), grey_at(mask, 7, 0)) == (255, 0)


def test_a_picture_is_opaque_unless_a_part_is_transparent() -> None:
    assert is_opaque(clean(png(8, 4)))
    assert is_opaque(clean(png(8, 4, mode="RGBA"), has_alpha=True))
    assert not is_opaque(clean(cutout(8, 4), has_alpha=True))


def test_every_mask_has_its_own_digest() -> None:
    mask = inverted(clean(png(8, 4, mode="L", colour=200)))
    masks = [mask, inverted(mask)]
    assert len({mask.sha256 for mask in masks}) == 2
    assert all(len(mask.sha256) == 64 for mask in masks)
