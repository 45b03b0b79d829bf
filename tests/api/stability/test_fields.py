"""Reading values out of forms and JSON: what is refused, in which words, and what is let through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.api.stability.fields import (
    Choice,
    Flag,
    Integer,
    Number,
    Parameter,
    Problem,
    Text,
    read_form,
    read_json,
)

PROMPT = Text("prompt", required=True, least=1, most=10)
SEED = Integer("seed", most=4_294_967_294, default=0)
STRENGTH = Number("strength")
COLOUR = Choice("colour", allowed=("red", "green"), default="green")
LOUD = Flag("loud")
ALL: tuple[Parameter, ...] = (PROMPT, SEED, STRENGTH, COLOUR, LOUD)


class TestRefusedForms:
    @pytest.mark.parametrize(
        ("fields", "problem"),
        [
            ({}, "prompt: required"),
            ({"prompt": ""}, "prompt: required"),
            ({"prompt": "\u200b"}, "prompt: required"),
            ({"prompt": "x" * 11}, "prompt: must have at most 10 characters, not 11"),
            ({"prompt": "a\x00b"}, "prompt: must not contain the control character U+0000"),
            ({"prompt": "p", "seed": "-1"}, "seed: must be a whole number from 0 to 4294967294"),
            ({"prompt": "p", "seed": "4294967295"}, "seed: must be a whole number from 0 to 4294967294"),
            ({"prompt": "p", "seed": "7.5"}, "seed: must be a whole number from 0 to 4294967294"),
            ({"prompt": "p", "seed": "seven"}, "seed: must be a whole number from 0 to 4294967294"),
            ({"prompt": "p", "seed": "1e3"}, "seed: must be a whole number from 0 to 4294967294"),
            ({"prompt": "p", "seed": "9" * 5000}, "seed: must be a whole number from 0 to 4294967294"),
            ({"prompt": "p", "seed": "٧"}, "seed: must be a whole number from 0 to 4294967294"),
            ({"prompt": "p", "strength": "1.01"}, "strength: must be a number from 0 to 1"),
            ({"prompt": "p", "strength": "nan"}, "strength: must be a number from 0 to 1"),
            ({"prompt": "p", "strength": "inf"}, "strength: must be a number from 0 to 1"),
            ({"prompt": "p", "strength": "0x1"}, "strength: must be a number from 0 to 1"),
            ({"prompt": "p", "strength": "0,5"}, "strength: must be a number from 0 to 1"),
            ({"prompt": "p", "colour": "Red"}, "colour: must be one of red, green"),
            ({"prompt": "p", "loud": "yes"}, "loud: must be true or false"),
        ],
    )
    def test_each_says_what_is_allowed(self, fields: dict[str, str], problem: str) -> None:
        _, problems = read_form(ALL, fields)
        assert problems == [problem]

    def test_all_problems_are_told_at_once(self) -> None:
        _, problems = read_form(ALL, {"seed": "x", "strength": "2", "colour": "blue"})
        assert [problem.partition(":")[0] for problem in problems] == ["prompt", "seed", "strength", "colour"]


class TestAcceptedForms:
    @pytest.mark.parametrize("text", ["7", "7.0", " 7 ", "007", "7.000"])
    def test_the_same_seven(self, text: str) -> None:
        values, problems = read_form((SEED,), {"seed": text})
        assert (values.integer("seed"), problems) == (7, [])

    @pytest.mark.parametrize("text", ["true", "True", "TRUE", " true "])
    def test_true_in_any_case(self, text: str) -> None:
        values, problems = read_form((LOUD,), {"loud": text})
        assert (values.flag("loud"), problems) == (True, [])

    def test_what_is_absent_has_its_default(self) -> None:
        values, _ = read_form(ALL, {"prompt": "p"})
        assert values.text("colour") == "green"
        assert values.integer("seed") == 0
        assert values.number("strength") is None
        assert not values.flag("loud")
        assert "prompt" in values
        assert "seed" not in values

    def test_unknown_fields_are_passed_over(self) -> None:
        values, problems = read_form((SEED,), {"style": "False", "api_key_override": "x"})
        assert problems == []
        assert "style" not in values

    def test_length_counts_characters_not_bytes(self) -> None:
        values, problems = read_form((PROMPT,), {"prompt": "ö" * 10})
        assert (values.text("prompt"), problems) == ("ö" * 10, [])

    def test_a_letter_and_its_accent_become_one_character(self) -> None:
        values, _ = read_form((PROMPT,), {"prompt": "o\u0308"})
        assert values.text("prompt") == "ö"

    def test_hidden_characters_are_removed(self) -> None:
        values, _ = read_form((PROMPT,), {"prompt": "a\u202eb\u200bc"})
        assert values.text("prompt") == "abc"

    @pytest.mark.parametrize(("text", "value"), [("0.1", 0.1), ("0.9", 0.9), ("0.10", 0.1)])
    def test_a_bound_without_exact_binary_form_is_inside(self, text: str, value: float) -> None:
        values, problems = read_form((Number("x", least=0.1, most=0.9),), {"x": text})
        assert (values.number("x"), problems) == (value, [])

    @given(st.integers(0, 4_294_967_294))
    def test_every_seed_comes_back(self, seed: int) -> None:
        values, problems = read_form((SEED,), {"seed": str(seed)})
        assert (values.integer("seed"), problems) == (seed, [])

    @given(st.text(max_size=40))
    def test_no_text_breaks_a_number(self, text: str) -> None:
        values, problems = read_form((STRENGTH,), {"strength": text})
        number = values.number("strength")
        assert bool(problems) or number is None or 0 <= number <= 1


class TestJson:
    @pytest.mark.parametrize(
        ("members", "problem"),
        [
            ({"prompt": 5}, "prompt: must be a string"),
            ({"prompt": "p", "seed": "7"}, "seed: must be a whole number from 0 to 4294967294"),
            ({"prompt": "p", "seed": True}, "seed: must be a whole number from 0 to 4294967294"),
            ({"prompt": "p", "seed": 7.5}, "seed: must be a whole number from 0 to 4294967294"),
            ({"prompt": "p", "seed": float("nan")}, "seed: must be a whole number from 0 to 4294967294"),
            ({"prompt": "p", "strength": 10**400}, "strength: must be a number from 0 to 1"),
            ({"prompt": "p", "colour": 1}, "colour: must be one of red, green"),
            ({"prompt": "p", "loud": "true"}, "loud: must be true or false"),
            ({"prompt": None}, "prompt: required"),
        ],
    )
    def test_refused(self, members: dict[str, object], problem: str) -> None:
        _, problems = read_json(ALL, members)
        assert problems == [problem]

    def test_null_counts_as_absent(self) -> None:
        values, problems = read_json(ALL, {"prompt": "p", "seed": None, "colour": None})
        assert problems == []
        assert values.integer("seed") == 0

    def test_a_whole_float_is_whole(self) -> None:
        values, problems = read_json((SEED,), {"seed": 7.0})
        assert (values.integer("seed"), problems) == (7, [])


class TestSchemas:
    def test_say_what_is_checked(self) -> None:
        assert PROMPT.schema() == {"type": "string", "minLength": 1, "maxLength": 10}
        assert SEED.schema() == {"type": "integer", "minimum": 0, "maximum": 4_294_967_294, "default": 0}
        assert STRENGTH.schema() == {"type": "number", "minimum": 0, "maximum": 1}
        assert COLOUR.schema() == {"type": "string", "enum": ["red", "green"], "default": "green"}
        assert LOUD.schema() == {"type": "boolean", "default": False}

    def test_multiples(self) -> None:
        side = Integer("side", least=128, most=4096, multiple=64)
        assert side.schema()["multipleOf"] == 64
        with pytest.raises(Problem, match="must be a multiple of 64 from 128 to 4096"):
            side.from_text("200")
