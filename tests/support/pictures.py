"""A tiny sprite pack drawn on the spot, so that tests of training data need no downloads."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from keelbill.train.concepts import by_name
from keelbill.train.data import SpriteInfo, Sprites, fit
from keelbill.train.palette import main_colour

Box = tuple[int, int, int, int]

_SHAPES: dict[str, tuple[str, tuple[int, int, int], Box]] = {
    "car": ("rectangle", (215, 50, 55), (20, 90, 236, 190)),
    "cat": ("ellipse", (240, 150, 60), (40, 40, 200, 230)),
    "elephant": ("ellipse", (150, 150, 158), (10, 30, 246, 220)),
    "house": ("rectangle", (150, 90, 52), (50, 20, 210, 240)),
    "strawberry": ("ellipse", (222, 40, 60), (60, 30, 200, 240)),
    "star": ("ellipse", (250, 200, 40), (20, 20, 236, 236)),
    "grapes": ("ellipse", (120, 70, 190), (60, 20, 190, 240)),
    "tree": ("ellipse", (70, 160, 80), (70, 10, 190, 250)),
}


def cut_out(kind: str, rgb: tuple[int, int, int], box: Box, side: int = 256) -> Image.Image:
    """Draw one shape with a darker lower half and a white highlight on nothing."""
    picture = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(picture)
    draw_shape = draw.ellipse if kind == "ellipse" else draw.rectangle
    draw_shape(box, fill=(*rgb, 255))
    shade = np.linspace(1.0, 0.75, side, dtype=np.float32)[:, None, None]
    pixels = np.asarray(picture).astype(np.float32)
    pixels[..., :3] *= shade
    shaded = Image.fromarray(pixels.astype(np.uint8))
    middle_x, top = (box[0] + box[2]) // 2, box[1] + 30
    ImageDraw.Draw(shaded).ellipse((middle_x - 12, top, middle_x + 12, top + 24), fill=(255, 255, 255, 255))
    return shaded


def tiny_sprites(side: int = 64) -> Sprites:
    """Return a pack of eight things."""
    pixels, infos = [], []
    for name, (kind, rgb, box) in _SHAPES.items():
        sprite, width, height = fit(cut_out(kind, rgb, box), side)
        pixels.append(sprite)
        infos.append(SpriteInfo(name, by_name()[name].group, "3d", width, height, main_colour(sprite)))
    return Sprites(np.stack(pixels), infos)
