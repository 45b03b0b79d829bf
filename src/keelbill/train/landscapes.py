"""Paints outdoor and indoor places behind the things. Knows shapes and light, no things and no captions."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from keelbill.train.backgrounds import PAINTERS, Background, Painter, grid, mix, smoothstep
from keelbill.train.materials import Stops, ramp, smooth_noise
from keelbill.train.palette import Floats

# What people say for each place, and the colours of things that would not stand out there.
PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "meadow": (("in a green meadow", "in a meadow", "on a grassy hill", "on green grass"), ("green",)),
    "snow": (("in the snow", "on a snowy field", "in a snowy landscape"), ("white",)),
    "desert": (("in the desert", "in a sandy desert"), ("orange", "yellow", "tan")),
    "beach": (("on a beach", "on a sandy beach by the sea", "at the beach"), ("tan",)),
    "sunset": (("at sunset", "in front of a sunset", "under a red evening sky"), ("black", "brown", "purple")),
    "night": (("at night", "at night under the stars", "at night with a full moon"), ("black", "blue", "purple")),
    "space": (("in space", "in outer space", "floating in space"), ("black",)),
    "underwater": (("underwater", "under water", "deep in the sea"), ("blue", "teal")),
    "table": (("on a wooden table", "on a table"), ("brown",)),
    "room": (("in a room", "inside a room", "on a wooden floor"), ("brown",)),
    "city": (("in the city", "in a city street", "in front of city buildings"), ("gray",)),
}

DAY: Stops = ((0, (92, 166, 240)), (0.6, (188, 224, 250)), (1, (238, 247, 252)))


class Place(Painter):
    """A place with sky and ground; `draw` gets a source of chance that depends on the variant alone."""

    grounded = True
    seed = 0

    def paint(self, background: Background, size: int) -> Floats:
        """Paint the place's variant."""
        # Chance is drawn at one size and scaled, so that a variant looks the same at every size.
        rng = np.random.default_rng((self.seed, background.variant))
        fine = self.draw(256, rng)
        pixels = Image.fromarray(np.clip(fine + 0.5, 0, 255).astype(np.uint8))
        method = Image.Resampling.BOX if 256 % size == 0 else Image.Resampling.LANCZOS
        return np.asarray(pixels.resize((size, size), method), np.float32)

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Return values from 0 to 255, shape ``(size, size, 3)``."""
        raise NotImplementedError


@PAINTERS.register("meadow")
class Meadow(Place):
    """Green hills under a blue sky with clouds."""

    seed = 1

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Paint sky, far hills and near grass."""
        sky = clouds(size, rng, DAY)
        sky = ground(sky, rng, 0.54, 0.05, (150, 202, 158), (112, 182, 122))
        return ground(sky, rng, 0.64, 0.03, (128, 204, 92), (74, 158, 62))


@PAINTERS.register("snow")
class Snow(Place):
    """White hills under a pale sky."""

    seed = 2

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Paint sky, far hills and near snow."""
        sky = clouds(size, rng, ((0, (132, 178, 226)), (1, (226, 238, 250))))
        sky = ground(sky, rng, 0.52, 0.08, (186, 204, 228), (168, 190, 220))
        return ground(sky, rng, 0.65, 0.03, (250, 252, 255), (214, 226, 244))


@PAINTERS.register("desert")
class Desert(Place):
    """Yellow dunes under a hot sky."""

    seed = 3

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Paint sky and dunes."""
        sky = ramp(((0, (110, 180, 236)), (0.6, (236, 226, 196)), (1, (250, 236, 206))), grid(size)[1])
        sky = ground(sky, rng, 0.55, 0.05, (236, 190, 122), (218, 158, 90))
        return ground(sky, rng, 0.66, 0.03, (246, 208, 142), (212, 158, 92))


@PAINTERS.register("beach")
class Beach(Place):
    """Sand in front of the sea."""

    seed = 4

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Paint sky, sea with a bright shore line, and sand."""
        y = grid(size)[1]
        sky = clouds(size, rng, DAY)
        sea = ramp(((0.48, (58, 150, 206)), (0.66, (142, 214, 226)), (0.7, (206, 240, 240))), y)
        sky = mix(sky, sea, smoothstep(0.485, 0.49, y))
        return ground(sky, rng, 0.68, 0.012, (252, 230, 182), (226, 188, 130))


@PAINTERS.register("sunset")
class Sunset(Place):
    """A red sky with a low sun over dark hills."""

    seed = 5

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Paint the sky, the sun's disc with a halo, and hills."""
        x, y = grid(size)
        sky = ramp(((0, (76, 62, 142)), (0.35, (222, 102, 120)), (0.55, (252, 172, 92)), (0.7, (255, 222, 152))), y)
        away = np.hypot(x - float(rng.uniform(0.15, 0.85)), y - 0.46).astype(np.float32)
        sky = mix(sky, np.full_like(sky, (255, 232, 170)), 0.5 * (1 - smoothstep(0.06, 0.3, away)))
        sky = mix(sky, np.full_like(sky, (255, 246, 206)), 1 - smoothstep(0.075, 0.082, away))
        sky = ground(sky, rng, 0.58, 0.04, (150, 84, 104), (112, 64, 96))
        return ground(sky, rng, 0.68, 0.03, (102, 62, 82), (64, 42, 66))


