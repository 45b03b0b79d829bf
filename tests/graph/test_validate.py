"""Graphs that cannot be run, and what clients are told; and graphs that are meant to do harm."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from keelbill.graph.definition import definition
from keelbill.graph.errors import GraphInvalid
from keelbill.graph.node import (
    Literals,
    Node,
    Output,
    choice,
    file,
    integer,
    number,
    socket,
    switch,
    text,
)
from keelbill.graph.validate import types_match, validate


class Loader(Node):
    name = "Loader"
    display_name = "Load it"
    category = "loaders"
    inputs = (file("file", "checkpoints"),)
    outputs = (Output("MODEL"), Output("CLIP", "words"))


class Work(Node):
    name = "Work"
    inputs = (
        socket("model", "MODEL"),
        integer("seed", 0, 0, 2**64 - 1, control=True),
        number("cfg", 8.0, 0.0, 100.0, 0.1, round=0.01),
        choice("sampler", ["euler", "heun"]),
        switch("add_noise", True),
        text("note", optional=True, multiline=True, dynamic=True),
        socket("again", "IMAGE,MASK", optional=True, lazy=True, tooltip="Once more."),
    )
    outputs = (Output("IMAGE"),)

    @classmethod
    def check(cls, literals: Literals) -> str:
        return "note says no" if literals.get("note") == "no" else ""


class Picture(Node):
    name = "Picture"
    inputs = (file("image", "input", upload=True),)
    outputs = (Output("IMAGE"),)


class Show(Node):
    name = "Show"
    inputs = (socket("images", "IMAGE"), socket("anything", "*", optional=True))
    hidden: ClassVar[Mapping[str, str]] = {"prompt": "PROMPT"}
    is_output = True


NODES: dict[str, type[Node]] = {each.name: each for each in (Loader, Work, Picture, Show)}


class Shelf:
    def names(self, folder: str) -> list[str]:
        return {"checkpoints": ["a.safetensors", "b.safetensors"], "input": ["cat.png"]}.get(folder, [])

    def has(self, folder: str, name: str) -> bool:
        return name in self.names(folder) or (folder == "input" and name == "made.png [output]")


def graph(**work: Any) -> dict[str, Any]:
    inputs = {"model": ["1", 0], "seed": 1, "cfg": 4, "sampler": "euler", "add_noise": True} | work
    return {
        "1": {"class_type": "Loader", "inputs": {"file": "a.safetensors"}},
        "2": {"class_type": "Work", "inputs": {k: v for k, v in inputs.items() if v is not None}},
        "3": {"class_type": "Show", "inputs": {"images": ["2", 0]}},
    }


def refusal(prompt: Any, **options: Any) -> GraphInvalid:
    with pytest.raises(GraphInvalid) as caught:
        validate(prompt, NODES, Shelf(), **options)
    return caught.value


def error_at(prompt: Any, node: str = "2") -> Mapping[str, Any]:
    failure = refusal(prompt)
    assert failure.kind == "prompt_outputs_failed_validation"
    assert failure.node_errors[node]["dependent_outputs"] == ["3"]
    (error,) = failure.node_errors[node]["errors"]
    assert set(error) == {"type", "message", "details", "extra_info"}
    return dict(error)


class TestValues:
    def test_a_good_graph_comes_back_with_values_of_their_types(self) -> None:
        found = validate(graph(seed="20", cfg="4.5", add_noise="false", upload="image"), NODES, Shelf())
        assert found.outputs == ("3",)
        assert found.node_errors == {}
        assert found.graph["2"]["inputs"] == {
            "model": ["1", 0],
            "seed": 20,
            "cfg": 4.5,
            "sampler": "euler",
            "add_noise": False,
        }

    def test_wrapped_lists_are_unwrapped(self) -> None:
        wrapped = validate(graph(seed={"__value__": 7}), NODES, Shelf())
        assert wrapped.graph["2"]["inputs"]["seed"] == 7

    def test_the_largest_seed_stays_whole(self) -> None:
        assert validate(graph(seed=2**64 - 1), NODES, Shelf()).graph["2"]["inputs"]["seed"] == 2**64 - 1

    @pytest.mark.parametrize(
        ("work", "kind"),
        [
            ({"seed": None}, "required_input_missing"),
            ({"model": ["1"]}, "bad_linked_input"),
            ({"model": ["1", "0"]}, "bad_linked_input"),
            ({"model": ["9", 0]}, "bad_linked_input"),
            ({"model": ["1", 5]}, "bad_linked_input"),
            ({"model": "a model"}, "bad_linked_input"),
            ({"model": ["1", 1]}, "return_type_mismatch"),
            ({"seed": "many"}, "invalid_input_type"),
            ({"seed": {"a": 1}}, "invalid_input_type"),
            ({"seed": "9" * 5000}, "invalid_input_type"),
            ({"cfg": "nan"}, "invalid_input_type"),
            ({"cfg": 1e999}, "invalid_input_type"),
            ({"add_noise": "perhaps"}, "invalid_input_type"),
            ({"note": "x" * 100_001}, "invalid_input_type"),
            ({"seed": -1}, "value_smaller_than_min"),
            ({"seed": 2**64}, "value_bigger_than_max"),
            ({"cfg": 100.5}, "value_bigger_than_max"),
            ({"sampler": "dream"}, "value_not_in_list"),
            ({"sampler": 3}, "value_not_in_list"),
            ({"note": "no"}, "custom_validation_failed"),
        ],
    )
    def test_each_kind_of_error(self, work: dict[str, Any], kind: str) -> None:
        error = error_at(graph(**work))
        assert error["type"] == kind
        if kind != "custom_validation_failed":
            assert error["extra_info"]["input_name"] == next(iter(work))
        assert len(str(error)) < 2000

    def test_a_type_mismatch_names_both_types(self) -> None:
        error = error_at(graph(model=["1", 1]))
        assert error["extra_info"]["received_type"] == "CLIP"
        assert error["extra_info"]["linked_node"] == ["1", 1]
        assert error["extra_info"]["input_config"] == ["MODEL"]

    def test_values_beyond_the_step_are_taken(self) -> None:
        assert validate(graph(cfg=4.123), NODES, Shelf()).graph["2"]["inputs"]["cfg"] == 4.123

    def test_pictures_count_by_existing_not_by_being_listed(self) -> None:
        def with_picture(name: object) -> dict[str, Any]:
            return {
                "1": {"class_type": "Picture", "inputs": {"image": name}},
                "3": {"class_type": "Show", "inputs": {"images": ["1", 0]}},
            }

        assert validate(with_picture("made.png [output]"), NODES, Shelf()).outputs == ("3",)
        assert error_at(with_picture("../../etc/passwd"), "1")["type"] == "custom_validation_failed"
        assert error_at(with_picture(3), "1")["type"] == "value_not_in_list"

    @pytest.mark.parametrize(
        ("given", "wanted", "fits"),
        [
            ("IMAGE", "IMAGE", True),
            ("*", "MODEL", True),
            ("MASK", "IMAGE, MASK", True),
            ("INT,FLOAT", "FLOAT,STRING", True),
            ("MODEL", "CLIP", False),
        ],
    )
    def test_types(self, given: str, wanted: str, fits: bool) -> None:
        assert types_match(given, wanted) is fits


class TestOutputs:
    def test_a_bad_output_does_not_spoil_a_good_one(self) -> None:
        prompt = graph() | {
            "4": {"class_type": "Work", "inputs": {"model": ["1", 0]}},
            "5": {"class_type": "Show", "inputs": {"images": ["4", 0]}},
        }
        found = validate(prompt, NODES, Shelf())
        assert found.outputs == ("3",)
        assert set(found.graph) == {"1", "2", "3"}
        assert found.node_errors["4"]["dependent_outputs"] == ["5"]
        assert {error["type"] for error in found.node_errors["4"]["errors"]} == {"required_input_missing"}

    def test_only_the_wanted_outputs_are_looked_at(self) -> None:
        prompt = graph() | {"5": {"class_type": "Show", "inputs": {}}}
        assert validate(prompt, NODES, Shelf(), targets=["3"]).node_errors == {}
        assert refusal(prompt, targets=["1"]).kind == "prompt_no_outputs"

    @pytest.mark.parametrize(
        ("prompt", "kind"),
        [
            (None, "no_prompt"),
            ({}, "no_prompt"),
            ([], "no_prompt"),
            ({"1": {"inputs": {}}}, "invalid_prompt"),
            ({"1": 3}, "invalid_prompt"),
            ({"1": {"class_type": "Unknown", "inputs": {}}}, "invalid_prompt"),
            ({"1": {"class_type": "Show", "inputs": []}}, "invalid_prompt"),
            ({"x" * 2**20: {"class_type": "Show", "inputs": {}}}, "invalid_prompt"),
            ({"1": {"class_type": "Loader", "inputs": {"file": "a.safetensors"}}}, "prompt_no_outputs"),
        ],
    )
    def test_what_is_no_graph(self, prompt: Any, kind: str) -> None:
        failure = refusal(prompt)
        assert failure.kind == kind
        assert set(failure.body()) == {"error", "node_errors"}
        assert len(str(failure.body())) < 1000

    def test_an_unknown_class_is_named_with_its_node(self) -> None:
        prompt = {"7": {"class_type": "FancyNode", "inputs": {}, "_meta": {"title": "Mine"}}}
        failure = refusal(prompt)
        assert failure.info == {"node_id": "7", "class_type": "FancyNode"}
        assert "Mine" in failure.message


class TestHarm:
    def test_a_circle_is_found(self) -> None:
        prompt = {
            "1": {"class_type": "Work", "inputs": {"again": ["2", 0]}},
            "2": {"class_type": "Work", "inputs": {"again": ["1", 0]}},
            "3": {"class_type": "Show", "inputs": {"images": ["2", 0]}},
        }
        kinds = {e["type"] for facts in refusal(prompt).node_errors.values() for e in facts["errors"]}
        assert "dependency_cycle" in kinds

    def test_ten_thousand_nodes_are_refused_at_once(self) -> None:
        prompt = {str(i): {"class_type": "Show", "inputs": {}} for i in range(10_000)}
        begun_s = time.monotonic()
        assert "10000 nodes; at most 512" in refusal(prompt).message
        assert time.monotonic() - begun_s < 10

    def test_five_thousand_links_are_refused(self) -> None:
        prompt = graph()
        prompt["2"]["inputs"] |= {f"x{i}": ["1", 0] for i in range(5000)}
        assert "links; at most 4096 are allowed" in refusal(prompt).message

    def test_a_long_chain_needs_no_recursion(self) -> None:
        prompt: dict[str, Any] = graph()
        for i in range(10, 5000):
            prompt[str(i)] = {"class_type": "Work", "inputs": graph()["2"]["inputs"] | {"again": [str(i - 1), 0]}}
        prompt["10"]["inputs"].pop("again")
        prompt["3"]["inputs"]["images"] = ["4999", 0]
        assert len(validate(prompt, NODES, Shelf(), max_nodes=10_000).graph) > 4000


class TestDefinitions:
    def test_of_a_loader(self) -> None:
        assert definition(Loader, Shelf()) == {
            "input": {"required": {"file": [["a.safetensors", "b.safetensors"]]}},
            "input_order": {"required": ["file"]},
            "output": ["MODEL", "CLIP"],
            "output_is_list": [False, False],
            "output_name": ["MODEL", "words"],
            "name": "Loader",
            "display_name": "Load it",
            "description": "",
            "python_module": "nodes",
            "category": "loaders",
            "output_node": False,
            "deprecated": False,
            "experimental": False,
            "api_node": False,
        }

    def test_of_fields(self) -> None:
        found = definition(Work, Shelf())
        required, optional = found["input"]["required"], found["input"]["optional"]
        assert list(required) == ["model", "seed", "cfg", "sampler", "add_noise"]
        assert required["model"] == ["MODEL"]
        assert required["seed"] == [
            "INT",
            {"default": 0, "min": 0, "max": 2**64 - 1, "step": 1, "control_after_generate": True},
        ]
        assert required["cfg"] == ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}]
        assert required["sampler"] == [["euler", "heun"], {"default": "euler"}]
        assert required["add_noise"] == ["BOOLEAN", {"default": True}]
        assert optional["note"] == ["STRING", {"default": "", "multiline": True, "dynamicPrompts": True}]
        assert optional["again"] == ["IMAGE,MASK", {"lazy": True, "tooltip": "Once more."}]

    def test_of_hidden_values_and_uploads(self) -> None:
        assert definition(Show, Shelf())["input"]["hidden"] == {"prompt": "PROMPT"}
        assert definition(Show, Shelf())["output_node"] is True
        picture = definition(Picture, Shelf())["input"]["required"]["image"]
        assert picture == [["cat.png"], {"image_upload": True, "image_folder": "input"}]
