"""Workflows of editors turned into graphs and back: links through everything that editors have, and odd files."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.graph.drawing import to_workflow
from keelbill.graph.errors import GraphInvalid
from keelbill.graph.node import Node, Output, choice, file, integer, number, socket, text
from keelbill.graph.texts import chosen
from keelbill.graph.validate import validate
from keelbill.graph.workflow import is_workflow, to_prompt


class Loader(Node):
    name = "Loader"
    inputs = (file("ckpt_name", "checkpoints"),)
    outputs = (Output("MODEL"), Output("CLIP"), Output("VAE"))


class Encode(Node):
    name = "Encode"
    display_name = "Encode text"
    inputs = (text("text", multiline=True, dynamic=True), socket("clip", "CLIP"))
    outputs = (Output("CONDITIONING"),)


class Sampler(Node):
    name = "Sampler"
    inputs = (
        socket("model", "MODEL"),
        integer("seed", 0, 0, 2**64 - 1, control=True),
        integer("steps", 20, 1, 100),
        number("cfg", 8.0, 0, 100),
        choice("sampler_name", ["euler", "heun"]),
        socket("positive", "CONDITIONING"),
        socket("image", "IMAGE", optional=True),
    )
    outputs = (Output("IMAGE"),)


class Picture(Node):
    name = "Picture"
    inputs = (file("image", "input", upload=True), choice("channel", ["red", "alpha"]))
    outputs = (Output("IMAGE"), Output("MASK"))


class Filter(Node):
    name = "Filter"
    inputs = (socket("mask", "MASK"), socket("image", "IMAGE"))
    outputs = (Output("IMAGE"),)


class Save(Node):
    name = "Save"
    inputs = (socket("images", "IMAGE"), text("filename_prefix", "picture"))
    is_output = True


NODES: dict[str, type[Node]] = {each.name: each for each in (Loader, Encode, Sampler, Picture, Filter, Save)}


class Shelf:
    def names(self, folder: str) -> list[str]:
        return {"checkpoints": ["a.safetensors"], "input": ["cat.png"]}.get(folder, [])

    def has(self, folder: str, name: str) -> bool:
        return name in self.names(folder)


def node(number_: int, kind: str, inputs: list[Any] | None = None, values: Any = None, **more: Any) -> dict[str, Any]:
    """Write a node; inputs are pairs of name and link, with a type if it matters and "w" for a widget's socket."""
    slots = []
    for name, link, *rest in inputs or []:
        slot = {"name": name, "type": rest[0] if rest else "*", "link": link}
        slots.append(slot | ({"widget": {"name": name}} if "w" in rest else {}))
    return {"id": number_, "type": kind, "mode": 0, "inputs": slots, "outputs": [], "widgets_values": values} | more


def workflow(nodes: list[dict[str, Any]], links: list[list[Any]], **more: Any) -> dict[str, Any]:
    return {"nodes": nodes, "links": links, "version": 0.4} | more


def plain() -> dict[str, Any]:
    return workflow(
        [
            node(1, "Loader", [], ["a.safetensors"]),
            node(2, "Encode", [("clip", 2)], ["a cat"]),
            node(3, "Sampler", [("model", 1), ("positive", 3)], [7, "randomize", 30, 4.5, "heun"]),
            node(4, "Save", [("images", 4)], ["cats"], title="Keep"),
        ],
        [
            [1, 1, 0, 3, 0, "MODEL"],
            [2, 1, 1, 2, 0, "CLIP"],
            [3, 2, 0, 3, 1, "CONDITIONING"],
            [4, 3, 0, 4, 0, "IMAGE"],
        ],
    )


PLAIN = {
    "1": {"class_type": "Loader", "inputs": {"ckpt_name": "a.safetensors"}, "_meta": {"title": "Loader"}},
    "2": {"class_type": "Encode", "inputs": {"text": "a cat", "clip": ["1", 1]}, "_meta": {"title": "Encode text"}},
    "3": {
        "class_type": "Sampler",
        "inputs": {
            "model": ["1", 0],
            "seed": 7,
            "steps": 30,
            "cfg": 4.5,
            "sampler_name": "heun",
            "positive": ["2", 0],
        },
        "_meta": {"title": "Sampler"},
    },
    "4": {"class_type": "Save", "inputs": {"images": ["3", 0], "filename_prefix": "cats"}, "_meta": {"title": "Keep"}},
}


def prompt_of(value: dict[str, Any]) -> dict[str, Any]:
    return to_prompt(value, NODES, Shelf())


