"""Turns prompts into numbers: weighted parts, token ids, quoted characters. Knows no networks and reads no weights."""

from __future__ import annotations

import gzip
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Protocol

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from keelbill.core.errors import BadWeights

MAX_WEIGHT = 10.0
CHARACTER_PLACES = 24
CHARACTER_CODES = 96  # 0 is not used, 1 is an unknown character, then "!" to "~"

_WORD_END = "</w>"
_WHOLE_WORD = 7
_NUMBER_AT_END = re.compile(r":\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\Z")
_QUOTED = re.compile(
    r'"([^"]+)"'
    r"|[“„]([^“”„]+)[”“]"
    r"|«([^«»]+)»"
    r"|(?<!\w)['‘](.+?)['’](?!\w)",
    re.DOTALL,
)
_MENTION = re.compile(r"(?<!\w)embedding:([^\s,;()\[\]{}<>\"'|]+)")


@dataclass(frozen=True)
class WeightedText:
    """A part of a prompt and how strongly it counts; 1 is plain."""

    text: str
    weight: float = 1.0


def parse_weights(prompt: str) -> list[WeightedText]:
    r"""Split a prompt into parts of equal weight.

    ``(text)`` multiplies the weight by 1.1 for each pair of parentheses, ``(text:1.3)`` sets it to 1.3, and ``\(``,
    ``\)`` are plain parentheses. Parentheses without a partner are plain text.

    Args:
        prompt: As the user wrote it.

    Returns:
        Parts in order, with weights in [-10, 10]; nothing for an empty prompt.
    """
    partner = _partners(prompt)
    weights = [1.0]
    numbers: dict[int, int] = {}  # where a ":1.3" starts -> its closing parenthesis
    parts: list[tuple[list[str], float]] = []
    i = 0
    while i < len(prompt):
        character = prompt[i]
        if i in numbers:
            i = numbers[i]
            continue
        if character == "\\" and prompt[i + 1 : i + 2] in ("(", ")"):
            i += 1
            character = prompt[i]
        elif i in partner and character == "(":
            weight, number_at = _group_weight(prompt, i, partner[i], weights[-1])
            weights.append(max(-MAX_WEIGHT, min(MAX_WEIGHT, weight)))
            if number_at < partner[i]:
                numbers[number_at] = partner[i]
            i += 1
            continue
        elif i in partner:
            weights.pop()
            i += 1
            continue
        if not parts or parts[-1][1] != weights[-1]:
            parts.append(([], weights[-1]))
        parts[-1][0].append(character)
        i += 1
    return [WeightedText("".join(characters), weight) for characters, weight in parts]


def _partners(prompt: str) -> dict[int, int]:
    """Map each parenthesis that has a partner to that partner's place."""
    partner: dict[int, int] = {}
    open_at: list[int] = []
    i = 0
    while i < len(prompt):
        if prompt[i] == "\\" and prompt[i + 1 : i + 2] in ("(", ")"):
            i += 1
        elif prompt[i] == "(":
            open_at.append(i)
        elif prompt[i] == ")" and open_at:
            partner[i] = open_at.pop()
            partner[partner[i]] = i
        i += 1
    return partner


def _group_weight(prompt: str, start: int, end: int, outer: float) -> tuple[float, int]:
    """Return a group's weight and the place where its text ends."""
    tail_at = max(start + 1, end - 24)
    number = _NUMBER_AT_END.search(prompt, tail_at, end)
    if number and number.start() > start + 1:
        return float(number[1]), number.start()
    return outer * 1.1, end


def quoted_words(prompt: str) -> list[str]:
    """Return the words inside straight or typographic quotes, in order, accents removed."""
    words: list[str] = []
    for match in _QUOTED.finditer(prompt):
        text = next(group for group in match.groups() if group is not None)
        plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        words.extend(plain.split())
    return words


def character_ids(prompt: str, places: int = CHARACTER_PLACES) -> list[tuple[int, int, int]]:
    """Spell what a prompt quotes.

    Args:
        prompt: As the user wrote it.
        places: How many characters fit; the rest is cut.

    Returns:
        At most `places` triples (character code, index in its word, index of the word).
    """
    return [
        (_character_code(character), index, word_index)
        for word_index, word in enumerate(quoted_words(prompt))
        for index, character in enumerate(word)
    ][:places]


def _character_code(character: str) -> int:
    code = ord(character) - ord("!") + 2
    return code if 2 <= code < CHARACTER_CODES else 1


