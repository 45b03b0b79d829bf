"""Writes short words on signs, banners, bubbles and in neon. Knows shapes and letters, no scenes and no captions."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from keelbill.core.errors import InvalidInput
from keelbill.train.fonts import Fonts
from keelbill.train.palette import Bytes

CARRIERS = ("sign", "plain", "neon", "banner", "bubble")
MAX_LETTERS = 10
INKS: dict[str, tuple[int, int, int]] = {
    "red": (222, 52, 58), "orange": (246, 140, 48), "yellow": (252, 212, 64), "green": (64, 168, 84),
    "teal": (44, 172, 170), "blue": (56, 122, 226), "purple": (140, 84, 206), "pink": (244, 118, 170),
    "white": (250, 250, 250), "black": (30, 30, 36), "brown": (132, 86, 52),
}  # fmt: skip
_WORD_LIST = """
    open closed sale love cafe pizza stop yes no wow happy music party books zoo taxi hotel dream welcome coffee
    bakery fresh magic hello home garden school bank bar beach hope peace smile wish free hot cold new old go slow
    exit enter push pull keep out quiet please thanks sorry hi bye good luck day night sun moon star king queen boss
    hero team game play win lost found lunch dinner tea milk bread cake pie soup eggs fish meat farm shop toys gifts
    art museum cinema library gym pool spa park lake river forest summer winter spring autumn north south east west
    left right up down big small fast best cool fun joy kids baby cat dog bird boat ship train bus plane rocket
    robot space mars earth world city town village street road bridge tower castle
