"""What v1 requests say: prompts with weights, strengths, sizes."""

from __future__ import annotations

import pytest

from keelbill.api.stability.fields import read_form
from keelbill.api.stability.v1_parameters import (
    IMAGE_TO_IMAGE,
    SAMPLERS,
    UPSCALE,
    V1_ENGINES,
    V1Invalid,
    prompts_from_form,
    prompts_from_json,
    refuse,
    repainted_size,
    strength_of,
    upscaled_size,
)
from keelbill.core.types import Size
from keelbill.engine.samplers import SAMPLERS as ENGINE_SAMPLERS


class TestPromptsInJson:
    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            (None, "text_prompts: required"),
            ("a cat", "text_prompts: must be a list of objects with text and weight"),
            ([], "text_prompts: at least one must have a weight above 0"),
            (["a cat"], "text_prompts: item 0 must be an object with text and weight"),
            ([{"weight": 1}], "text_prompts: item 0, text: required"),
            ([{"text": "x" * 2001}], "text_prompts: item 0, text: must have at most 2000 characters, not 2001"),
            ([{"text": "a", "weight": "1"}], "text_prompts: item 0, weight: must be a number from -100 to 100"),
            ([{"text": "a", "weight": -1}], "text_prompts: at least one must have a weight above 0"),
        ],
    )
    def test_refused(self, value: object, problem: str) -> None:
        _, problems = prompts_from_json(value)
        assert problems == [problem]

    def test_negative_weights_are_negative_prompts(self) -> None:
        prompts, problems = prompts_from_json(
            [{"text": "a cat"}, {"text": "dogs", "weight": -0.5}, {"text": "a hat", "weight": 2}]
        )
        assert problems == []
        assert (prompts.prompt, prompts.negative_prompt) == ("a cat, a hat", "dogs")


class TestPromptsInForms:
    def test_numbers_need_not_be_consecutive(self) -> None:
        prompts, problems = prompts_from_form(
            {
                "text_prompts[7][text]": "second",
                "text_prompts[2][text]": "first",
                "text_prompts[2][weight]": "1",
                "text_prompts[9][text]": "never",
                "text_prompts[9][weight]": "-1.0",
                "mode": "whatever",
            }
        )
        assert problems == []
        assert (prompts.prompt, prompts.negative_prompt) == ("first, second", "never")

    def test_without_any(self) -> None:
        assert prompts_from_form({"prompt": "a"})[1] == ["text_prompts: required"]

    def test_a_weight_without_text(self) -> None:
        assert prompts_from_form({"text_prompts[0][weight]": "1"})[1] == ["text_prompts: item 0, text: required"]


class TestNamesOfProblems:
    @pytest.mark.parametrize(
        ("problem", "code"),
        [
            ("samples: must be", "invalid_samples"),
            ("height: must be", "invalid_height_or_width"),
            ("width: must be", "invalid_height_or_width"),
            ("text_prompts: required", "invalid_prompts"),
            ("height and width: must", "invalid_pixel_count"),
            ("mask_image: must", "invalid_mask_image"),
            ("seed: must be", "bad_request"),
        ],
    )
    def test_the_first_one_names_the_error(self, problem: str, code: str) -> None:
        with pytest.raises(V1Invalid) as caught:
            refuse([problem, "other: x"])
        assert caught.value.code == code
        assert caught.value.problems == (problem, "other: x")

    def test_nothing_to_refuse(self) -> None:
        refuse([])


class TestStrength:
    @pytest.mark.parametrize(
        ("fields", "strength"),
        [
            ({}, 0.65),
            ({"image_strength": "0"}, 1.0),
            ({"image_strength": "1"}, 0.0),
            ({"image_strength": "0.35"}, 0.65),
            ({"init_image_mode": "STEP_SCHEDULE"}, 0.65),
            ({"init_image_mode": "STEP_SCHEDULE", "step_schedule_start": "0.2"}, 0.2),
        ],
    )
    def test_high_image_strength_means_close_to_the_image(self, fields: dict[str, str], strength: float) -> None:
        values, problems = read_form(IMAGE_TO_IMAGE, fields)
        assert problems == []
        assert strength_of(values) == strength


class TestSizes:
    @pytest.mark.parametrize(
        ("fields", "size"),
        [({}, "600x400"), ({"width": "900"}, "900x600"), ({"height": "800"}, "1200x800")],
    )
    def test_upscaled(self, fields: dict[str, str], size: str) -> None:
        values, _ = read_form(UPSCALE, fields)
        assert str(upscaled_size(values, Size(300, 200))) == size

    @pytest.mark.parametrize(
        ("fields", "size", "code"),
        [
            ({"width": "512", "height": "512"}, Size(300, 200), "invalid_height_or_width"),
            ({"width": "512"}, Size(600, 600), "invalid_height_or_width"),
            ({}, Size(1200, 1200), "invalid_pixel_count"),
            ({"width": "4096"}, Size(300, 300), "invalid_pixel_count"),
        ],
    )
    def test_not_upscaled(self, fields: dict[str, str], size: Size, code: str) -> None:
        values, _ = read_form(UPSCALE, fields)
        with pytest.raises(V1Invalid) as caught:
            upscaled_size(values, size)
        assert caught.value.code == code

    @pytest.mark.parametrize(
        ("size", "result"),
        [(Size(512, 512), "512x512"), (Size(2048, 2048), "1024x1024"), (Size(500, 333), "512x320")],
    )
    def test_repainted(self, size: Size, result: str) -> None:
        assert str(repainted_size(size)) == result

    def test_pixels_of_an_engine(self) -> None:
        engine = V1_ENGINES["stable-diffusion-xl-1024-v1-0"]
        assert engine.check_pixels(Size(512, 512)) == ""
        assert "must make from 262,144 to 1,048,576 pixels" in engine.check_pixels(Size(256, 256))


@pytest.mark.parametrize("name", SAMPLERS.values())
def test_every_sampler_exists_in_the_engine(name: str) -> None:
    assert name in ENGINE_SAMPLERS
