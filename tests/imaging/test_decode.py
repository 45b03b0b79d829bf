"""Bytes of strangers: the sad cases first."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from keelbill.core.errors import BadImage
from keelbill.imaging.decode import ImageFormat, decode, open_header, read_bounded, sniff


def picture(kind: str, size: tuple[int, int] = (24, 16), mode: str = "RGB", **options: object) -> bytes:
    rows = np.linspace(0, 255, size[0] * size[1] * len(mode)).astype(np.uint8).reshape(size[1], size[0], len(mode))
    out = BytesIO()
    Image.fromarray(rows, mode=None).save(out, kind, **options)
    return out.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


class TestRefused:
    def test_no_bytes(self) -> None:
        with pytest.raises(BadImage, match=r"image is empty \(0 bytes\)"):
            decode(b"")

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_truncated(self, kind: str) -> None:
        whole = picture(kind, (64, 64))
        with pytest.raises(BadImage, match="damaged or truncated"):
            decode(whole[: len(whole) // 2])

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_only_the_magic_bytes(self, kind: str) -> None:
        with pytest.raises(BadImage, match="damaged or truncated"):
            decode(picture(kind)[:12])

    def test_too_many_bytes(self) -> None:
        with pytest.raises(BadImage, match="more bytes than the 100 that are allowed"):
            decode(picture("PNG"), max_bytes=100)

    @pytest.mark.parametrize("size", [(60_000, 60_000), (8193, 8192), (2**31 - 1, 2**31 - 1)])
    def test_a_bomb_is_refused_by_its_header(self, size: tuple[int, int]) -> None:
        with pytest.raises(BadImage, match=r"at most 67,108,864 pixels"):
            decode(png_claiming(*size))

    @pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM"])
    def test_other_formats(self, kind: str) -> None:
        with pytest.raises(BadImage, match="not a PNG, JPEG or WebP"):
            decode(picture(kind))

    def test_a_script_with_the_name_of_a_picture(self) -> None:
        with pytest.raises(BadImage, match="not a PNG, JPEG or WebP"):
            decode(b"<svg xmlns='http://www.w3.org/2000/svg'/>")

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_animations(self, kind: str) -> None:
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
        out = BytesIO()
        frames[0].save(out, kind, save_all=True, append_images=frames[1:])
        with pytest.raises(BadImage, match=r"animated \(2 frames\)"):
            decode(out.getvalue())

    def test_a_text_chunk_that_grows_without_end(self) -> None:
        body = b"bomb\0\0" + zlib.compress(b"a" * 50_000_000)
        chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
        whole = picture("PNG")
        with pytest.raises(BadImage, match="damaged"):
            decode(whole[:33] + chunk + whole[33:])

    def test_the_field_is_named(self) -> None:
        with pytest.raises(BadImage, match=r"^mask is empty"):
            decode(b"", field="mask")

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="cannot be read: No such file"):
            read_bounded(tmp_path / "none.png")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="cannot be read: Is a directory"):
            read_bounded(tmp_path)

    def test_a_long_file_is_not_read_whole(self, tmp_path: Path) -> None:
        (tmp_path / "long").write_bytes(bytes(1000))
        assert len(read_bounded(tmp_path / "long", max_bytes=10)) == 11


class TestDecoded:
    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_lossless_values_survive(self, kind: str) -> None:
        expected = np.asarray(Image.open(BytesIO(picture("PNG"))))
        assert np.array_equal(decode(picture(kind, lossless=True)), expected)

    def test_transparency_survives(self) -> None:
        assert decode(picture("PNG", mode="RGBA")).shape == (16, 24, 4)

    def test_a_palette_with_transparency(self) -> None:
        out = BytesIO()
        image = Image.new("P", (4, 4), 1)
        image.putpalette([255, 0, 0, 0, 255, 0])
        image.save(out, "PNG", transparency=1)
        assert decode(out.getvalue())[0, 0, 3] == 0

    def test_sixteen_bit_grey_is_scaled(self) -> None:
        out = BytesIO()
        Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], dtype=np.uint16)).save(out, "PNG")
        assert decode(out.getvalue())[0, :, 0].tolist() == [0, 128, 255]

    def test_four_colour_print(self) -> None:
        out = BytesIO()
        Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(out, "JPEG")
        red, green, blue = decode(out.getvalue())[0, 0]
        assert red > 240
        assert max(green, blue) < 15

    @pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
    def test_turned_upright(self, orientation: int, corner: tuple[int, int]) -> None:
        rows = np.zeros((16, 32, 3), dtype=np.uint8)
        rows[:4, :4] = 255
        exif = Image.Exif()
        exif[0x0112] = orientation
        out = BytesIO()
        Image.fromarray(rows).save(out, "PNG", exif=exif)
        upright = decode(out.getvalue())
        assert upright[corner].tolist() == [255, 255, 255]
        assert upright.shape[:2] == ((16, 32) if orientation in (1, 3) else (32, 16))

    def test_a_broken_exif_block_is_passed_over(self) -> None:
        assert decode(picture("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")).shape == (16, 24, 3)

    def test_the_header_alone_gives_the_size(self) -> None:
        assert open_header(picture("WEBP")).size == (24, 16)

    @pytest.mark.parametrize("kind", list(ImageFormat))
    def test_sniffed(self, kind: ImageFormat) -> None:
        assert sniff(picture(kind.value)) is kind


WHOLE = {kind: picture(kind, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0") for kind in ("PNG", "JPEG", "WEBP")}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(sorted(WHOLE)),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=12),
    cut=st.one_of(st.none(), st.integers(0, 4000)),
)
def test_mutated_bytes_decode_or_are_refused(kind: str, edits: list[tuple[int, int]], cut: int | None) -> None:
    data = bytearray(WHOLE[kind])
    for place, value in edits:
        data[place % len(data)] = value
    try:
        pixels = decode(bytes(data[:cut]), max_pixels=2**20)
    except BadImage as error:
        assert str(error).startswith("image ")  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] in (3, 4)


@settings(max_examples=100, deadline=None)
@given(kind=st.sampled_from(sorted(WHOLE)), tail=st.binary(max_size=300))
def test_random_bytes_after_the_magic_are_refused_or_decoded(kind: str, tail: bytes) -> None:
    try:
        decode(WHOLE[kind][:12] + tail, max_pixels=2**20)
    except BadImage as error:
        assert error.status == 400  # noqa: PT017
