"""The plain PNG writer, read back by somebody else."""

from __future__ import annotations

import time
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from keelbill.imaging.plainpng import write_png

Pixels = NDArray[np.uint8]
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read_back(data: bytes) -> Pixels:
    image = Image.open(BytesIO(data))
    image.load()
    pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 40), (40, 1), (33, 65), (257, 100)])
def test_every_value_comes_back(width: int, height: int, channels: int) -> None:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, channels), dtype=np.uint8)
    data = write_png(pixels)
    assert np.array_equal(read_back(data), pixels)
    assert Image.open(BytesIO(data)).mode == MODES[channels]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_drawing_is_compressed(channels: int) -> None:
    pixels = np.zeros((600, 800, channels), dtype=np.uint8)
    pixels[200:400, 300:500] = 255
    data = write_png(pixels)
    assert len(data) < pixels.nbytes / 50
    assert np.array_equal(read_back(data), pixels)


def test_noise_is_stored_and_hardly_grows() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    assert pixels.nbytes < len(write_png(pixels)) < pixels.nbytes + 1000


def test_a_view_with_gaps_in_memory() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    assert np.array_equal(read_back(write_png(pixels[::2, ::3, :3])), pixels[::2, ::3, :3])


def test_there_is_nothing_but_the_picture() -> None:
    image = Image.open(BytesIO(write_png(np.zeros((8, 8, 3), dtype=np.uint8))))
    image.load()
    assert image.info == {}


def test_a_megapixel_is_faster_than_the_usual_encoder() -> None:
    noise = np.random.default_rng(0).normal(128, 9, (1000, 1000, 3)).clip(0, 255).astype(np.uint8)

    def seconds_plain() -> float:
        begin = time.process_time()
        write_png(noise)
        return time.process_time() - begin

    def seconds_usual() -> float:
        begin = time.process_time()
        Image.fromarray(noise).save(BytesIO(), "PNG", compress_level=1)
        return time.process_time() - begin

    assert min(seconds_plain() for _ in range(3)) < min(seconds_usual() for _ in range(3)) / 2
