from __future__ import annotations

import random

import numpy as np
import pytest

from keelbill.core.errors import InvalidInput, UnknownName
from keelbill.train.concepts import is_held_out
from keelbill.train.data import Sprites, Treatment
from keelbill.train.fillings import FILLINGS, fill
from keelbill.train.materials import MATERIALS, apply_material
from keelbill.train.palette import main_colour
from keelbill.train.treatments import bake, treat, usual_treatments
from support.pictures import tiny_sprites


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    return tiny_sprites()


class TestMaterials:
    def test_unknown_material(self, sprites: Sprites) -> None:
        with pytest.raises(UnknownName, match="jelly"):
            apply_material(sprites.pixels[0], "jelly", 0)

    def test_invisible_thing(self) -> None:
        with pytest.raises(InvalidInput, match="transparent"):
            apply_material(np.zeros((16, 16, 4), np.uint8), "gold", 0)

    @pytest.mark.parametrize("name", MATERIALS.names())
    def test_outline_stays_and_surface_changes(self, sprites: Sprites, name: str) -> None:
        sprite = sprites.pixels[sprites.find("cat")]
        made = apply_material(sprite, name, 3)
        assert np.array_equal(made[..., 3], sprite[..., 3])
        visible = sprite[..., 3] > 200
        assert np.abs(made[visible].astype(int) - sprite[visible]).mean() > 10

    @pytest.mark.parametrize(("name", "colour"), [("gold", {"yellow", "orange", "brown"}), ("grass", {"green"})])
    def test_colour_is_the_material_s(self, sprites: Sprites, name: str, colour: set[str]) -> None:
        main = main_colour(apply_material(sprites.pixels[sprites.find("elephant")], name, 3))
        assert main is not None
        assert main.name in colour

    def test_same_seed_gives_the_same_pixels(self, sprites: Sprites) -> None:
        first, second = (apply_material(sprites.pixels[0], "marble", 5) for _ in range(2))
        assert np.array_equal(first, second)


class TestFill:
    def test_no_pieces(self, sprites: Sprites) -> None:
        with pytest.raises(InvalidInput, match="pieces"):
            fill(sprites.pixels[0], None, [], random.Random(0))

    def test_invisible_thing(self, sprites: Sprites) -> None:
        with pytest.raises(InvalidInput, match="transparent"):
            fill(np.zeros((64, 64, 4), np.uint8), None, [sprites.pixels[0]], random.Random(0))

    def test_pieces_cover_most_of_the_thing(self, sprites: Sprites) -> None:
        house, star = sprites.find("house"), sprites.find("star")
        made = fill(sprites.pixels[house], sprites.infos[house].main, [sprites.pixels[star]], random.Random(0))
        visible = sprites.pixels[house][..., 3] > 200
        yellow = (made[..., 0] > 120) & (made[..., 2] < 90)
        assert (yellow & visible).sum() > 0.5 * visible.sum()

    def test_parts_of_another_colour_are_kept(self, sprites: Sprites) -> None:
        row = sprites.find("car")
        car = np.array(sprites.pixels[row])
        car[34:44, 10:20, :3] = (20, 90, 230)
        made = fill(car, sprites.infos[row].main, [sprites.pixels[sprites.find("star")]], random.Random(0))
        assert np.abs(made[39, 15, :3].astype(int) - (20, 90, 230)).max() < 30


class TestTreat:
    def test_thing_that_the_pack_lacks(self, sprites: Sprites) -> None:
        with pytest.raises(UnknownName, match="zebra"):
            treat(sprites, "zebra", Treatment(material="gold"))

    def test_dye_that_no_piece_has(self, sprites: Sprites) -> None:
        with pytest.raises(InvalidInput, match="pieces"):
            treat(sprites, "car", Treatment(made_of="fruit", dye="blue"))

    def test_red_fruit_makes_a_red_car(self, sprites: Sprites) -> None:
        _, info = treat(sprites, "car", Treatment(made_of="fruit", dye="red"))
        assert info.main is not None
        assert info.main.name == "red"


class TestBake:
    def test_nothing_to_do(self, sprites: Sprites) -> None:
        assert bake(sprites, []) is sprites

    def test_old_things_stay_first(self, sprites: Sprites) -> None:
        gold = Treatment(material="gold")
        baked = bake(sprites, [("cat", gold)])
        assert baked.infos[:-1] == sprites.infos
        assert baked.find("cat", treatment=gold) == len(sprites)

    def test_workers_do_not_change_the_pixels(self, sprites: Sprites) -> None:
        wanted = [("cat", Treatment(material="marble")), ("house", Treatment(made_of="stars", dye="blue"))]
        assert np.array_equal(bake(sprites, wanted).pixels, bake(sprites, wanted, workers=2).pixels)

    def test_usual_treatments_can_all_be_made(self, sprites: Sprites) -> None:
        wanted = usual_treatments(sprites, per_concept=2)
        assert ("car", Treatment(made_of="fruit", dye="red")) in wanted
        assert len(bake(sprites, wanted)) == len(sprites) + len(wanted)

    def test_held_out_pairs_are_left_out(self, sprites: Sprites) -> None:
        for concept, treatment in usual_treatments(sprites, per_concept=99):
            assert not is_held_out(concept, treatment.material or treatment.made_of)


class TestHeldOut:
    def test_flagship_is_never_held_out(self) -> None:
        assert not any(is_held_out("car", attribute) for attribute in ("red", "fruit", "red fruit"))

    def test_share(self) -> None:
        held = sum(is_held_out(f"thing {i}", "red") for i in range(2000))
        assert 60 < held < 140


def test_fillings_name_no_thing_twice() -> None:
    assert all(len(set(filling.members)) == len(filling.members) for filling in FILLINGS.values())
