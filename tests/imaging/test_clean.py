"""Pictures of strangers, rebuilt from their pixels alone."""

from __future__ import annotations

import hashlib
import zlib
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from keelbill.core.errors import BadImage, InvalidRequest
from keelbill.imaging.clean import CleanImage, Limits, clean, read_pixels
from support import hostile

Pixels = NDArray[np.uint8]
ANY = Limits()


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def shown(picture: CleanImage) -> Image.Image:
    image = Image.open(BytesIO(picture.png))
    image.load()
    return image


def corners(width: int = 8, height: int = 4) -> Image.Image:
    """A picture whose four corners differ, so that every turn shows."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[0, 0], pixels[0, -1], pixels[-1, 0], pixels[-1, -1] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
    return Image.fromarray(pixels)


class TestLimits:
    def test_every_broken_limit_is_named(self) -> None:
        limits = Limits("mask", min_side=64, max_side=100, min_pixels=4096, max_aspect=2.5)
        with pytest.raises(InvalidRequest) as caught:
            limits.check(150, 20)
        assert caught.value.problems == (
            "mask: each side must be at least 64 pixels, got 150x20",
            "mask: each side must be at most 100 pixels, got 150x20",
            "mask: must have from 4,096 to 9,437,184 pixels, got 3,000 (150x20)",
            "mask: must have an aspect ratio between 1:2.5 and 2.5:1, got 150x20",
        )

    @pytest.mark.parametrize("size", [(64, 64), (160, 64), (64, 160), (4096, 2304)])
    def test_the_bounds_themselves_are_allowed(self, size: tuple[int, int]) -> None:
        Limits(min_side=64, min_pixels=4096, max_aspect=2.5).check(*size)

    @pytest.mark.parametrize("size", [(161, 64), (64, 161)])
    def test_one_pixel_too_narrow(self, size: tuple[int, int]) -> None:
        with pytest.raises(InvalidRequest, match=r"aspect ratio between 1:2\.5 and 2\.5:1"):
            Limits(max_aspect=2.5).check(*size)

    def test_no_pixels(self) -> None:
        with pytest.raises(BadImage, match=r"^image: has no pixels \(0x9\)$"):
            ANY.check(0, 9)

    def test_the_field_is_named(self) -> None:
        with pytest.raises(BadImage, match=r"^style_image: must be a PNG"):
            clean(b"GIF89a", Limits("style_image"))


class TestSizesInHeaders:
    @pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 80}, {"lossless": True, "exif": b"Exif\0\0"}])
    def test_webp_of_each_kind(self, options: dict[str, object]) -> None:
        data = file_of(Image.new("RGB", (71, 39), (10, 200, 30)), "WEBP", **options)
        with pytest.raises(InvalidRequest, match="got 71x39"):
            clean(data, Limits(min_side=40))
        assert clean(data, ANY).width == 71

    def test_webp_with_transparency(self) -> None:
        data = file_of(Image.new("RGBA", (33, 17), (10, 200, 30, 90)), "WEBP")
        picture = clean(data, ANY)
        assert (picture.width, picture.height, picture.has_alpha) == (33, 17, True)

    def test_a_size_is_refused_although_the_data_is_missing(self) -> None:
        data = hostile.png(hostile.header(5000, 5000), hostile.chunk(b"IDAT", b""))
        with pytest.raises(InvalidRequest, match="got 25,000,000"):
            clean(data, ANY)


class TestPixels:
    @pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
    def test_plain_modes_stay_exactly(self, mode: str, channels: int) -> None:
        pixels = hostile.noise(37, 23, channels)
        image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
        assert image.mode == mode
        back = shown(clean(file_of(image), ANY))
        assert back.mode == mode
        assert np.array_equal(np.asarray(back), np.asarray(image))

    def test_grey_with_transparency_becomes_rgba(self) -> None:
        image = Image.new("LA", (9, 9), (100, 50))
        back = shown(clean(file_of(image), ANY))
        assert back.mode == "RGBA"
        assert back.getpixel((0, 0)) == (100, 100, 100, 50)

    def test_one_bit_becomes_grey(self) -> None:
        image = Image.new("1", (9, 9), 1)
        back = shown(clean(file_of(image), ANY))
        assert back.mode == "L"
        assert back.getpixel((4, 4)) == 255

    def test_a_palette_becomes_rgb(self) -> None:
        image = corners().quantize(8)
        picture = clean(file_of(image), ANY)
        assert not picture.has_alpha
        assert shown(picture).getpixel((7, 0)) == (0, 255, 0)

    def test_a_palette_with_a_transparent_entry_becomes_rgba(self) -> None:
        image = Image.new("P", (4, 4), 1)
        image.putpalette([255, 0, 0, 0, 0, 255])
        image.putpixel((0, 0), 0)
        picture = clean(file_of(image, transparency=0), ANY)
        assert picture.has_alpha
        assert shown(picture).getpixel((0, 0)) == (255, 0, 0, 0)
        assert shown(picture).getpixel((1, 1)) == (0, 0, 255, 255)

    def test_a_palette_with_graded_transparency(self) -> None:
        image = Image.new("P", (4, 4), 1)
        image.putpalette([255, 0, 0, 0, 0, 255])
        picture = clean(file_of(image, transparency=bytes([0, 128])), ANY)
        assert shown(picture).getpixel((1, 1)) == (0, 0, 255, 128)

    def test_one_colour_that_counts_as_transparent(self) -> None:
        picture = clean(file_of(corners(), transparency=(255, 0, 0)), ANY)
        assert shown(picture).getpixel((0, 0)) == (255, 0, 0, 0)
        assert shown(picture).getpixel((7, 0)) == (0, 255, 0, 255)

    def test_sixteen_bit_grey_is_scaled_not_clipped(self) -> None:
        image = Image.fromarray(np.full((8, 8), 0x7FFF, dtype=np.uint16))
        back = shown(clean(file_of(image), ANY))
        assert back.mode == "L"
        assert back.getpixel((3, 3)) == 0x7F

    def test_sixteen_bit_colour(self) -> None:
        row = b"\0" + bytes([0x80, 0xFF, 0x10, 0x00, 0xFF, 0xFF]) * 4
        data = hostile.png(hostile.header(4, 4, depth=16), hostile.chunk(b"IDAT", zlib.compress(row * 4)))
        assert shown(clean(data, ANY)).getpixel((0, 0)) == (0x80, 0x10, 0xFF)

    def test_cmyk_becomes_rgb(self) -> None:
        image = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
        red, green, blue = np.asarray(shown(clean(file_of(image, "JPEG", quality=95), ANY)))[9, 9]
        assert red < 20
        assert min(green, blue) > 200

    def test_grey_jpeg_stays_grey(self) -> None:
        image = Image.new("L", (32, 32), 77)
        assert shown(clean(file_of(image, "JPEG"), ANY)).mode == "L"

    def test_progressive_jpeg(self) -> None:
        picture = clean(hostile.photo(120, 90, "JPEG", progressive=True), ANY)
        assert (picture.width, picture.height) == (120, 90)

    def test_interlaced_png(self) -> None:
        # Adam7 of one pixel: a single pass of one sample.
        data = hostile.png(hostile.header(1, 1, interlace=1), hostile.chunk(b"IDAT", zlib.compress(b"\0\x01\x02\x03")))
        assert shown(clean(data, ANY)).getpixel((0, 0)) == (1, 2, 3)


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_every_turn_is_undone(self, kind: str, orientation: int) -> None:
        upright = corners()
        undo = {
            1: [],
            2: [Image.Transpose.FLIP_LEFT_RIGHT],
            3: [Image.Transpose.ROTATE_180],
            4: [Image.Transpose.FLIP_TOP_BOTTOM],
            5: [Image.Transpose.ROTATE_90, Image.Transpose.FLIP_TOP_BOTTOM],
            6: [Image.Transpose.ROTATE_90],
            7: [Image.Transpose.ROTATE_270, Image.Transpose.FLIP_TOP_BOTTOM],
            8: [Image.Transpose.ROTATE_270],
        }[orientation]
        stored = upright
        for turn in undo:
            stored = stored.transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        picture = clean(file_of(stored, kind, exif=exif.tobytes(), **options), ANY)
        assert (picture.width, picture.height) == upright.size
        assert np.array_equal(np.asarray(shown(picture)), np.asarray(upright))

    def test_a_turned_jpeg(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        picture = clean(hostile.photo(96, 64, "JPEG", exif=exif), ANY)
        assert (picture.width, picture.height) == (64, 96)

    def test_a_turned_palette_keeps_its_transparency(self) -> None:
        image = Image.new("P", (4, 2), 1)
        image.putpalette([255, 0, 0, 0, 0, 255])
        image.putpixel((0, 0), 0)
        exif = Image.Exif()
        exif[0x0112] = 3
        picture = clean(file_of(image, transparency=0, exif=exif), ANY)
        assert shown(picture).getpixel((3, 1)) == (255, 0, 0, 0)

    @pytest.mark.parametrize("orientation", [0, 9, 65_535])
    def test_an_orientation_that_does_not_exist(self, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        assert clean(file_of(corners(), exif=exif), ANY).width == 8


class TestResult:
    def test_the_hash_is_that_of_the_file(self) -> None:
        picture = clean(hostile.photo(), ANY)
        assert picture.sha256 == hashlib.sha256(picture.png).hexdigest()

    def test_the_same_pixels_give_the_same_file_whatever_they_came_in(self) -> None:
        image = corners()
        files = [
            file_of(image),
            file_of(image, compress_level=0),
            file_of(image, "WEBP", lossless=True, exact=True),
            file_of(image, dpi=(300, 300)),
        ]
        assert len({clean(data, ANY).sha256 for data in files}) == 1

    def test_cleaning_twice_changes_nothing(self) -> None:
        once = clean(hostile.photo(300, 200, "JPEG"), ANY)
        assert clean(once.png, ANY) == once

    def test_pixels_can_be_had_without_a_file(self) -> None:
        assert read_pixels(hostile.photo(30, 20), ANY).shape == (20, 30, 3)
