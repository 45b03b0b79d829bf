"""The scene grammar: draws small worlds of known truth by chance. Knows words and places, not pixels or captions."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from keelbill.core.errors import InvalidInput
from keelbill.train.backgrounds import BACKGROUND_COLOURS, VARIANTS, Background, is_grounded
from keelbill.train.concepts import by_name, is_held_out
from keelbill.train.data import UNTREATED, SpriteInfo, Treatment
from keelbill.train.landscapes import PLACES
from keelbill.train.lettering import Lettering, sample_lettering
from keelbill.train.palette import COLOURS

SIDE_BY_SIDE = ("left", "next")
STACKED = ("above",)
MAX_COUNT = 6


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
        treatment: Material or filling of the sprite.
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
    treatment: Treatment = UNTREATED
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
        layout: "single", "pair", "count" for several of one thing, or "lettering".
        items: Things from back to front.
        background: What is behind them.
        relation: For pairs, where the first is: "left" of the second, "above" it, "behind" it, or just "next" to it.
        style: Drawing style of the whole picture.
        lettering: Words in the picture, if there are any.
    """

    seed: int
    layout: str
    items: tuple[Item, ...]
    background: Background
    relation: str = ""
    style: str = "3d"
    lettering: Lettering | None = None

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
            items = tuple(Item(**{**item, "treatment": Treatment(**item["treatment"])}) for item in record["items"])
            background = Background(**record["background"])
            lettering = Lettering(**record["lettering"]) if record.get("lettering") else None
            return cls(**{**record, "items": items, "background": background, "lettering": lettering})
        except (KeyError, TypeError) as error:
            raise InvalidInput("scene", dict(record), f"a record written by Scene.to_json ({error})") from error


@dataclass(frozen=True)
class Mix:
    """How often the grammar takes each of its choices; weights need not sum to 1.

    Attributes:
        layouts: Weights of "single", "pair", "count" and "lettering"; without fonts, the last one counts as "single".
        backgrounds: Weights of kinds of background.
        looks: Weights of drawing styles; those that the pack lacks are left out.
        recoloured: Share of things that get another colour.
        material: Share of single things of a material, if the pack holds any.
        made_of: Share of single things built of small ones, if the pack holds any.
    """

    layouts: Mapping[str, float] = field(default_factory=lambda: {"single": 0.85, "pair": 0.15})
    backgrounds: Mapping[str, float] = field(default_factory=lambda: {"plain": 0.5, "studio": 0.5})
    looks: Mapping[str, float] = field(default_factory=lambda: {"3d": 1.0})
    recoloured: float = 0.5
    material: float = 0.0
    made_of: float = 0.0


FULL_MIX = Mix(
    layouts={"single": 0.63, "pair": 0.18, "count": 0.09, "lettering": 0.1},
    backgrounds={"plain": 0.28, "studio": 0.34, **dict.fromkeys(PLACES, 0.38 / len(PLACES))},
    looks={"3d": 0.7, "flat": 0.1, "cartoon": 0.12, "sticker": 0.08},
    recoloured=0.4,
    material=0.13,
    made_of=0.2,
)


class Catalogue:
    """The things a scene may hold, by look and group: each group gets its share, everyday things a double one.

    Args:
        infos: Sprites of a pack.
        fonts: Names of fonts for lettering.

    Raises:
        InvalidInput: There are none without a treatment.
    """

    def __init__(self, infos: Sequence[SpriteInfo], fonts: Sequence[str] = ()) -> None:
        self.fonts = tuple(fonts)
        self.groups: dict[str, dict[str, list[SpriteInfo]]] = {}
        self.materials = [info for info in infos if info.treatment.material]
        self.made_of = [info for info in infos if info.treatment.made_of]
        for info in infos:
            if info.treatment == UNTREATED:
                group = self.groups.setdefault(info.look, {}).setdefault(info.group, [])
                group += [info] * (2 if by_name()[info.concept].everyday else 1)
        if not self.groups:
            raise InvalidInput("infos", [], "a list with at least one untreated sprite")

    def pick(self, rng: random.Random, look: str) -> SpriteInfo:
        """Draw one untreated thing of a look that the pack holds."""
        groups = self.groups[look]
        # Between equal shares for groups and equal shares for things.
        weights = [len(group) ** 0.75 for group in groups.values()]
        return rng.choice(rng.choices(list(groups.values()), weights)[0])


