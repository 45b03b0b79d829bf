"""The rules as data: what a file may say, and what the shipped file does say."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

import pytest

from keelbill.moderation.rulebook import Category, compile_rules, rulebook
from keelbill.moderation.text import judge, label


def rules(**sections: Any) -> dict[str, Any]:
    return {
        "rule": {"gore": {"label": "gore", "severity": "high", "words": ["wug~", "blick*", "dax _ fep"]}},
        "group": {"tool": {"words": ["zorp"]}},
        **sections,
    }


def test_a_combination_of_what_is_not_there() -> None:
    wrong = rules(combination=[{"category": "gore", "severity": "high", "all": [["tool"], ["nothing"]]}])
    with pytest.raises(ValueError, match="names nothing, which is no section"):
        compile_rules(wrong)


def test_a_category_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="noise"):
        compile_rules({"rule": {"noise": {"label": "noise", "severity": "high", "words": ["x"]}}})


def test_a_star_behind_two_words() -> None:
    wrong = {"rule": {"gore": {"label": "gore", "severity": "high", "words": ["two words*"]}}}
    with pytest.raises(ValueError, match="only a single word may end in"):
        compile_rules(wrong)


@pytest.mark.parametrize("text", ["a wug", "two wugs", "wugges and wuges", "blick", "blickety", "dax big fep"])
def test_marks_in_a_file(text: str) -> None:
    assert [finding.category for finding in judge(text, compile_rules(rules()))] == [Category.GORE]


@pytest.mark.parametrize("text", ["wuggish", "a blic", "oblick", "dax fep", "dax big red fep", "zorp"])
def test_what_the_marks_do_not_mean(text: str) -> None:
    assert judge(text, compile_rules(rules())) == ()


def test_a_combination_needs_all_its_parts_close_enough() -> None:
    together = {"category": "weapons", "severity": "high", "all": [["tool"], ["gore"]], "within_words": 4}
    book = compile_rules(rules(combination=[together]))
    found = {finding.category for finding in judge("a zorp on a wug", book)}
    assert found == {Category.GORE, Category.WEAPONS}
    assert {finding.category for finding in judge("zorp a b c wug", book)} == {Category.GORE}


def test_every_category_has_a_rule_and_a_label() -> None:
    assert set(rulebook().severities) == {str(category) for category in Category}
    assert all(label(category) for category in Category)


def test_every_excuse_of_the_shipped_file_excuses_something() -> None:
    text = resources.files("keelbill.moderation").joinpath("rules.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    idle = []
    for name, section in data["rule"].items():
        bare = {**data, "rule": {**data["rule"], name: {**section, "excused": []}}}
        book = compile_rules(bare)
        for phrase in section.get("excused", ()):
            spoken = phrase.rstrip("~").replace("_", "his")
            if all(finding.category != name for finding in judge(spoken, book)) and all(
                finding.category != name for finding in judge(f"how to make a {spoken}", book)
            ):
                idle.append(f"{name}: {phrase}")
    assert idle == []
