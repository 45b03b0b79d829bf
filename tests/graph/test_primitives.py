"""Nodes that hold one value, join texts, or show a value as text."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from keelbill.core.errors import InvalidInput
from keelbill.graph.registry import load_builtin
from support.graphnodes import run


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("PrimitiveString", "a"),
        ("PrimitiveStringMultiline", "a\nb"),
        ("PrimitiveInt", -(2**63)),
        ("PrimitiveFloat", 0.25),
        ("PrimitiveBoolean", True),
    ],
)
def test_what_goes_in_comes_out(kind: str, value: Any) -> None:
    assert run(kind, value=value) == value


def test_concatenation() -> None:
    assert run("StringConcatenate", string_a="a", string_b="b", delimiter=", ") == "a, b"
    assert run("StringConcatenate") == ""


def test_texts_that_double_again_and_again_are_stopped() -> None:
    text = "x" * 600_000

    with pytest.raises(InvalidInput, match="text length 1200000"):
        run("StringConcatenate", string_a=text, string_b=text)


class Secretive:
    """Its words tell where the server lies."""

    def __repr__(self) -> str:
        return "<Secretive at /home/server>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (3, "3"),
        (True, "true"),
        (None, "null"),
        ([1, 2], "[\n  1,\n  2\n]"),
        (torch.zeros(1, 2), "Tensor (1, 2)"),
        ([torch.zeros(3)], "Tensor (3,)"),
        ({"samples": torch.zeros(1, 16, 4, 4), "n": 1}, "samples: Tensor (1, 16, 4, 4)\nn: 1"),
        (Secretive(), "Secretive"),
        ("x" * 30_000, "x" * 20_000),
    ],
)
def test_anything_as_text(value: Any, text: str) -> None:
    result = run("PreviewAny", source=value)

    assert result.shown == {"text": (text,)}


def test_fields_reach_as_far_as_editors_expect() -> None:
    whole = load_builtin()["PrimitiveInt"].find("value")

    assert (whole.low, whole.high, whole.has_control) == (-(2**63), 2**63 - 1, True)
