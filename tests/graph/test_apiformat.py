"""Graphs and workflows that mean harm: deep, huge, with lists in the dress of links, or with checks that fail."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import pytest

from keelbill.graph.apiformat import MAX_DEPTH, MAX_VALUES, require_shallow
from keelbill.graph.errors import GraphInvalid
from keelbill.graph.node import Node, integer, socket
from keelbill.graph.places import Layout
from keelbill.graph.registry import load_builtin
from keelbill.graph.validate import validate
from keelbill.graph.workflow import to_prompt

NODES = load_builtin()


class Nothing:
    def names(self, folder: str) -> list[str]:
        return []

    def has(self, folder: str, name: str) -> bool:
        return False


def nested(depth: int) -> Any:
    return json.loads("[" * depth + "]" * depth)


def shown(value: Any) -> dict[str, Any]:
    """Return a graph that shows a literal."""
    return {"1": {"class_type": "PreviewAny", "inputs": {"source": value}}}


class TestBounds:
    def test_what_workflows_are_like(self) -> None:
        require_shallow(nested(MAX_DEPTH))
        require_shallow({"a": [1, {"b": None}]})
        require_shallow("plain")

    @pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 400, 900])
    def test_too_deep(self, depth: int) -> None:
        with pytest.raises(GraphInvalid, match="deeper than 64 levels"):
            require_shallow(nested(depth))

    def test_too_many(self) -> None:
        with pytest.raises(GraphInvalid, match="more than 2,000,000 values"):
            require_shallow([[0] * 1000] * (MAX_VALUES // 1000))

    @pytest.mark.parametrize("place", ["source", "_meta", "more"])
    def test_deep_values_anywhere_in_a_graph_are_refused_and_not_walked(self, place: str) -> None:
        graph = shown({"__value__": nested(400)} if place == "source" else "a")
        graph["1"][place] = nested(400)

        with pytest.raises(GraphInvalid, match="nested deeper"):
            validate(graph, NODES, Nothing())

    def test_deep_workflows_too(self) -> None:
        with pytest.raises(GraphInvalid, match="nested deeper"):
            to_prompt({"nodes": [], "extra": nested(400)}, NODES)


class TestLiteralLists:
    def test_a_wrapped_list_does_not_become_a_link(self) -> None:
        graph = shown({"__value__": ["2", 0]}) | {"2": {"class_type": "PreviewAny", "inputs": {}}}

        valid = validate(graph, NODES, Nothing(), targets=["1"])

        assert list(valid.graph) == ["1"]
        layout = Layout(NODES, {})
        layout.add(valid.graph)
        assert layout.places["1"].links == {}
        assert layout.places["1"].literals == {"source": ["2", 0]}

    def test_one_that_names_its_own_node_is_no_circle(self) -> None:
        assert validate(shown({"__value__": ["1", 0]}), NODES, Nothing()).outputs == ("1",)


class Broken(Node):
    name = "Broken"
    inputs = (integer("value"), socket("other", "*", optional=True))
    is_output = True

    @classmethod
    def check(cls, literals: Mapping[str, Any]) -> str:
        raise LookupError("/srv/secret/path")


def test_a_check_that_fails_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(GraphInvalid) as caught:
        validate({"1": {"class_type": "Broken", "inputs": {"value": 1}}}, {"Broken": Broken}, Nothing())

    (error,) = caught.value.node_errors["1"]["errors"]
    assert error["type"] == "exception_during_validation"
    assert "secret" not in json.dumps(caught.value.body())
    assert "LookupError" in caplog.text


def seconds(workflow: dict[str, Any]) -> float:
    begun_s = time.process_time()
    to_prompt(workflow, NODES)
    return time.process_time() - begun_s


class TestWorkflowsThatTakeLong:
    def test_many_fields_of_a_subgraph(self) -> None:
        count = 1000
        inner = [
            {
                "id": place,
                "type": "PrimitiveInt",
                "inputs": [{"name": "value", "type": "INT", "link": place, "widget": {"name": "value"}}],
                "widgets_values": [1, "fixed"],
            }
            for place in range(count)
        ]
        links = [
            {"id": place, "origin_id": -10, "origin_slot": place, "target_id": place, "target_slot": 0}
            for place in range(count)
        ]
        definition = {"id": "s", "inputs": [{"name": f"n{n}"} for n in range(count)], "nodes": inner, "links": links}
        workflow = {
            "nodes": [{"id": 7, "type": "s", "inputs": [], "widgets_values": list(range(count))}],
            "links": [],
            "definitions": {"subgraphs": [definition]},
        }

        assert seconds(workflow) < 10
        assert to_prompt(workflow, NODES)["7:999"]["inputs"] == {"value": 999}

    def test_many_readers_behind_a_long_row_of_reroutes(self) -> None:
        length = 3000
        row = [{"id": n, "type": "Reroute", "inputs": [{"name": "", "link": n}]} for n in range(1, length)]
        ends = [
            {"id": 10_000 + n, "type": "PreviewAny", "inputs": [{"name": "source", "link": length - 1 - n}]}
            for n in range(1000)
        ]
        links = [[n, n - 1, 0, n, 0, "*"] for n in range(1, length)]

        assert seconds({"nodes": row + ends, "links": links}) < 10

    def test_many_outputs_of_a_large_subgraph(self) -> None:
        count = 1500
        inner = [{"id": n, "type": "PrimitiveInt", "widgets_values": [n, "fixed"]} for n in range(count)]
        links = [{"id": n, "origin_id": n, "origin_slot": 0, "target_id": -20, "target_slot": n} for n in range(count)]
        definition = {"id": "s", "inputs": [], "outputs": [], "nodes": inner, "links": links}
        ends = [{"id": n + 10, "type": "PreviewAny", "inputs": [{"name": "source", "link": n}]} for n in range(count)]
        workflow = {
            "nodes": [{"id": 1, "type": "s"}, *ends],
            "links": [[n, 1, n, n + 10, 0, "INT"] for n in range(count)],
            "definitions": {"subgraphs": [definition]},
        }

        assert seconds(workflow) < 10
        assert to_prompt(workflow, NODES)["12"]["inputs"] == {"source": ["1:2", 0]}


@pytest.mark.parametrize("name", [[], {}, 3, None])
def test_subgraph_inputs_without_a_proper_name(name: Any) -> None:
    inner = {"id": 2, "type": "PreviewAny", "inputs": [{"name": "source", "link": 1, "widget": {"name": "source"}}]}
    definition = {
        "id": "s",
        "inputs": [{"name": name}],
        "nodes": [inner],
        "links": [{"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 2, "target_slot": 0}],
    }
    instance = {"id": 1, "type": "s", "inputs": [{"name": name}], "widgets_values_named": {"a": 1}}

    found = to_prompt({"nodes": [instance], "links": [], "definitions": {"subgraphs": [definition]}}, NODES)

    assert found["1:2"]["inputs"] == {}
