"""``keelbill verify``: what cannot be made again first, then what is the same and what is not."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from keelbill.cli import _pictures
from keelbill.engine.batch import sample_alone
from keelbill.engine.model import Model
from keelbill.imaging.decode import ImageFormat, decode
from keelbill.imaging.encode import encode
from keelbill.imaging.metadata import Recipe, read
from keelbill.serving.finish import Finisher
from keelbill.serving.messages import ImageTask
from keelbill.serving.studio import Studio
from keelbill.serving.tasks import plan
from support.commandline import Run, write_picture


@pytest.fixture
def cat(run: Run, loaded: list[str]) -> Path:
    assert run("generate", "a cat", "--seed", "7", "-o", "cat.png", "--cfg", "2", "--size", "80x64").code == 0
    loaded.clear()
    return Path("cat.png")


def rewrite(path: Path, pixels: np.ndarray | None = None, **changes: object) -> None:
    """Change a picture's pixels or its recipe, as somebody might."""
    data = path.read_bytes()
    recipe = read(data)
    assert isinstance(recipe, Recipe)
    changed = Recipe.from_json(dataclasses.replace(recipe, **changes).to_json())  # type: ignore[arg-type]
    path.write_bytes(encode(decode(data) if pixels is None else pixels, ImageFormat.PNG, changed))


