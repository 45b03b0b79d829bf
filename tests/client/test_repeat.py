"""Making a picture again: what cannot be repeated first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keelbill.client import BadRequestError, Client, OtherModelWarning
from keelbill.client.repeat import ratio_of
from keelbill.core.types import PUBLISHED_SIZES
from keelbill.imaging.decode import ImageFormat
from keelbill.imaging.encode import encode
from keelbill.imaging.metadata import Recipe
from support.apidouble import ApiDouble

RECIPE = Recipe("a cat", "double", seed=9, width=84, height=48, steps=4, negative="dogs", cfg=3.5)


def with_recipe(recipe: Recipe) -> bytes:
    return encode(np.zeros((recipe.height, recipe.width, 3), np.uint8), ImageFormat.PNG, recipe)


class TestWhatCannotBeRepeated:
    def test_no_recipe(self, client: Client) -> None:
        with pytest.raises(BadRequestError, match="carries no recipe"):
            client.repeat(Image.new("RGB", (8, 8)))

    def test_made_with_a_mask(self, client: Client) -> None:
        with pytest.raises(BadRequestError, match="was made with a mask"):
            client.repeat(with_recipe(replace(RECIPE, image_hash="1", mask_hash="2")))

    def test_made_from_a_picture_that_is_missing(self, client: Client) -> None:
        with pytest.raises(BadRequestError, match="image: the picture was made from another one"):
            client.repeat(with_recipe(replace(RECIPE, image_hash="1")))

    @pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**40])
    def test_seeds_that_this_interface_does_not_take(self, client: Client, seed: int) -> None:
        with pytest.raises(BadRequestError, match="seed: "):
            client.repeat(with_recipe(replace(RECIPE, seed=seed)))


class TestFromAFile:
    def test_everything_the_recipe_knows_is_asked_for(self, double: ApiDouble, client: Client) -> None:
        made = client.repeat(with_recipe(replace(RECIPE, index=2)))
        assert double.asked[-1].fields == {
            "prompt": "a cat",
            "model": "sd3.5-large",
            "seed": "11",
            "negative_prompt": "dogs",
            "cfg_scale": "3.5",
            "aspect_ratio": "16:9",
        }
        assert made.seed == 11

    def test_a_model_of_ones_own_choice(self, double: ApiDouble, client: Client) -> None:
        client.repeat(with_recipe(RECIPE), model="sd3-turbo")
        client.repeat(with_recipe(replace(RECIPE, model="sd3.5-medium")))
        assert [asked.fields["model"] for asked in double.asked] == ["sd3-turbo", "sd3.5-medium"]

    def test_from_a_picture(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        client.repeat(with_recipe(replace(RECIPE, image_hash="1", strength=0.4)), image=picture)
        assert double.asked[-1].fields["strength"] == "0.4"
        assert double.asked[-1].files == {"image": picture}

    def test_other_weights_are_told(self, client: Client) -> None:
        with pytest.warns(OtherModelWarning, match="made with the weights of double"):
            client.repeat(with_recipe(replace(RECIPE, model_hash="f" * 64)))


class TestFromTheSameProgram:
    def test_the_same_bytes_though_the_seed_was_chance(self, client: Client) -> None:
        first = client.generate("a cat", style_preset="anime", aspect_ratio="9:16")
        assert client.repeat(first).data == first.data

    def test_with_its_images_and_a_new_idempotency_key(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        first = client.inpaint(picture, "a hat", mask=picture, idempotency_key="once")
        client.repeat(first)
        before, again = double.asked
        assert again.files == before.files
        assert again.fields == {**before.fields, "seed": "4242"}
        assert again.headers["idempotency-key"] != "once"


def test_ratios_of_all_published_sizes() -> None:
    assert {ratio_of(size.width, size.height): ratio.value for ratio, size in PUBLISHED_SIZES.items()} == {
        ratio.value: ratio.value for ratio in PUBLISHED_SIZES
    }
    assert ratio_of(128, 128) == "1:1"
    assert ratio_of(1000, 10) == "21:9"
