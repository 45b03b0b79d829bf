"""What a model is asked to paint for a task, and what becomes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from keelbill.core.errors import BadImage, InvalidInput, NotInstalled
from keelbill.core.types import Size
from keelbill.engine.model import Model
from keelbill.engine.pipeline import Pipeline
from keelbill.engine.upscale import Upscaler
from keelbill.imaging.decode import ImageFormat
from keelbill.imaging.encode import encode, from_pixels, to_pixels
from keelbill.serving.fill import fill_holes
from keelbill.serving.messages import ImageTask
from keelbill.serving.sizes import Box, painting_size, surroundings
from keelbill.serving.tasks import Plan, plan
from support import models

Pixels = NDArray[np.uint8]
NO_FILES: dict[str, bytes] = {}
ENLARGER = Upscaler().eval()


@pytest.fixture(scope="module")
def model() -> Model:
    return models.model()  # paints 64x64


def picture(width: int, height: int, channels: int = 3, seed: int = 0) -> Pixels:
    """Draw smooth colours that differ everywhere."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + y + 40 * seed) % 200]
    planes += [np.full((height, width), 255)] * (channels - 3)
    return np.stack(planes, axis=2).astype(np.uint8)


def blobs(**pictures: Pixels) -> dict[str, bytes]:
    return {name: encode(pixels, ImageFormat.PNG) for name, pixels in pictures.items()}


def done(task: ImageTask, model: Model, files: dict[str, bytes] | None = None) -> tuple[Plan, Pixels]:
    how = plan(task, model, (files or {}).__getitem__)
    painted = None
    if how.request is not None:
        pipeline = Pipeline(model)
        painted = to_pixels(pipeline.picture(how.request).numpy())
    finished = how.compose(painted, ENLARGER)
    assert finished.shape[:2] == (how.size.height, how.size.width)
    return how, finished


def inked(width: int, height: int, box: Box) -> Pixels:
    mask = np.zeros((height, width, 3), dtype=np.uint8)
    mask[box.top : box.bottom, box.left : box.right] = 255
    return mask


class TestSizes:
    @pytest.mark.parametrize(
        ("wanted", "painted"),
        [
            (Size(128, 128), Size(128, 128)),
            (Size(64, 64), Size(64, 64)),
            (Size(1024, 1024), Size(128, 128)),
            (Size(100, 100), Size(128, 128)),
            (Size(32, 32), Size(128, 128)),
        ],
    )
    def test_what_suits_the_model_is_painted_as_asked(self, wanted: Size, painted: Size) -> None:
        assert painting_size(wanted, native_side=128, multiple=16, largest_side=1024) == painted

    @pytest.mark.parametrize("wanted", [Size(1536, 640), Size(640, 1536), Size(1344, 768), Size(4000, 4000)])
    def test_shape_and_area(self, wanted: Size) -> None:
        size = painting_size(wanted, native_side=128, multiple=16, largest_side=1024)
        assert size.width % 16 == size.height % 16 == 0
        assert 0.7 <= size.width * size.height / 128**2 <= 1.06
        assert 0.8 <= (size.width / size.height) / (wanted.width / wanted.height) <= 1.25

    def test_the_longest_side_is_never_passed(self) -> None:
        assert painting_size(Size(4000, 40), native_side=128, multiple=16, largest_side=256).width == 256

    def test_surroundings_stay_inside_the_picture(self) -> None:
        box = surroundings(Box(0, 90, 10, 100), Size(200, 100), least_side=64)
        assert box == Box(0, 36, 64, 100)

    def test_surroundings_grow_with_the_hole(self) -> None:
        assert surroundings(Box(50, 50, 100, 100), Size(400, 400), least_side=64) == Box(25, 25, 125, 125)


class TestGenerate:
    def test_nothing_asked_means_the_models_own_size(self, model: Model) -> None:
        how, _ = done(ImageTask(prompt="a kite"), model)
        assert how.size == Size(64, 64)

    @pytest.mark.parametrize(("width", "height"), [(256, 256), (210, 90), (70, 130), (1, 1)])
    def test_exactly_the_asked_size(self, model: Model, width: int, height: int) -> None:
        how, _ = done(ImageTask(prompt="a kite", width=width, height=height, steps=1), model)
        assert how.size == Size(width, height)

    def test_everything_asked_for_reaches_the_model(self, model: Model) -> None:
        task = ImageTask(prompt="p", negative_prompt="n", seed=9, steps=2, cfg=1.5, sampler="heun")
        request = plan(task, model, NO_FILES.__getitem__).request
        assert request is not None
        assert (request.prompt, request.negative_prompt, request.seed) == ("p", "n", 9)
        assert (request.steps, request.cfg, request.sampler, request.schedule) == (2, 1.5, "heun", None)

    def test_too_many_pixels(self, model: Model) -> None:
        with pytest.raises(InvalidInput, match="100000x100000"):
            plan(ImageTask(width=100_000, height=100_000), model, NO_FILES.__getitem__)