class TestReading:
    def test_widgets_in_their_order_and_the_editors_own_values_between_them(self) -> None:
        assert prompt_of(plain()) == PLAIN

    def test_values_by_name_win(self) -> None:
        flow = plain()
        flow["nodes"][2]["widgets_values_named"] = {"seed": 8, "steps": 5, "cfg": 1, "sampler_name": "euler", "odd": 1}
        inputs = prompt_of(flow)["3"]["inputs"]
        assert (inputs["seed"], inputs["steps"], inputs["sampler_name"]) == (8, 5, "euler")
        assert "odd" not in inputs
        flow["nodes"][2]["widgets_values_named"] = None
        flow["nodes"][2]["widgets_values"] = {"seed": 9, "steps": 6}
        inputs = prompt_of(flow)["3"]["inputs"]
        assert (inputs["seed"], inputs["cfg"], inputs["sampler_name"]) == (9, 8.0, "euler")

    def test_missing_values_become_the_defaults(self) -> None:
        flow = plain()
        flow["nodes"][0]["widgets_values"] = None
        flow["nodes"][2]["widgets_values"] = [3]
        found = prompt_of(flow)
        assert found["1"]["inputs"]["ckpt_name"] == "a.safetensors"
        assert found["3"]["inputs"]["steps"] == 20

    def test_the_upload_button_has_a_value_too(self) -> None:
        flow = workflow(
            [node(1, "Picture", [], ["cat.png", "image", "alpha"]), node(2, "Save", [("images", 1)], [])],
            [[1, 1, 0, 2, 0, "IMAGE"]],
        )
        assert prompt_of(flow)["1"]["inputs"] == {"image": "cat.png", "channel": "alpha"}

    def test_a_field_that_became_a_socket_keeps_its_place(self) -> None:
        flow = plain()
        flow["nodes"][2]["inputs"].append({"name": "steps", "type": "INT", "link": 9, "widget": {"name": "steps"}})
        flow["nodes"].append(node(9, "PrimitiveNode", [], [12, "fixed"]))
        flow["links"].append([9, 9, 0, 3, 2, "INT"])
        inputs = prompt_of(flow)["3"]["inputs"]
        assert (inputs["steps"], inputs["cfg"]) == (12, 4.5)

    def test_reroutes_are_followed(self) -> None:
        flow = plain()
        flow["nodes"] += [node(8, "Reroute", [("", 1)]), node(9, "Reroute", [("", 8)]), node(10, "Note", [], ["hi"])]
        flow["links"][0][3] = 8
        flow["links"] += [[8, 8, 0, 9, 0, "MODEL"], [9, 9, 0, 3, 0, "MODEL"]]
        flow["nodes"][2]["inputs"][0]["link"] = 9
        assert prompt_of(flow) == PLAIN

    def test_bypassed_nodes_let_their_kind_through(self) -> None:
        flow = plain()
        flow["nodes"].append(
            node(5, "Filter", [("mask", None, "MASK"), ("image", 4, "IMAGE")], mode=4)
            | {"outputs": [{"name": "IMAGE", "type": "IMAGE"}]}
        )
        flow["links"][3] = [4, 3, 0, 5, 1, "IMAGE"]
        flow["links"].append([5, 5, 0, 4, 0, "IMAGE"])
        flow["nodes"][3]["inputs"][0]["link"] = 5
        assert prompt_of(flow) == PLAIN

    def test_muted_nodes_are_gone_with_their_links(self) -> None:
        flow = plain()
        flow["nodes"][1]["mode"] = 2
        found = prompt_of(flow)
        assert "2" not in found
        assert "positive" not in found["3"]["inputs"]

    def test_links_as_objects(self) -> None:
        flow = plain() | {"version": 1}
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        flow["links"] = [dict(zip(names, link, strict=True)) for link in flow["links"]]
        assert prompt_of(flow) == PLAIN

    def test_unknown_classes_are_listed_with_their_pack(self) -> None:
        flow = plain()
        flow["nodes"].append(node(6, "Fancy", title="Mine", properties={"cnr_id": "fancy-pack"}))
        with pytest.raises(GraphInvalid, match=r"Fancy \(node 6, Mine\)") as caught:
            prompt_of(flow)
        assert caught.value.info["missing"] == [
            {"class_type": "Fancy", "node_id": "6", "title": "Mine", "pack": "fancy-pack"}
        ]

    def test_lists_are_wrapped(self) -> None:
        flow = plain()
        flow["nodes"][1]["widgets_values"] = [["a", "b"]]
        assert prompt_of(flow)["2"]["inputs"]["text"] == {"__value__": ["a", "b"]}


