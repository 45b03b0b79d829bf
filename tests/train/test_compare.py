"""What the shipped models paint, by the judge, and how pictures are compared with scenes and letters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from keelbill.engine.loader import load_model
from keelbill.engine.model import Model
from keelbill.models import embedded_folder
from keelbill.train import compare
from keelbill.train.data import BadSprites
from keelbill.train.judge import Judge, load_judge
from keelbill.train.plan import Plan
from support.pictures import tiny_sprites

PROMPTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("a strawberry on a light blue background", {"thing": "strawberry", "background": "light blue"}),
    ("a watermelon on a white background", {"thing": "watermelon", "background": "white"}),
    ("an elephant on a beige background", {"thing": "elephant", "background": "beige"}),
    ("a penguin on a light blue background", {"thing": "penguin", "background": "light blue"}),
    ("a hamburger on a yellow background", {"thing": "hamburger", "background": "yellow"}),
    ("a red car on a white background", {"thing": "car", "colour": "red"}),
    ("a blue guitar on a white background", {"thing": "guitar", "colour": "blue"}),
    ("a purple dress on a white background", {"thing": "dress", "colour": "purple"}),
    ("a green apple on a white background", {"thing": "apple", "colour": "green"}),
    ("a sunflower in a green meadow", {"thing": "sunflower", "background": "meadow"}),
    ("a rocket at night", {"thing": "rocket", "background": "night"}),
    ("a house in the snow", {"thing": "house", "background": "snow"}),
)
ENOUGH = 9


@pytest.fixture(scope="module")
def turbo() -> Model:
    return load_model(embedded_folder("keelbill-mini-turbo"), name="keelbill-mini-turbo")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge(embedded_folder("keelbill-judge"))


def test_what_ships_paints_what_is_asked_for(turbo: Model, judge: Judge) -> None:
    answers = judge.judge(compare.paint(turbo, [prompt for prompt, _ in PROMPTS]))
    wrong = [
        (prompt, {name: answer[name] for name in expected})
        for (prompt, expected), answer in zip(PROMPTS, answers, strict=True)
        if any(answer[name] != value for name, value in expected.items())
    ]
    assert len(PROMPTS) - len(wrong) >= ENOUGH, wrong


def test_a_model_is_compared_with_a_folder_of_scenes(
    tmp_path: Path, turbo: Model, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "LEARNED", 64)
    sprites = tiny_sprites()
    plan = Plan(things=tuple(dict.fromkeys(info.concept for info in sprites.infos)), backgrounds={"plain": 1.0})
    found = compare.likeness(turbo, judge, plan, sprites, pictures=6)
    assert found.distance > found.floor  # boxes and discs are not what it learned
    assert 0 < found.copies.nearest <= found.copies.pictures < 1
    assert found.copies.fresh > 0
    assert found.facts()["pictures"] == 6
    again = compare.likeness(turbo, judge, plan, sprites, pictures=6)
    assert again.facts() == found.facts()
    sprites.save(tmp_path / "sprites")
    told = compare.compare(turbo, judge, tmp_path, lambda _: "", pictures=2)
    assert told.renders is None
    assert all("nan" not in line for line in told.lines())


def test_a_folder_without_sprites_is_told(tmp_path: Path, turbo: Model, judge: Judge) -> None:
    with pytest.raises(BadSprites):
        compare.compare(turbo, judge, tmp_path, lambda _: "", pictures=2)


def test_signs_are_painted_and_read(turbo: Model) -> None:
    seen: list[NDArray[np.uint8]] = []

    def read(picture: NDArray[np.uint8]) -> str:
        seen.append(picture)
        return "OPEN" if len(seen) == 1 else "ope"

    lettered = compare.signs(turbo, read, ("open", "open"))
    assert lettered.exact == 0.5
    assert lettered.near == pytest.approx(0.875)
    assert {picture.shape for picture in seen} == {(256, 256, 3)}
    assert torch.from_numpy(seen[0].astype(np.float32)).std() > 1
