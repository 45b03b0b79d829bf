"""Recipes: written into pictures, read back strictly, free of secrets."""

from __future__ import annotations

import dataclasses
import json
from io import BytesIO
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from keelbill.imaging.decode import ImageFormat, decode
from keelbill.imaging.encode import encode
from keelbill.imaging.metadata import MAX_EXIF_BYTES, BadRecipe, Recipe, exif_bytes, read

PIXELS = np.full((8, 8, 3), 90, dtype=np.uint8)
RECIPE = Recipe(
    prompt="a strawberry, 草莓, on “blue”",
    negative="blur",
    model="keelbill-mini",
    model_hash="ab" * 32,
    seed=2**64 - 1,
    index=3,
    width=128,
    height=96,
    steps=28,
    cfg=3.5,
    sampler="euler",
    schedule="reference",
    shift=1.0,
    strength=0.75,
    image_hash="cd" * 32,
    device="cpu",
    dtype="bfloat16",
    versions=MappingProxyType({"torch": "2.13.0"}),
    engine="keelbill 0.1.0",
)

texts = st.text(max_size=200)
recipes = st.builds(
    Recipe,
    prompt=texts,
    negative=texts,
    model=texts,
    model_hash=texts,
    seed=st.integers(0, 2**64 - 1),
    index=st.integers(0, 99),
    width=st.integers(1, 4096),
    height=st.integers(1, 4096),
    steps=st.integers(1, 1000),
    cfg=st.floats(0, 1000),
    sampler=texts,
    schedule=texts,
    shift=st.floats(0, 1000),
    strength=st.floats(0, 1),
    image_hash=texts,
    mask_hash=texts,
    device=texts,
    dtype=texts,
    versions=st.dictionaries(texts, texts, max_size=3),
    engine=texts,
)


def spoiled(**changes: object) -> str:
    return json.dumps({**json.loads(RECIPE.to_json()), **changes})


class TestReadStrictly:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "not valid JSON"),
            ("{", "not valid JSON"),
            ("[" * 100_000, "not valid JSON"),
            ('{"format":1,"cfg":NaN}', "not valid JSON"),
            ("1" * 5000, "not valid JSON"),
            ("[1]", "not a JSON object"),
            ("{}", "format None"),
            ('{"format":99}', "format 99; this version reads format 1"),
            ('{"format":1}', "has no prompt"),
            (spoiled(seed=-1), "seed is not a whole number from 0"),
            (spoiled(seed=2**64), "seed is not a whole number"),
            (spoiled(seed="1"), "seed is not a whole number"),
            (spoiled(steps=True), "steps is not a whole number from 1 to 1000"),
            (spoiled(width=16_385), "width is not a whole number from 1 to 16384"),
            (spoiled(strength=1.5), "strength is not a number from 0 to 1"),
            (spoiled(cfg="4"), "cfg is not a number"),
            (spoiled(prompt=["x"]), "prompt is not a text"),
            (spoiled(versions=[]), "versions are not a table"),
            (spoiled(versions={"torch": 2}), "versions are not a table"),
            ("x" * 300_000, "longer than"),
        ],
    )
    def test_wrong(self, text: str, reason: str) -> None:
        with pytest.raises(BadRecipe, match=reason):
            Recipe.from_json(text)

    def test_unknown_fields_are_passed_over(self) -> None:
        assert Recipe.from_json(spoiled(colour="red", nested={"a": [1]})) == RECIPE

    def test_missing_optional_fields_have_defaults(self) -> None:
        text = json.dumps({"format": 1, "prompt": "p", "model": "m", "seed": 1, "width": 8, "height": 8, "steps": 4})
        assert Recipe.from_json(text) == Recipe(prompt="p", model="m", seed=1, width=8, height=8, steps=4)

    @given(recipe=recipes)
    def test_round_trip(self, recipe: Recipe) -> None:
        text = recipe.to_json()
        assert text.isascii()
        assert Recipe.from_json(text) == recipe

    @given(text=st.text() | st.from_regex(r'\{"format": ?1, ?"[a-z_]+": ?[0-9eE.\-\[\]{}"]+\}', fullmatch=True))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        with pytest.raises(BadRecipe):
            Recipe.from_json(text)


class TestInPictures:
    @pytest.mark.parametrize("kind", list(ImageFormat))
    def test_round_trip(self, kind: ImageFormat) -> None:
        assert read(encode(PIXELS, kind, RECIPE)) == RECIPE

    @settings(max_examples=40, deadline=None)
    @given(kind=st.sampled_from(list(ImageFormat)), recipe=recipes)
    def test_any_recipe_survives(self, kind: ImageFormat, recipe: Recipe) -> None:
        assert read(encode(PIXELS, kind, recipe)) == recipe

    @pytest.mark.parametrize("kind", list(ImageFormat))
    def test_a_picture_without_recipe(self, kind: ImageFormat) -> None:
        assert read(encode(PIXELS, kind)) is None

    @pytest.mark.parametrize("kind", list(ImageFormat))
    def test_a_picture_of_another_program(self, kind: ImageFormat) -> None:
        exif = Image.Exif()
        exif[0x010E] = "a holiday"
        out = BytesIO()
        Image.fromarray(PIXELS).save(out, kind.value, exif=exif)
        assert read(out.getvalue()) is None

    def test_a_damaged_recipe_is_reported(self) -> None:
        info = PngInfo()
        info.add_text("keelbill", "{not json")
        out = BytesIO()
        Image.fromarray(PIXELS).save(out, "PNG", pnginfo=info)
        with pytest.raises(BadRecipe, match="not valid JSON"):
            read(out.getvalue())

    def test_other_programs_find_parameters(self) -> None:
        parameters = Image.open(BytesIO(encode(PIXELS, ImageFormat.PNG, RECIPE))).info["parameters"]
        prompt, negative, facts = parameters.split("\n")
        assert prompt == RECIPE.prompt
        assert negative == "Negative prompt: blur"
        assert facts == (
            "Steps: 28, Sampler: euler, Schedule type: reference, CFG scale: 3.5, Shift: 1, "
            "Seed: 18446744073709551615, Batch index: 3, Size: 128x96, "
            "Model hash: ababababab, Model: keelbill-mini, Denoising strength: 0.75, "
            "Version: keelbill 0.1.0"
        )

    def test_control_characters_do_not_break_the_text(self) -> None:
        recipe = dataclasses.replace(RECIPE, prompt="a\x00b\ud800c\x1b[31m")
        data = encode(PIXELS, ImageFormat.PNG, recipe)
        assert Image.open(BytesIO(data)).info["parameters"].startswith("a b?c [31m\n")
        assert read(data) == recipe

    def test_the_pixels_are_the_same_with_and_without(self) -> None:
        for kind in ImageFormat:
            assert np.array_equal(decode(encode(PIXELS, kind)), decode(encode(PIXELS, kind, RECIPE)))

    def test_a_jpeg_leaves_out_the_text_for_people_before_it_fails(self) -> None:
        recipe = dataclasses.replace(RECIPE, prompt="x" * 30_000)
        assert read(encode(PIXELS, ImageFormat.JPEG, recipe)) == recipe
        assert len(exif_bytes(recipe, max_bytes=MAX_EXIF_BYTES)) < len(exif_bytes(recipe))

    def test_a_recipe_too_long_for_a_jpeg(self) -> None:
        with pytest.raises(BadRecipe, match="use png or webp, or a shorter prompt"):
            encode(PIXELS, ImageFormat.JPEG, dataclasses.replace(RECIPE, prompt="草" * 20_000))
