from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keelbill.core.errors import InvalidInput
from keelbill.train.palette import Bytes
from keelbill.train.sheets import contact_sheet


def pictures(count: int) -> list[Bytes]:
    return [np.full((48, 48, 3), 40 + 10 * i, np.uint8) for i in range(count)]


class TestContactSheet:
    def test_nothing_to_show(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="captions"):
            contact_sheet([], [], tmp_path / "sheet.png")

    def test_caption_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="captions"):
            contact_sheet(pictures(3), ["a", "b"], tmp_path / "sheet.png")

    def test_no_columns(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="columns"):
            contact_sheet(pictures(1), ["a"], tmp_path / "sheet.png", columns=0)

    def test_every_picture_is_on_it_untouched(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "sheet.png"
        contact_sheet(pictures(5), ["a car"] * 5, path, columns=3)
        sheet = np.asarray(Image.open(path))
        assert sheet.shape[1] == 3 * 54 + 6
        for i in range(5):
            assert (sheet == 40 + 10 * i).all(-1).sum() >= 48 * 48

    def test_labels_are_written_below(self, tmp_path: Path) -> None:
        for name, caption in (("with", "a red car"), ("without", "")):
            contact_sheet(pictures(1), [caption], tmp_path / f"{name}.png")
        written = np.asarray(Image.open(tmp_path / "with.png"))
        empty = np.asarray(Image.open(tmp_path / "without.png"))
        assert (written[54:] < 128).any()
        assert not (empty[54:] < 128).any()

    def test_webp(self, tmp_path: Path) -> None:
        contact_sheet(pictures(2), ["a", "b"], tmp_path / "sheet.webp")
        with Image.open(tmp_path / "sheet.webp") as sheet:
            assert sheet.format == "WEBP"
