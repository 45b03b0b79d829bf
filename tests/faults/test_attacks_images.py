"""Pictures that are meant to harm: each is refused with an exact message, in bounded time and memory."""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keelbill.core.errors import AppError, BadImage, InvalidRequest
from keelbill.imaging.sandbox import DecodeService
from support import hostile

NOT_READ = "image: must be a PNG, JPEG or WebP picture; no other format is read"
DAMAGED_PNG = "image: is a damaged or truncated PNG file"
DAMAGED_JPEG = "image: is a damaged or truncated JPEG file"
DAMAGED_WEBP = "image: is a damaged or truncated WEBP file"
LIMIT = "image: must have from 4,096 to 9,437,184 pixels, got {:,} ({}x{})"
GOOD = hostile.photo(80, 64)

MOST_S = 2.0
MOST_MEMORY_KB = 512 * 1024


def saved(kind: str, **options: object) -> bytes:
    out = BytesIO()
    Image.new("RGB", (64, 64), (9, 9, 9)).save(out, kind, **options)
    return out.getvalue()


def animated(kind: str) -> bytes:
    out = BytesIO()
    frames = [Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in (0, 90, 200)]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=50)
    return out.getvalue()


def too_many(width: int, height: int) -> str:
    return LIMIT.format(width * height, width, height)


FOREIGN: dict[str, Callable[[], bytes]] = {
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "svg behind a declaration": lambda: b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x "y">]><svg>&x;</svg>',
    "gif": lambda: saved("GIF"),
    "animated gif": lambda: animated("GIF"),
    "bmp": lambda: saved("BMP"),
    "tiff": lambda: saved("TIFF"),
    "ico": lambda: saved("ICO"),
    "pcx": lambda: saved("PCX"),
    "tga": lambda: saved("TGA"),
    "jpeg 2000": lambda: b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(64),
    "eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\nshowpage\n",
    "pdf": lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
    "psd": lambda: b"8BPS\0\1" + bytes(64),
    "fits": lambda: b"SIMPLE  =                    T" + bytes(80),
    "mvg": lambda: b"push graphic-context\nviewbox 0 0 64 64\nimage over 0,0 0,0 'https://example.com/'",
    "heif": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64),
    "avif": lambda: b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(64),
    "zip": lambda: b"PK\x03\x04" + bytes(64),
    "gzip": lambda: b"\x1f\x8b\x08" + bytes(64),
    "tar": lambda: b"a.png".ljust(257, b"\0") + b"ustar\0" + bytes(249),
    "text": lambda: b"a picture of a cat",
    "html": lambda: b"<!doctype html><img src=x onerror=alert(1)>",
    "one byte": lambda: b"\x89",
    "nothing but the magic, cut": lambda: hostile.PNG_MAGIC[:7],
    "picture behind a blank": lambda: b" " + GOOD,
    "riff of another kind": lambda: b"RIFF\x24\0\0\0WAVEfmt " + bytes(64),
    "mpeg stream": lambda: b"\0\0\x01\xba" + bytes(64),
    "pickle": lambda: b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x05hello\x94.",
}

DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "png magic alone": (lambda: hostile.PNG_MAGIC, DAMAGED_PNG),
    "png of chunks without a header": (lambda: hostile.png(), DAMAGED_PNG),
    "png cut in the header": (lambda: GOOD[:20], DAMAGED_PNG),
    "png cut in the middle": (lambda: GOOD[: len(GOOD) // 2], DAMAGED_PNG),
    "png without data": (lambda: hostile.png(hostile.header(64, 64)), DAMAGED_PNG),
    "png with too little data": (
        lambda: hostile.png(hostile.header(64, 64), hostile.chunk(b"IDAT", zlib.compress(bytes(100)))),
        DAMAGED_PNG,
    ),
    "png with data that is no stream": (
        lambda: hostile.png(hostile.header(64, 64), hostile.chunk(b"IDAT", b"\xff" * 99)),
        DAMAGED_PNG,
    ),
    "png with a wrong checksum": (
        lambda: hostile.PNG_MAGIC + hostile.header(64, 64)[:-4] + b"\0\0\0\0" + GOOD[33:],
        DAMAGED_PNG,
    ),
    "png whose chunk claims two gigabytes": (
        lambda: hostile.with_chunk(hostile.chunk(b"tEXt", b"x", length=2**31 - 1)),
        DAMAGED_PNG,
    ),
    "png of an unknown colour type": (
        lambda: hostile.png(hostile.header(64, 64, colour=7), hostile.chunk(b"IDAT", zlib.compress(bytes(9999)))),
        DAMAGED_PNG,
    ),
    "png of text that unfolds to 64 MiB": (
        lambda: hostile.with_chunk(hostile.chunk(b"zTXt", b"Comment\0\0" + hostile.unfolding(64 * 2**20))),
        DAMAGED_PNG,
    ),
    "png of many texts that unfold": (
        lambda: hostile.with_chunk(
            b"".join(hostile.chunk(b"zTXt", b"k%d\0\0" % index + hostile.unfolding(2**20)) for index in range(64))
        ),
        DAMAGED_PNG,
    ),
    "png with a profile that unfolds to 64 MiB": (
        lambda: hostile.with_chunk(hostile.chunk(b"iCCP", b"p\0\0" + hostile.unfolding(64 * 2**20))),
        DAMAGED_PNG,
    ),
    "jpeg magic alone": (lambda: b"\xff\xd8\xff", DAMAGED_JPEG),
    "jpeg of end markers": (lambda: b"\xff\xd8\xff\xd9" * 9, DAMAGED_JPEG),
    "jpeg cut in the middle": (lambda: hostile.photo(96, 64, "JPEG")[:-200], DAMAGED_JPEG),
    "jpeg cut in the header": (lambda: hostile.photo(96, 64, "JPEG")[:30], DAMAGED_JPEG),
    "jpeg whose segment is longer than the file": (lambda: b"\xff\xd8\xff\xe0\xff\xff" + bytes(60), DAMAGED_JPEG),
    "webp magic alone": (lambda: b"RIFF\x04\0\0\0WEBP", DAMAGED_WEBP),
    "webp cut in the middle": (lambda: hostile.photo(96, 64, "WEBP")[:-60], DAMAGED_WEBP),
    "webp of an unknown chunk": (lambda: b"RIFF\x24\0\0\0WEBPXXXX" + bytes(40), DAMAGED_WEBP),
    "webp with nothing behind its extended header": (lambda: hostile.webp_extended(640, 640), DAMAGED_WEBP),
    "png header on jpeg data": (lambda: hostile.PNG_MAGIC + hostile.photo(64, 64, "JPEG"), DAMAGED_PNG),
    "gif called png by eight bytes": (lambda: hostile.PNG_MAGIC + saved("GIF"), DAMAGED_PNG),
    "script behind the jpeg magic": (lambda: b"\xff\xd8\xff/*<script>alert(1)</script>*/" + bytes(64), DAMAGED_JPEG),
}

OVERSIZED: dict[str, tuple[Callable[[], bytes], str]] = {
    "png bomb of 10 by 10 thousand": (lambda: hostile.bomb(10_000, 10_000, 0), too_many(10_000, 10_000)),
    "png that claims the greatest size": (
        lambda: hostile.png(hostile.header(2**31 - 1, 2**31 - 1), hostile.chunk(b"IDAT", b"x")),
        too_many(2**31 - 1, 2**31 - 1),
    ),
    "png one row over the limit": (
        lambda: hostile.png(hostile.header(4096, 2305), hostile.chunk(b"IDAT", b"x")),
        too_many(4096, 2305),
    ),
    "png line of nine million": (
        lambda: hostile.png(hostile.header(9_437_185, 1), hostile.chunk(b"IDAT", b"x")),
        "image: each side must be at least 64 pixels, got 9437185x1",
    ),
    "jpeg that claims 65,500 squared": (lambda: hostile.jpeg_with_size(65_500, 65_500), too_many(65_500, 65_500)),
    "webp that claims 16 million squared": (lambda: hostile.webp_extended(2**24, 2**24), too_many(2**24, 2**24)),
    "webp that claims 16,383 squared": (lambda: hostile.webp_extended(16_383, 16_383), too_many(16_383, 16_383)),
    "one pixel": (lambda: hostile.photo(1, 1), "image: each side must be at least 64 pixels, got 1x1"),
}


@pytest.fixture(scope="module")
def service() -> Iterator[DecodeService]:
    """One child for the whole corpus: what one attack leaves behind, the next one meets."""
    service = DecodeService(1)
    yield service
    asyncio.run(service.close())


async def refusal(service: DecodeService, data: bytes) -> AppError:
    """Return how a picture is refused, and prove that nothing else happened."""
    begin = time.monotonic()
    with pytest.raises(AppError) as caught:
        await service.decode(data, min_side=64, min_pixels=4096)
    assert time.monotonic() - begin < MOST_S
    assert service.replaced == 0
    again = await service.decode(GOOD, min_side=64, min_pixels=4096)
    assert (again.width, again.height) == (80, 64)
    (child,) = service._children
    memory = Path(f"/proc/{child.process.pid}/status").read_text(encoding="ascii")
    assert int(memory.partition("VmPeak:")[2].split()[0]) <= MOST_MEMORY_KB
    assert "/" not in str(caught.value).replace("image/", "")
    return caught.value


@pytest.mark.parametrize("name", FOREIGN)
async def test_no_other_format_is_read(service: DecodeService, name: str) -> None:
    error = await refusal(service, FOREIGN[name]())
    assert isinstance(error, BadImage)
    assert error.problems == (NOT_READ,)


@pytest.mark.parametrize("name", DAMAGED)
async def test_damaged_files_are_refused_whole(service: DecodeService, name: str) -> None:
    make, message = DAMAGED[name]
    error = await refusal(service, make())
    assert isinstance(error, BadImage)
    assert error.problems == (message,)


@pytest.mark.parametrize("name", OVERSIZED)
async def test_sizes_are_refused_before_anything_is_decoded(service: DecodeService, name: str) -> None:
    make, message = OVERSIZED[name]
    error = await refusal(service, make())
    assert isinstance(error, InvalidRequest)
    assert message in error.problems


@pytest.mark.parametrize("size", [(0, 64), (64, 0), (0, 0)])
async def test_a_picture_without_pixels(service: DecodeService, size: tuple[int, int]) -> None:
    data = hostile.png(hostile.header(*size), hostile.chunk(b"IDAT", zlib.compress(b"")))
    error = await refusal(service, data)
    assert isinstance(error, BadImage)
    assert error.problems[0] in (DAMAGED_PNG, f"image: has no pixels ({size[0]}x{size[1]})")


async def test_an_empty_file(service: DecodeService) -> None:
    assert (await refusal(service, b"")).problems == ("image: is empty; must be a PNG, JPEG or WebP picture",)


async def test_a_file_that_is_too_long_is_not_even_sent(service: DecodeService) -> None:
    data = hostile.PNG_MAGIC + bytes(10 * 2**20)
    assert (await refusal(service, data)).problems == ("image: must have at most 10,485,760 bytes, got 10,485,768",)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
async def test_animation(service: DecodeService, kind: str) -> None:
    assert (await refusal(service, animated(kind))).problems == ("image: must be a still picture, got 3 frames",)


async def test_a_bomb_within_the_limits_is_only_a_picture(service: DecodeService) -> None:
    data = hostile.bomb(4096, 2304, 6)
    assert len(data) < 100_000
    begin = time.monotonic()
    clean = await service.decode(data)
    assert time.monotonic() - begin < 3 * MOST_S
    assert (clean.width, clean.height, clean.has_alpha) == (4096, 2304, True)
    assert len(clean.png) < 1_000_000
    assert service.replaced == 0


async def test_a_jpeg_of_thousands_of_passes(service: DecodeService) -> None:
    data = hostile.jpeg_scan_bomb(512, 512, 1500)
    assert (await refusal(service, data)).problems == ("image: must be a JPEG of at most 64 scans",)


async def test_a_broken_exif_block_does_no_harm(service: DecodeService) -> None:
    for tags in (
        [(0x0112, 3, 1, 99)],
        [(0x0112, 3, 2**31, 6)],
        [(0x8769, 4, 1, 8)],  # a block that contains itself
        [(0x010E, 2, 2**32 - 1, 2**32 - 1)],
        [(0x0112, 2, 1, 6)],
    ):
        exif = hostile.tiff_like(*tags)
        clean = await service.decode(hostile.photo(96, 64, "JPEG", exif=exif))
        assert {clean.width, clean.height} == {96, 64}
    assert service.replaced == 0


POLYGLOTS: dict[str, bytes] = {
    "html": b"<!doctype html><script>alert(1)</script>",
    "zip": b"PK\x03\x04" + bytes(26) + b"evil.txt",
    "php": b"<?php system($_GET['c']); ?>",
    "a second picture": hostile.photo(64, 64, "JPEG"),
    "a megabyte": bytes(2**20),
}


@pytest.mark.parametrize("tail", POLYGLOTS)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_what_trails_a_picture_does_not_survive(service: DecodeService, kind: str, tail: str) -> None:
    clean = await service.decode(hostile.photo(96, 64, kind) + POLYGLOTS[tail])
    assert (clean.width, clean.height) == (96, 64)
    assert POLYGLOTS[tail][:20] not in clean.png or tail == "a megabyte"
    assert len(clean.png) <= 96 * 64 * 3 + 64 + 100


async def test_what_is_hidden_in_metadata_does_not_survive(service: DecodeService) -> None:
    canary = b"CANARY-4711"
    exif = Image.Exif()
    exif[0x010E] = canary.decode()
    files = [
        hostile.with_chunk(hostile.chunk(b"tEXt", b"Comment\0" + canary)),
        hostile.with_chunk(hostile.chunk(b"prVt", canary)),
        hostile.photo(96, 64, "JPEG", comment=canary, exif=exif),
        hostile.photo(96, 64, "WEBP", xmp=canary, exif=exif.tobytes()),
        hostile.photo(96, 64, "JPEG", icc_profile=canary),
    ]
    for data in files:
        assert canary in data
        clean = await service.decode(data)
        assert canary not in clean.png
        image = Image.open(BytesIO(clean.png))
        image.load()
        assert image.info == {}


async def test_pixels_behind_full_transparency_are_kept_as_they_are(service: DecodeService) -> None:
    pixels = hostile.noise(64, 64, 4)
    pixels[:, :32, 3] = 0
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    clean = await service.decode(out.getvalue())
    assert np.array_equal(np.asarray(Image.open(BytesIO(clean.png))), pixels)


async def test_random_damage_never_crosses_the_border(service: DecodeService) -> None:
    chance = np.random.default_rng(11)
    originals = [hostile.photo(64, 64, kind) for kind in ("PNG", "JPEG", "WEBP")]
    refused = whole = 0
    for turn in range(240):
        data = bytearray(originals[turn % 3])
        for at in chance.integers(4, len(data), size=int(chance.integers(1, 12))):
            data[at] = int(chance.integers(0, 256))
        if turn % 4 == 0:
            data = data[: int(chance.integers(4, len(data)))]
        try:
            clean = await service.decode(bytes(data), max_pixels=2**20)
        except (BadImage, InvalidRequest) as error:
            refused += all(problem.startswith("image: ") for problem in error.problems)
        else:
            whole += struct.unpack(">II", clean.png[16:24]) == (clean.width, clean.height)
    assert refused + whole == 240
    assert refused > 100
    assert service.replaced == 0
