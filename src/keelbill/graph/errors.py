"""What can go wrong with a graph. Knows no transport and no node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from keelbill.core.errors import AppError, Cancelled

LONGEST_SHOWN: Final = 120
MOST_TOLD: Final = 20


class Interrupted(Cancelled):
    """Somebody stopped the graph.

    Attributes:
        node_id: The node that was running or would have come next, as people see it; set by the executor.
        node_type: Its class.
        executed: Nodes that were done before, in order.
    """

    def __init__(self, message: str = "The graph was stopped.") -> None:
        super().__init__(message)
        self.node_id = ""
        self.node_type = ""
        self.executed: tuple[str, ...] = ()

    def detail(self) -> dict[str, Any]:
        """Return what clients are told besides the message; it fits into JSON."""
        return {"node_id": self.node_id, "node_type": self.node_type, "executed": list(self.executed)}


class NodeFailed(AppError):
    """A node could not do its work; what was finished before stays.

    Args:
        node_id: Which one, as people see it.
        node_type: Its class.
        cause: What it raised. The words of an error that is not meant for people are kept from them.
        executed: Nodes that were done before, in order.
        inputs: What it was given.
    """

    def __init__(
        self,
        node_id: str,
        node_type: str,
        cause: BaseException,
        *,
        executed: Sequence[str] = (),
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(cause, AppError):
            super().__init__(cause.message, hint=cause.hint)
            self.code, self.status = cause.code, cause.status
        else:
            super().__init__(f"The node {node_type} failed; the server's log says why.")
        self.node_id = node_id
        self.node_type = node_type
        self.cause = cause
        self.executed = tuple(executed)
        self.inputs = {name: shown(value) for name, value in (inputs or {}).items()}

    def detail(self) -> dict[str, Any]:
        """Return what clients are told besides the message; it fits into JSON."""
        return {
            "node_id": self.node_id,
            "node_type": self.node_type,
            "exception_type": type(self.cause).__name__,
            "executed": list(self.executed),
            "current_inputs": {name: [value] for name, value in self.inputs.items()},
        }


class GraphInvalid(AppError):
    """A graph cannot be run.

    Args:
        kind: Such as ``prompt_no_outputs``, as clients know it.
        message: One sentence.
        details: More, if there is more to say.
        info: Facts about the place.
        node_errors: What is wrong with single nodes, by id.
    """

    code = "invalid_graph"
    status = 400

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        details: str = "",
        info: Mapping[str, Any] | None = None,
        node_errors: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.details = details
        self.info = dict(info or {})
        self.node_errors = dict(node_errors or {})

    @property
    def problems(self) -> tuple[str, ...]:
        """The message, and then what is wrong with single nodes."""
        nodes = [
            f"node {node} ({facts['class_type']}): {error['message']} {error['details']}".strip()
            for node, facts in self.node_errors.items()
            for error in facts["errors"]
        ]
        return (self.message, *nodes[:MOST_TOLD])

    def body(self) -> dict[str, Any]:
        """Return the answer to a client."""
        error = {"type": self.kind, "message": self.message, "details": self.details, "extra_info": self.info}
        return {"error": error, "node_errors": self.node_errors}


def shown(value: Any) -> str:
    """Return a few words about a node's input, never its content if that is large or the server's own."""
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, str):
        return value if len(value) <= LONGEST_SHOWN else value[: LONGEST_SHOWN - 1] + "…"
    shape = getattr(value, "shape", None)
    name = type(value).__name__
    return name if shape is None else f"{name} {tuple(shape)}"
