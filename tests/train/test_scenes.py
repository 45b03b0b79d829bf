from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace

import pytest

from keelbill.core.errors import InvalidInput
from keelbill.train.backgrounds import BACKGROUND_COLOURS, Background, is_grounded
from keelbill.train.captions import captions, full_caption
from keelbill.train.data import SpriteInfo
from keelbill.train.palette import MainColour
from keelbill.train.scenes import Catalogue, Item, Mix, Scene, sample_scene
from support.pictures import tiny_sprites


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(tiny_sprites().infos)


def draw(catalogue: Catalogue, count: int, seed: int = 1, mix: Mix | None = None) -> list[Scene]:
    rng = random.Random(seed)
    return [sample_scene(rng, catalogue, mix or Mix()) for _ in range(count)]


def scene(concept: str, colour: str = "", natural: str = "", background: Background | None = None) -> Scene:
    item = Item(concept, 0.5, 0.5, 0.7, colour=colour, natural=natural)
    return Scene(7, "single", (item,), background or Background("plain", "light blue"))


class TestSampling:
    def test_look_that_the_pack_lacks(self) -> None:
        with pytest.raises(InvalidInput, match="watercolour"):
            Catalogue(tiny_sprites().infos, look="watercolour")

    def test_same_seed_gives_the_same_scenes(self, catalogue: Catalogue) -> None:
        assert draw(catalogue, 50) == draw(catalogue, 50)
        assert draw(catalogue, 50) != draw(catalogue, 50, seed=2)

    def test_things_stay_inside(self, catalogue: Catalogue) -> None:
        for one in draw(catalogue, 400):
            for item in one.items:
                half = item.size * item.height / 2
                assert item.y - half > 0
                assert item.y + half < 1
                assert item.size / 2 <= min(item.x, 1 - item.x) + 0.04

    def test_grounded_things_stand_on_the_floor(self, catalogue: Catalogue) -> None:
        for one in draw(catalogue, 200, mix=Mix(backgrounds={"studio": 1})):
            assert all(0.68 < item.base < 0.9 for item in one.items)

    def test_things_stand_out_from_the_background(self, catalogue: Catalogue) -> None:
        for one in draw(catalogue, 300):
            hidden = BACKGROUND_COLOURS[one.background.colour].hides
            assert not {item.colour for item in one.items} & set(hidden)

    def test_pairs_hold_two_different_things(self, catalogue: Catalogue) -> None:
        for one in draw(catalogue, 100, mix=Mix(layouts={"pair": 1})):
            assert len({item.concept for item in one.items}) == 2

    def test_left_is_left_and_above_is_above(self, catalogue: Catalogue) -> None:
        for one in draw(catalogue, 200, mix=Mix(layouts={"pair": 1})):
            first, second = one.items
            assert first.y < second.y if one.relation == "above" else first.x < second.x

    def test_colourless_things_keep_their_colour(self) -> None:
        info = SpriteInfo("rainbow", "nature", "3d", 0.9, 0.9, None)
        assert all(one.items[0].colour == "" for one in draw(Catalogue([info]), 30, mix=Mix(layouts={"single": 1})))

    def test_every_thing_appears(self, catalogue: Catalogue) -> None:
        seen = {item.concept for one in draw(catalogue, 400) for item in one.items}
        assert len(seen) == 8


class TestRecord:
    def test_through_json_and_back(self, catalogue: Catalogue) -> None:
        for one in draw(catalogue, 40):
            assert Scene.from_json(json.loads(json.dumps(one.to_json()))) == one

    def test_incomplete_record(self) -> None:
        with pytest.raises(InvalidInput, match="scene"):
            Scene.from_json({"seed": 1})


class TestCaptions:
    def test_full_sentence(self) -> None:
        assert full_caption(scene("strawberry")) == "a strawberry on a light blue background"
        assert full_caption(scene("car", colour="orange")) == "an orange car on a light blue background"
        assert (
            full_caption(scene("grapes", background=Background("plain", "orange"))) == "grapes on an orange background"
        )

    def test_new_colour_is_always_said(self) -> None:
        one = scene("car", colour="blue")
        assert all("blue" in text.replace("light blue", "") for seed in range(60) for text in at(one, seed))

    def test_natural_colour_is_said_about_half_of_the_time(self) -> None:
        texts = [text for seed in range(200) for text in at(scene("strawberry", natural="red"), seed)[1:]]
        said = sum("red" in text for text in texts) / len(texts)
        assert 0.35 < said < 0.65

    def test_colour_is_not_said_twice(self) -> None:
        assert not any("orange orange" in t for s in range(50) for t in at(scene("orange", natural="orange"), s))

    def test_parts_are_dropped(self) -> None:
        texts = {text for seed in range(300) for text in at(scene("strawberry"), seed)}
        assert {"strawberry", "a strawberry"} <= texts
        assert any("3d render" in text for text in texts)
        assert any("background" not in text for text in texts)

    def test_synonyms_are_used(self) -> None:
        assert any("automobile" in text for seed in range(40) for text in at(scene("car"), seed))

    def test_no_bad_articles(self, catalogue: Catalogue) -> None:
        for one in draw(catalogue, 300):
            for text in captions(one):
                words = text.split()
                for article, word in itertools.pairwise(words):
                    if article == "a":
                        assert word[0] not in "aeio", text
                    if article == "an":
                        assert word[0] in "aeiouh", text

    def test_left_and_right_are_told_from_both_sides(self) -> None:
        items = (Item("car", 0.27, 0.5, 0.45), Item("tree", 0.73, 0.5, 0.45))
        one = Scene(1, "pair", items, Background("plain", "white"), "left")
        texts = {text for seed in range(200) for text in at(one, seed)}
        assert any("a car to the left of a tree" in text for text in texts)
        assert any("a tree to the right of a car" in text for text in texts)
        assert not any("a car to the right" in text for text in texts)

    def test_same_scene_gives_the_same_captions(self) -> None:
        assert captions(scene("cat")) == captions(scene("cat"))


class TestBackground:
    def test_only_floors_are_grounded(self) -> None:
        assert is_grounded(Background("studio", "white"))
        assert not is_grounded(Background("plain", "white"))


def at(one: Scene, seed: int) -> list[str]:
    return captions(replace(one, seed=seed))


def test_natural_colour_comes_from_the_sprite() -> None:
    main = MainColour("green", 120, 0.6, 0.7, 0.9, 0.9, is_grey=False)
    info = SpriteInfo("tree", "plant", "3d", 0.9, 0.9, main)
    [one] = draw(Catalogue([info]), 1, mix=Mix(layouts={"single": 1}, recoloured=0))
    assert one.items[0].natural == "green"
