"""Things by name: articles, plurals, synonyms, and which pairs are held out. Knows no pictures."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

from keelbill.train.things import EVERYDAY, FURTHER

HELD_OUT_PER_CENT = 5

_IRREGULAR = {
    "mouse": "mice",
    "sheep": "sheep",
    "deer": "deer",
    "fish": "fish",
    "tropical fish": "tropical fish",
    "loaf": "loaves",
    "leaf": "leaves",
    "wolf": "wolves",
    "knife": "knives",
    "scarf": "scarves",
    "goose": "geese",
    "ox": "oxen",
    "die": "dice",
    "dice": "dice",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mango": "mangoes",
    "volcano": "volcanoes",
    "mosquito": "mosquitoes",
    "bison": "bison",
    "moose": "moose",
    "squid": "squid",
    "shrimp": "shrimp",
}
_AN_THOUGH_CONSONANT = ("hour", "x-ray", "suv")
_A_THOUGH_VOWEL = ("uni", "ufo", "eu", "one", "uk")


@dataclass(frozen=True)
class Concept:
    """A thing with the words for it.

    Attributes:
        code: Code point of its symbol in lower-case hexadecimal, joined by hyphens; it names the pictures of the thing.
        name: What people type, lower case.
        synonyms: Other words for it, most usual first.
        group: The kind of thing: "animal", "fruit", "vehicle" ...
        everyday: Whether it is among the things that people ask for first.
        countable: False for plural and mass nouns, which stand without an article ("grapes", "popcorn").
    """

    code: str
    name: str
    synonyms: tuple[str, ...]
    group: str
    everyday: bool
    countable: bool

    @property
    def plural(self) -> str:
        """The name for several of them; mass and plural nouns stay as they are."""
        return plural(self.name) if self.countable else self.name


def plural(name: str) -> str:
    """Return the plural of an English noun phrase ("slice of cake" -> "slices of cake", "wolf" -> "wolves")."""
    for link in (" of ", " in ", " with ", " from ", " on ", " behind "):
        head, found, rest = name.partition(link)
        if found:
            return f"{plural(head)}{link}{rest}"
    first, _, last = name.rpartition(" ")
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if last in _IRREGULAR:
        return f"{first} {_IRREGULAR[last]}".strip()
    if last.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase, by its sound: "an hourglass", "a unicorn"."""
    vowel = phrase[:1] in "aeiou" and not phrase.startswith(_A_THOUGH_VOWEL)
    return f"{'an' if vowel or phrase.startswith(_AN_THOUGH_CONSONANT) else 'a'} {phrase}"


@cache
def concepts() -> tuple[Concept, ...]:
    """Return all things in a fixed order, everyday ones first."""
    tables = ((EVERYDAY, True), (FURTHER, False))
    return tuple(
        _parse(line, group, everyday)
        for table, everyday in tables
        for group, lines in table.items()
        for line in lines.split("\n")
        if line.strip()
    )


@cache
def by_name() -> dict[str, Concept]:
    """Return the things by the name that captions and scenes use."""
    return {concept.name: concept for concept in concepts()}


def is_held_out(concept: str, attribute: str) -> bool:
    """Whether a pair of thing and attribute is kept out of training, to measure whether the model composes.

    About `HELD_OUT_PER_CENT` of all pairs are, the same ones everywhere; the flagship prompt's pairs never are.
    """
    if concept == "car" and attribute in ("red", "fruit", "red fruit"):
        return False
    return zlib.crc32(f"{concept}/{attribute}".encode()) % 100 < HELD_OUT_PER_CENT


def _parse(line: str, group: str, everyday: bool) -> Concept:
    code, _, words = line.strip().partition(" ")
    name, *synonyms = (word.strip() for word in words.split(","))
    return Concept(code, name.removeprefix("~"), tuple(synonyms), group, everyday, not name.startswith("~"))