class TestFromAPicture:
    def test_keeps_its_size(self, model: Model) -> None:
        task = ImageTask(prompt="a kite", image="i", strength=0.5, steps=2)
        how, _ = done(task, model, blobs(i=picture(150, 100)))
        assert how.size == Size(150, 100)
        assert how.request is not None
        assert how.request.strength == 0.5

    def test_strength_of_nothing_gives_the_picture_back(self, model: Model) -> None:
        source = picture(80, 48)
        how, finished = done(ImageTask(image="i", strength=0), model, blobs(i=source))
        assert how.request is None
        np.testing.assert_array_equal(finished, source)

    def test_a_broken_picture(self, model: Model) -> None:
        with pytest.raises(BadImage):
            plan(ImageTask(image="i"), model, {"i": b"nonsense"}.__getitem__)

    @pytest.mark.parametrize("kind", ["inpaint", "erase", "outpaint", "enlarge", "upscale"])
    def test_a_picture_is_needed(self, model: Model, kind: str) -> None:
        with pytest.raises(BadImage, match=kind):
            plan(ImageTask(kind=kind), model, NO_FILES.__getitem__)  # type: ignore[arg-type]


class TestInpaint:
    def test_what_the_mask_keeps_stays_to_the_last_bit(self, model: Model) -> None:
        source, hole = picture(200, 150), Box(80, 60, 120, 90)
        files = blobs(i=source, m=inked(200, 150, hole))
        _, finished = done(ImageTask(kind="inpaint", prompt="a kite", image="i", mask="m", steps=2), model, files)
        outside = inked(200, 150, hole)[:, :, 0] == 0
        np.testing.assert_array_equal(finished[outside], source[outside])
        assert (finished[~outside] != source[~outside]).mean() > 0.5

    def test_only_the_surroundings_of_the_hole_are_seen(self, model: Model) -> None:
        files = blobs(i=picture(800, 800), m=inked(800, 800, Box(400, 400, 432, 432)))
        request = plan(ImageTask(kind="inpaint", image="i", mask="m"), model, files.__getitem__).request
        assert request is not None
        assert request.mask is not None
        assert request.mask.mean() == pytest.approx(0.25, abs=0.02)

    def test_a_mask_of_another_size_is_scaled(self, model: Model) -> None:
        source = picture(200, 100)
        files = blobs(i=source, m=inked(100, 50, Box(0, 0, 50, 50)))
        _, finished = done(ImageTask(kind="inpaint", image="i", mask="m", steps=1), model, files)
        np.testing.assert_array_equal(finished[:, 110:], source[:, 110:])
        assert (finished[:, :90] != source[:, :90]).mean() > 0.5

    def test_a_grown_mask_has_a_soft_edge(self, model: Model) -> None:
        source = picture(128, 128)
        files = blobs(i=source, m=inked(128, 128, Box(48, 48, 80, 80)))
        _, finished = done(ImageTask(kind="inpaint", image="i", mask="m", grow_mask=8, steps=1), model, files)
        assert (finished[64, 42:48] != source[64, 42:48]).any()
        np.testing.assert_array_equal(finished[:24], source[:24])

    def test_transparency_is_the_mask_if_there_is_none(self, model: Model) -> None:
        source = picture(128, 96, channels=4)
        source[30:60, 30:60, 3] = 0
        _, finished = done(ImageTask(kind="inpaint", image="i", steps=1), model, blobs(i=source))
        assert finished.shape == (96, 128, 3)
        np.testing.assert_array_equal(finished[:30], source[:30, :, :3])

    def test_neither_mask_nor_transparency(self, model: Model) -> None:
        with pytest.raises(BadImage, match="mask"):
            plan(ImageTask(kind="inpaint", image="i"), model, blobs(i=picture(64, 64)).__getitem__)

    def test_an_empty_mask_changes_nothing(self, model: Model) -> None:
        source = picture(64, 64)
        files = blobs(i=source, m=inked(64, 64, Box(0, 0, 0, 0)))
        how, finished = done(ImageTask(kind="inpaint", image="i", mask="m"), model, files)
        assert how.request is None
        np.testing.assert_array_equal(finished, source)


class TestErase:
    def test_the_model_never_sees_what_is_erased(self, model: Model) -> None:
        red = np.full((128, 128, 3), 200, dtype=np.uint8)
        hole = Box(48, 48, 80, 80)
        red[hole.top : hole.bottom, hole.left : hole.right] = (255, 0, 0)
        files = blobs(i=red, m=inked(128, 128, hole))
        request = plan(ImageTask(kind="erase", image="i", mask="m"), model, files.__getitem__).request
        assert request is not None
        assert isinstance(request.image, Tensor)
        torch.testing.assert_close(request.image, torch.full_like(request.image, 200 / 255))


