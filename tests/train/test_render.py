from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from keelbill.core.errors import InvalidInput, UnknownName
from keelbill.train.backgrounds import VARIANTS, Background, paint
from keelbill.train.batch_render import BatchRenderer
from keelbill.train.data import Sprites
from keelbill.train.landscapes import PLACES
from keelbill.train.palette import Bytes
from keelbill.train.render import render_reference, shadow_texture
from keelbill.train.scenes import Catalogue, Item, Scene, sample_scene
from support.pictures import tiny_sprites

WHITE = Background("plain", "white")


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    return tiny_sprites(96)


@pytest.fixture(scope="module")
def renderer(sprites: Sprites) -> BatchRenderer:
    return BatchRenderer(sprites)


def single(item: Item, background: Background = WHITE) -> Scene:
    return Scene(0, "single", (item,), background)


def psnr(a: Bytes, b: Bytes) -> float:
    error = float(((a.astype(np.float64) - b) ** 2).mean())
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def fast(renderer: BatchRenderer, scenes: list[Scene], size: int) -> list[Bytes]:
    return [picture.permute(1, 2, 0).numpy() for picture in renderer(scenes, size)]


class TestBothRenderers:
    @pytest.mark.parametrize("size", [64, 128])
    def test_agree_on_fifty_records(self, sprites: Sprites, renderer: BatchRenderer, size: int) -> None:
        rng, catalogue = random.Random(5), Catalogue(sprites.infos)
        scenes = [sample_scene(rng, catalogue) for _ in range(50)]
        for scene, picture in zip(scenes, fast(renderer, scenes, size), strict=True):
            assert psnr(render_reference(scene, sprites, size), picture) > 28, scene

    def test_agree_on_turned_and_mirrored_things(self, sprites: Sprites, renderer: BatchRenderer) -> None:
        scenes = [
            single(Item("car", 0.4, 0.45, 0.6, rotation=30)),
            single(Item("house", 0.6, 0.55, 0.5, rotation=-100, flip=True, colour="green")),
            single(Item("tree", 0.5, 0.5, 0.2, flip=True)),
        ]
        for scene, picture in zip(scenes, fast(renderer, scenes, 96), strict=True):
            assert psnr(render_reference(scene, sprites, 96), picture) > 28

    def test_unknown_thing(self, sprites: Sprites, renderer: BatchRenderer) -> None:
        scene = single(Item("zebra", 0.5, 0.5, 0.5))
        with pytest.raises(UnknownName, match="zebra"):
            render_reference(scene, sprites, 64)
        with pytest.raises(UnknownName, match="zebra"):
            renderer([scene], 64)

    def test_too_small(self, sprites: Sprites, renderer: BatchRenderer) -> None:
        scene = single(Item("car", 0.5, 0.5, 0.5))
        with pytest.raises(InvalidInput, match="size"):
            render_reference(scene, sprites, 8)
        with pytest.raises(InvalidInput, match="size"):
            renderer([scene], 8)


class TestBatchRenderer:
    def test_no_scenes(self, renderer: BatchRenderer) -> None:
        with pytest.raises(InvalidInput, match="scenes"):
            renderer([], 64)

    def test_picture_does_not_depend_on_its_batch(self, sprites: Sprites, renderer: BatchRenderer) -> None:
        rng, catalogue = random.Random(9), Catalogue(sprites.infos)
        scenes = [sample_scene(rng, catalogue) for _ in range(12)]
        together = renderer(scenes, 64)
        alone = torch.cat([renderer([scene], 64) for scene in scenes])
        assert int((together.int() - alone.int()).abs().max()) <= 1

    def test_shape_and_type(self, renderer: BatchRenderer) -> None:
        pictures = renderer([single(Item("car", 0.5, 0.5, 0.5))] * 3, 48)
        assert pictures.shape == (3, 3, 48, 48)
        assert pictures.dtype == torch.uint8


class TestReference:
    def test_thing_lies_where_the_record_says(self, sprites: Sprites) -> None:
        picture = render_reference(single(Item("house", 0.25, 0.75, 0.3)), sprites, 128)
        rows, columns = np.nonzero(picture.min(2) < 200)
        assert abs(float(columns.mean()) / 128 - 0.25) < 0.02
        assert abs(float(rows.mean()) / 128 - 0.75) < 0.02

    def test_new_colour_shows(self, sprites: Sprites) -> None:
        picture = render_reference(single(Item("car", 0.5, 0.5, 0.8, colour="blue")), sprites, 64)
        red, _, blue = picture[38, 16].astype(int)
        assert blue > red + 80

    def test_floor_under_a_thing_is_darker(self, sprites: Sprites) -> None:
        item = Item("car", 0.5, 0.7, 0.6, height=0.45)
        background = Background("studio", "light blue")
        picture = render_reference(single(item, background), sprites, 128).astype(int)
        empty = paint(background, 128).astype(int)
        foot = round(item.base * 128) + 1
        assert picture[foot, 64].sum() < empty[foot, 64].sum() - 60
        assert np.array_equal(picture[2], empty[2])

    def test_shadow_is_flat_and_centred(self, sprites: Sprites) -> None:
        texture = shadow_texture(sprites.pixels[sprites.find("car")]).astype(float)
        assert texture.shape == (32, 96)
        rows, columns = np.nonzero(texture > 20)
        assert np.ptp(rows) < 20 < np.ptp(columns)
        assert abs(columns.mean() - 47.5) < 2


class TestBackgrounds:
    def test_unknown_kind_and_colour(self) -> None:
        with pytest.raises(UnknownName, match="mars"):
            paint(Background("mars"), 32)
        with pytest.raises(UnknownName, match="blurple"):
            paint(Background("plain", "blurple"), 32)

    def test_variant_out_of_range(self) -> None:
        with pytest.raises(InvalidInput, match="variant"):
            paint(Background("plain", "white", VARIANTS), 32)

    def test_studio_floor_differs_from_wall(self) -> None:
        picture = paint(Background("studio", "light blue"), 64).astype(int)
        assert abs(picture[38, 5].sum() - picture[46, 5].sum()) > 6

    @pytest.mark.parametrize("kind", list(PLACES))
    def test_places_look_the_same_at_every_size(self, kind: str) -> None:
        small, large = (paint(Background(kind, variant=2), size).astype(float) for size in (64, 128))
        halved = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
        assert np.abs(halved - small).mean() < 1.5

    @pytest.mark.parametrize("kind", list(PLACES))
    def test_variants_differ(self, kind: str) -> None:
        first, second = (paint(Background(kind, variant=v), 64).astype(float) for v in (0, 1))
        assert np.abs(first - second).mean() > 0.5
