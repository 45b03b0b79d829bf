"""The generated page of the nodes agrees with their classes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keelbill.graph.node import Node, Output, choice, integer, socket
from keelbill.graph.reference import built_in, main, page

COMMITTED = Path(__file__).parents[2] / "docs" / "reference" / "nodes.md"


def test_the_committed_page_is_current() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == page(built_in()), (
        "run `make docs`, or: python -m keelbill.graph.reference docs/reference/nodes.md"
    )


def test_every_class_has_its_part_once() -> None:
    text = page(built_in())

    assert sorted(re.findall(r"^`([^`]+)`(?: · .*)?$", text, re.MULTILINE)) == sorted(built_in())


class Crop(Node):
    name = "Crop"
    display_name = "Cut"
    category = "test/cut"
    description = "Cuts."
    inputs = (
        socket("image", "IMAGE,MASK"),
        integer("width", 512, 1, 2**64 - 1, tooltip="In pixels | not in feet."),
        choice("how", [f"n{place}" for place in range(14)]),
        socket("mask", "*", optional=True),
    )
    outputs = (Output("IMAGE"), Output("INT", "left"))
    is_output = True
    is_deprecated = True


def test_what_is_told_of_a_class() -> None:
    text = page({"Crop": Crop})

    assert "## test/cut\n\n### Cut\n\n`Crop` · a graph may end here · deprecated\n\nCuts." in text
    assert "| `image` | `IMAGE`, `MASK` | |" in text
    assert "| `width` | `INT` | 1 to 2⁶⁴ − 1; default `512`. In pixels \\| not in feet. |" in text
    assert "`n11` and 2 more | default `n0`. |" in text
    assert "| `mask`? | anything | |" in text
    assert "Gives `IMAGE`, `INT` left." in text


def test_writing_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(tmp_path / "nodes.md")

    assert (tmp_path / "nodes.md").read_text(encoding="utf-8") == page(built_in())
    assert capsys.readouterr().out == f"wrote {tmp_path / 'nodes.md'}\n"