@PAINTERS.register("night")
class Night(Place):
    """Stars and a full moon over dark blue hills."""

    seed = 6

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Paint the sky with stars, the moon and hills."""
        x, y = grid(size)
        sky = ramp(((0, (12, 16, 48)), (0.6, (36, 48, 106)), (1, (60, 80, 140))), y)
        sky = stars(sky, rng, 0.0022)
        away = np.hypot(x - float(rng.choice([0.14, 0.2, 0.8, 0.86])), y - 0.16).astype(np.float32)
        sky = mix(sky, np.full_like(sky, (250, 240, 200)), 0.35 * (1 - smoothstep(0.06, 0.2, away)))
        sky = mix(sky, np.full_like(sky, (252, 246, 218)), 1 - smoothstep(0.07, 0.076, away))
        sky = ground(sky, rng, 0.6, 0.05, (38, 54, 100), (24, 36, 74))
        return ground(sky, rng, 0.69, 0.02, (48, 66, 108), (26, 38, 72))


@PAINTERS.register("space")
class Space(Place):
    """Stars and coloured dust on black; things float in it."""

    grounded = False
    seed = 7

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Paint dust and stars."""
        dust = smooth_noise(size, rng, 4)
        stops: Stops = ((0, (6, 6, 22)), (0.5, (20, 14, 54)), (0.8, (66, 30, 108)), (1, (124, 66, 150)))
        return stars(ramp(stops, np.clip(dust * 0.95, 0, 1)), rng, 0.004)


@PAINTERS.register("underwater")
class Underwater(Place):
    """Blue water with rays of light; things float in it."""

    grounded = False
    seed = 8

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Paint water that darkens with depth, rays, and bubbles."""
        x, y = grid(size)
        water = ramp(((0, (126, 222, 242)), (0.45, (48, 150, 208)), (1, (12, 58, 122))), y)
        rays = np.clip(np.sin((x * 9 + y * 2.2) * 1.4 + float(rng.uniform(0, 6))), 0, 1) ** 3 * np.clip(
            1 - y * 1.3, 0, 1
        )
        water = mix(water, np.full_like(water, (236, 254, 255)), (0.32 * rays).astype(np.float32))
        for _ in range(14):
            away = np.hypot(x - float(rng.random()), y - float(rng.random())).astype(np.float32)
            radius = float(rng.uniform(0.006, 0.02))
            rim = smoothstep(radius * 0.5, radius, away) * (1 - smoothstep(radius, radius + 0.006, away))
            water = mix(water, np.full_like(water, (226, 248, 255)), 0.6 * rim)
        return water


@PAINTERS.register("table")
class Table(Place):
    """A wooden table top in front of a light wall."""

    seed = 9

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Paint wall and boards with grain."""
        x, y = grid(size)
        tone = np.array(
            [(238, 228, 214), (214, 226, 232), (226, 232, 214), (240, 220, 212)][rng.integers(4)], np.float32
        )
        wall = tone * (1.04 - 0.16 * np.hypot(x - 0.5, y - 0.3))[..., None]
        depth = np.clip((y - 0.6) / 0.4, 0, 1)
        grain = 0.5 + 0.5 * np.sin((y * 40 * (0.35 + y) + smooth_noise(size, rng, 4) * 7) * 1.2)
        wood = ramp(((0, (166, 110, 62)), (1, (210, 154, 100))), (0.75 * grain + 0.25 * depth).astype(np.float32))
        edge = 0.82 + 0.18 * smoothstep(0.6, 0.64, y)
        return mix(wall.astype(np.float32), (wood * edge[..., None]).astype(np.float32), smoothstep(0.597, 0.603, y))


