"""Paints the small pictures of the style presets with the model that comes with the program. Knows no page.

    python studio/style_pictures.py             paint all of them again
    python studio/style_pictures.py --try OUT   paint a sheet with every subject for every style, to choose from

Each style's own words are put around a subject by the same code that serves requests. CHOSEN says which subject and
which seed stand for a style; a better model makes better pictures of the same choices.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from keelbill.prompting.presets import PRESETS, apply_preset

if TYPE_CHECKING:
    from keelbill.engine.model import Model

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "src/keelbill/studio/assets/img/styles"
SIDE: Final = 112
QUALITY: Final = 82
MODEL: Final = "keelbill-mini"
SUBJECTS: Final = ("a red car", "a rocket", "a house in a meadow", "a mushroom", "a lighthouse at sunset", "a teapot")
CHOSEN: Final[dict[str, tuple[str, int]]] = {
    "": ("a mushroom", 1),
    "3d-model": ("a red car", 1),
    "analog-film": ("a house in a meadow", 1),
    "anime": ("a red car", 1),
    "cinematic": ("a lighthouse at sunset", 1),
    "comic-book": ("a red car", 1),
    "digital-art": ("a house in a meadow", 1),
    "enhance": ("a mushroom", 1),
    "fantasy-art": ("a house in a meadow", 1),
    "isometric": ("a red car", 1),
    "line-art": ("a red car", 1),
    "low-poly": ("a house in a meadow", 1),
    "modeling-compound": ("a red car", 1),
    "neon-punk": ("a house in a meadow", 1),
    "origami": ("a red car", 1),
    "photographic": ("a rocket", 1),
    "pixel-art": ("a house in a meadow", 1),
    "tile-texture": ("a red car", 1),
}
"""The subject and the seed that stand for a style."""


def paint(model: Model, style: str, subject: str, seed: int) -> Image.Image:
    """Paint one picture at the model's own size."""
    from keelbill.cli._orders import Order
    from keelbill.cli._pictures import make

    prompt, negative = apply_preset(subject, "", style or None)
    order = Order(prompt=prompt, negative=negative, model=MODEL, shape=None, seed=seed, count=1)
    return Image.fromarray(make(model, order, 0, lambda *_: None).pixels)


def main() -> None:
    """Paint the pictures, or a sheet to choose from."""
    from keelbill.cli._pictures import load

    parser = argparse.ArgumentParser(description="Paint the small pictures of the style presets.")
    parser.add_argument("--try", dest="sheet", type=Path, help="where to write a sheet of candidates")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each candidate")
    wanted = parser.parse_args()
    model = load(MODEL)
    if wanted.sheet:
        _sheet(model, wanted.sheet, wanted.seeds)
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    total = 0
    for style, (subject, seed) in CHOSEN.items():
        picture = paint(model, style, subject, seed).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=QUALITY, method=6)
        (FOLDER / f"{style or 'none'}.webp").write_bytes(out.getvalue())
        total += len(out.getvalue())
    sys.stdout.write(f"{len(CHOSEN)} pictures, {total:,} bytes\n")


def _sheet(model: Model, path: Path, seeds: int) -> None:
    columns = [(subject, seed) for subject in SUBJECTS for seed in range(1, seeds + 1)]
    sheet = Image.new("RGB", (SIDE * len(columns), SIDE * (len(PRESETS) + 1)))
    for row, style in enumerate(("", *PRESETS)):
        for column, (subject, seed) in enumerate(columns):
            picture = paint(model, style, subject, seed).resize((SIDE, SIDE))
            sheet.paste(picture, (column * SIDE, row * SIDE))
    sheet.save(path)


if __name__ == "__main__":
    main()
