"""The graph behind a picture that was made without one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from keelbill.graph.origin import prompt_of, workflow_of
from keelbill.graph.registry import load_builtin
from keelbill.graph.validate import validate
from keelbill.graph.workflow import to_prompt
from keelbill.imaging.metadata import Recipe

RECIPE = Recipe(
    prompt="a cat", negative="rain", model="sd3.5-large", seed=2**32 - 1, width=1344, height=768, steps=28,
    cfg=4.5, sampler="dpmpp_2m", schedule="sgm_uniform", shift=3.0,
)  # fmt: skip
PICTURE, MASK = "1f" * 32, "2e" * 32


class Everything:
    """Folders that hold whatever is asked for."""

    def names(self, folder: str) -> list[str]:
        return []

    def has(self, folder: str, name: str) -> bool:
        return True


def classes(prompt: dict[str, dict[str, Any]]) -> list[str]:
    return [node["class_type"] for node in prompt.values()]


def the(prompt: dict[str, dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the inputs of the first node of a class."""
    inputs: dict[str, Any] = next(node["inputs"] for node in prompt.values() if node["class_type"] == kind)
    return inputs


RECIPES = {
    "text": RECIPE,
    "shift": replace(RECIPE, shift=1.0),
    "image": replace(RECIPE, image_hash=PICTURE, strength=0.6),
    "inpaint": replace(RECIPE, kind="inpaint", image_hash=PICTURE, mask_hash=MASK, strength=0.9),
    "erase": replace(RECIPE, kind="erase", image_hash=PICTURE, mask_hash=MASK),
    "outpaint": replace(RECIPE, kind="outpaint", image_hash=PICTURE),
    "upscale": replace(RECIPE, kind="upscale", image_hash=PICTURE),
    "enlarge": replace(RECIPE, kind="enlarge", image_hash=PICTURE, strength=0.0, model="keelbill-x4"),
    "style": replace(RECIPE, kind="style", image_hash=PICTURE),
    "unknown names": replace(RECIPE, sampler="mine", schedule="also mine"),
    "huge seed": replace(RECIPE, kind="upscale", image_hash=PICTURE, seed=2**64 - 1),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
class TestEveryKind:
    def test_it_can_be_run(self, recipe: Recipe) -> None:
        valid = validate(prompt_of(recipe), load_builtin(), Everything())

        assert valid.node_errors == {}
        assert len(valid.outputs) == 1

    def test_it_opens_in_an_editor_as_the_same_graph(self, recipe: Recipe) -> None:
        workflow = json.loads(workflow_of(recipe))

        found = to_prompt(workflow, load_builtin(), Everything())

        prompt = prompt_of(recipe)
        assert classes(found) == classes(prompt)
        for there, here in zip(found.values(), prompt.values(), strict=True):
            assert there["inputs"].items() >= here["inputs"].items()  # an editor adds the defaults of optional fields

    def test_it_is_small_plain_and_the_same_each_time(self, recipe: Recipe) -> None:
        text = workflow_of(recipe)

        assert text == workflow_of(recipe)
        assert text.isascii()
        assert "\n" not in text
        assert len(text) < 6000


class TestTextToImage:
    def test_nodes_that_everybody_knows(self) -> None:
        assert classes(prompt_of(RECIPE)) == [
            "CheckpointLoaderSimple",
            "CLIPTextEncode",
            "CLIPTextEncode",
            "EmptySD3LatentImage",
            "KSampler",
            "VAEDecode",
            "SaveImage",
        ]

    def test_values(self) -> None:
        prompt = prompt_of(replace(RECIPE, index=2))

        sampler = the(prompt, "KSampler")
        assert the(prompt, "CheckpointLoaderSimple") == {"ckpt_name": "sd3.5-large.safetensors"}
        assert (sampler["seed"], sampler["steps"], sampler["cfg"]) == (2**32 + 1, 28, 4.5)
        assert (sampler["sampler_name"], sampler["scheduler"], sampler["denoise"]) == ("dpmpp_2m", "sgm_uniform", 1.0)
        assert the(prompt, "EmptySD3LatentImage") == {"width": 1344, "height": 768, "batch_size": 1}
        assert prompt[sampler["positive"][0]]["inputs"]["text"] == "a cat"
        assert prompt[sampler["negative"][0]]["inputs"]["text"] == "rain"

    def test_what_the_model_read_counts(self) -> None:
        prompt = prompt_of(replace(RECIPE, painted_prompt="a cat, origami"))

        assert the(prompt, "CLIPTextEncode")["text"] == "a cat, origami"

    @pytest.mark.parametrize(("schedule", "scheduler"), [("reference", "normal"), ("trailing", "simple")])
    def test_schedules_of_our_own_have_their_names_there(self, schedule: str, scheduler: str) -> None:
        assert the(prompt_of(replace(RECIPE, schedule=schedule)), "KSampler")["scheduler"] == scheduler

    def test_another_shift_has_its_node(self) -> None:
        prompt = prompt_of(replace(RECIPE, shift=1.5))

        assert the(prompt, "ModelSamplingSD3")["shift"] == 1.5
        assert prompt[the(prompt, "KSampler")["model"][0]]["class_type"] == "ModelSamplingSD3"

    def test_braces_in_a_prompt_are_no_choice_for_the_editor(self) -> None:
        workflow = json.loads(workflow_of(replace(RECIPE, prompt="a {cat|dog}")))

        found = to_prompt(workflow, load_builtin(), Everything())

        assert the(found, "CLIPTextEncode")["text"] == "a {cat|dog}"


class TestFromPictures:
    def test_image_to_image(self) -> None:
        prompt = prompt_of(RECIPES["image"])

        assert the(prompt, "KSampler")["denoise"] == 0.6
        assert the(prompt, "LoadImage")["image"] == "1f1f1f1f1f1f.png"
        assert "VAEEncode" in classes(prompt)
        assert "EmptySD3LatentImage" not in classes(prompt)

    def test_inpainting_keeps_what_the_mask_keeps(self) -> None:
        prompt = prompt_of(RECIPES["inpaint"])

        assert the(prompt, "LoadImageMask") == {"image": "2e2e2e2e2e2e.png", "channel": "red"}
        latent = prompt[the(prompt, "KSampler")["latent_image"][0]]
        assert latent["class_type"] == "SetLatentNoiseMask"

    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            ("erase", "Stability Erase"),
            ("outpaint", "Stability Outpainting"),
            ("upscale", "Stability Creative Upscale"),
            ("enlarge", "Stability Fast Upscale"),
            ("style", "Stability Control Style"),
        ],
    )
    def test_services_have_nodes_of_their_own(self, kind: str, name: str) -> None:
        prompt = prompt_of(RECIPES[kind])

        assert name in classes(prompt)
        assert prompt[the(prompt, name)["image"][0]]["class_type"] == "LoadImage"

    def test_a_seed_that_the_service_does_not_take_is_left_out(self) -> None:
        assert "seed" not in the(prompt_of(RECIPES["huge seed"]), "Stability Creative Upscale")

    def test_a_picture_that_passed_through_unpainted_has_none(self) -> None:
        recipe = replace(RECIPE, image_hash=PICTURE, strength=0.0)

        assert prompt_of(recipe) == {}
        assert workflow_of(recipe) == ""

    def test_kinds_of_the_future_have_none(self) -> None:
        assert workflow_of(replace(RECIPE, kind="sculpture")) == ""
