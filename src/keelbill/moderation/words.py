"""Cuts a text into the words that a reader would see in it, also where they are spelled to be overlooked.

Knows no rules, only the set of words that are worth assembling from scattered letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from keelbill.moderation.folding import STAND_INS, Folded, fold, unmask

MAX_JOINED: Final = 48
MAX_SCATTERED: Final = 20
_CHUNK: Final = re.compile(r"\S+")
_PIECE: Final = re.compile(r"[^\W_]+")
_NEW_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_REPEATED: Final = re.compile(r"(.)\1{2,}")
_NOT_LETTERS: Final = re.compile(r"[\W_]+")
_GAPS: Final = "*#%.?_-"
_GAPPED: Final = re.compile(r"[^\W\d_]+[*#%]+[^\W\d_]+")


@dataclass(frozen=True)
class Piece:
    """A stretch of letters and digits.

    Attributes:
        start: Where it begins in the folded text.
        end: Where it ends.
    """

    start: int
    end: int


@dataclass(frozen=True)
class Words:
    """All readings of a text.

    Attributes:
        folded: The judged form of the text.
        pieces: Its stretches of letters and digits, in order.
        readings: For each piece, the words that may begin with it and the number of the piece after their last one.
    """

    folded: Folded
    pieces: list[Piece]
    readings: list[dict[str, int]] = field(default_factory=list)

    def span(self, first: int, after: int) -> tuple[int, int]:
        """Return where pieces stand in the text, as start and end."""
        places = self.folded.places
        return places[self.pieces[first].start], places[self.pieces[after - 1].end - 1] + 1


def read(text: str, vocabulary: Mapping[int, frozenset[str]]) -> Words:
    """Cut a text into words.

    Args:
        text: As `folding.visible` returned it.
        vocabulary: Words that scattered letters and masked words are compared with, by their length.
    """
    folded = fold(text)
    words = Words(folded, [])
    for found in _CHUNK.finditer(folded.plain):
        _read_chunk(words, found.start(), found.end(), vocabulary)
    _read_scattered(words, vocabulary)
    return words


def _read_chunk(words: Words, start: int, end: int, vocabulary: Mapping[int, frozenset[str]]) -> None:
    """Read what stands between two blanks: its pieces, and all of them together."""
    first = len(words.pieces)
    for found in _PIECE.finditer(words.folded.plain, start, end):
        cuts = [found.start()]
        cuts += [cut.start() for cut in _NEW_WORD.finditer(words.folded.cased, found.start() + 1, found.end())]
        for begin, stop in zip(cuts, [*cuts[1:], found.end()], strict=True):
            words.pieces.append(Piece(begin, stop))
            forms = _forms(words.folded.plain[begin:stop]) | _forms(words.folded.latin[begin:stop])
            words.readings.append(dict.fromkeys(forms, len(words.pieces)))
    after = len(words.pieces)
    if first == after or end - start > MAX_JOINED:
        return
    whole = words.folded.latin[start:end]
    if after - first > 1 or not STAND_INS.isdisjoint(whole):
        for form in _joined(whole) | _joined(words.folded.plain[start:end]):
            words.readings[first].setdefault(form, after)
    for gapped in _GAPPED.findall(whole):
        for form in _filled(gapped, vocabulary):
            words.readings[first].setdefault(form, after)


def _forms(word: str) -> set[str]:
    """Return a word, with its digits as letters, and without letters that are drawn out."""
    forms = {word}
    if not word.isalpha() and not word.isdigit():
        forms |= {unmask(word), unmask(word, one="l")}
    for form in [form for form in forms if _REPEATED.search(form)]:
        forms |= {_REPEATED.sub(r"\1", form), _REPEATED.sub(r"\1\1", form)}
    return forms


def _joined(chunk: str) -> set[str]:
    """Return a chunk without its signs, and with its signs as letters."""
    found = {_NOT_LETTERS.sub("", chunk)}
    inner = chunk.rstrip("!|+").lstrip("+|")
    if not STAND_INS.isdisjoint(inner):
        found |= {_NOT_LETTERS.sub("", unmask(inner)), _NOT_LETTERS.sub("", unmask(inner, one="l"))}
    return {form for word in found if word for form in _forms(word)}


def _filled(gapped: str, vocabulary: Mapping[int, frozenset[str]]) -> Iterator[str]:
    """Yield the words that a word with asterisks in the place of letters may be."""
    if sum(character.isalpha() for character in gapped) * 2 < len(gapped):
        return
    pattern = re.compile("".join("." if character in _GAPS else re.escape(character) for character in gapped))
    for word in vocabulary.get(len(gapped), ()):
        if pattern.fullmatch(word):
            yield word


def _read_scattered(words: Words, vocabulary: Mapping[int, frozenset[str]]) -> None:
    """Read words whose letters stand apart, whatever stands between them."""
    letters = [
        unmask(words.folded.latin[piece.start]) if piece.end - piece.start == 1 else "" for piece in words.pieces
    ]
    for first in range(len(letters)):
        if not letters[first] or (first + 2 < len(letters) and not (letters[first + 1] and letters[first + 2])):
            continue
        word = ""
        for after in range(first, min(first + MAX_SCATTERED, len(letters))):
            if not letters[after]:
                break
            word += letters[after]
            if word in vocabulary.get(len(word), ()):
                words.readings[first].setdefault(word, after + 1)