_FIRST_LIGHT = Mix()


def sample_scene(rng: random.Random, catalogue: Catalogue, mix: Mix = _FIRST_LIGHT) -> Scene:
    """Draw a scene by chance.

    Args:
        rng: Source of all chance; the same state gives the same scene.
        catalogue: Things to choose from.
        mix: How often each choice is taken.

    Returns:
        A scene whose things fit into the picture and stand out from the background.

    Raises:
        InvalidInput: The pack holds none of the looks that `mix` names.
    """
    seed = rng.getrandbits(48)
    looks = {look: weight for look, weight in mix.looks.items() if look in catalogue.groups}
    if not looks:
        raise InvalidInput("looks", list(mix.looks), "at least one of " + ", ".join(catalogue.groups))
    layout, look = _choose(rng, mix.layouts), _choose(rng, looks)
    if layout == "lettering":
        if catalogue.fonts:
            return _lettering(rng, seed, catalogue.fonts, mix.backgrounds)
        layout = "single"
    infos = _things(rng, catalogue, mix, layout, look)
    colours = [_new_colour(rng, info, mix.recoloured) for info in infos]
    shown = {colour or (info.main.name if info.main else "") for info, colour in zip(infos, colours, strict=True)}
    count = rng.randint(2, MAX_COUNT) if layout == "count" else len(infos)
    background = _background(rng, _fitting_kinds(mix.backgrounds, count), shown)
    relation = ""
    if layout == "pair":
        items, relation = _pair(rng, infos, colours, background)
    elif layout == "count":
        items = _several(rng, infos[0], colours[0], background, count)
    else:
        items = _single(rng, infos[0], colours[0], background)
    return Scene(seed, layout, items, background, relation, infos[0].look)


def _lettering(rng: random.Random, seed: int, fonts: Sequence[str], kinds: Mapping[str, float]) -> Scene:
    lettering = sample_lettering(rng, fonts)
    background = _background(rng, kinds, {lettering.board or lettering.ink})
    return Scene(seed, "lettering", (), background, lettering=lettering)


