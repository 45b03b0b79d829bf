"""Choice groups and comments in prompts."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.graph.texts import chosen, literal


def made(text: str, seed: int = 1) -> str:
    return chosen(text, random.Random(seed))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a /* b */ c", "a  c"),
        ("a // b\nc", "a \nc"),
        ("see https://example.org/x", "see https://example.org/x"),
        ("a /* never closed", "a /* never closed"),
        ("/*/ a */b", "b"),
        ("{a}", "a"),
        ("{a", "{a"),
        ("a}|{", "a}|{"),
        ("{a|b", "{a|b"),
        ("a|b", "a|b"),
        (r"\{a|b\}", "{a|b}"),
        (r"{\{|\{}", "{"),
    ],
)
def test_what_is_no_choice_stays(text: str, plain: str) -> None:
    assert made(text) == plain


def test_every_choice_comes_up_and_a_seed_always_gives_the_same() -> None:
    text = "{red|blue|{dark|light} green} {cat|dog}"

    found = {made(text, seed) for seed in range(200)}

    assert found == {
        f"{colour} {pet}" for colour in ("red", "blue", "dark green", "light green") for pet in ("cat", "dog")
    }
    assert made(text, 7) == made(text, 7)


@given(text=st.text(alphabet="{}|\\ab \n"))
def test_any_text_can_be_written_so_that_it_stays(text: str) -> None:
    assert made(literal(text)) == text


@pytest.mark.parametrize(
    "text", ["{a|" * 30_000 + "}" * 30_000, "{" * 100_000, "{" + "|" * 99_999, "/* " * 33_000, "{a}" * 33_000]
)
def test_hostile_texts_end_soon(text: str) -> None:
    begun_s = time.process_time()

    made(text)

    assert time.process_time() - begun_s < 8
