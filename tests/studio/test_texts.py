"""Texts that come with some pages only: both languages say the same, and every text that is used exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "src/keelbill/studio/assets/js"
PAIRS = sorted(SCRIPTS.glob("*/texts.js"))
_PAIR = re.compile(r'^  "?([a-z_0-9.]+)"?: \["((?:[^"\\]|\\.)*)", "((?:[^"\\]|\\.)*)"\],$', re.MULTILINE)
_PLACE = re.compile(r"\{\w+\}")


def texts(path: Path) -> dict[str, tuple[str, str]]:
    return {name: (english, german) for name, english, german in _PAIR.findall(path.read_text(encoding="utf-8"))}


def test_there_are_some() -> None:
    assert {"account", "admin", "gallery", "help"} <= {path.parent.name for path in PAIRS}


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.parent.name)
def test_both_languages_fill_in_the_same(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").partition("const TEXTS = {")[2].partition("\n};")[0].splitlines()
    found = texts(path)
    assert len(found) == sum(line.startswith("  ") for line in lines), "one text a line, each once"
    for name, (english, german) in found.items():
        assert english, name
        assert german, name
        assert set(_PLACE.findall(english)) == set(_PLACE.findall(german)), name


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.parent.name)
def test_every_text_that_is_used_exists(path: Path) -> None:
    source = "\n".join(
        script.read_text(encoding="utf-8")
        for script in path.parent.glob("*.js")
        if script != path and re.search(r'import \{[^}]*\bsay\b[^}]*\} from "\./texts\.js"', script.read_text("utf-8"))
    )
    used = set(re.findall(r"""\bsay\(\s*["']([\w.-]+)["']""", source))
    assert len(used) > 5
    assert used - texts(path).keys() == set()
