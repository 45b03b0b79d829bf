"""The scene grammar: draws small worlds of known truth by chance. Knows words and places, not pixels or captions."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from keelbill.core.errors import InvalidInput
from keelbill.train.backgrounds import BACKGROUND_COLOURS, VARIANTS, Background, is_grounded
from keelbill.train.data import SpriteInfo
from keelbill.train.palette import COLOURS

SIDE_BY_SIDE = ("left", "next")
STACKED = ("above",)


@dataclass(frozen=True)
class Item:
    """One thing in a scene.

    Attributes:
        concept: Name of the thing.
        x: Centre from the left edge, as a fraction of the picture's width.
        y: Centre from the top edge, as a fraction of the picture's height.
        size: Side of the sprite's square as a fraction of the picture's side.
        height: Visible height of the sprite as a fraction of its square.
        look: Drawing style of the sprite.
        colour: Colour that it was moved to; "" leaves it as it is.
        natural: Word for its own colour when that is clear, so that a caption may say it.
        rotation: Degrees, anticlockwise.
        flip: Whether it is mirrored; captions then say where it faces.
    """

    concept: str
    x: float
    y: float
    size: float
    height: float = 1.0
    look: str = "3d"
    colour: str = ""
    natural: str = ""
    rotation: float = 0.0
    flip: bool = False

    @property
    def base(self) -> float:
        """Where the thing touches the ground, as a fraction of the picture's height."""
        return self.y + self.height * self.size / 2


@dataclass(frozen=True)
class Scene:
    """The full truth about one picture; equal scenes give equal pictures.

    Attributes:
        seed: What it was drawn from; also chooses among captions.
        layout: "single" or "pair".
        items: Things from back to front.
        background: What is behind them.
        relation: For pairs, where the first is: "left" of the second, "above" it, or just "next" to it.
        style: Drawing style of the whole picture.
    """

    seed: int
    layout: str
    items: tuple[Item, ...]
    background: Background
    relation: str = ""
    style: str = "3d"

    def to_json(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Scene:
        """Read what `to_json` wrote.

        Raises:
            InvalidInput: A field is missing or unknown.
        """
        try:
            items = tuple(Item(**item) for item in record["items"])
            return cls(**{**record, "items": items, "background": Background(**record["background"])})
        except (KeyError, TypeError) as error:
            raise InvalidInput("scene", dict(record), f"a record written by Scene.to_json ({error})") from error


@dataclass(frozen=True)
class Mix:
    """How often the grammar takes each of its choices; weights need not sum to 1."""

    layouts: Mapping[str, float] = field(default_factory=lambda: {"single": 0.85, "pair": 0.15})
    backgrounds: Mapping[str, float] = field(default_factory=lambda: {"plain": 0.5, "studio": 0.5})
    recoloured: float = 0.5


class Catalogue:
    """The things a scene may hold, by group, so that each group gets its share.

    Args:
        infos: Sprites of a pack.
        look: Only sprites of this look are taken.

    Raises:
        InvalidInput: No sprite has this look.
    """

    def __init__(self, infos: Sequence[SpriteInfo], look: str = "3d") -> None:
        self.look = look
        self.groups: dict[str, list[SpriteInfo]] = {}
        for info in infos:
            if info.look == look:
                self.groups.setdefault(info.group, []).append(info)
        if not self.groups:
            raise InvalidInput("look", look, "one that the sprite pack holds")
        self._names = list(self.groups)
        # The square root lies between equal groups and equal things.
        self._weights = [len(group) ** 0.75 for group in self.groups.values()]

    def pick(self, rng: random.Random) -> SpriteInfo:
        """Draw one thing."""
        return rng.choice(self.groups[rng.choices(self._names, self._weights)[0]])


_FIRST_LIGHT = Mix()


def sample_scene(rng: random.Random, catalogue: Catalogue, mix: Mix = _FIRST_LIGHT) -> Scene:
    """Draw a scene by chance.

    Args:
        rng: Source of all chance; the same state gives the same scene.
        catalogue: Things to choose from.
        mix: How often each choice is taken.

    Returns:
        A scene whose things fit into the picture and stand out from the background.
    """
    seed = rng.getrandbits(48)
    layout = _choose(rng, mix.layouts)
    infos = [catalogue.pick(rng) for _ in range(2 if layout == "pair" else 1)]
    while len(infos) == 2 and infos[0].concept == infos[1].concept:
        infos[1] = catalogue.pick(rng)
    colours = [_new_colour(rng, info, mix.recoloured) for info in infos]
    shown = {colour or (info.main.name if info.main else "") for info, colour in zip(infos, colours, strict=True)}
    background = _background(rng, _choose(rng, mix.backgrounds), shown)
    if layout == "pair":
        items, relation = _pair(rng, infos, colours, background)
    else:
        items, relation = _single(rng, infos[0], colours[0], background), ""
    return Scene(seed, layout, items, background, relation, catalogue.look)


def _choose(rng: random.Random, weights: Mapping[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _new_colour(rng: random.Random, info: SpriteInfo, share: float) -> str:
    if info.main is None or not info.main.can_change or _names_a_colour(info.concept) or rng.random() >= share:
        return ""
    return rng.choice([colour for colour in COLOURS if colour != info.main.name])


def _names_a_colour(concept: str) -> bool:
    return any(word in COLOURS for word in concept.split()[:-1])


def _natural(info: SpriteInfo) -> str:
    clear = info.main is not None and info.main.is_clear and info.main.name not in info.concept.split()
    return info.main.name if clear and info.main and not _names_a_colour(info.concept) else ""


def _background(rng: random.Random, kind: str, shown: set[str]) -> Background:
    colours = [name for name, colour in BACKGROUND_COLOURS.items() if not shown & set(colour.hides)]
    return Background(kind, rng.choice(colours), rng.randrange(VARIANTS))


def _item(info: SpriteInfo, colour: str, x: float, y: float, size: float) -> Item:
    place = (round(x, 4), round(y, 4), round(size, 4))
    return Item(info.concept, *place, height=info.height, look=info.look, colour=colour, natural=_natural(info))


def _single(rng: random.Random, info: SpriteInfo, colour: str, background: Background) -> tuple[Item, ...]:
    size = rng.uniform(0.62, 0.8)
    height = size * info.height
    x = rng.uniform(0.47, 0.53)
    y = min(0.85, 0.56 + height / 2) - height / 2 if is_grounded(background) else rng.uniform(0.48, 0.52)
    return (_item(info, colour, x, y, size),)


def _pair(
    rng: random.Random, infos: Sequence[SpriteInfo], colours: Sequence[str], background: Background
) -> tuple[tuple[Item, ...], str]:
    grounded = is_grounded(background)
    relation = rng.choice(SIDE_BY_SIDE if grounded else SIDE_BY_SIDE + STACKED)
    sizes = [rng.uniform(0.4, 0.46) for _ in infos]
    if relation == "above":
        places = [(rng.uniform(0.46, 0.54), 0.265), (rng.uniform(0.46, 0.54), 0.735)]
    else:
        middle = [0.8 - size * info.height / 2 if grounded else 0.5 for size, info in zip(sizes, infos, strict=True)]
        places = [(0.265, middle[0]), (0.735, middle[1])]
    rows = zip(infos, colours, places, sizes, strict=True)
    return tuple(_item(info, colour, x, y, size) for info, colour, (x, y), size in rows), relation
