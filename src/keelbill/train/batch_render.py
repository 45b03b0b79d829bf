"""The fast renderer: many scenes at once as tensors on any device. Gives what `render` gives, within rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from keelbill.core.errors import InvalidInput
from keelbill.train.backgrounds import Background, is_grounded, paint
from keelbill.train.data import Sprites
from keelbill.train.fonts import Fonts
from keelbill.train.lettering import Lettering
from keelbill.train.palette import GREY_LIMIT, GREY_SOFTNESS, HUE_SOFTNESS, HUE_WINDOW, SHADES, curve
from keelbill.train.render import SHADOW_COLOUR, SHADOW_SPAN, lettering_layer, shadow_texture
from keelbill.train.scenes import Item, Scene

_LEVELS = 4


class BatchRenderer:
    """Renders batches of scenes; the atlas of all sprites lies on the device.

    Args:
        sprites: Pack that holds the things of all scenes.
        device: Where to render.
        fonts: For scenes with lettering.
    """

    def __init__(self, sprites: Sprites, device: torch.device | str = "cpu", fonts: Fonts | None = None) -> None:
        self.fonts = fonts
        self.sprites = sprites
        self.device = torch.device(device)
        self._levels = _mip_levels(sprites, self.device)
        textures = np.stack([shadow_texture(np.asarray(sprite)) for sprite in sprites.pixels])
        self._shadows = torch.from_numpy(textures)[:, None].to(self.device)
        self._backgrounds: dict[tuple[Background, int], Tensor] = {}

    @torch.inference_mode()
    def __call__(self, scenes: Sequence[Scene], size: int) -> Tensor:
        """Render scenes.

        Args:
            scenes: At least one.
            size: Side of the pictures in pixels, at least 16.

        Returns:
            uint8 pictures of shape ``(B, 3, size, size)`` on the device.

        Raises:
            InvalidInput: There are no scenes, `size` is too small, or fonts are needed and missing.
            UnknownName: The pack lacks a thing, or a background is unknown.
        """
        if not scenes:
            raise InvalidInput("scenes", scenes, "at least one scene")
        if size < 16:
            raise InvalidInput("size", size, "16 pixels or more")
        canvas = torch.stack([self._background(scene.background, size) for scene in scenes]).float()
        depth = max(len(scene.items) for scene in scenes)
        layers = [[(i, s.items[k]) for i, s in enumerate(scenes) if k < len(s.items)] for k in range(depth)]
        grounded = [is_grounded(scene.background) for scene in scenes]
        for layer in layers:
            self._cast_shadows(canvas, [(i, item) for i, item in layer if grounded[i]])
        for layer in layers:
            self._place(canvas, layer)
        for i, scene in enumerate(scenes):
            if scene.lettering:
                self._write(canvas[i], scene.lettering)
        return canvas.add_(0.5).clamp_(0, 255).to(torch.uint8)

    def _background(self, background: Background, size: int) -> Tensor:
        key = (background, size)
        if key not in self._backgrounds:
            pixels = torch.from_numpy(paint(background, size)).permute(2, 0, 1).contiguous()
            self._backgrounds[key] = pixels.to(self.device)
        return self._backgrounds[key]

    def _cast_shadows(self, canvas: Tensor, layer: Sequence[tuple[int, Item]]) -> None:
        if not layer:
            return
        scene_rows, rows = self._rows(layer)
        places = [_affine(item, item.base, SHADOW_SPAN) for _, item in layer]
        alpha = _sample(self._shadows[rows], torch.tensor(places, device=self.device), canvas.shape[-1])
        below = canvas[scene_rows]
        shade = torch.tensor(SHADOW_COLOUR, device=self.device).view(1, 3, 1, 1)
        canvas[scene_rows] = below + (shade - below) * (alpha / 255)

    def _place(self, canvas: Tensor, layer: Sequence[tuple[int, Item]]) -> None:
        size = canvas.shape[-1]
        by_level: dict[int, list[tuple[int, Item]]] = {}
        for row, item in layer:
            texels = self._levels[0].shape[-1] / (item.size * size)
            level = min(_LEVELS - 1, max(0, round(math.log2(texels))))
            by_level.setdefault(level, []).append((row, item))
        for level, part in by_level.items():
            scene_rows, rows = self._rows(part)
            places = torch.tensor([_affine(item, item.y, (1.0, 1.0)) for _, item in part], device=self.device)
            sprites = _sample(self._levels[level][rows], places, size)
            colour, alpha = sprites[:, :3], sprites[:, 3:] / 255
            changed = [i for i, (_, item) in enumerate(part) if item.colour]
            if changed:
                where = torch.tensor(changed, device=self.device)
                colour[where] = self._recolour(colour[where], alpha[where], [part[i][1] for i in changed])
            canvas[scene_rows] = colour + canvas[scene_rows] * (1 - alpha)

    def _write(self, picture: Tensor, lettering: Lettering) -> None:
        layer = lettering_layer(lettering, self.fonts, picture.shape[-1])
        pixels = torch.from_numpy(layer.copy()).to(self.device).permute(2, 0, 1).float()
        picture.lerp_(pixels[:3], pixels[3:] / 255)

    def _rows(self, layer: Sequence[tuple[int, Item]]) -> tuple[Tensor, Tensor]:
        scene_rows = torch.tensor([row for row, _ in layer], device=self.device)
        found = [self.sprites.find(item.concept, item.look, item.treatment) for _, item in layer]
        return scene_rows, torch.tensor(found, device=self.device)

    def _recolour(self, colour: Tensor, alpha: Tensor, items: Sequence[Item]) -> Tensor:
        """Do what `palette.recolour` does, for premultiplied colours from 0 to 255 of shape ``(n, 3, H, W)``."""
        numbers = []
        for item in items:
            main = self.sprites.infos[self.sprites.find(item.concept, item.look, item.treatment)].main
            if main is None:
                raise InvalidInput("colour", item.colour, f"empty for {item.concept}, which has no main colour")
            shade = SHADES[item.colour]
            turn = 0.0 if shade.hue is None else shade.hue - main.hue
            s_curve, v_curve = curve(main.saturation, shade.saturation), curve(main.value, shade.value)
            grey = (float(main.is_grey), shade.saturation, shade.hue or 0.0)
            numbers.append((main.hue, turn, *s_curve, *v_curve, *grey))
        table = torch.tensor(numbers, device=self.device).T[..., None, None]
        main_hue, turn, s_gain, s_power, v_gain, v_power, is_grey, grey_saturation, grey_hue = table
        rgb = (colour / (alpha * 255).clamp(min=1e-3)).clamp(0, 1)
        hue, saturation, value = _to_hsv(rgb)
        distance = ((hue - main_hue + 180) % 360 - 180).abs()
        hue_weight = (1 - (distance - HUE_WINDOW) / HUE_SOFTNESS).clamp(0, 1)
        hue_weight = hue_weight * ((saturation - 0.06) / 0.14).clamp(0, 1)
        grey_weight = ((GREY_LIMIT + GREY_SOFTNESS - saturation) / GREY_SOFTNESS).clamp(0, 1)
        new_saturation = torch.lerp(
            s_gain * saturation**s_power, grey_saturation * (1.35 - 0.5 * value).clamp(0, 1.2), is_grey
        )
        new_hue = torch.lerp((hue + turn) % 360, grey_hue.expand_as(hue), is_grey)
        new = _from_hsv(new_hue, new_saturation.clamp(0, 1), v_gain * value**v_power)
        weight = torch.lerp(hue_weight, grey_weight, is_grey)[:, None]
        return (rgb + (new - rgb) * weight) * alpha * 255


def _mip_levels(sprites: Sprites, device: torch.device) -> list[Tensor]:
    """Return premultiplied uint8 atlases ``(N, 4, S, S)``, each half the side of the one before."""
    atlas = torch.empty(len(sprites), 4, *sprites.pixels.shape[1:3], dtype=torch.uint8)
    for i, sprite in enumerate(sprites.pixels):
        pixels = np.asarray(sprite, np.float32)
        pixels[..., :3] *= pixels[..., 3:] / 255
        atlas[i] = torch.from_numpy((pixels + 0.5).astype(np.uint8)).permute(2, 0, 1)
    levels = [atlas]
    for _ in range(_LEVELS - 1):
        halves = [F.avg_pool2d(part.float(), 2).add_(0.5).to(torch.uint8) for part in levels[-1].split(64)]
        levels.append(torch.cat(halves))
    return [level.to(device) for level in levels]


def _affine(item: Item, y: float, span: tuple[float, float]) -> list[list[float]]:
    """Return the 2x3 matrix from canvas to sprite coordinates, both from -1 to 1."""
    turn = math.radians(item.rotation)
    cos, sin = math.cos(turn), math.sin(turn)
    mirror = -1 if item.flip else 1
    across, down = 1 / (span[0] * item.size), 1 / (span[1] * item.size)
    a, b = mirror * cos * across, -mirror * sin * across
    d, e = sin * down, cos * down
    centre_x, centre_y = 2 * item.x - 1, 2 * y - 1
    return [[a, b, -a * centre_x - b * centre_y], [d, e, -d * centre_x - e * centre_y]]


def _sample(pictures: Tensor, places: Tensor, size: int) -> Tensor:
    grid = F.affine_grid(places, [len(pictures), 1, size, size], align_corners=False)
    return F.grid_sample(pictures.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _to_hsv(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    high, low = rgb.amax(1), rgb.amin(1)
    span = high - low
    safe = torch.where(span > 0, span, 1.0)
    r, g, b = rgb.unbind(1)
    other = torch.where(high == g, (b - r) / safe + 2, (r - g) / safe + 4)
    hue = torch.where(high == r, (g - b) / safe % 6, other) * 60
    return hue, span / torch.where(high > 0, high, 1.0), high


def _from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    offsets = torch.tensor([5.0, 3.0, 1.0], device=hue.device).view(1, 3, 1, 1)
    k = (offsets + hue[:, None] / 60) % 6
    ramp = torch.minimum(k, 4 - k).clamp(0, 1)
    return value[:, None] * (1 - saturation[:, None] * ramp)