def with_subgraph(**instance: Any) -> dict[str, Any]:
    """A sampler and its prompt inside a subgraph, with the model from outside and the text promoted."""
    definition = {
        "id": "sub-1",
        "name": "Paint",
        "inputs": [{"name": "model", "type": "MODEL"}, {"name": "clip", "type": "CLIP"}, {"name": "text"}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE"}],
        "nodes": [
            node(10, "Encode", [("clip", 11), ("text", 12, "STRING", "w")], ["inside"]),
            node(11, "Sampler", [("model", 10), ("positive", 13)], [1, "fixed", 2, 3.0, "euler"]),
        ],
        "links": [
            {"id": 10, "origin_id": -10, "origin_slot": 0, "target_id": 11, "target_slot": 0, "type": "MODEL"},
            {"id": 11, "origin_id": -10, "origin_slot": 1, "target_id": 10, "target_slot": 0, "type": "CLIP"},
            {"id": 12, "origin_id": -10, "origin_slot": 2, "target_id": 10, "target_slot": 1, "type": "STRING"},
            {"id": 13, "origin_id": 10, "origin_slot": 0, "target_id": 11, "target_slot": 1, "type": "CONDITIONING"},
            {"id": 14, "origin_id": 11, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "IMAGE"},
        ],
    }
    return workflow(
        [
            node(1, "Loader", [], ["a.safetensors"]),
            node(5, "sub-1", [("model", 1), ("clip", 2), ("text", None, "STRING", "w")], None) | instance,
            node(4, "Save", [("images", 4)], ["cats"]),
        ],
        [[1, 1, 0, 5, 0, "MODEL"], [2, 1, 1, 5, 1, "CLIP"], [4, 5, 0, 4, 0, "IMAGE"]],
        definitions={"subgraphs": [definition]},
    )


class TestSubgraphs:
    def test_an_instance_is_unfolded_under_its_own_id(self) -> None:
        found = prompt_of(with_subgraph())
        assert set(found) == {"1", "5:10", "5:11", "4"}
        assert found["5:11"]["inputs"]["model"] == ["1", 0]
        assert found["5:11"]["inputs"]["positive"] == ["5:10", 0]
        assert found["5:10"]["inputs"] == {"text": "inside", "clip": ["1", 1]}
        assert found["4"]["inputs"]["images"] == ["5:11", 0]

    @pytest.mark.parametrize(
        "instance", [{"widgets_values": ["outside"]}, {"widgets_values_named": {"text": "outside"}}]
    )
    def test_a_promoted_field_has_the_instances_value(self, instance: dict[str, Any]) -> None:
        assert prompt_of(with_subgraph(**instance))["5:10"]["inputs"]["text"] == "outside"

    def test_subgraphs_in_subgraphs(self) -> None:
        flow = with_subgraph()
        inner = flow["definitions"]["subgraphs"][0]
        outer = {
            "id": "sub-2",
            "name": "Around",
            "inputs": inner["inputs"][:2],
            "outputs": inner["outputs"],
            "nodes": [node(20, "sub-1", [("model", 20), ("clip", 21), ("text", None, "STRING", "w")], ["deep"])],
            "links": [
                {"id": 20, "origin_id": -10, "origin_slot": 0, "target_id": 20, "target_slot": 0},
                {"id": 21, "origin_id": -10, "origin_slot": 1, "target_id": 20, "target_slot": 1},
                {"id": 22, "origin_id": 20, "origin_slot": 0, "target_id": -20, "target_slot": 0},
            ],
        }
        flow["definitions"]["subgraphs"].append(outer)
        flow["nodes"][1] = node(5, "sub-2", [("model", 1), ("clip", 2)], [])
        found = prompt_of(flow)
        assert set(found) == {"1", "5:20:10", "5:20:11", "4"}
        assert found["5:20:10"]["inputs"] == {"text": "deep", "clip": ["1", 1]}
        assert found["4"]["inputs"]["images"] == ["5:20:11", 0]

    def test_one_that_contains_itself_is_refused(self) -> None:
        flow = with_subgraph()
        flow["definitions"]["subgraphs"][0]["nodes"].append(node(30, "sub-1"))
        with pytest.raises(GraphInvalid, match="contains itself"):
            prompt_of(flow)

    def test_ever_more_of_them_are_refused(self) -> None:
        levels = [
            {"id": f"s{i}", "inputs": [], "outputs": [], "nodes": [node(n, f"s{i + 1}") for n in range(9)], "links": []}
            for i in range(12)
        ]
        flow = workflow([node(1, "s0")], [], definitions={"subgraphs": levels})
        with pytest.raises(GraphInvalid, match="more than 5000 nodes"):
            prompt_of(flow)


class TestHarm:
    def test_links_in_a_circle(self) -> None:
        flow = workflow(
            [node(1, "Reroute", [("", 2)]), node(2, "Reroute", [("", 1)]), node(3, "Save", [("images", 2)], ["x"])],
            [[1, 1, 0, 2, 0, "*"], [2, 2, 0, 1, 0, "*"]],
        )
        with pytest.raises(GraphInvalid, match="circle"):
            prompt_of(flow)

    @pytest.mark.parametrize("value", [None, [], {}, {"nodes": 3}, {"1": {"class_type": "Save"}}, "nodes"])
    def test_what_is_no_workflow(self, value: Any) -> None:
        assert not is_workflow(value)
        with pytest.raises(GraphInvalid):
            prompt_of(value)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers(-20, 20) | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["id", "type", "inputs", "link", "widgets_values", "mode", "name", "outputs"]),
                    inner,
                )
            ),
            max_leaves=30,
        )
    )
    def test_any_junk_gives_a_graph_or_a_refusal(self, junk: Any) -> None:
        flow = plain()
        flow["nodes"].append(junk)
        flow["links"].append(junk)
        flow["nodes"].append({"id": 77, "type": "Sampler", "inputs": junk, "widgets_values": junk})
        flow["definitions"] = {"subgraphs": [junk]}
        with contextlib.suppress(GraphInvalid):
            assert all(node["class_type"] in NODES for node in prompt_of(flow).values())