@PAINTERS.register("room")
class Room(Place):
    """A painted wall, a skirting board and a wooden floor."""

    seed = 10

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Paint wall, board and floor, with a window's light on the wall."""
        x, y = grid(size)
        tones = ((244, 226, 200), (200, 226, 214), (216, 208, 240), (250, 216, 200), (196, 222, 244))
        tone = np.array(tones[int(rng.integers(len(tones)))], np.float32)
        wall = tone * (1.03 - 0.12 * y)[..., None]
        left = float(rng.uniform(0.06, 0.7))
        across = ((x - left - 0.25 * (y - 0.12)) / 0.24).astype(np.float32)
        light = smoothstep(-0.02, 0.02, across) * (1 - smoothstep(0.98, 1.02, across))
        light = light * smoothstep(0.1, 0.11, y) * (1 - smoothstep(0.46, 0.47, y))
        wall = wall + 16 * light[..., None]
        plank = 0.5 + 0.08 * np.sin(np.floor((x - 0.5) / (0.35 + y) * 14) * 12.9)
        floor = ramp(
            ((0, (150, 106, 70)), (1, (206, 158, 112))), np.clip(plank + 0.5 * (y - 0.75), 0, 1).astype(np.float32)
        )
        scene = mix(wall.astype(np.float32), np.full((size, size, 3), 248, np.float32), smoothstep(0.628, 0.632, y))
        return mix(scene, floor, smoothstep(0.662, 0.667, y))


@PAINTERS.register("city")
class City(Place):
    """Houses with lit windows behind a street."""

    seed = 11

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Paint sky, two rows of houses and the street."""
        y = grid(size)[1]
        sky = ramp(((0, (148, 196, 240)), (0.7, (250, 232, 212)), (1, (250, 230, 208))), y)
        picture = Image.fromarray(sky.astype(np.uint8))
        draw = ImageDraw.Draw(picture)
        for row, tone in enumerate(((168, 182, 208), (112, 128, 164))):
            left = -int(rng.integers(0, 20))
            while left < size:
                width, tall = int(rng.integers(size // 11, size // 6)), float(rng.uniform(0.2, 0.46 - 0.14 * row))
                top = round(size * (0.7 - tall))
                draw.rectangle((left, top, left + width, size), fill=tone)
                for window_y in range(top + 8, round(size * 0.68), 14):
                    for window_x in range(left + 6, left + width - 8, 11):
                        if rng.random() < 0.7:
                            lit = (255, 236, 176) if rng.random() < 0.45 else (206, 222, 240)
                            draw.rectangle((window_x, window_y, window_x + 4, window_y + 6), fill=lit)
                left += width + int(rng.integers(0, 5))
        street = np.array((104, 108, 118), np.float32) * (0.9 + 0.2 * y)[..., None]
        return mix(np.asarray(picture, np.float32), street.astype(np.float32), smoothstep(0.697, 0.703, y))


def clouds(size: int, rng: np.random.Generator, stops: Stops) -> Floats:
    """Paint a sky that follows `stops` from top to bottom, with soft clouds in its upper half."""
    y = grid(size)[1]
    cover = smoothstep(0.56, 0.82, smooth_noise(size, rng, 4)) * np.clip(1.05 - y * 1.9, 0, 1)
    return mix(ramp(stops, y), np.full((size, size, 3), 255, np.float32), (0.92 * cover).astype(np.float32))


def ground(
    sky: Floats,
    rng: np.random.Generator,
    horizon: float,
    roughness: float,
    near_top: tuple[int, int, int],
    near_bottom: tuple[int, int, int],
) -> Floats:
    """Lay a rolling ground over a picture, from `horizon` (fraction from the top) down."""
    size = len(sky)
    x, y = grid(size)
    start, first, second = (float(v) for v in (rng.uniform(0, 9), rng.uniform(3, 7), rng.uniform(8, 13)))
    line = horizon + roughness * np.sin(x * first + start) + 0.5 * roughness * np.sin(x * second + 2 * start)
    earth = ramp(((0, near_top), (1, near_bottom)), np.clip((y - horizon) / (1 - horizon), 0, 1).astype(np.float32))
    edge = np.clip((y - line) * size / 1.5, 0, 1).astype(np.float32)
    return mix(sky, earth, edge)


def stars(sky: Floats, rng: np.random.Generator, share: float) -> Floats:
    """Scatter white points of different brightness over a picture; `share` is the part of pixels that get one."""
    points = (rng.random(sky.shape[:2]) < share) * rng.uniform(0.5, 1.0, sky.shape[:2])
    spread = points + 0.45 * (np.roll(points, 1, 0) + np.roll(points, 1, 1))
    return mix(sky, np.full_like(sky, 255), np.clip(spread, 0, 1).astype(np.float32))
