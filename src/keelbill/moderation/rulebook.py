"""Reads the rules for prompts from their data file and puts them into a tree of words. Judges nothing."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

from keelbill.moderation.folding import fold

Severity = Literal["low", "high", "critical"]
ANY_WORD: Final = "_"


class Category(StrEnum):
    """What a prompt can be objected to for."""

    SEXUAL = "sexual"
    MINORS = "minors"
    GORE = "gore"
    HATE = "hate"
    SELF_HARM = "self_harm"
    PUBLIC_FIGURES = "public_figures"
    WEAPONS = "weapons"


@dataclass
class Node:
    """A place in the tree of phrases.

    Attributes:
        next: Where each word leads.
        names: Sections that have a phrase which ends here.
        excuses: Sections of which a phrase that ends here is harmless.
    """

    next: dict[str, Node] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    excuses: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Combination:
    """Things that are harmless apart and not together.

    Attributes:
        category: What a prompt with all of them is objected to for.
        severity: How much.
        parts: Names of sections; one of each set must occur.
        within_words: How far apart the parts may be, 0 for anywhere.
    """

    category: Category
    severity: Severity
    parts: tuple[frozenset[str], ...]
    within_words: int


@dataclass(frozen=True)
class Rulebook:
    """Every rule.

    Attributes:
        root: The tree of phrases.
        prefixes: Beginnings of words, with their section.
        inside: Parts of words, with their section.
        parts: Finds out quickly whether a word has one of those beginnings or parts.
        severities: Of each category by itself.
        labels: What each category is called in messages.
        combinations: What is judged together.
        vocabulary: Single words, by their length.
    """

    root: Node
    prefixes: tuple[tuple[str, str], ...]
    inside: tuple[tuple[str, str], ...]
    parts: re.Pattern[str]
    severities: Mapping[str, Severity]
    labels: Mapping[str, str]
    combinations: tuple[Combination, ...]
    vocabulary: Mapping[int, frozenset[str]]


@cache
def rulebook() -> Rulebook:
    """Return the rules that ship with the program."""
    text = resources.files(__package__).joinpath("rules.toml").read_text(encoding="utf-8")
    return compile_rules(tomllib.loads(text))


def compile_rules(data: Mapping[str, Any]) -> Rulebook:
    """Turn the content of a rules file into a rulebook.

    Raises:
        ValueError: A category or a part of a combination does not exist.
    """
    root = Node()
    prefixes: list[tuple[str, str]] = []
    inside: list[tuple[str, str]] = []
    singles: set[str] = set()
    sections = {**data["rule"], **data.get("group", {})}
    for name, section in sections.items():
        for words in _phrases(section["words"]):
            if words[-1].endswith("*"):
                prefixes.append((_prefix(words), name))
                continue
            _place(root, words).names.add(name)
            singles |= set(words) if len(words) == 1 else set()
        for words in _phrases(section.get("excused", ())):
            _place(root, words).excuses.add(name)
        inside += [(form, name) for part in section.get("inside", ()) for form in _folded_forms(part)]
    return Rulebook(
        root,
        tuple(prefixes),
        tuple(inside),
        _any_of(prefixes, inside),
        {str(Category(name)): rule["severity"] for name, rule in data["rule"].items()},
        {str(Category(name)): rule["label"] for name, rule in data["rule"].items()},
        tuple(_combination(entry, set(sections) | {"age"}) for entry in data.get("combination", ())),
        _by_length(singles | {part for part, _ in inside} | {part for part, _ in prefixes}),
    )


def _phrases(entries: Iterable[str]) -> list[tuple[str, ...]]:
    """Return each phrase as words, once for each form that its words can be seen in."""
    found: list[tuple[str, ...]] = []
    for entry in entries:
        plural = entry.endswith("~")
        for form in sorted(_folded_forms(entry.rstrip("~"))):
            words = tuple(form.split())
            found.append(words)
            if plural:
                found += [(*words[:-1], words[-1] + "s"), (*words[:-1], words[-1] + "es")]
    return found


def _folded_forms(text: str) -> set[str]:
    folded = fold(text)
    return {folded.plain, folded.latin}


def _place(root: Node, words: tuple[str, ...]) -> Node:
    node = root
    for word in words:
        node = node.next.setdefault(word, Node())
    return node


def _prefix(words: tuple[str, ...]) -> str:
    if len(words) > 1:
        raise ValueError(f"{' '.join(words)!r}: only a single word may end in '*'")
    return words[0].removesuffix("*")


def _combination(entry: Mapping[str, Any], known: set[str]) -> Combination:
    parts = tuple(frozenset(names) for names in entry["all"])
    if unknown := frozenset().union(*parts) - known:
        raise ValueError(f"the combination names {', '.join(sorted(unknown))}, which is no section")
    return Combination(Category(entry["category"]), entry["severity"], parts, entry.get("within_words", 0))


def _any_of(prefixes: list[tuple[str, str]], inside: list[tuple[str, str]]) -> re.Pattern[str]:
    beginnings = "|".join(re.escape(prefix) for prefix, _ in prefixes) or "(?!)"
    anywhere = "|".join(re.escape(part) for part, _ in inside) or "(?!)"
    return re.compile(f"^(?:{beginnings})|{anywhere}")


def _by_length(words: set[str]) -> dict[int, frozenset[str]]:
    found: defaultdict[int, set[str]] = defaultdict(set)
    for word in words:
        if len(word) >= 3:
            found[len(word)].add(word)
    return {length: frozenset(group) for length, group in found.items()}