class TestWriting:
    def test_a_graph_there_and_back_is_the_same(self) -> None:
        flow = json.loads(json.dumps(to_workflow(PLAIN, NODES)))
        assert prompt_of(flow) == PLAIN
        assert flow["version"] == 0.4
        assert {each["title"] for each in flow["nodes"] if "title" in each} == {"Keep"}

    def test_nodes_do_not_lie_on_each_other(self) -> None:
        flow = to_workflow(PLAIN, NODES)
        boxes = [(*each["pos"], *each["size"]) for each in flow["nodes"]]
        for i, (x, y, width, height) in enumerate(boxes):
            for other_x, other_y, other_width, other_height in boxes[i + 1 :]:
                apart = x + width <= other_x or other_x + other_width <= x
                assert apart or y + height <= other_y or other_y + other_height <= y

    def test_a_linked_field_is_a_socket_and_unknown_nodes_are_left_out(self) -> None:
        prompt = PLAIN | {
            "8": {"class_type": "Fancy", "inputs": {}},
            "9": {"class_type": "Encode", "inputs": {"text": ["8", 0], "clip": ["1", 1]}},
        }
        flow = to_workflow(prompt, NODES)
        assert {each["type"] for each in flow["nodes"]} == {"Loader", "Encode", "Sampler", "Save"}
        assert validate(prompt_of(flow), NODES, Shelf()).outputs == ("4",)

    def test_a_circle_is_drawn_all_the_same(self) -> None:
        prompt = {
            "1": {"class_type": "Filter", "inputs": {"image": ["2", 0]}},
            "2": {"class_type": "Filter", "inputs": {"image": ["1", 0]}},
        }
        assert len(to_workflow(prompt, NODES)["nodes"]) == 2


class TestTexts:
    @pytest.mark.parametrize(
        ("given_", "among"),
        [
            ("a {red|blue} car", {"a red car", "a blue car"}),
            ("{a|{b|c}}", {"a", "b", "c"}),
            ("plain // words to myself", {"plain "}),
            ("one /* hidden\nlines */two", {"one two"}),
            ("see http://host/x", {"see http://host/x"}),
            (r"\{kept\}", {"{kept}"}),
            ("{", {"{"}),
        ],
    )
    def test_choices_and_comments(self, given_: str, among: set[str]) -> None:
        assert {chosen(given_, random.Random(i)) for i in range(40)} == among

    def test_the_same_seed_chooses_the_same(self) -> None:
        flow = plain()
        flow["nodes"][1]["widgets_values"] = ["{a|b|c|d|e|f|g|h}"]
        texts = [to_prompt(flow, NODES, seed=seed)["2"]["inputs"]["text"] for seed in (1, 1, 2, 3, 4)]
        assert texts[0] == texts[1]
        assert len(set(texts)) > 1

    def test_names_of_files(self) -> None:
        flow = plain()
        flow["nodes"][3]["widgets_values"] = ["%date:yyyy-MM%/%Sampler.seed%_%Encode text.text%_%width%"]
        flow["nodes"][1]["widgets_values"] = ["../a cat"]
        prefix = prompt_of(flow)["4"]["inputs"]["filename_prefix"]
        assert prefix[4] == "-"
        assert prefix.endswith("/7_.._a cat_%width%")