"""
WORDS = tuple(_WORD_LIST.split())
_SCALE = 3


@dataclass(frozen=True)
class Lettering:
    """Words in a picture.

    Attributes:
        text: What is written, 1 to `MAX_LETTERS` printable ASCII characters.
        font: Name of a font.
        ink: Colour of the letters, of `INKS`.
        carrier: What they stand on, of `CARRIERS`.
        board: Colour of the sign, banner or bubble, of `INKS`; "" for the other carriers.
    """

    text: str
    font: str
    ink: str
    carrier: str
    board: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.text) <= MAX_LETTERS or not self.text.isascii() or not self.text.isprintable():
            raise InvalidInput("text", self.text, f"1 to {MAX_LETTERS} printable ASCII characters")
        if self.carrier not in CARRIERS:
            raise InvalidInput("carrier", self.carrier, "one of " + ", ".join(CARRIERS))


def sample_lettering(rng: random.Random, fonts: Sequence[str], words: Sequence[str] = WORDS) -> Lettering:
    """Draw a short word and how it is written.

    Three words in ten are random letters, so that spelling is learned and not the shapes of words.

    Args:
        rng: Source of all chance.
        fonts: Names of fonts to choose from.
        words: Words to choose from; longer ones than `MAX_LETTERS` are cut.
    """
    if rng.random() < 0.3:
        text = "".join(
            rng.choices(string.ascii_lowercase + string.digits[: 3 * (rng.random() < 0.3)], k=rng.randint(1, 6))
        )
    else:
        text = rng.choice(words)[:MAX_LETTERS]
    text = rng.choice((text.upper(), text.upper(), text.capitalize(), text.lower()))
    carrier = rng.choices(CARRIERS, (4, 2, 2, 1, 1))[0]
    ink = rng.choice(tuple(INKS))
    if carrier == "neon":
        ink = rng.choice([name for name in INKS if name not in ("black", "brown")])
    board = "white" if carrier == "bubble" else rng.choice(tuple(INKS)) if carrier in ("sign", "banner") else ""
    while board and abs(_brightness(board) - _brightness(ink)) < 70:
        ink = rng.choice(tuple(INKS))
    return Lettering(text, rng.choice(fonts), ink, carrier, board)


def draw_lettering(lettering: Lettering, fonts: Fonts, size: int) -> Bytes:
    """Draw words and their carrier on an empty picture.

    Args:
        lettering: What to write.
        fonts: Where its font comes from.
        size: Side of the picture in pixels.

    Returns:
        Straight alpha, shape ``(size, size, 4)``.

    Raises:
        UnknownName: The font is not there.
    """
    side = size * _SCALE
    canvas = Image.new("RGBA", (side, side))
    ink = INKS[lettering.ink]
    mask, box = _letters(lettering, fonts, side)
    if lettering.carrier == "neon":
        canvas.paste((14, 14, 30, 216), (0, 0, side, side))
        for blur, strength in ((0.035, 0.75), (0.012, 0.9)):
            glow = mask.filter(ImageFilter.GaussianBlur(blur * side)).point(
                lambda v, s=strength: min(255, int(v * 1.5 * s))
            )
            canvas.alpha_composite(_stain(ink, glow))
        canvas.alpha_composite(_stain((min(255, ink[0] + 90), min(255, ink[1] + 90), min(255, ink[2] + 90)), mask))
    else:
        if lettering.board:
            _draw_board(canvas, lettering, box)
        else:
            edge = mask.filter(ImageFilter.MaxFilter(2 * round(side * 0.006) + 1))
            canvas.alpha_composite(_stain((40, 40, 50) if _brightness(lettering.ink) > 60 else (250, 250, 250), edge))
        canvas.alpha_composite(_stain(ink, mask))
    premultiplied = canvas.convert("RGBa").reduce(_SCALE)
    return np.asarray(premultiplied.convert("RGBA"))


def _letters(lettering: Lettering, fonts: Fonts, side: int) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """Return a mask of the letters and the box around them, as large as the carrier allows."""
    left, top, right, bottom = fonts.get(lettering.font, 100).getbbox(lettering.text)
    scale = min(0.74 * side / (right - left), 0.3 * side / (bottom - top))
    height = max(8, int(100 * scale))
    font = fonts.get(lettering.font, height)
    left, top, right, bottom = font.getbbox(lettering.text)
    middle = side * (0.4 if lettering.carrier in ("sign", "bubble") else 0.5)
    x, y = (side - (right - left)) / 2, middle - (bottom - top) / 2
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).text((x - left, y - top), lettering.text, font=font, fill=255)
    return mask, (x, y, x + right - left, y + bottom - top)


def _draw_board(canvas: Image.Image, lettering: Lettering, box: tuple[float, float, float, float]) -> None:
    side = canvas.width
    pad = 0.06 * side
    x0, y0, x1, y1 = box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad
    draw = ImageDraw.Draw(canvas)
    board = INKS[lettering.board]
    rim = tuple(int(v * 0.62) for v in board)
    line = max(1, round(0.014 * side))
    if lettering.carrier == "sign":
        shadow = Image.new("L", canvas.size)
        ImageDraw.Draw(shadow).ellipse((0.36 * side, 0.885 * side, 0.64 * side, 0.945 * side), fill=120)
        canvas.alpha_composite(_stain((22, 18, 44), shadow.filter(ImageFilter.GaussianBlur(0.014 * side))))
        draw.rectangle((0.47 * side, y1 - line, 0.53 * side, 0.92 * side), fill=(126, 88, 58))
        draw.rectangle((0.47 * side, y1 - line, 0.485 * side, 0.92 * side), fill=(152, 110, 76))
        draw.rounded_rectangle((x0, y0, x1, y1), 0.04 * side, fill=board, outline=rim, width=line)
    elif lettering.carrier == "banner":
        fold, drop = 0.09 * side, 0.045 * side
        for near, far in ((x0, x0 - fold), (x1, x1 + fold)):
            notch = (near + far) / 2
            tail = [
                (near, y0 + drop),
                (far, y0 + drop),
                (notch, (y0 + y1) / 2 + drop),
                (far, y1 + drop),
                (near, y1 + drop),
            ]
            draw.polygon(tail, fill=rim)
        draw.rectangle((x0, y0, x1, y1), fill=board)
    else:
        draw.rounded_rectangle((x0, y0, x1, y1), (y1 - y0) / 2.4, fill=board, outline=(52, 52, 62), width=line)
        tip = [(0.4 * side, y1 - line), (0.5 * side, y1 - line), (0.36 * side, y1 + 0.13 * side)]
        draw.polygon(tip, fill=board)
        draw.line((tip[0], tip[2], tip[1]), fill=(52, 52, 62), width=line, joint="curve")


def _stain(rgb: tuple[int, int, int], mask: Image.Image) -> Image.Image:
    layer = Image.new("RGBA", mask.size, (*rgb, 0))
    layer.putalpha(mask)
    return layer


def _brightness(name: str) -> float:
    red, green, blue = INKS[name]
    return 0.3 * red + 0.59 * green + 0.11 * blue
