"""The plain renderer: one scene, one picture, with arrays and Pillow. Knows no tensors and no captions."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageFilter

from keelbill.core.errors import InvalidInput
from keelbill.train.backgrounds import is_grounded, paint
from keelbill.train.data import Sprites
from keelbill.train.fonts import Fonts
from keelbill.train.lettering import Lettering, draw_lettering
from keelbill.train.palette import Bytes, Floats, recolour
from keelbill.train.scenes import Item, Scene

SHADOW_COLOUR = (22.0, 18.0, 44.0)
SHADOW_SPAN = (1.5, 0.5)
_TEXELS = 64
_SUPERSAMPLE = 4


def render_reference(scene: Scene, sprites: Sprites, size: int, fonts: Fonts | None = None) -> Bytes:
    """Render a scene slowly and plainly.

    Args:
        scene: What to draw.
        sprites: Pack that holds all its things.
        size: Side of the picture in pixels, at least 16.
        fonts: For scenes with lettering.

    Returns:
        Picture of shape ``(size, size, 3)``.

    Raises:
        UnknownName: The pack lacks a thing, or the background is unknown.
        InvalidInput: `size` is too small, or fonts are needed and missing.
    """
    if size < 16:
        raise InvalidInput("size", size, "16 pixels or more")
    canvas = paint(scene.background, size).astype(np.float32)
    if is_grounded(scene.background):
        for item in scene.items:
            canvas = _cast_shadow(canvas, item, sprites.pixels[sprites.find(item.concept, item.look, item.treatment)])
    for item in scene.items:
        canvas = _over(canvas, _layer(sprite_of(item, sprites), item.x, item.y, (item.size, item.size), item, size))
    if scene.lettering:
        canvas = _over(canvas, lettering_layer(scene.lettering, fonts, size).astype(np.float32))
    picture: Bytes = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return picture


def lettering_layer(lettering: Lettering, fonts: Fonts | None, size: int) -> Bytes:
    """Draw a scene's lettering, straight alpha, shape ``(size, size, 4)``.

    Raises:
        InvalidInput: There are no fonts.
    """
    if fonts is None:
        raise InvalidInput("fonts", fonts, "given for scenes with lettering")
    return draw_lettering(lettering, fonts, size)


def sprite_of(item: Item, sprites: Sprites) -> Bytes:
    """Return the item's sprite in its colour, straight alpha, shape ``(S, S, 4)``.

    Raises:
        UnknownName: The pack lacks the thing.
        InvalidInput: A thing without a main colour should be recoloured.
    """
    row = sprites.find(item.concept, item.look, item.treatment)
    sprite = np.array(sprites.pixels[row])
    if item.colour:
        main = sprites.infos[row].main
        if main is None:
            raise InvalidInput("colour", item.colour, f"empty for {item.concept}, which has no main colour")
        moved = recolour((sprite[..., :3] / np.float32(255)).astype(np.float32), main, item.colour)
        sprite[..., :3] = np.clip(moved * 255 + 0.5, 0, 255)
    return sprite


def shadow_texture(sprite: Bytes) -> Bytes:
    """Return the soft shadow that a thing throws straight down: its silhouette squashed and blurred.

    Args:
        sprite: Straight alpha, shape ``(S, S, 4)``.

    Returns:
        Opacity of shape ``(32, 96)``, which covers `SHADOW_SPAN` times the sprite's side around its foot.
    """
    width, height = (round(span * _TEXELS) for span in SHADOW_SPAN)
    alpha = Image.fromarray(np.ascontiguousarray(sprite[..., 3]))
    box = alpha.point(lambda v: 255 if v > 8 else 0).getbbox() or (0, 0, *alpha.size)
    scale = _TEXELS / alpha.width
    whole = alpha.crop(box)
    foot = alpha.crop((box[0], box[3] - max(1, round((box[3] - box[1]) * 0.14)), box[2], box[3]))
    total = np.zeros((height, width), np.float32)
    for part, flat, blur, strength in ((whole, 0.13, 2.6, 0.5), (foot, 0.35, 1.1, 0.55)):
        size = (max(1, round(part.width * scale)), max(2, round(part.height * scale * flat)))
        layer = Image.new("L", (width, height))
        squashed = part.resize(size, Image.Resampling.BOX)
        layer.paste(squashed, (round((box[0] * scale) + (width - _TEXELS) / 2), (height - size[1]) // 2))
        total += np.asarray(layer.filter(ImageFilter.GaussianBlur(blur)), np.float32) * strength
    opacity: Bytes = np.clip(total, 0, 255).astype(np.uint8)
    return opacity


def _over(canvas: Floats, layer: Floats) -> Floats:
    alpha = layer[..., 3:] / 255
    return (layer[..., :3] * alpha + canvas * (1 - alpha)).astype(np.float32)


def _cast_shadow(canvas: Floats, item: Item, sprite: Bytes) -> Floats:
    texture = shadow_texture(sprite)
    rgba = np.zeros((*texture.shape, 4), np.uint8)
    rgba[..., 3] = texture
    span = (SHADOW_SPAN[0] * item.size, SHADOW_SPAN[1] * item.size)
    alpha = _layer(rgba, item.x, item.base, span, item, len(canvas))[..., 3:] / 255
    shaded: Floats = (canvas + (np.array(SHADOW_COLOUR, np.float32) - canvas) * alpha).astype(np.float32)
    return shaded


def _layer(rgba: Bytes, x: float, y: float, span: tuple[float, float], item: Item, size: int) -> Floats:
    """Place a picture on an empty canvas: centre and span are fractions of the canvas."""
    fine = size * _SUPERSAMPLE
    height, width = rgba.shape[:2]
    turn = math.radians(item.rotation)
    cos, sin = math.cos(turn), math.sin(turn)
    across, down = width / (span[0] * fine), height / (span[1] * fine)
    mirror = -1 if item.flip else 1
    a, b = mirror * cos * across, -mirror * sin * across
    d, e = sin * down, cos * down
    c = width / 2 - a * x * fine - b * y * fine
    f = height / 2 - d * x * fine - e * y * fine
    picture = Image.fromarray(rgba).transform(
        (fine, fine), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
    )
    return np.asarray(picture.reduce(_SUPERSAMPLE), np.float32)
