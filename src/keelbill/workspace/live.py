"""A run while it goes on: what clients were told, and what it has shown so far. Knows neither tables nor sockets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from keelbill.workspace.schemas import Run, StoredFile

Message = tuple[str, dict[str, Any]]
NodeState = Literal["running", "finished", "error"]

_VENDOR_TYPES: Final = frozenset({"InsufficientFundsError", "insufficient_credits"})
_VENDOR_STARTS: Final = ("payment required", "unauthorized: please login")
"""What makes the stock editor open its vendor's dialogs; no error of ours may look like it."""


@dataclass
class NodeLife:
    """How far one node is.

    Attributes:
        node: Its id.
        display: Id of the node that stands for it in the editor.
        value: Steps done.
        total: Steps in all.
        state: As clients call it.
    """

    node: str
    display: str
    value: int = 0
    total: int = 1
    state: NodeState = "running"


@dataclass
class Live:
    """What is known of a run that goes on.

    Attributes:
        run: Its row.
        messages: What was said so far, for the history.
        nodes: Those that have begun, by id.
        results: What output nodes showed, by id.
        current: The node that runs, "" between nodes.
        started_ms: Milliseconds since 1970, 0 before.
    """

    run: Run
    messages: list[Message] = field(default_factory=list)
    nodes: dict[str, NodeLife] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    current: str = ""
    started_ms: int = 0

    def begin(self, now_ms: int) -> Message:
        """Start (again): nothing of an earlier try counts."""
        self.nodes.clear()
        self.results.clear()
        self.current, self.started_ms = "", now_ms
        said = ("execution_start", {"prompt_id": self.run.prompt_id, "timestamp": now_ms})
        self.messages = [said]
        return said

    def cached(self, nodes: tuple[str, ...], now_ms: int) -> Message:
        """Note which results were known already."""
        said = (
            "execution_cached",
            {"nodes": list(nodes), "prompt_id": self.run.prompt_id, "timestamp": now_ms},
        )
        self.messages.append(said)
        return said

    def enter(self, node: str, display: str) -> None:
        """Note that a node begins."""
        self.current = node
        self.nodes[node] = NodeLife(node, display or node)

    def advance(self, node: str, value: int, total: int) -> NodeLife:
        """Note how far a node is."""
        life = self.nodes.setdefault(node, NodeLife(node, node))
        life.value, life.total = value, max(total, 1)
        return life

    def leave(self, node: str) -> None:
        """Note that a node has ended."""
        life = self.nodes.setdefault(node, NodeLife(node, node))
        life.value, life.state = life.total, "finished"
        if self.current == node:
            self.current = ""

    def show(self, node: str, shown: dict[str, Any]) -> None:
        """Note what an output node showed."""
        self.results[node] = shown

    def executed(self) -> list[str]:
        """Return the nodes that have ended."""
        return [node for node, life in self.nodes.items() if life.state == "finished"]

    def ending(self, state: str, code: str, message: str, detail: str, now_ms: int) -> Message:
        """Return the last message of the run.

        Args:
            state: ``succeeded``, ``failed`` or ``cancelled``.
            code: An error's code.
            message: One sentence for people.
            detail: JSON with the node that failed, or "".
            now_ms: Of the end.
        """
        facts: dict[str, Any] = {"prompt_id": self.run.prompt_id, "timestamp": now_ms}
        if state == "succeeded":
            return "execution_success", facts
        told: dict[str, Any] = json.loads(detail) if detail else {}
        node = str(told.get("node_id") or self.current or "")
        facts |= {
            "node_id": node,
            "node_type": str(told.get("node_type") or self.run.class_of(node)),
            "executed": list(told.get("executed") or self.executed()),
        }
        if state == "cancelled":
            return "execution_interrupted", facts
        kind = str(told.get("exception_type") or code)
        return "execution_error", facts | {
            "exception_message": _own_words(message),
            "exception_type": "GraphError" if kind in _VENDOR_TYPES else kind,
            "traceback": [],
            "current_inputs": told.get("current_inputs") or {},
            "current_outputs": [],
        }


def files_shown(files: list[StoredFile], key: str, shown: str) -> dict[str, Any]:
    """Return what clients are shown of an output node: its files under their key, and whatever else it says."""
    told: dict[str, Any] = json.loads(shown) if shown else {}
    if files:
        told[key] = [{"filename": each.name, "subfolder": each.folder, "type": each.area} for each in files]
    return told


def _own_words(message: str) -> str:
    return f"The server says: {message}" if message.lower().startswith(_VENDOR_STARTS) else message
