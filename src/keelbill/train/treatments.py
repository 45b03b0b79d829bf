"""Adds treated things to a sprite pack: of gold, of wood, made of fruit. Knows what goes together, no scenes."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache

import numpy as np
from PIL import Image

from keelbill.train.concepts import by_name, is_held_out
from keelbill.train.data import UNTREATED, SpriteInfo, Sprites, Treatment
from keelbill.train.fillings import FILLINGS, fill
from keelbill.train.materials import MATERIALS, apply_material
from keelbill.train.palette import Bytes, main_colour, recolour

DYES = ("red", "orange", "yellow", "green", "blue", "purple", "pink")
PIECE_SIDE = 72
_LOOK = "3d"

# Things with a silhouette that is known at a glance, even when nothing else is left of them.
CLEAR_SHAPES = (
    "car", "cat", "dog", "elephant", "rabbit", "horse", "cow", "pig", "sheep", "camel", "giraffe", "bear", "panda",
    "fish", "whale", "dolphin", "shark", "turtle", "duck", "swan", "owl", "penguin", "bird", "chicken", "chick",
    "snail",
    "butterfly", "dinosaur", "dragon", "octopus", "squirrel", "kangaroo", "fox", "lion", "unicorn", "snake", "frog",
    "truck", "bus", "taxi", "suv", "pickup truck", "tractor", "airplane", "helicopter", "rocket", "sailboat", "ship",
    "steam train", "motorcycle", "scooter", "house", "castle", "temple", "church", "heart", "star", "crescent moon",
    "sun", "tree", "pine tree", "palm tree", "cactus", "mushroom", "snowman", "crown", "teapot", "coffee cup", "trophy",
    "guitar", "bell", "key", "umbrella", "top hat", "boot", "sneaker", "high heel", "t-shirt", "dress", "chair", "bed",
    "teddy bear", "robot", "skull", "ghost", "apple", "pear", "banana", "pineapple", "strawberry", "ice cream cone",
    "cupcake", "hamburger", "pizza", "donut", "globe", "anchor", "balloon", "gift box", "light bulb", "hammer",
    "statue of liberty", "moai statue", "ring", "shield", "telephone", "diamond", "rose", "tulip", "water drop",
)  # fmt: skip


def usual_treatments(sprites: Sprites, per_concept: int = 6) -> list[tuple[str, Treatment]]:
    """List treatments that suit the things of a pack.

    Args:
        sprites: The pack.
        per_concept: How many materials and how many fillings each thing gets; vehicles and houses get all fillings.

    Returns:
        Pairs of a thing's name and a treatment, without those held out; the same pack gives the same list.
    """
    wanted: list[tuple[str, Treatment]] = []
    held = {info.concept for info in sprites.infos if info.look == _LOOK}
    for concept in (name for name in CLEAR_SHAPES if name in held):
        rng = random.Random(zlib.crc32(concept.encode()))
        materials = [name for name in MATERIALS.names() if not is_held_out(concept, name)]
        wanted += [
            (concept, Treatment(material=name)) for name in rng.sample(materials, min(per_concept, len(materials)))
        ]
        fillings = [name for name in FILLINGS if _suits(concept, name) and _members(sprites, name, "")]
        if by_name()[concept].group not in ("vehicle", "building"):
            fillings = rng.sample(fillings, min(per_concept, len(fillings)))
        for name in fillings:
            wanted.append((concept, Treatment(made_of=name)))
            dyes = [dye for dye in _dyes(sprites, name) if not is_held_out(concept, f"{dye} {name}")]
            chosen = dyes if (concept, name) == ("car", "fruit") else rng.sample(dyes, min(1, len(dyes)))
            wanted += [(concept, Treatment(made_of=name, dye=dye)) for dye in chosen]
    return wanted


def treat(sprites: Sprites, concept: str, treatment: Treatment) -> tuple[Bytes, SpriteInfo]:
    """Treat one thing.

    Args:
        sprites: Pack that holds the thing, and the small things of a filling.
        concept: Name of the thing.
        treatment: What to do; the same treatment gives the same pixels.

    Returns:
        Pixels with straight alpha and their description.

    Raises:
        UnknownName: The pack lacks the thing, or the material is unknown.
        InvalidInput: No small thing of the filling has the wanted colour.
    """
    row = sprites.find(concept, _LOOK)
    sprite, info = np.array(sprites.pixels[row]), sprites.infos[row]
    seed = zlib.crc32(f"{concept}/{treatment}".encode())
    if treatment.material:
        sprite = apply_material(sprite, treatment.material, seed)
    if treatment.made_of:
        pieces = _pieces(sprites, treatment.made_of, treatment.dye)
        sprite = fill(sprite, info.main, pieces, random.Random(seed))
    return sprite, replace(info, treatment=treatment, main=main_colour(sprite), keywords=())


def bake(sprites: Sprites, wanted: Sequence[tuple[str, Treatment]], workers: int = 1) -> Sprites:
    """Return a pack with the treated things after the old ones.

    Args:
        sprites: Pack of untreated things.
        wanted: Pairs of name and treatment.
        workers: Processes to use; the result does not depend on it.

    Raises:
        UnknownName: The pack lacks a thing.
    """
    if not wanted:
        return sprites
    if workers > 1:
        with ProcessPoolExecutor(workers, initializer=_adopt, initargs=(sprites,)) as pool:
            made = list(pool.map(_treat_adopted, wanted, chunksize=8))
    else:
        made = [treat(sprites, *pair) for pair in wanted]
    pixels = np.concatenate([sprites.pixels, np.stack([pixels for pixels, _ in made])])
    return Sprites(pixels, [*sprites.infos, *(info for _, info in made)])


_adopted: list[Sprites] = []


def _adopt(sprites: Sprites) -> None:
    _adopted[:] = [sprites]


def _treat_adopted(pair: tuple[str, Treatment]) -> tuple[Bytes, SpriteInfo]:
    return treat(_adopted[0], *pair)


def _suits(concept: str, filling: str) -> bool:
    return concept not in FILLINGS[filling].members and not is_held_out(concept, filling)


def _dyes(sprites: Sprites, filling: str) -> list[str]:
    return [dye for dye in DYES if _members(sprites, filling, dye)]


def _members(sprites: Sprites, filling: str, dye: str) -> list[int]:
    """Return the rows of the small things that have a colour or can be moved to it; all of them without a colour."""
    names = FILLINGS[filling].members
    held = [i for i, info in enumerate(sprites.infos) if info.concept in names and _is_plain(info)]
    return [i for i in held if not dye or _can_dye(sprites.infos[i], filling) or _colour(sprites.infos[i]) == dye]


@lru_cache(maxsize=128)
def _pieces(sprites: Sprites, filling: str, dye: str) -> tuple[Bytes, ...]:
    """Return the small things of a filling in its colours, `PIECE_SIDE` pixels wide; a pack's are made once."""
    pieces = []
    for row in _members(sprites, filling, dye):
        small = Image.fromarray(np.ascontiguousarray(sprites.pixels[row]))
        sprite = np.asarray(small.resize((PIECE_SIDE, PIECE_SIDE), Image.Resampling.LANCZOS))
        main = sprites.infos[row].main
        if main is None or not _can_dye(sprites.infos[row], filling):
            pieces.append(sprite)
            continue
        for colour in (dye,) if dye else DYES:
            moved = recolour((sprite[..., :3] / np.float32(255)).astype(np.float32), main, colour)
            pieces.append(np.dstack([np.clip(moved * 255 + 0.5, 0, 255).astype(np.uint8), sprite[..., 3]]))
    return tuple(pieces)


def _can_dye(info: SpriteInfo, filling: str) -> bool:
    return FILLINGS[filling].dyed and info.main is not None and info.main.can_change


def _colour(info: SpriteInfo) -> str:
    return info.main.name if info.main else ""


def _is_plain(info: SpriteInfo) -> bool:
    return info.treatment == UNTREATED and info.look == _LOOK
