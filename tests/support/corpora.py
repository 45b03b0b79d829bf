"""Reads the lists of prompts by which the rules are measured."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "moderation" / "corpus"


def harmless() -> list[str]:
    """Return prompts that nobody may be refused for."""
    return _lines("harmless.txt")


def harmful() -> list[tuple[str, str]]:
    """Return pairs of a category and a prompt that must be found in it."""
    pairs = (line.partition(" | ") for line in _lines("harmful.txt"))
    return [(category, prompt) for category, _, prompt in pairs]


def _lines(name: str) -> list[str]:
    text = (_FOLDER / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
