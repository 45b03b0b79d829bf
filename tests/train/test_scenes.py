from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace

import pytest

from keelbill.core.errors import InvalidInput
from keelbill.train.backgrounds import BACKGROUND_COLOURS, Background, is_grounded
from keelbill.train.captions import captions, full_caption
from keelbill.train.concepts import is_held_out
from keelbill.train.data import SpriteInfo, Treatment
from keelbill.train.landscapes import PLACES
from keelbill.train.lettering import Lettering
from keelbill.train.palette import MainColour
from keelbill.train.scenes import FULL_MIX, Catalogue, Item, Mix, Scene, sample_scene
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
    def test_look_that_the_pack_lacks(self, catalogue: Catalogue) -> None:
        with pytest.raises(InvalidInput, match="watercolour"):
            draw(catalogue, 1, mix=Mix(looks={"watercolour": 1}))

    def test_no_things(self) -> None:
        with pytest.raises(InvalidInput, match="untreated"):
            Catalogue([])

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
            if one.relation == "above":
                assert first.y < second.y
            elif one.relation == "behind":
                assert first.base < second.base
            else:
                assert first.x < second.x

    def test_counted_things_do_not_hide_each_other(self, catalogue: Catalogue) -> None:
        counts = set()
        for one in draw(catalogue, 300, mix=replace(FULL_MIX, layouts={"count": 1})):
            counts.add(len(one.items))
            assert len({item.concept for item in one.items}) == 1
            for a, b in itertools.combinations(one.items, 2):
                assert abs(a.x - b.x) > 0.9 * a.size or abs(a.y - b.y) > 0.9 * a.size
        assert counts == {2, 3, 4, 5, 6}

    def test_plural_words_are_not_counted(self, catalogue: Catalogue) -> None:
        for one in draw(catalogue, 200, mix=Mix(layouts={"count": 1})):
            assert one.items[0].concept != "grapes"

    def test_held_out_colours_are_never_shown(self, catalogue: Catalogue) -> None:
        for one in draw(catalogue, 1500, mix=Mix(recoloured=1)):
            assert not any(item.colour and is_held_out(item.concept, item.colour) for item in one.items)

    def test_treated_things_get_their_share(self) -> None:
        plain = SpriteInfo("car", "vehicle", "3d", 0.9, 0.6, None)
        gold = replace(plain, treatment=Treatment(material="gold"))
        fruit = replace(plain, treatment=Treatment(made_of="fruit", dye="red"))
        mix = replace(FULL_MIX, layouts={"single": 1})
        items = [one.items[0] for one in draw(Catalogue([plain, gold, fruit]), 1000, mix=mix)]
        assert 90 < sum(item.treatment.material == "gold" for item in items) < 170
        assert 150 < sum(item.treatment.made_of == "fruit" for item in items) < 250

    def test_lettering_needs_fonts(self, catalogue: Catalogue) -> None:
        mix = Mix(layouts={"lettering": 1})
        assert draw(catalogue, 1, mix=mix)[0].layout == "single"
        written = draw(Catalogue(tiny_sprites().infos, fonts=("poppins",)), 30, mix=mix)
        assert {one.layout for one in written} == {"lettering"}
        assert Scene.from_json(json.loads(json.dumps(written[0].to_json()))) == written[0]

    def test_places_and_plain_walls_appear(self, catalogue: Catalogue) -> None:
        kinds = {one.background.kind for one in draw(catalogue, 600, mix=FULL_MIX)}
        assert kinds == {"plain", "studio", *PLACES}

    def test_colourless_things_keep_their_colour(self) -> None:
        info = SpriteInfo("rainbow", "nature", "3d", 0.9, 0.9, None)
        assert all(one.items[0].colour == "" for one in draw(Catalogue([info]), 30, mix=Mix(layouts={"single": 1})))

    def test_people_keep_their_colour(self) -> None:
        main = MainColour("orange", 30, 0.6, 0.9, 0.9, 0.9, is_grey=False)
        people = Catalogue([SpriteInfo("farmer", "person", "3d", 0.9, 0.9, main)])
        for one in draw(people, 30, mix=Mix(layouts={"single": 1}, recoloured=1)):
            assert (one.items[0].colour, one.items[0].natural) == ("", "")

    def test_every_thing_appears(self, catalogue: Catalogue) -> None:
        seen = {item.concept for one in draw(catalogue, 400) for item in one.items}
        assert len(seen) == 8


class TestRecord:
    def test_through_json_and_back(self, catalogue: Catalogue) -> None:
        for one in draw(catalogue, 40, mix=FULL_MIX):
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

    def test_counts_are_said(self) -> None:
        items = tuple(Item("mouse", 0.2 + 0.3 * k, 0.5, 0.3, colour="green") for k in range(3))
        one = Scene(3, "count", items, Background("plain", "white"))
        assert full_caption(one) == "three green mice on a white background"

    def test_things_made_of_others(self) -> None:
        item = Item("car", 0.5, 0.5, 0.8, treatment=Treatment(made_of="fruit", dye="red"))
        one = Scene(1, "single", (item,), Background("meadow"))
        assert full_caption(one) == "a red car made of fruit in a green meadow"
        texts = {text for seed in range(200) for text in at(one, seed)}
        assert "a red car made of fruit" in texts
        assert all("red" in text and "fruit" in text for text in texts)

    def test_materials(self) -> None:
        one = Scene(1, "single", (Item("cat", 0.5, 0.5, 0.8, treatment=Treatment("gold")),), Background("table"))
        assert full_caption(one) == "a golden cat on a wooden table"
        texts = {text for seed in range(200) for text in at(one, seed)}
        assert {"a golden cat", "a gold cat", "a cat made of gold"} <= texts

    def test_other_styles_are_nearly_always_said(self) -> None:
        texts = [t for s in range(200) for t in at(replace(scene("cat"), style="cartoon"), s)]
        assert sum("cartoon" in text for text in texts) > 0.85 * len(texts)

    def test_lettering_is_quoted(self) -> None:
        sign = Lettering("OPEN", "poppins", "white", "sign", "orange")
        one = Scene(1, "lettering", (), Background("plain", "blue"), lettering=sign)
        assert full_caption(one) == 'an orange sign that says "OPEN" on a blue background'
        assert all('"OPEN"' in text for seed in range(50) for text in at(one, seed))

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
