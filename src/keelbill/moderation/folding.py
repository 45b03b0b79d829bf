"""Two forms of a text: the one that is used, and the one that is judged. Knows no rules.

The used form loses only characters that nobody sees. The judged form maps look-alikes, accents, digits in the place
of letters and fancy alphabets to plain letters, and remembers where each letter stood.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache

_EMOJI = "\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
# Directions and isolates, zero-width marks, invisible operators, fillers, the tag block; all without any shape.
_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\U000e0000-\U000e007f]"
)
_JOINER = re.compile(f"(?<![{_EMOJI}\ufe0f])\u200d|\u200d(?![{_EMOJI}])")
_LETTER_NAME = re.compile(
    r"LATIN (?:CAPITAL |SMALL )?LETTER (?:SMALL CAPITAL |TURNED |REVERSED |INVERTED )?([A-Z])(?: |$)"
)
_STANDS_FOR = {
    "0": "o",
    "1": "i",
    "3": "e",
    "4": "a",
    "5": "s",
    "7": "t",
    "8": "b",
    "9": "g",
    "@": "a",
    "$": "s",
    "!": "i",
    "|": "l",
    "+": "t",
    "€": "e",
    "£": "l",
    "¡": "i",
}
# Look-alikes that Unicode's table maps to more than one letter, or not at all, and that people use all the same.
_MORE_LOOK_ALIKES = {
    "η": "n", "ε": "e", "κ": "k", "τ": "t", "μ": "u", "ω": "w", "χ": "x", "β": "b", "λ": "a", "π": "n", "θ": "o",
    "д": "d", "к": "k", "т": "t", "м": "m", "в": "b", "и": "u", "н": "h", "я": "r", "ь": "b", "л": "n", "п": "n",
    "ц": "u", "ш": "w", "ф": "o", "э": "e", "з": "e", "є": "e",
}  # fmt: skip
STAND_INS = frozenset(_STANDS_FOR)
"""Digits and signs that people put in the place of letters."""


def visible(text: str) -> str:
    """Return a text in normal form C, without characters that cannot be seen.

    Directional overrides and isolates, zero-width characters and the Unicode tag block go; joiners stay inside emoji,
    where they make one picture of several.
    """
    return unicodedata.normalize("NFC", _JOINER.sub("", _HIDDEN.sub("", text)))


@dataclass(frozen=True)
class Folded:
    """The judged form of a text.

    Attributes:
        plain: Lower case, without accents, in compatibility form.
        latin: `plain` with every look-alike of a Latin letter replaced by that letter; as long as `plain`.
        cased: `plain` before it was put into lower case; as long as `plain`.
        places: For each character of these, where it stood in the text.
    """

    plain: str
    latin: str
    cased: str
    places: tuple[int, ...]


def fold(text: str) -> Folded:
    """Return the judged form of a text that `visible` returned."""
    plain, latin, cased, places = [], [], [], []
    for place, character in enumerate(text):
        for kept, like, original in _folded(character):
            plain.append(kept)
            latin.append(like)
            cased.append(original)
            places.append(place)
    return Folded("".join(plain), "".join(latin), "".join(cased), tuple(places))


def unmask(word: str, *, one: str = "i") -> str:
    """Replace digits and signs in a word by the letters that they stand for.

    Args:
        word: Folded.
        one: What ``1`` stands for: ``i`` or ``l``.
    """
    return "".join(one if character == "1" else _STANDS_FOR.get(character, character) for character in word)


@lru_cache(maxsize=4096)
def _folded(character: str) -> tuple[tuple[str, str, str], ...]:
    """Return (plain, latin, cased) for each character that one character unfolds to."""
    if character.isascii():
        return ((character.lower(), character.lower(), character),)
    if letter := _badge(character):
        return ((letter, letter, letter),)
    found = []
    for part in unicodedata.normalize("NFKD", character):
        if unicodedata.combining(part) or "\ufe00" <= part <= "\ufe0f":
            continue
        lower = part.casefold()[:1]
        found.append((lower, _look_alike(part), part))
    return tuple(found)


def _badge(character: str) -> str:
    """Return the letter in a square, circle or flag that has no compatibility form of its own."""
    code = ord(character)
    for first in (0x1F150, 0x1F170, 0x1F1E6):
        if first <= code < first + 26:
            return chr(ord("a") + code - first)
    return ""


def _look_alike(character: str) -> str:
    if character.isascii():
        return character.lower()
    if (letter := _confusables().get(character)) is not None:
        return letter
    if named := _LETTER_NAME.match(unicodedata.name(character, "")):
        return named[1].lower()
    lower = character.casefold()[:1]
    return _confusables().get(lower, lower)


@cache
def _confusables() -> dict[str, str]:
    """Return the look-alikes of single Latin letters (Unicode Technical Standard 39)."""
    # Imported late because it reads a large table when it is.
    from confusable_homoglyphs import confusables  # type: ignore[import-untyped]

    found = dict(_MORE_LOOK_ALIKES)
    for character, likes in confusables.confusables_data.items():
        if character.isascii():
            continue
        for like in likes:
            if len(like["c"]) == 1 and like["c"].isascii() and like["c"].isalpha():
                found[character] = like["c"].lower()
                break
    return found
