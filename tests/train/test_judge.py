"""The judge and its suite of prompts: truth of scenes, spoilt pictures, a short training, files, what is shipped."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from keelbill.core.errors import BadWeights
from keelbill.engine.autoencoder import SmallAutoencoder, SmallAutoencoderConfig
from keelbill.models import embedded_folder
from keelbill.train.backgrounds import Background
from keelbill.train.batch_render import BatchRenderer
from keelbill.train.data import Treatment
from keelbill.train.judge import (
    QUESTIONS,
    UNKNOWN,
    Answers,
    Judge,
    JudgeRecipe,
    accuracy,
    labelled,
    load_judge,
    save_judge,
    spoil,
    train_judge,
)
from keelbill.train.plan import Plan
from keelbill.train.scenes import Catalogue, Item, Scene
from keelbill.train.suite import CATEGORIES, load_suite, questions, save_suite
from support.pictures import tiny_sprites

SPRITES = tiny_sprites()
THINGS = tuple(dict.fromkeys(info.concept for info in SPRITES.infos))
PLAN = Plan(things=THINGS, side=32, backgrounds={"plain": 1.0}, material=0.0, made_of=0.0)
ANSWERS = Answers.of(PLAN, ["fruit", "gold"])


def scenes(count: int, rng: random.Random) -> tuple[Tensor, list[str]]:
    drawn = PLAN.scenes(Catalogue(PLAN.choose(SPRITES.infos)), count, rng)
    return BatchRenderer(SPRITES)(drawn, 32), [json.dumps(scene.to_json()) for scene in drawn]


def scene(**changes: object) -> Scene:
    item = Item(THINGS[0], 0.5, 0.5, 0.7, **changes)  # type: ignore[arg-type]  # of the right types in each test
    return Scene(1, "single", (item,), Background("plain", "white"))


def answer(name: str, row: list[int]) -> str:
    words: tuple[str, ...] = getattr(ANSWERS, name)
    return words[row[QUESTIONS.index(name)]]


def test_truth_of_a_recoloured_thing() -> None:
    row = ANSWERS.truth(scene(colour="blue"))
    assert (answer("thing", row), answer("colour", row)) == (THINGS[0], "blue")
    assert (answer("filling", row), answer("background", row)) == ("", "white")


def test_truth_of_a_thing_made_of_fruit() -> None:
    row = ANSWERS.truth(scene(treatment=Treatment(made_of="fruit"), natural="red"))
    assert answer("filling", row) == "fruit"
    assert row[QUESTIONS.index("colour")] == UNKNOWN


def test_a_colour_that_nobody_could_name_is_not_asked_for() -> None:
    assert ANSWERS.truth(scene())[QUESTIONS.index("colour")] == UNKNOWN


def test_spoilt_pictures_differ_and_stay_pictures() -> None:
    pixels, _ = labelled(scenes, ANSWERS, 16, random.Random(1))
    spoilt = spoil(pixels, random.Random(2))
    assert spoilt.shape == pixels.shape
    assert 0 <= float(spoilt.min()) <= float(spoilt.max()) <= 1
    assert sum(float((a - b).abs().mean()) > 0.005 for a, b in zip(spoilt, pixels, strict=True)) > 12
    assert torch.equal(spoilt, spoil(pixels, random.Random(2)))


def test_a_short_training_beats_chance_resumes_and_is_read_back(tmp_path: Path) -> None:
    autoencoder = SmallAutoencoder(SmallAutoencoderConfig(widths=(8, 8, 8))).eval()
    recipe = JudgeRecipe(batch=32, spoilt=0.0, decoded=0.0, average=0.9, warmup=5)
    lines: list[str] = []
    for budget_s in (1, 14):
        judge = train_judge(scenes, ANSWERS, autoencoder, tmp_path, budget_s=budget_s, recipe=recipe, log=lines.append)
    assert any("resumed" in line for line in lines)
    shares = accuracy(judge, scenes, 64, random.Random(9))
    assert shares["background"] > 2 / len(ANSWERS.background)

    save_judge(judge, tmp_path / "out")
    again = load_judge(tmp_path / "out")
    pixels, _ = labelled(scenes, ANSWERS, 8, random.Random(3))
    assert again.answers == ANSWERS
    assert float((again.features(pixels) - judge.features(pixels)).abs().max()) < 0.05
    assert set(again.judge(pixels)[0]) == set(QUESTIONS)


def test_a_missing_or_foreign_judge_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="no judge"):
        load_judge(tmp_path)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "judge.safetensors")
    with pytest.raises(BadWeights, match="not a judge"):
        load_judge(tmp_path)


def test_the_suite_is_the_same_every_time_and_survives_its_file(tmp_path: Path) -> None:
    infos = PLAN.choose(SPRITES.infos)
    suite = questions(infos, ANSWERS, 5)
    assert suite == questions(infos, ANSWERS, 5)
    assert {question.category for question in suite} <= set(CATEGORIES)
    assert all(THINGS.count(question.expected["thing"]) for question in suite)
    save_suite(tmp_path / "suite.json", suite)
    assert load_suite(tmp_path / "suite.json") == suite


def test_an_unasked_network_answers_with_known_words() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = Judge(ANSWERS).eval()
    for row in judge.judge(torch.rand(2, 3, 64, 64)):
        assert all(row[name] in getattr(ANSWERS, name) for name in QUESTIONS)


@pytest.mark.skipif(not embedded_folder("keelbill-judge").is_dir(), reason="no judge is shipped")
def test_the_shipped_judge_knows_the_suite_it_is_asked() -> None:
    folder = embedded_folder("keelbill-judge")
    judge = load_judge(folder)
    facts = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["accuracy"]
    assert facts["thing"] > 0.85
    for question in load_suite(folder / "suite.json"):
        assert all(value in getattr(judge.answers, name) for name, value in question.expected.items())
    assert np.isfinite([parameter.abs().max().item() for parameter in judge.parameters()]).all()