def _choose(rng: random.Random, weights: Mapping[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _things(rng: random.Random, catalogue: Catalogue, mix: Mix, layout: str, look: str) -> list[SpriteInfo]:
    if layout == "single":
        chance = rng.random()
        if chance < mix.material and catalogue.materials:
            return [rng.choice(catalogue.materials)]
        if mix.material <= chance < mix.material + mix.made_of and catalogue.made_of:
            return [rng.choice(catalogue.made_of)]
    first = catalogue.pick(rng, look)
    while layout == "count" and not by_name()[first.concept].countable:
        first = catalogue.pick(rng, look)
    if layout != "pair":
        return [first]
    second = catalogue.pick(rng, look)
    while second.concept == first.concept:
        second = catalogue.pick(rng, look)
    return [first, second]


def _new_colour(rng: random.Random, info: SpriteInfo, share: float) -> str:
    if rng.random() >= share or info.treatment != UNTREATED:
        return ""
    if info.main is None or not info.main.can_change or not _has_free_colour(info):
        return ""
    return rng.choice([c for c in COLOURS if c != info.main.name and not is_held_out(info.concept, c)])


def _has_free_colour(info: SpriteInfo) -> bool:
    """Whether a colour may be said: not for people, nor for "green apple"."""
    return info.group != "person" and not any(word in COLOURS for word in info.concept.split()[:-1])


def _natural(info: SpriteInfo) -> str:
    if info.main is None or not info.main.is_clear or info.treatment != UNTREATED or not _has_free_colour(info):
        return ""
    return "" if info.main.name in info.concept.split() else info.main.name


def _fitting_kinds(kinds: Mapping[str, float], count: int) -> Mapping[str, float]:
    """Leave out floors when there are two rows of things, which would hide each other on a floor."""
    floating = {kind: weight for kind, weight in kinds.items() if not is_grounded(Background(kind))}
    return floating or {"plain": 1.0} if count > 3 else kinds


def _background(rng: random.Random, kinds: Mapping[str, float], shown: set[str]) -> Background:
    fitting = {kind: weight for kind, weight in kinds.items() if not shown & set(PLACES.get(kind, ((), ()))[1])}
    kind = _choose(rng, fitting or kinds)
    if kind in PLACES:
        return Background(kind, variant=rng.randrange(VARIANTS))
    colours = [name for name, colour in BACKGROUND_COLOURS.items() if not shown & set(colour.hides)]
    return Background(kind, rng.choice(colours), rng.randrange(VARIANTS))


def _item(info: SpriteInfo, colour: str, x: float, y: float, size: float, rotation: float = 0.0) -> Item:
    place = (round(x, 4), round(y, 4), round(size, 4))
    return Item(
        info.concept, *place, height=info.height, look=info.look, treatment=info.treatment, colour=colour,
        natural=_natural(info), rotation=round(rotation, 1),
    )  # fmt: skip


def _single(rng: random.Random, info: SpriteInfo, colour: str, background: Background) -> tuple[Item, ...]:
    size = rng.uniform(0.62, 0.8) if info.treatment == UNTREATED else rng.uniform(0.74, 0.86)
    height = size * info.height
    x = rng.uniform(0.47, 0.53)
    y = min(0.85, 0.56 + height / 2) - height / 2 if is_grounded(background) else rng.uniform(0.48, 0.52)
    return (_item(info, colour, x, y, size),)


def _several(rng: random.Random, info: SpriteInfo, colour: str, background: Background, count: int) -> tuple[Item, ...]:
    """Place some of one thing: up to three in a row, more in two rows."""
    rows = [count] if count <= 3 else [count // 2, count - count // 2]
    across = max(rows)
    size = min(0.44, 0.9 / across) * rng.uniform(0.92, 1.0)
    floor = is_grounded(background)
    items = []
    for r, in_row in enumerate(rows):
        y = 0.5 if len(rows) == 1 else 0.28 + 0.44 * r
        y = 0.82 - size * info.height / 2 if floor else y
        for k in range(in_row):
            x = 0.5 + (k - (in_row - 1) / 2) * 0.92 / across
            items.append(_item(info, colour, x, y, size, 0.0 if floor else rng.uniform(-6, 6)))
    return tuple(items)


def _pair(
    rng: random.Random, infos: Sequence[SpriteInfo], colours: Sequence[str], background: Background
) -> tuple[tuple[Item, ...], str]:
    grounded = is_grounded(background)
    relation = rng.choice((*SIDE_BY_SIDE, "behind") if grounded else SIDE_BY_SIDE + STACKED)
    sizes = [rng.uniform(0.4, 0.46) for _ in infos]
    if relation == "above":
        places = [(rng.uniform(0.46, 0.54), 0.265), (rng.uniform(0.46, 0.54), 0.735)]
    elif relation == "behind":
        sizes = [rng.uniform(0.6, 0.68), rng.uniform(0.36, 0.42)]
        side = rng.choice((-1, 1))
        middle = [base - size * info.height / 2 for base, size, info in zip((0.76, 0.88), sizes, infos, strict=True)]
        places = [(0.5 + 0.1 * side, middle[0]), (0.5 - 0.2 * side, middle[1])]
    else:
        middle = [0.8 - size * info.height / 2 if grounded else 0.5 for size, info in zip(sizes, infos, strict=True)]
        places = [(0.265, middle[0]), (0.735, middle[1])]
    rows = zip(infos, colours, places, sizes, strict=True)
    return tuple(_item(info, colour, x, y, size) for info, colour, (x, y), size in rows), relation
