"""A node with what is known of its values before it runs: sizes, counts, steps. Knows no class of nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from keelbill.core.types import Size
from keelbill.graph.errors import GraphInvalid, shown
from keelbill.graph.node import Node

T = TypeVar("T")


@dataclass(frozen=True)
class Shape:
    """Some pictures of one size, as pixels or as latents.

    Attributes:
        width: In pixels, also of a latent.
        height: Likewise.
        count: How many.
    """

    width: int
    height: int
    count: int = 1

    @property
    def pixels(self) -> int:
        """Of all pictures together."""
        return self.width * self.height * self.count


@dataclass(frozen=True)
class ModelFile:
    """Which model a socket carries.

    Attributes:
        name: As the graph has it.
    """

    name: str


@dataclass(frozen=True)
class Steps:
    """How many steps a list of noise levels makes."""

    count: int


Known = Shape | ModelFile | Steps | int | float | str | bool | None
"""What is known of a value; nothing if it does not matter here."""

Sizes = Callable[[str], Size | None]
"""Looks up the size of a picture that the graph names."""


@dataclass(frozen=True)
class Outlook:
    """One node with what is known of its inputs.

    Attributes:
        id: Of the node.
        kind: Its class.
        inputs: What is known, by input.
        sizes: Of pictures by name.
        is_repeated: Whether a list decides how often it runs.
        outputs: What is known of them, in order.
    """

    id: str
    kind: type[Node]
    inputs: Mapping[str, Known]
    sizes: Sizes
    is_repeated: bool = False
    outputs: tuple[Known, ...] = ()

    @property
    def shapes(self) -> list[Shape]:
        """The pictures that it gives."""
        return [each for each in self.outputs if isinstance(each, Shape)]

    def whole(self, name: str) -> int:
        """Return a number; see `value`."""
        return int(self.value(name))

    def real(self, name: str) -> float:
        """Return a number; see `value`."""
        return float(self.value(name))

    def value(self, name: str) -> int | float:
        """Return a number.

        Raises:
            GraphInvalid: It is known only when the graph runs.
        """
        given = self.inputs.get(name, self.kind.find(name).default)
        if isinstance(given, int | float):
            return given
        raise refusal(self, name, "custom_validation_failed", "The number must be known before the graph runs.")

    def said(self, name: str) -> str:
        """Return a text; "" if it is missing or known only when the graph runs."""
        given = self.inputs.get(name)
        return given if isinstance(given, str) else ""

    def find(self, kind: type[T]) -> T | None:
        """Return the first input of which something of a kind is known."""
        return next((each for each in self.inputs.values() if isinstance(each, kind)), None)

    def shape(self, *names: str) -> Shape:
        """Return the pictures of the first of some inputs that has any, else of any input, else a published one."""
        for name in names:
            found = self.inputs.get(name)
            if isinstance(found, Shape):
                return found
        return self.find(Shape) or Shape(1024, 1024)


def refusal(outlook: Outlook, name: str, kind: str, message: str, limit: str = "") -> GraphInvalid:
    """Return the error that blames an input of a node.

    Args:
        outlook: The node.
        name: Of its input.
        kind: As clients know it.
        message: What is wrong.
        limit: What is allowed.
    """
    given = outlook.inputs.get(name)
    value = shown(given) if isinstance(given, str | int | float) else ""
    parts = [f"{name}: {value}" if value else name, limit]
    error = {
        "type": kind,
        "message": message,
        "details": "; ".join(part for part in parts if part),
        "extra_info": {"input_name": name, "received_value": value},
    }
    facts = {"errors": [error], "dependent_outputs": [], "class_type": outlook.kind.name}
    return GraphInvalid(
        "prompt_outputs_failed_validation", "The graph's outputs cannot be made.", node_errors={outlook.id: facts}
    )
