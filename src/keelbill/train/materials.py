"""Turns a thing into gold, wood, ice ... by its own light and shape. Knows arrays only, no scenes or captions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from keelbill.core.errors import InvalidInput
from keelbill.core.registry import Registry
from keelbill.train.palette import Bytes, Floats

Stops = tuple[tuple[float, tuple[int, int, int]], ...]


@dataclass(frozen=True)
class Surface:
    """What a material needs to know of a thing; every map has shape ``(S, S)``.

    Attributes:
        light: Own brightness of the thing, stretched to [0, 1].
        relief: Light from the upper left on the rounded edge, about -1 to 1.
        edge: 0 at the outline, 1 well inside.
        noise: Smooth noise in [0, 1].
        x: From 0 at the left to 1 at the right.
        y: From 0 at the top to 1 at the bottom.
        rng: Source of chance.
    """

    light: Floats
    relief: Floats
    edge: Floats
    noise: Floats
    x: Floats
    y: Floats
    rng: np.random.Generator

    @property
    def shade(self) -> Floats:
        """Plain shading around 0.85, for materials that show their own colour."""
        shade: Floats = np.clip(0.5 + 0.42 * self.light + 0.16 * self.edge + 0.25 * self.relief, 0.2, 1.2)
        return shade


Material = Callable[[Surface], Floats]
MATERIALS: Registry[Material] = Registry("material")


def apply_material(sprite: Bytes, name: str, seed: int) -> Bytes:
    """Make a thing of another material.

    Args:
        sprite: Straight alpha, shape ``(S, S, 4)``.
        name: A name in `MATERIALS`.
        seed: Chooses veins, grain and stars.

    Returns:
        A picture of the same shape and outline.

    Raises:
        UnknownName: There is no such material.
        InvalidInput: Nothing is visible.
    """
    material = MATERIALS.get(name)
    if not (sprite[..., 3] > 40).any():
        raise InvalidInput("sprite", "fully transparent", "a visible picture")
    made = np.array(sprite)
    made[..., :3] = np.clip(material(_surface(sprite, seed)), 0, 255)
    return made


def smooth_noise(side: int, rng: np.random.Generator, octaves: int = 5, first: int = 3) -> Floats:
    """Return fractal noise in [0, 1], shape ``(side, side)``; `first` is the number of blobs across."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        cells = first * 2**octave + 1
        coarse = rng.random((cells + 3, cells + 3), np.float32)
        fine = ndimage.zoom(coarse, side / cells, order=3)[:side, :side]
        total += fine * 0.55**octave
    low, high = float(total.min()), float(total.max())
    noise: Floats = ((total - low) / (high - low)).astype(np.float32)
    return noise


def ramp(stops: Stops, value: Floats) -> Floats:
    """Look up colours from 0 to 255 along stops at ascending positions."""
    places = [place for place, _ in stops]
    channels = [np.interp(value, places, [rgb[k] for _, rgb in stops]) for k in range(3)]
    return np.stack(channels, -1).astype(np.float32)


def _surface(sprite: Bytes, seed: int) -> Surface:
    side = len(sprite)
    rng = np.random.default_rng(seed)
    visible = sprite[..., 3] > 40
    light = sprite[..., :3].astype(np.float32) @ np.array([0.3, 0.59, 0.11], np.float32) / 255
    low, high = np.percentile(light[visible], [3, 97])
    light = np.clip((light - low) / max(0.12, high - low), 0, 1)
    distance = ndimage.distance_transform_edt(np.pad(visible, 1))[1:-1, 1:-1]
    edge = np.clip(distance / (0.085 * side), 0, 1)
    height = ndimage.gaussian_filter(np.sqrt(edge) + 0.35 * light * visible, 0.011 * side)
    slope_y, slope_x = np.gradient(height)
    relief = np.clip((slope_x + 1.4 * slope_y) * 0.05 * side, -1, 1)
    y, x = (np.mgrid[:side, :side] / side).astype(np.float32)
    own, bent, inside = (np.asarray(values, np.float32) for values in (light, relief, edge))
    return Surface(own, bent, inside, smooth_noise(side, rng), x, y, rng)


def _lifted(s: Surface) -> Floats:
    lifted: Floats = np.clip(s.shade + 0.1, 0, 1.12)
    return lifted


def _metal(stops: Stops) -> Material:
    def paint(s: Surface) -> Floats:
        return ramp(stops, np.clip(0.42 + 0.34 * (s.light - 0.5) + 0.5 * s.relief + 0.1 * np.sin(9 * s.light), 0, 1))

    return paint


MATERIALS.register("gold")(
    _metal(
        ((0, (92, 50, 6)), (0.3, (186, 118, 18)), (0.5, (238, 182, 46)), (0.78, (255, 226, 120)), (1, (255, 250, 222)))
    )
)
MATERIALS.register("silver")(
    _metal(
        (
            (0, (46, 50, 58)),
            (0.3, (122, 128, 140)),
            (0.5, (184, 190, 200)),
            (0.78, (232, 236, 242)),
            (1, (255, 255, 255)),
        )
    )
)
MATERIALS.register("copper")(
    _metal(
        ((0, (66, 24, 12)), (0.3, (146, 68, 36)), (0.5, (204, 112, 68)), (0.78, (244, 172, 130)), (1, (255, 232, 214)))
    )
)
MATERIALS.register("chocolate")(
    _metal(((0, (34, 16, 8)), (0.35, (76, 42, 22)), (0.6, (112, 66, 38)), (0.85, (160, 106, 68)), (1, (226, 188, 156))))
)