class Segmenter(Protocol):
    """Turns plain text into token ids without start and end tokens."""

    def __call__(self, text: str) -> list[int]:
        """Return the token ids of `text`."""
        ...


class FileTokenizer:
    """A tokeniser made from the text of a ``tokenizer.json``.

    Args:
        definition: The file's content.

    Raises:
        BadWeights: The content is not a tokeniser.
    """

    def __init__(self, definition: str) -> None:
        try:
            self._tokenizer = Tokenizer.from_str(definition)
        except Exception as error:
            raise BadWeights(f"tokenizer.json cannot be read: {error}.") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def __call__(self, text: str) -> list[int]:
        """Return the token ids of `text`, without start and end tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def id_of(self, token: str) -> int:
        """Return the id of a token that must exist.

        Raises:
            BadWeights: It does not.
        """
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise BadWeights(f"tokenizer.json has no token {token!r}.")
        return int(found)


@cache
def clip_segmenter() -> Segmenter:
    """Return CLIP's tokeniser, the same for every CLIP text encoder; its merges come with the package.

    References:
        | Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021)
    """
    merges = gzip.decompress(files("keelbill.models").joinpath("clip", "merges.txt.gz").read_bytes()).decode("utf-8")
    pairs = [(left, right) for left, right in (line.split() for line in merges.splitlines())]
    letters = _byte_letters()
    pieces = letters + [letter + _WORD_END for letter in letters] + ["".join(pair) for pair in pairs]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, end_of_word_suffix=_WORD_END))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


def _byte_letters() -> list[str]:
    """Return a visible letter for each byte, in CLIP's order: printable bytes stand for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = len(set(range(256)) - set(printable))
    return [chr(code) for code in printable] + [chr(256 + i) for i in range(others)]


def mentioned(text: str) -> list[str]:
    """Return the names that ``embedding:name`` mentions in a text, in order, as often as they are there."""
    return [name for _, name in _mentions(text)]


def parted(text: str, taught: Mapping[str, range]) -> Iterator[str | range]:
    """Cut a text at the words that encoders were taught after their training.

    Args:
        text: Without weights.
        taught: Numbers of tokens by name; ``embedding:`` before any other name is plain text.

    Yields:
        Plain text, without the spaces beside taught words, and the tokens of taught words.
    """
    rest, done = text, 0
    for match, name in _mentions(text):
        if name in taught:
            yield rest[: match.start() - done].rstrip()
            yield taught[name]
            done = match.start(1) + len(name)
            rest = text[done:].lstrip()
            done = len(text) - len(rest)
    yield rest


def _mentions(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Find names; a point at the end of a sentence belongs to none."""
    for match in _MENTION.finditer(text):
        name = match[1].rstrip(".:!?")
        if name:
            yield match, name


def clip_chunks(
    prompt: str, places: int = 75, taught: Mapping[str, range] | None = None
) -> list[list[tuple[int, float]]]:
    """Cut a prompt into chunks of tokens with weights; a word is only cut if it is longer than seven tokens.

    Args:
        prompt: As the user wrote it.
        places: How many tokens fit in a chunk, without start and end.
        taught: Numbers of tokens for ``embedding:name``, by name.

    Returns:
        At least one chunk; the last one may be empty.
    """
    segment = clip_segmenter()
    chunks: list[list[tuple[int, float]]] = [[]]
    for part in parse_weights(prompt):
        for piece in parted(part.text, taught or {}):
            for word in map(segment, piece.split()) if isinstance(piece, str) else [piece]:
                _append(chunks, [(token, part.weight) for token in word], places)
    return chunks


def _append(chunks: list[list[tuple[int, float]]], tokens: list[tuple[int, float]], places: int) -> None:
    """Add a word to the last chunk, or to new ones."""
    if places - len(chunks[-1]) < len(tokens) <= _WHOLE_WORD:
        chunks.append([])
    while tokens:
        if len(chunks[-1]) == places:
            chunks.append([])
        free = places - len(chunks[-1])
        chunks[-1] += tokens[:free]
        tokens = tokens[free:]


def weighted_ids(
    segment: Segmenter, prompt: str, taught: Mapping[str, range] | None = None
) -> tuple[list[int], list[float]]:
    """Return a prompt's token ids and their weights, without start and end tokens."""
    ids: list[int] = []
    weights: list[float] = []
    for part in parse_weights(prompt):
        for piece in parted(part.text, taught or {}):
            found = segment(piece) if isinstance(piece, str) else list(piece)
            ids += found
            weights += [part.weight] * len(found)
    return ids, weights
