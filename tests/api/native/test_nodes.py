"""Packs of nodes over HTTP: told of, and never changed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from keelbill.graph.drawing import to_workflow
from keelbill.graph.registry import load_builtin
from support.doors import Doors
from support.graphdoors import text_to_image

COMMAND = "pip install ./examples/node-pack && keelbill nodes enable keelbill-example-nodes"


def lacking(client: httpx.Client, workflow: Any) -> Any:
    return client.post("/api/nodes/missing", json={"workflow": workflow}).json()


def test_known_packs_are_listed(doors: Doors) -> None:
    (pack,) = doors.account("0").get("/api/nodes/packs").json()
    assert (pack["name"], pack["state"], pack["command"]) == ("keelbill-example-nodes", "not installed", COMMAND)
    assert "Example Vignette" in pack["classes"]


def test_what_a_workflow_lacks(doors: Doors) -> None:
    ann = doors.account("0")
    graph = text_to_image() | {
        "20": {"class_type": "Example Vignette", "inputs": {}},
        "21": {"class_type": "Nobody Knows", "inputs": {}},
    }
    assert lacking(ann, graph) == [
        {"class_type": "Example Vignette", "nodes": ["20"], "pack": "keelbill-example-nodes", "command": COMMAND},
        {"class_type": "Nobody Knows", "nodes": ["21"], "pack": "", "command": ""},
    ]
    assert lacking(ann, to_workflow(text_to_image(), load_builtin())) == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_installed(doors: Doors, method: str) -> None:
    assert doors.account("0").request(method, "/api/nodes/packs", json={"name": "x"}).status_code == 405


def test_strangers_learn_nothing(doors: Doors) -> None:
    assert httpx.get(f"{doors.live.url}/api/nodes/packs").status_code == 401
