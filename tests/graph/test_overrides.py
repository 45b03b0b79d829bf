"""Single inputs of graphs, named by people."""

from __future__ import annotations

from typing import Any

import pytest

from keelbill.core.errors import InvalidRequest
from keelbill.graph.overrides import overridden
from keelbill.graph.registry import load_builtin


def graph() -> dict[str, Any]:
    return {
        "6": {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": "a fox", "clip": ["4", 1]},
            "_meta": {"title": "Wish"},
        },
        "7": {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": "", "clip": ["4", 1]},
            "_meta": {"title": "Not. this"},
        },
        "68:92": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": ["9", 0]}},
    }


@pytest.mark.parametrize(
    ("path", "node"),
    [("6.text", "6"), ("Wish.text", "6"), ("wish.text", "6"), ("Not. this.text", "7")],
)
def test_node_is_named_by_id_or_title(path: str, node: str) -> None:
    changed = overridden(graph(), {path: "an owl"}, load_builtin())
    assert changed[node]["inputs"]["text"] == "an owl"


def test_node_is_named_by_its_class_if_there_is_one_only() -> None:
    changed = overridden(graph(), {"KSampler.seed": 9, "68:92.steps": 4}, load_builtin())
    assert changed["68:92"]["inputs"] == {"seed": 9, "steps": 4}  # the value replaces the link


def test_given_graph_stays_as_it_is() -> None:
    given = graph()
    overridden(given, {"6.text": "an owl"}, load_builtin())
    assert given == graph()


def test_input_that_was_left_out_can_be_given() -> None:
    assert overridden(graph(), {"68:92.denoise": 0.5}, load_builtin())["68:92"]["inputs"]["denoise"] == 0.5


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("CLIPTextEncode.text", "several nodes: 6, 7"),
        ("99.text", "no node 99; there are 6 (Wish), 7 (Not. this), 68:92 (KSampler)"),
        ("6.prompt", "has no input prompt; it has text, clip"),
        ("text", "must be like 6.text"),
        (".text", "must be like 6.text"),
        ("6.", "must be like 6.text"),
    ],
)
def test_name_that_fits_nothing_is_explained(path: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        overridden(graph(), {path: "x"}, load_builtin())
    assert said in caught.value.problems[0]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        overridden(graph(), {"99.text": "x", "6.prompt": "x", "6.text": "fine"}, load_builtin())
    assert len(caught.value.problems) == 2


def test_too_many_changes() -> None:
    with pytest.raises(InvalidRequest, match="at most 200"):
        overridden(graph(), {f"6.text{place}": "x" for place in range(201)}, load_builtin())
