from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keelbill.core.errors import DownloadFailed, InvalidInput, UnknownName
from keelbill.train import packages
from keelbill.train.concepts import by_name, concepts, plural, with_article
from keelbill.train.data import BadSprites, Sprites, build_sprites, fit, plain_code
from keelbill.train.packages import (
    EMOJIBASE,
    FLUENT_3D,
    NOTO,
    LicenceNotAllowed,
    Package,
    attribution,
    check_licence,
    fetch,
)
from keelbill.train.palette import COLOURS, colour_name, from_hsv, main_colour, recolour, to_hsv
from support.pictures import cut_out, tiny_sprites


def pack_archive(cache: Path, package: Package, licence: str, files: dict[str, bytes]) -> None:
    root = cache / "staging"
    for name, content in {"package.json": json.dumps({"license": licence}).encode(), **files}.items():
        path = root / package.name.replace("/", "_") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with tarfile.open(cache / package.archive, "w:gz") as tar:
        tar.add(root / package.name.replace("/", "_"), arcname="package")


def webp(tmp: Path, red: int) -> bytes:
    path = tmp / "picture.webp"
    cut_out("ellipse", (red, 40, 50), (30, 60, 220, 200)).save(path, lossless=True)
    return path.read_bytes()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Archives as npm would leave them, with two pictures."""
    folder = tmp_path / "cache"
    folder.mkdir()
    keywords = json.dumps([{"hexcode": "1F697", "tags": ["vehicle"]}, {"hexcode": "2764-FE0F"}]).encode()
    pack_archive(folder, EMOJIBASE, "MIT", {"en/data.json": keywords})
    pictures = {"assets/1f697.webp": webp(tmp_path, 220), "assets/2764-fe0f.webp": webp(tmp_path, 180)}
    pack_archive(folder, FLUENT_3D, "MIT", {**pictures, "assets/1f595.webp": webp(tmp_path, 90)})
    return folder


class TestBuildSprites:
    def test_unknown_look(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="oil"):
            build_sprites(tmp_path, looks=("oil",))

    def test_npm_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(DownloadFailed, match="npm was not found"):
            build_sprites(tmp_path / "pack")

    def test_package_with_another_licence(self, cache: Path, tmp_path: Path) -> None:
        pack_archive(cache, FLUENT_3D, "GPL-3.0", {})
        with pytest.raises(LicenceNotAllowed, match=r"GPL-3\.0"):
            build_sprites(tmp_path / "pack", cache=cache)

    def test_only_listed_things_are_kept(self, cache: Path, tmp_path: Path) -> None:
        sprites = build_sprites(tmp_path / "pack", cache=cache)
        assert sorted(info.concept for info in sprites.infos) == ["car", "heart"]
        assert sprites.infos[sprites.find("car")].keywords == ("vehicle",)

    def test_pack_opens_again(self, cache: Path, tmp_path: Path) -> None:
        built = build_sprites(tmp_path / "pack", cache=cache)
        opened = Sprites.load(tmp_path / "pack")
        assert opened.infos == built.infos
        assert np.array_equal(opened.pixels, built.pixels)

    def test_vector_drawings_are_rasterised(self, cache: Path, tmp_path: Path) -> None:
        body = '<rect x="2" y="8" width="28" height="16" fill="#1060e0"/>'
        icons = {"width": 32, "icons": {"automobile": {"body": body}, "flag": {"body": body}}}
        files = {"icons.json": json.dumps(icons), "chars.json": json.dumps({"1f697": "automobile", "1f6a9": "flag"})}
        pack_archive(cache, NOTO, "Apache-2.0", {name: text.encode() for name, text in files.items()})
        sprites = build_sprites(tmp_path / "pack", looks=("cartoon",), cache=cache)
        assert [info.concept for info in sprites.infos] == ["car"]
        assert sprites.infos[0].main is not None
        assert sprites.infos[0].main.name == "blue"
        assert sprites.infos[0].width > sprites.infos[0].height

    def test_attribution_is_written(self, cache: Path, tmp_path: Path) -> None:
        build_sprites(tmp_path / "pack", cache=cache)
        text = (tmp_path / "pack" / "ATTRIBUTION.md").read_text()
        assert "Microsoft" in text
        assert "| MIT |" in text


class TestFetch:
    def test_second_time_needs_no_npm(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fetch(FLUENT_3D, cache)
        monkeypatch.setattr(packages, "_npm_pack", lambda *_: pytest.fail("downloaded again"))
        assert (fetch(FLUENT_3D, cache) / "assets").is_dir()

    def test_no_licence_stated(self) -> None:
        with pytest.raises(LicenceNotAllowed, match="None"):
            check_licence(FLUENT_3D, {})

    def test_attribution_of_nothing(self) -> None:
        with pytest.raises(InvalidInput):
            attribution([])


class TestSprites:
    def test_no_pack(self, tmp_path: Path) -> None:
        with pytest.raises(BadSprites, match="build_sprites"):
            Sprites.load(tmp_path)

    def test_list_and_pictures_differ(self) -> None:
        sprites = tiny_sprites()
        with pytest.raises(BadSprites, match="describes 7"):
            Sprites(sprites.pixels, sprites.infos[:-1])

    def test_wrong_shape(self) -> None:
        with pytest.raises(BadSprites, match="uint8"):
            Sprites(np.zeros((1, 8, 9, 4), np.uint8), [])

    def test_unknown_thing_names_the_nearest(self) -> None:
        with pytest.raises(UnknownName, match="cat"):
            tiny_sprites().find("cta")


class TestArchive:
    def test_there_and_back(self, tmp_path: Path) -> None:
        sprites = tiny_sprites()
        sprites.pack(tmp_path / "sprites.zip")
        opened = Sprites.unpack(tmp_path / "sprites.zip")
        assert opened.infos == sprites.infos
        assert np.array_equal(opened.pixels[..., 3], sprites.pixels[..., 3])
        visible = sprites.pixels[..., 3] > 200
        assert np.abs(opened.pixels[visible].astype(int) - sprites.pixels[visible]).mean() < 4

    def test_not_an_archive(self, tmp_path: Path) -> None:
        (tmp_path / "sprites.zip").write_bytes(b"PK nothing")
        with pytest.raises(BadSprites, match=r"sprites\.zip"):
            Sprites.unpack(tmp_path / "sprites.zip")


class TestFit:
    def test_nothing_visible(self) -> None:
        with pytest.raises(BadSprites, match="transparent"):
            fit(Image.new("RGBA", (20, 20)))

    def test_wide_picture_is_centred(self) -> None:
        sprite, width, height = fit(cut_out("rectangle", (200, 0, 0), (0, 100, 255, 160)), 64)
        assert sprite.shape == (64, 64, 4)
        assert width == pytest.approx(56 / 64)
        assert height < 0.3
        rows = np.flatnonzero(sprite[..., 3].max(1))
        assert abs((rows[0] + rows[-1]) / 2 - 31.5) <= 1

    def test_variation_selector_is_dropped(self) -> None:
        assert plain_code("2764-FE0F") == "2764"
        assert plain_code("1F468-200D-2764-FE0F") == "1f468-200d-2764"


class TestConcepts:
    def test_names_and_codes_are_unique(self) -> None:
        assert len(by_name()) == len(concepts())
        assert len({concept.code for concept in concepts()}) == len(concepts())

    def test_everyday_words_are_there(self) -> None:
        assert {"car", "cat", "dog", "house", "strawberry", "hamburger", "coffee cup", "tree"} <= set(by_name())

    @pytest.mark.parametrize(
        ("one", "many"),
        [
            ("cat", "cats"),
            ("mouse", "mice"),
            ("fox", "foxes"),
            ("butterfly", "butterflies"),
            ("key", "keys"),
            ("slice of cake", "slices of cake"),
            ("maple leaf", "maple leaves"),
            ("wrench", "wrenches"),
            ("egg in a pan", "eggs in a pan"),
        ],
    )
    def test_plural(self, one: str, many: str) -> None:
        assert plural(one) == many

    @pytest.mark.parametrize(
        "phrase",
        ["an apple", "a unicorn", "an hourglass", "a ufo", "an orange car", "a house", "an suv", "an umbrella"],
    )
    def test_article(self, phrase: str) -> None:
        assert with_article(phrase.split(" ", 1)[1]) == phrase


class TestPalette:
    def test_hsv_round_trip(self) -> None:
        rgb = np.random.default_rng(0).random((50, 3), np.float32)
        assert np.allclose(from_hsv(*to_hsv(rgb)), rgb, atol=1e-5)

    @pytest.mark.parametrize(
        ("hue", "saturation", "value", "name"),
        [(355, 0.8, 0.9, "red"), (45, 0.8, 0.95, "yellow"), (215, 0.7, 0.9, "blue"), (0, 0.02, 0.95, "white"),
         (0, 0.4, 0.1, "black"), (25, 0.5, 0.5, "brown"), (335, 0.5, 0.95, "pink"), (120, 0.5, 0.7, "green")],
    )  # fmt: skip
    def test_colour_words(self, hue: float, saturation: float, value: float, name: str) -> None:
        assert colour_name(hue, saturation, value) == name

    def test_invisible_picture_has_no_colour(self) -> None:
        assert main_colour(np.zeros((8, 8, 4), np.uint8)) is None

    @pytest.mark.parametrize("concept", ["car", "elephant", "tree"])
    @pytest.mark.parametrize("name", [name for name in COLOURS if name != "black"])
    def test_moved_colour_is_the_named_one(self, concept: str, name: str) -> None:
        sprites = tiny_sprites()
        row = sprites.find(concept)
        main = sprites.infos[row].main
        assert main is not None
        sprite = sprites.pixels[row].copy()
        sprite[..., :3] = recolour((sprite[..., :3] / np.float32(255)).astype(np.float32), main, name) * 255
        moved = main_colour(sprite)
        assert moved is not None
        assert moved.name == name

    def test_highlight_stays_white(self) -> None:
        sprites = tiny_sprites()
        row = sprites.find("car")
        main = sprites.infos[row].main
        assert main is not None
        white = np.ones((1, 1, 3), np.float32)
        assert np.allclose(recolour(white, main, "blue"), white)
