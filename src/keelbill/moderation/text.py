"""Judges prompts by rules. Knows neither who asks nor what happens to a prompt that is objected to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from keelbill.moderation.folding import visible
from keelbill.moderation.rulebook import ANY_WORD, Category, Combination, Node, Rulebook, Severity, rulebook
from keelbill.moderation.words import Words, read

__all__ = ["Category", "Finding", "Severity", "judge", "label"]

OF_AGE: Final = 18
_AGE: Final = re.compile(r"(\d{1,2})(?:yo|y|yrs?|years?|yearolds?|yearsold|yrold|yrsold)?")
_BARE_AGE: Final = re.compile(r"(\d{1,2})(?:yo|yrs?|yearolds?|yearsold|yrold|yrsold)")
_UNITS: Final = frozenset({"year", "years", "yr", "yrs", "yo", "yearold", "yearsold", "month", "months"})
_NUMBERS: Final = frozenset(
    {
        *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
        *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    }
)


@dataclass(frozen=True)
class Finding:
    """Something in a text that a rule is about.

    Attributes:
        category: What the rule is about.
        severity: How sure and how grave it is; what is critical cannot be allowed by any policy.
        start: Where it begins, in characters of the text as `folding.visible` returns it.
        end: Where it ends.
    """

    category: Category
    severity: Severity
    start: int
    end: int

    @property
    def span(self) -> tuple[int, int]:
        """Start and end."""
        return self.start, self.end


@dataclass(frozen=True)
class _Hit:
    """A phrase of a section, by the numbers of its first piece and of the piece after its last one."""

    name: str
    first: int
    after: int


def judge(text: str, rules: Rulebook | None = None) -> tuple[Finding, ...]:
    """Return what a text can be objected to for, gravest first; nothing for a harmless text.

    Args:
        text: A prompt; hidden characters in it are passed over.
        rules: Other rules than those that ship with the program.
    """
    rules = rules or rulebook()
    words = read(visible(text), rules.vocabulary)
    hits = _unexcused(words, rules)
    found = {
        Finding(Category(hit.name), rules.severities[hit.name], *words.span(hit.first, hit.after))
        for hit in hits
        if hit.name in rules.severities
    }
    for combination in rules.combinations:
        if (together := _combined(combination, hits, words)) is not None:
            found.add(together)
    grave = {"critical": 0, "high": 1, "low": 2}
    return tuple(sorted(found, key=lambda finding: (grave[finding.severity], finding.start, finding.category)))


def label(category: Category) -> str:
    """Return what a category is called in messages."""
    return rulebook().labels[category]


def _unexcused(words: Words, rules: Rulebook) -> list[_Hit]:
    hits: list[_Hit] = []
    excuses: list[_Hit] = []
    for first in range(len(words.pieces)):
        for node, after in _walk(words, rules.root, first):
            hits += [_Hit(name, first, after) for name in node.names]
            excuses += [_Hit(name, first, after) for name in node.excuses]
        for form, after in words.readings[first].items():
            if rules.parts.search(form):
                hits += [_Hit(name, first, after) for prefix, name in rules.prefixes if form.startswith(prefix)]
                hits += [_Hit(name, first, after) for part, name in rules.inside if part in form]
    hits += _ages(words)
    return [hit for hit in dict.fromkeys(hits) if not any(_covers(excuse, hit) for excuse in excuses)]


def _walk(words: Words, node: Node, piece: int) -> Iterator[tuple[Node, int]]:
    """Yield every node of the tree that a run of words leads to, with the piece after it."""
    if piece >= len(words.pieces):
        return
    steps = [(node.next[form], after) for form, after in words.readings[piece].items() if form in node.next]
    if ANY_WORD in node.next:
        steps.append((node.next[ANY_WORD], piece + 1))
    for found, after in steps:
        if found.names or found.excuses:
            yield found, after
        yield from _walk(words, found, after)


def _covers(excuse: _Hit, hit: _Hit) -> bool:
    return excuse.name == hit.name and excuse.first < hit.after and hit.first < excuse.after


def _ages(words: Words) -> Iterator[_Hit]:
    """Yield ages below eighteen: "14 years", "14yo", "fourteen-year-old", "aged 14"."""
    for index, readings in enumerate(words.readings):
        beside = words.readings[index + 1] if index + 1 < len(words.readings) else {}
        before = words.readings[index - 1] if index else {}
        if any(_is_young(form, bare=True) for form in readings):
            yield _Hit("age", index, index + 1)
        elif any(_is_young(form, bare=False) for form in readings) and (
            not _UNITS.isdisjoint(beside) or "aged" in before or "age" in before
        ):
            yield _Hit("age", index, min(index + 2, len(words.pieces)))


def _is_young(form: str, *, bare: bool) -> bool:
    if not bare and form in _NUMBERS:
        return True
    found = (_BARE_AGE if bare else _AGE).fullmatch(form)
    return found is not None and int(found[1]) < OF_AGE


def _combined(combination: Combination, hits: list[_Hit], words: Words) -> Finding | None:
    """Return the first place where all parts come together; one is enough, and a long text may have thousands."""
    parts = [[hit for hit in hits if hit.name in names] for names in combination.parts]
    if not all(parts):
        return None
    chosen = _near(parts, combination.within_words) if combination.within_words else [part[0] for part in parts]
    if not chosen:
        return None
    span = words.span(min(hit.first for hit in chosen), max(hit.after for hit in chosen))
    return Finding(combination.category, combination.severity, *span)


def _near(parts: list[list[_Hit]], within_words: int) -> list[_Hit]:
    """Return one hit of each part that together span no more than so many words."""
    ordered = sorted(
        ((hit, number) for number, part in enumerate(parts) for hit in part), key=lambda pair: pair[0].first
    )
    for index, (hit, number) in enumerate(ordered):
        chosen = {number: hit}
        for other, of_part in ordered[index + 1 :]:
            if other.first >= hit.first + within_words:
                break
            if other.after - hit.first <= within_words:
                chosen.setdefault(of_part, other)
            if len(chosen) == len(parts):
                return list(chosen.values())
    return []
