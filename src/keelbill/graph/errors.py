"""What can go wrong with a graph. Knows no transport and no node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from keelbill.core.errors import AppError, Cancelled

LONGEST_SHOWN: Final = 120


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


def shown(value: Any) -> str:
    """Return a few words about a node's input, never its content if that is large or the server's own."""
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, str):
        return value if len(value) <= LONGEST_SHOWN else value[: LONGEST_SHOWN - 1] + "…"
    shape = getattr(value, "shape", None)
    name = type(value).__name__
    return name if shape is None else f"{name} {tuple(shape)}"