class TestCannotBeMadeAgain:
    def test_no_such_file(self, run: Run) -> None:
        assert run("verify", "none.png").sentence == "picture 'none.png' cannot be read: No such file or directory."

    def test_an_empty_file(self, run: Run) -> None:
        Path("empty.png").touch()
        assert run("verify", "empty.png").sentence.startswith("picture is empty (0 bytes)")

    def test_a_truncated_file(self, run: Run, cat: Path) -> None:
        data = cat.read_bytes()
        cat.write_bytes(data[: len(data) // 2])
        assert "damaged or truncated png" in run("verify", str(cat)).sentence

    def test_no_recipe(self, run: Run, photo: Path) -> None:
        assert "photo.png carries no recipe" in run("verify", str(photo)).sentence

    def test_a_scaled_picture(self, run: Run, cat: Path) -> None:
        rewrite(cat, decode(cat.read_bytes())[::2, ::2])
        assert "40x32 pixels and its recipe 80x64: it was cut or scaled" in run("verify", str(cat)).sentence

    def test_other_weights(self, run: Run, cat: Path) -> None:
        rewrite(cat, model_hash="ab" * 32)
        assert run("verify", str(cat)).sentence.startswith("The picture was made with weights abababababab")

    def test_a_sampler_that_does_not_exist(self, run: Run, cat: Path) -> None:
        rewrite(cat, sampler="eulr")
        assert "Did you mean 'euler'?" in run("verify", str(cat)).sentence

    def test_a_tolerance_out_of_range(self, run: Run, cat: Path) -> None:
        assert "tolerance must be from 0 to 255" in run("verify", str(cat), "--tolerance", "nan").sentence

    def test_an_image_that_had_none(self, run: Run, cat: Path, photo: Path) -> None:
        assert "the recipe was made without one" in run("verify", str(cat), "--image", str(photo)).sentence

    def test_the_image_is_missing_or_another(self, run: Run, loaded: list[str], photo: Path) -> None:
        run("generate", "a cat", "--image", str(photo), "-o", "cat.png")
        assert "the recipe was made with one" in run("verify", "cat.png").sentence
        other = write_picture("other.png", np.zeros((64, 96, 3)))
        assert "image 'other.png' is not allowed" in run("verify", "cat.png", "--image", str(other)).sentence


class TestTheSame:
    def test_identical(self, run: Run, cat: Path, loaded: list[str]) -> None:
        outcome = run("verify", str(cat))
        assert outcome.code == 0
        assert re.fullmatch(
            r"identical: max difference 0, mean difference 0\.0000 of 255 \(tolerance 0\); \d+\.\d s\n", outcome.out
        )
        assert loaded == ["tiny"]

    @pytest.mark.parametrize("name", ["cat.jpg", "cat.webp"])
    def test_lossy_formats_are_compared_through_the_same_encoder(self, run: Run, loaded: list[str], name: str) -> None:
        run("generate", "a cat", "-o", name)
        assert run("verify", name).out.startswith("identical")

    def test_from_an_image_and_a_mask(self, run: Run, loaded: list[str], photo: Path) -> None:
        mask = write_picture("mask.png", np.full((64, 96, 3), 128))
        sources = ("--image", str(photo), "--mask", str(mask))
        run("generate", "a cat", "-o", "cat.png", *sources, "--strength", "0.6")
        assert run("verify", "cat.png", *sources).out.startswith("identical")

    def test_another_model_by_name(self, run: Run, cat: Path, loaded: list[str]) -> None:
        run("verify", str(cat), "--model", "copy")
        assert loaded == ["copy"]


class TestDifferent:
    def test_one_changed_pixel_on_the_same_machine(self, run: Run, cat: Path) -> None:
        pixels = decode(cat.read_bytes())
        pixels[0, 0, 0] ^= 1
        rewrite(cat, pixels)
        outcome = run("verify", str(cat))
        assert outcome.code == 1
        assert outcome.out.startswith("different: max difference 1, mean difference 0.0001 of 255 (tolerance 0)")

    def test_one_changed_pixel_within_a_given_tolerance(self, run: Run, cat: Path) -> None:
        pixels = decode(cat.read_bytes())
        pixels[0, 0, 0] ^= 1
        rewrite(cat, pixels)
        assert run("verify", str(cat), "--tolerance", "0.001").out.startswith("same within tolerance: max difference 1")

    def test_a_small_change_on_another_device(self, run: Run, cat: Path) -> None:
        rewrite(cat, decode(cat.read_bytes()) ^ 1, device="cuda H100", versions={"torch": "1.0"})
        outcome = run("verify", str(cat))
        assert outcome.code == 0
        assert outcome.out.startswith(
            "same within tolerance: max difference 1, mean difference 1.0000 of 255 (tolerance 2)"
        )
        assert "  device: made with cuda H100, checked with cpu " in outcome.out
        assert "  torch: made with 1.0, checked with " in outcome.out

    def test_another_prompt_is_found_out(self, run: Run, cat: Path, tiny: Model) -> None:
        rewrite(cat, prompt="a dog", device="cuda H100")
        assert run("verify", str(cat)).code == 1


class TestPicturesOfTheServer:
    """They are enlarged, styled, or painted in part; the commands paint neither."""

    def make(self, task: ImageTask) -> Path:
        studio = Studio(_pictures.load("keelbill-mini"))
        how = plan(task, studio.model, lambda reference: Path(reference).read_bytes())
        assert how.request is not None
        phases: dict[str, float] = {}
        latents = sample_alone(studio.model.transformer, studio.pipeline.prepare(how.request))
        made = Finisher().finish(task, how, studio, latents, phases)
        path = Path("server.png")
        path.write_bytes(made.image)
        return path

    def test_an_enlarged_and_styled_picture_is_made_again(self, run: Run, loaded: list[str]) -> None:
        path = self.make(
            ImageTask(prompt="a car, glossy", recipe_prompt="a car", seed=5, steps=2, width=180, height=120)
        )
        recipe = read(path.read_bytes())
        assert recipe is not None
        assert (recipe.prompt, recipe.painted_prompt, recipe.enlarger) == ("a car", "a car, glossy", "keelbill-x4")
        assert (recipe.width, recipe.height) == (180, 120)
        assert recipe.painted_width != 180
        done = run("verify", str(path))
        assert done.code == 0, done.err
        assert "identical" in done.out

    def test_a_picture_that_was_painted_in_part_is_said_to_be_one(self, run: Run, cat: Path) -> None:
        path = self.make(ImageTask(kind="outpaint", prompt="a car", steps=2, image=str(cat), left=16))
        done = run("verify", str(path))
        assert done.code == 2
        assert "made by outpaint" in done.err
