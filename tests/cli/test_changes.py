"""Adapters, precision, shift and margins on the command line: what they do to pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from keelbill.cli import _pictures
from keelbill.cli._changes import check_loras
from keelbill.core.settings import read_settings
from keelbill.engine.model import Model
from keelbill.imaging.decode import decode
from keelbill.imaging.metadata import Recipe, read
from support.commandline import Run

LINEAR = "joint_blocks.0.x_block.attn.qkv"


def recipe_of(name: str) -> Recipe:
    recipe = read(Path(name).read_bytes())
    assert recipe is not None
    return recipe


def pixels_of(name: str) -> np.ndarray:
    return decode(Path(name).read_bytes())


@pytest.fixture
def lora(tiny: Model) -> Path:
    """An adapter of one linear of the small random model, in the working folder."""
    rows, columns = tiny.transformer.get_parameter(LINEAR + ".weight").shape
    generator = torch.Generator().manual_seed(0)
    key = f"diffusion_model.{LINEAR}"
    down, up = torch.randn(2, columns, generator=generator), torch.randn(rows, 2, generator=generator)
    save_file({f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}, "style.safetensors")
    return Path("style.safetensors")


class TestLoras:
    def test_it_changes_the_picture_and_leaves_the_model(
        self, run: Run, loaded: list[str], lora: Path, tiny: Model
    ) -> None:
        before = tiny.transformer.get_parameter(LINEAR + ".weight").clone()
        run("generate", "a cat", "--seed", "7", "-o", "plain.png")
        assert run("generate", "a cat", "--seed", "7", "-o", "styled.png", "--lora", str(lora)).code == 0
        assert not np.array_equal(pixels_of("plain.png"), pixels_of("styled.png"))
        assert torch.equal(before, tiny.transformer.get_parameter(LINEAR + ".weight"))

    def test_strengths_add_up_and_zero_is_none(self, run: Run, loaded: list[str], lora: Path) -> None:
        run("generate", "a cat", "--seed", "7", "-o", "plain.png")
        run("generate", "a cat", "--seed", "7", "-o", "zero.png", "--lora", "style.safetensors:0")
        run("generate", "a cat", "--seed", "7", "-o", "half.png", "--lora", "style.safetensors:0.5")
        run("generate", "a cat", "--seed", "7", "-o", "whole.png", "--lora", "style.safetensors:1")
        assert np.array_equal(pixels_of("plain.png"), pixels_of("zero.png"))
        assert not np.array_equal(pixels_of("half.png"), pixels_of("whole.png"))

    def test_the_picture_is_verified_with_it_alone(self, run: Run, loaded: list[str], lora: Path) -> None:
        run("generate", "a cat", "--seed", "7", "-o", "styled.png", "--lora", "style.safetensors:0.5")
        assert "give the same ones with --lora" in run("verify", "styled.png").sentence
        assert "other weights" in run("verify", "styled.png", "--lora", "style.safetensors:0.6").sentence
        assert run("verify", "styled.png", "--lora", "style.safetensors:0.5").out.startswith("identical")

    def test_one_for_another_model(self, run: Run, loaded: list[str]) -> None:
        save_file({"transformer_blocks.99.attn.to_q.lora_A.weight": torch.ones(2, 2)}, "other.safetensors")
        assert "fit nothing in the model" in run("generate", "a cat", "--lora", "other.safetensors").sentence

    def test_no_weights_at_all(self, run: Run, loaded: list[str], photo: Path) -> None:
        assert run("generate", "a cat", "--lora", str(photo)).sentence

    def test_a_colon_in_the_name_of_a_file(self) -> None:
        Path("style:2").touch()
        assert check_loras(["style:2", "style:2:0.5"], read_settings()) == (
            (Path("style:2"), 1.0),
            (Path("style:2"), 0.5),
        )


class TestShiftAndPrecision:
    def test_shift_is_taken_and_recorded(self, run: Run, loaded: list[str]) -> None:
        run("generate", "a cat", "--seed", "7", "-o", "plain.png")
        run("generate", "a cat", "--seed", "7", "-o", "shifted.png", "--shift", "4")
        assert recipe_of("shifted.png").shift == 4
        assert not np.array_equal(pixels_of("plain.png"), pixels_of("shifted.png"))

    @pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
    def test_the_model_that_ships_in_a_precision(self, run: Run, dtype: str) -> None:
        outcome = run("generate", "a red car", "-o", "car.png", "--steps", "1", "--size", "64x64", "--dtype", dtype)
        assert outcome.code == 0, outcome.err
        assert recipe_of("car.png").dtype == dtype

    def test_the_setting_rules_without_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEELBILL_DTYPE", "bfloat16")
        assert _pictures.device_of(_pictures.load("keelbill-mini"))[1] == "bfloat16"
        assert _pictures.device_of(_pictures.load("keelbill-mini", "float32"))[1] == "float32"


class TestOutpaint:
    def test_only_the_margins_are_painted(self, run: Run, loaded: list[str], photo: Path) -> None:
        outcome = run(
            *("generate", "a cat", "--image", str(photo), "--outpaint", "16,0,32,0", "--size", "144x64"),
            *("-o", "wide.png", "--seed", "7"),
        )
        assert outcome.code == 0, outcome.err
        wide, before = pixels_of("wide.png"), decode(photo.read_bytes())
        assert wide.shape == (64, 144, 3)
        assert np.array_equal(wide[:, 16 : 16 + 96], before)
        assert not np.array_equal(wide[:, 112:], before[:, 64:][:, ::-1])

    def test_the_recipe_says_so_and_verify_declines(self, run: Run, loaded: list[str], photo: Path) -> None:
        run("generate", "a cat", "--image", str(photo), "--outpaint", "0,0,0,32", "-o", "tall.png", "--seed", "7")
        recipe = recipe_of("tall.png")
        assert (recipe.kind, recipe.strength) == ("outpaint", 1.0)
        assert "was made by outpaint" in run("verify", "tall.png", "--image", str(photo)).sentence
