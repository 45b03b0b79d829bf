"""A context for single nodes that neither paint nor load models, and a short way to run one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor

from keelbill.core.errors import NotFound
from keelbill.graph.context import Context
from keelbill.graph.node import Result
from keelbill.graph.registry import load_builtin


@dataclass
class Desk:
    """What a node reaches: pictures, and an ear for progress. Pictures that it is told to hide come back black."""

    pictures: Mapping[str, bytes] = field(default_factory=dict)
    writes_metadata: bool = True
    hides: bool = False
    node_id: str = "1"
    heard: list[tuple[int, int, bytes | None]] = field(default_factory=list)

    def read(self, name: str) -> bytes:
        if name not in self.pictures:
            raise NotFound(f"There is no picture {name!r}.")
        return self.pictures[name]

    def progress(self, value: int, total: int, image: bytes | None = None) -> None:
        self.heard.append((value, total, image))

    def moderate(self, pixels: Tensor) -> Tensor:
        return pixels * 0 if self.hides else pixels


def run(kind: str, desk: Desk | None = None, **values: Any) -> Any:
    """Run a node with defaults for the fields that are not given; a single value comes without its tuple."""
    node = load_builtin()[kind]
    fields = {each.name: each.default for each in node.inputs if each.is_widget and not each.is_optional}
    result = node().run(cast(Context, desk or Desk()), **(fields | values))
    if isinstance(result, Result):
        return result
    return result[0] if len(result) == 1 else result