class TestOutpaint:
    def test_the_original_stays_to_the_last_bit(self, model: Model) -> None:
        source = picture(100, 80)
        task = ImageTask(kind="outpaint", image="i", left=40, up=20, right=10, steps=2)
        how, finished = done(task, model, blobs(i=source))
        assert how.size == Size(150, 100)
        np.testing.assert_array_equal(finished[20:, 40:140], source)

    def test_the_seam_is_soft(self, model: Model) -> None:
        source = np.full((64, 64, 3), 120, dtype=np.uint8)
        _, finished = done(ImageTask(kind="outpaint", image="i", right=64, steps=2), model, blobs(i=source))
        first, far = finished[:, 64].astype(int), finished[:, 110:].astype(int)
        assert np.abs(first - 120).mean() < np.abs(far - 120).mean()

    def test_margins_larger_than_the_picture(self, model: Model) -> None:
        how, _ = done(ImageTask(kind="outpaint", image="i", left=200, steps=1), model, blobs(i=picture(64, 64)))
        assert how.size == Size(264, 64)


class TestEnlarge:
    def test_four_times(self, model: Model) -> None:
        how, finished = done(ImageTask(kind="enlarge", image="i"), model, blobs(i=picture(50, 30)))
        assert how.request is None
        assert how.size == Size(200, 120)
        small = finished.reshape(30, 4, 50, 4, 3).mean((1, 3))
        assert np.abs(small - picture(50, 30)).mean() < 4

    def test_transparency_comes_along(self, model: Model) -> None:
        _, finished = done(ImageTask(kind="enlarge", image="i"), model, blobs(i=picture(20, 20, channels=4)))
        assert finished.shape == (80, 80, 4)
        assert (finished[:, :, 3] == 255).all()


class TestUpscale:
    def test_of_no_creativity_paints_nothing(self, model: Model) -> None:
        task = ImageTask(kind="upscale", image="i", width=256, height=256, creativity=0)
        how, _ = done(task, model, blobs(i=picture(64, 64)))
        assert how.request is None

    def test_adds_what_the_model_changed(self, model: Model) -> None:
        files = blobs(i=picture(100, 100))
        task = ImageTask(kind="upscale", prompt="a kite", image="i", width=300, height=300, creativity=0.5, steps=4)
        how, finished = done(task, model, files)
        assert how.request is not None
        assert how.request.strength == pytest.approx(0.3)
        plain = how.compose(None, ENLARGER)
        assert (finished != plain).any()

    def test_what_the_autoencoder_loses_is_no_change(self, model: Model) -> None:
        source = picture(64, 64)
        how = plan(ImageTask(kind="upscale", image="i", width=256, height=256), model, blobs(i=source).__getitem__)
        pipeline = Pipeline(model)
        coded = pipeline.decode(pipeline.encode(torch.from_numpy(from_pixels(source))))
        unchanged = to_pixels(coded.numpy())
        assert np.abs(unchanged.astype(int) - source).max() > 10  # a random autoencoder loses much
        np.testing.assert_array_equal(how.compose(unchanged, ENLARGER), how.compose(None, ENLARGER))


def test_style_is_not_installed(model: Model) -> None:
    with pytest.raises(NotInstalled):
        plan(ImageTask(kind="style", image="i"), model, NO_FILES.__getitem__)


class TestFilling:
    def test_a_hole_takes_the_colours_around_it(self) -> None:
        pixels = np.full((40, 40, 3), 90, dtype=np.uint8)
        pixels[10:30, 10:30] = 255
        mask = np.zeros((40, 40), dtype=np.float32)
        mask[10:30, 10:30] = 1
        assert (fill_holes(pixels, mask) == 90).all()

    def test_between_two_colours_it_is_in_between(self) -> None:
        pixels = np.zeros((16, 60, 3), dtype=np.uint8)
        pixels[:, 40:] = 200
        mask = np.zeros((16, 60), dtype=np.float32)
        mask[:, 20:40] = 1
        middle = fill_holes(pixels, mask)[:, 29:31].mean()
        assert 60 < middle < 140

    def test_what_is_kept_stays(self) -> None:
        pixels = picture(33, 17)
        mask = np.zeros((17, 33), dtype=np.float32)
        mask[5:9, 5:9] = 1
        filled = fill_holes(pixels, mask)
        np.testing.assert_array_equal(filled[mask == 0], pixels[mask == 0])

    def test_everything_is_a_hole(self) -> None:
        assert (fill_holes(picture(9, 7), np.ones((7, 9), dtype=np.float32)) == 0).all()