@MATERIALS.register("wood")
def _wood(s: Surface) -> Floats:
    rings = 0.5 + 0.5 * np.sin((s.y * 22 + s.noise * 8 + s.x * 2) * 2.2)
    grain = np.clip(rings * 0.8 + 0.2 * s.noise, 0, 1)
    return ramp(((0, (140, 86, 42)), (1, (214, 158, 96))), grain) * s.shade[..., None]


@MATERIALS.register("marble")
def _marble(s: Surface) -> Floats:
    veins = np.abs(np.sin((s.x * 3 + s.y * 2.2 + s.noise * 5.5) * 2.2)) ** 0.35
    return ramp(((0, (118, 122, 134)), (1, (250, 250, 252))), veins) * _lifted(s)[..., None]


@MATERIALS.register("stone")
def _stone(s: Surface) -> Floats:
    speckle = s.rng.normal(0, 0.07, s.x.shape).astype(np.float32)
    return ramp(((0, (98, 98, 102)), (1, (190, 188, 182))), np.clip(s.noise + speckle, 0, 1)) * s.shade[..., None]


@MATERIALS.register("ice")
def _ice(s: Surface) -> Floats:
    cold = np.clip(0.28 + 0.4 * s.light + 0.35 * (s.noise - 0.5) + 0.45 * s.relief, 0, 1)
    return ramp(((0, (66, 146, 216)), (0.45, (150, 208, 246)), (0.75, (214, 240, 255)), (1, (255, 255, 255))), cold)


@MATERIALS.register("lava")
def _lava(s: Surface) -> Floats:
    crack = np.abs(s.noise - 0.5) * 2.4 + 0.12 * (1 - s.light) + 0.1 * s.relief
    stops: Stops = (
        (0, (255, 244, 160)), (0.1, (255, 176, 40)), (0.22, (222, 60, 12)), (0.42, (74, 20, 14)), (1, (34, 20, 20))
    )  # fmt: skip
    return ramp(stops, np.clip(crack, 0, 1)) * (0.9 + 0.25 * s.relief)[..., None]


@MATERIALS.register("galaxy")
def _galaxy(s: Surface) -> Floats:
    stops: Stops = (
        (0, (12, 10, 46)), (0.4, (62, 32, 128)), (0.62, (172, 62, 172)), (0.82, (84, 156, 232)), (1, (240, 240, 255))
    )  # fmt: skip
    sky = ramp(stops, np.clip(s.noise * 0.78 + 0.2 * s.light + 0.2 * s.relief, 0, 1))
    stars = ndimage.gaussian_filter((s.rng.random(s.x.shape) > 0.995).astype(np.float32), 0.5) * 3
    starry: Floats = sky + np.clip(stars, 0, 1)[..., None] * (255 - sky)
    return starry


@MATERIALS.register("brick")
def _brick(s: Surface) -> Floats:
    row = np.floor(s.y * 16)
    along = (s.x * 8 + 0.5 * (row % 2)) % 1
    mortar = (along < 0.07) | ((s.y * 16) % 1 < 0.14)
    tone = np.sin(row * 12.9898 + np.floor(s.x * 8 + 0.5 * (row % 2)) * 78.233) * 0.5 + 0.5
    clay = ramp(((0, (162, 66, 44)), (1, (206, 100, 70))), tone.astype(np.float32))
    wall: Floats = np.where(mortar[..., None], np.array([214, 204, 190]), clay) * s.shade[..., None]
    return wall


@MATERIALS.register("grass")
def _grass(s: Surface) -> Floats:
    blades = ndimage.gaussian_filter(s.rng.random(s.x.shape).astype(np.float32), (2.2, 0.5))
    blades = np.clip((blades - blades.mean()) * 5 + 0.5, 0, 1).astype(np.float32)
    return ramp(((0, (38, 104, 32)), (0.5, (88, 168, 56)), (1, (170, 222, 96))), blades) * s.shade[..., None]


@MATERIALS.register("rainbow")
def _rainbow(s: Surface) -> Floats:
    stops: Stops = (
        (0, (238, 64, 72)), (0.2, (252, 158, 60)), (0.38, (252, 222, 78)), (0.56, (96, 200, 110)),
        (0.76, (74, 146, 236)), (1, (160, 96, 220)),
    )  # fmt: skip
    span = np.clip((s.y - 0.08) / 0.84, 0, 1).astype(np.float32)
    return ramp(stops, span) * _lifted(s)[..., None]


@MATERIALS.register("glass")
def _glass(s: Surface) -> Floats:
    clear = np.clip(0.55 + 0.3 * (s.light - 0.5) + 0.6 * s.relief - 0.45 * (1 - s.edge) ** 2, 0, 1)
    return ramp(((0, (46, 112, 128)), (0.4, (128, 204, 208)), (0.7, (206, 242, 240)), (1, (255, 255, 255))), clear)


@MATERIALS.register("paper")
def _paper(s: Surface) -> Floats:
    facets = np.round((s.light * 0.6 + s.noise * 0.4) * 6) / 6
    return (
        ramp(((0, (196, 184, 164)), (1, (254, 250, 242))), facets.astype(np.float32))
        * (0.94 + 0.2 * s.relief)[..., None]
    )
