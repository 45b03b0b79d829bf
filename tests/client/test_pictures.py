"""Pictures in files, in notebooks and as pixels; what must not happen to files first."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from keelbill.client import BadRequestError, Picture, pictures, recipe_of
from keelbill.core.errors import BadImage
from support.apidouble import ApiDouble


def made(kind: str = "png", seed: int | None = 7) -> Picture:
    data, media_type, _ = ApiDouble().paint({"prompt": "a cat", "seed": "7", "output_format": kind}, {})
    return Picture(data, media_type, seed=seed)


class TestSaving:
    def test_a_file_that_is_there_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "cat.png"
        path.write_text("precious")
        with pytest.raises(FileExistsError, match=r"cat\.png is there already; give overwrite=True"):
            made().save(path)
        assert path.read_text() == "precious"

    def test_unless_it_may_be_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "cat.png"
        path.write_text("old")
        assert made().save(path, overwrite=True) == path
        assert path.read_bytes() == made().data
        assert list(tmp_path.iterdir()) == [path]

    def test_the_same_picture_again_is_no_quarrel(self, tmp_path: Path) -> None:
        path = made().save(tmp_path / "cat.png")
        assert made().save(path) == path

    @pytest.mark.parametrize("name", ["cat.jpg", "cat.webp", "cat.gif"])
    def test_the_ending_of_another_format(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(BadRequestError, match=r"must end in \.png, because this picture is image/png"):
            made().save(tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("kind", "name", "path"),
        [("png", "a", "a.png"), ("jpeg", "a", "a.jpg"), ("jpeg", "a.jpeg", "a.jpeg"), ("webp", "a.WEBP", "a.WEBP")],
    )
    def test_endings(self, tmp_path: Path, kind: str, name: str, path: str) -> None:
        assert made(kind).save(tmp_path / name) == tmp_path / path

    def test_a_folder_gets_names_that_are_free(self, tmp_path: Path) -> None:
        names = [made().save(tmp_path).name for _ in range(3)] + [made(seed=None).save(tmp_path).name]
        assert names == ["picture-7.png", "picture-7-2.png", "picture-7-3.png", "picture.png"]

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            made().save(tmp_path / "none" / "cat.png")
        with pytest.raises(FileNotFoundError):
            made().save(tmp_path / "none" / "cat.png", overwrite=True)


class TestShowing:
    def test_a_notebook_gets_base64(self) -> None:
        bundle = made()._repr_mimebundle_()
        assert base64.b64decode(bundle["image/png"]) == made().data
        assert bundle["text/plain"].startswith("Picture(")

    def test_a_jpeg_as_it_is_and_a_webp_as_png(self) -> None:
        assert base64.b64decode(made("jpeg")._repr_mimebundle_()["image/jpeg"]) == made("jpeg").data
        shown = Image.open(BytesIO(made("webp")._repr_png_()))
        assert (shown.format, shown.size) == ("PNG", (64, 64))

    def test_outside_a_notebook_the_systems_viewer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shown: list[tuple[int, int]] = []
        monkeypatch.setattr(Image.Image, "show", lambda self: shown.append(self.size))
        made().show()
        assert shown == [(64, 64)]

    def test_in_a_notebook_below_the_cell(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shown: list[object] = []
        monkeypatch.setattr(pictures, "_notebook_display", lambda: shown.append)
        picture = made()
        picture.show()
        assert shown == [picture]

    def test_bytes_stay_out_of_what_is_printed(self) -> None:
        assert "\\x89" not in repr(made())
        assert len(repr(made())) < 300


class TestContents:
    def test_pixels(self) -> None:
        assert made().to_pil().size == (64, 64)
        assert bytes(made()) == made().data

    @pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
    def test_recipes(self, tmp_path: Path, kind: str) -> None:
        picture = made(kind)
        for source in (picture, picture.data, picture.save(tmp_path / "cat")):
            recipe = recipe_of(source)
            assert recipe is not None
            assert (recipe.prompt, recipe.seed) == ("a cat", 7)
        assert picture.recipe == recipe

    def test_no_recipe(self) -> None:
        assert recipe_of(Image.new("RGB", (8, 8))) is None

    def test_no_picture(self) -> None:
        for data in (b"", b"text"):
            with pytest.raises(BadImage):
                recipe_of(data)
        with pytest.raises(BadRequestError, match="cannot be read"):
            recipe_of("none.png")
