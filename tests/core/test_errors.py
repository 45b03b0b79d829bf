"""What a user reads when something is wrong."""

from __future__ import annotations

from keelbill.core.errors import AppError, InvalidInput, UnknownModel, UnknownName


def test_field_value_and_allowed_are_named() -> None:
    error = InvalidInput("steps", 0, "a whole number from 1 to 1000")
    assert str(error) == "steps 0 is not allowed; steps must be a whole number from 1 to 1000."
    assert (error.code, error.status) == ("invalid_input", 400)


def test_long_values_are_cut() -> None:
    assert len(str(InvalidInput("prompt", "x" * 10_000, "shorter"))) < 200


def test_nearest_name_is_offered() -> None:
    assert str(UnknownName("sampler", "eulr", ["euler", "heun"])).endswith("Did you mean 'euler'?")
    assert "Did you mean" not in str(UnknownName("sampler", "zzz", ["euler"]))


def test_no_names_at_all() -> None:
    assert "installed first" in str(UnknownModel("model", "x", []))


def test_hint_follows_the_message() -> None:
    assert str(AppError("It broke.", hint="Mend it.")) == "It broke. Mend it."
