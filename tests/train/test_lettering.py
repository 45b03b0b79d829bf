from __future__ import annotations

import json
import random
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from keelbill.core.errors import InvalidInput, UnknownName
from keelbill.train.backgrounds import Background
from keelbill.train.batch_render import BatchRenderer
from keelbill.train.data import BadSprites
from keelbill.train.fonts import FONTS, Fonts, build_fonts
from keelbill.train.lettering import CARRIERS, MAX_LETTERS, WORDS, Lettering, draw_lettering, sample_lettering
from keelbill.train.render import render_reference
from keelbill.train.scenes import Scene
from support.pictures import tiny_sprites


def box_font(path: Path, flavor: str | None = None) -> None:
    """Write a font whose letters are boxes, each with another height."""
    letters = [chr(code) for code in range(33, 127)]
    names = [".notdef", "space", *(f"box{ord(letter)}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({32: "space", **{ord(letter): f"box{ord(letter)}" for letter in letters}})
    glyphs = {}
    for i, name in enumerate(names):
        pen = TTGlyphPen(None)
        if i > 1:
            top = 400 + 4 * i
            for step, point in enumerate([(60, 0), (60, top), (440, top), (440, 0)]):
                (pen.lineTo if step else pen.moveTo)(point)
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(names, (500, 60)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Box", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.font.flavor = flavor
    builder.save(path)


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Fonts:
    folder = tmp_path_factory.mktemp("fonts")
    box_font(folder / "box.ttf")
    return Fonts(folder)


class TestFonts:
    def test_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BadSprites, match="build_fonts"):
            Fonts(tmp_path)

    def test_unknown_font(self, fonts: Fonts, tmp_path: Path) -> None:
        with pytest.raises(UnknownName, match="sans"):
            fonts.get("sans", 20)
        with pytest.raises(UnknownName, match="sans"):
            build_fonts(tmp_path, names=("sans",))

    def test_web_font_becomes_a_file(self, tmp_path: Path) -> None:
        package, weight = FONTS["bangers"]
        root = tmp_path / "package"
        (root / "files").mkdir(parents=True)
        box_font(root / "files" / f"bangers-latin-{weight}-normal.woff2", flavor="woff2")
        (root / "package.json").write_text(json.dumps({"license": "OFL-1.1"}))
        cache = tmp_path / "cache"
        cache.mkdir()
        with tarfile.open(cache / package.archive, "w:gz") as tar:
            tar.add(root, arcname="package")
        shutil.rmtree(root)
        built = build_fonts(tmp_path / "fonts", cache, names=("bangers",))
        assert built.names == ("bangers",)
        assert built.get("bangers", 40).getlength("ab") == pytest.approx(40, abs=1)
        assert "Bangers" in (tmp_path / "fonts" / "ATTRIBUTION.md").read_text()


class TestLettering:
    @pytest.mark.parametrize("text", ["", "far too long a text", "naïve", "a\nb"])
    def test_bad_text(self, text: str) -> None:
        with pytest.raises(InvalidInput, match="text"):
            Lettering(text, "box", "red", "plain")

    def test_unknown_carrier(self) -> None:
        with pytest.raises(InvalidInput, match="carrier"):
            Lettering("HI", "box", "red", "cloud")

    def test_sampled_words_are_valid_and_varied(self) -> None:
        rng = random.Random(1)
        drawn = [sample_lettering(rng, ("box",)) for _ in range(500)]
        assert {lettering.carrier for lettering in drawn} == set(CARRIERS)
        known = sum(lettering.text.lower() in WORDS for lettering in drawn)
        assert 300 < known < 420
        assert all(len(lettering.text) <= MAX_LETTERS and lettering.ink != lettering.board for lettering in drawn)

    @pytest.mark.parametrize("carrier", CARRIERS)
    def test_letters_show_in_their_ink(self, fonts: Fonts, carrier: str) -> None:
        board = "white" if carrier in ("sign", "banner", "bubble") else ""
        picture = draw_lettering(Lettering("HI", "box", "red", carrier, board), fonts, 64).astype(int)
        assert picture.shape == (64, 64, 4)
        red = (picture[..., 0] > 180) & (picture[..., 1] < 160) & (picture[..., 3] > 200)
        assert red.sum() > 200

    def test_longer_words_have_smaller_letters(self, fonts: Fonts) -> None:
        short, long = (
            draw_lettering(Lettering(text, "box", "red", "plain"), fonts, 64)[..., 3] > 128
            for text in ("HI", "HIHIHIHI")
        )
        assert np.ptp(np.nonzero(short)[0]) > np.ptp(np.nonzero(long)[0])

    def test_unknown_font(self, fonts: Fonts) -> None:
        with pytest.raises(UnknownName, match="sans"):
            draw_lettering(Lettering("HI", "sans", "red", "plain"), fonts, 64)


class TestRendering:
    SCENE = Scene(
        1, "lettering", (), Background("studio", "light blue"), lettering=Lettering("HI", "box", "red", "plain")
    )

    def test_no_fonts(self) -> None:
        sprites = tiny_sprites()
        with pytest.raises(InvalidInput, match="fonts"):
            render_reference(self.SCENE, sprites, 64)
        with pytest.raises(InvalidInput, match="fonts"):
            BatchRenderer(sprites)([self.SCENE], 64)

    def test_both_renderers_agree(self, fonts: Fonts) -> None:
        sprites = tiny_sprites()
        reference = render_reference(self.SCENE, sprites, 64, fonts)
        picture = BatchRenderer(sprites, fonts=fonts)([self.SCENE], 64)[0].permute(1, 2, 0).numpy()
        assert np.abs(reference.astype(int) - picture).max() <= 1
