"""Measures of pictures: values that are known, and letters that can be read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from keelbill.core.errors import InvalidInput
from keelbill.train.measures import copies, edit_distance, frechet_distance, lettering, open_reader


def normal(count: int, mean: float = 0.0, spread: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Features whose mean and covariance are exact: whitened, then scaled."""
    values = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values -= values.mean(0)
    values = values @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(values.T))).T
    moved: torch.Tensor = spread * values + mean
    return moved


class TestFrechet:
    def test_of_the_same(self) -> None:
        assert frechet_distance(normal(50), normal(70, seed=1)) == pytest.approx(0, abs=1e-9)

    def test_of_another_mean(self) -> None:
        assert frechet_distance(normal(50), normal(50, mean=3)) == pytest.approx(4 * 9)

    def test_of_another_spread(self) -> None:
        assert frechet_distance(normal(50), normal(50, spread=3, seed=2)) == pytest.approx(4 * (3 - 1) ** 2)

    def test_is_the_same_both_ways(self) -> None:
        one, other = torch.randn(30, 5), torch.rand(40, 5)
        assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))

    def test_fewer_pictures_than_features(self) -> None:
        assert frechet_distance(torch.randn(3, 40), torch.randn(5, 40)) > 0

    def test_one_picture_is_too_few(self) -> None:
        with pytest.raises(InvalidInput, match="at least 2"):
            frechet_distance(torch.randn(1, 4), torch.randn(5, 4))


class TestCopies:
    def test_a_copy_is_found_among_others(self) -> None:
        learned = torch.rand(40, 3, 64, 64)
        pictures = torch.rand(20, 3, 64, 64)
        pictures[7] = learned[11]
        found = copies(pictures, torch.rand(20, 3, 64, 64), learned)
        assert found.nearest == 0
        assert found.pictures == pytest.approx(found.fresh, rel=0.05)

    def test_distance_is_the_mean_difference(self) -> None:
        grey = torch.full((1, 3, 64, 64), 0.5)
        found = copies(grey + 0.1, grey + 0.25, grey)
        assert found.pictures == pytest.approx(0.1, abs=1e-4)
        assert found.fresh == pytest.approx(0.25, abs=1e-4)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("", "", 0),
        ("hello", "hello", 0),
        ("hello", "", 5),
        ("kitten", "sitting", 3),
        ("open", "opne", 2),
        ("a", "b", 1),
    ],
)
def test_edit_distance(one: str, other: str, expected: int) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) == expected


class TestLettering:
    def test_figures(self) -> None:
        said = iter(["HELLO", "he llo", "HELP", ""])

        def read(picture: NDArray[np.uint8]) -> str:
            assert picture.shape == (16, 24, 3)
            return next(said)

        found = lettering(torch.rand(4, 3, 8, 12), ["hello"] * 4, read)
        assert (found.exact, found.pictures) == (0.5, 4)
        assert found.near == pytest.approx((1 + 1 + 0.6 + 0) / 4)

    def test_nothing_to_read(self) -> None:
        with pytest.raises(InvalidInput):
            lettering(torch.rand(0, 3, 8, 8), [], lambda _: "")

    def test_letters_are_really_read(self) -> None:
        pictures = []
        for word in ("OPEN", "music"):
            picture = Image.new("RGB", (128, 128), (240, 200, 60))
            ImageDraw.Draw(picture).text((64, 64), word, "black", ImageFont.load_default(38), anchor="mm")
            pictures.append(torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1) / 255)
        found = lettering(
            torch.stack([*pictures, torch.full((3, 128, 128), 0.9)]), ["open", "MUSIC", "cafe"], open_reader()
        )
        assert found.exact == pytest.approx(2 / 3)
        assert found.near == pytest.approx(2 / 3)
