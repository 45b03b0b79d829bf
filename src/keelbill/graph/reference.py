"""Writes the reference page of the nodes from their classes. Knows no server.

``python -m keelbill.graph.reference docs/reference/nodes.md`` writes it; a test fails when it is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Final

from keelbill.graph.node import ANY, MAX_SEED, Input, Node
from keelbill.graph.registry import BUILT_IN, load_builtin

GENERATED: Final = "<!-- Written by `make docs` from the code; edit the code instead. -->"
MOST_CHOICES: Final = 12
_TYPES: Final = {
    "IMAGE": "pictures: numbers from 0 to 1 with shape (batch, height, width, 3 or 4)",
    "MASK": "places of pictures: numbers from 0 to 1 with shape (batch, height, width); 1 is masked",
    "LATENT": "what a model paints in, before it becomes pictures",
    "CONDITIONING": "encoded prompts, and where and when they count",
    "MODEL": "a network that paints",
    "CLIP": "networks that read prompts",
    "VAE": "a network between latents and pictures",
    "CONTROL_NET": "a network that steers another one by a picture",
    "UPSCALE_MODEL": "a network that enlarges pictures",
    "SIGMAS": "noise levels of a run, falling",
    "SAMPLER": "how a step is taken",
    "GUIDER": "what a run follows, and how strongly",
    "NOISE": "where noise comes from",
    "STRING": "text",
    "INT": "whole numbers",
    "FLOAT": "numbers",
    "BOOLEAN": "yes or no",
}


def built_in() -> dict[str, type[Node]]:
    """Return the classes that are part of the program, whatever else is registered."""
    return {name: node for name, node in load_builtin().items() if node.__module__.startswith(BUILT_IN)}


def page(nodes: Mapping[str, type[Node]]) -> str:
    """Return the page in Markdown: all classes by their place in the menu."""
    head = [
        "# Nodes",
        GENERATED,
        "What a graph can be made of. The name in `code` is the class in saved workflows and in the API format;\n"
        "inputs are in the order of the fields on the node. An input without a default takes a link only, unless it\n"
        "says what to choose from; `?` marks those that may stay empty. What running them costs:\n"
        "[prices](graph-prices.md).",
        f"{len(nodes)} classes. The same facts as JSON: `GET /comfy/object_info`.",
        "## Types",
        "\n".join(["| type | what it is |", "|---|---|", *(f"| `{name}` | {what} |" for name, what in _TYPES.items())]),
    ]
    known = sorted(nodes.values(), key=lambda node: node.category.lower())
    for category, members in groupby(known, key=lambda node: node.category):
        head.append(f"## {category}")
        for node in members:
            head += _entry(node)
    return "\n\n".join(head) + "\n"


def _entry(node: type[Node]) -> Iterable[str]:
    title = node.display_name or node.name
    yield f"### {title}"
    marks = [
        word
        for word, is_so in (
            ("a graph may end here", node.is_output),
            ("experimental", node.is_experimental),
            ("deprecated", node.is_deprecated),
        )
        if is_so
    ]
    yield f"`{node.name}`" + "".join(f" · {mark}" for mark in marks)
    yield node.description
    if node.inputs:
        rows = (f"| `{each.name}`{'?' * each.is_optional} | {_kind(each)} | {_more(each)} |" for each in node.inputs)
        yield "\n".join(["| input | type | |", "|---|---|---|", *(row.replace("|  |", "| |") for row in rows)])
    if node.outputs:
        outputs = (
            f"`{each.type}`" + (f" {each.name}" if each.name not in ("", each.type) else "") for each in node.outputs
        )
        yield f"Gives {', '.join(outputs)}."


def _kind(each: Input) -> str:
    if each.folder:
        where = {"input": "one of your pictures", "output": "a picture that was made here"}
        return where.get(each.folder, f"a file of `{each.folder}`")
    if each.choices:
        shown = ", ".join(f"`{_plain(name)}`" for name in each.choices[:MOST_CHOICES])
        return shown + (f" and {len(each.choices) - MOST_CHOICES} more" if len(each.choices) > MOST_CHOICES else "")
    if each.type == ANY:
        return "anything"
    return ", ".join(f"`{name.strip()}`" for name in each.type.split(","))


def _more(each: Input) -> str:
    facts = []
    if each.low is not None and each.high is not None:
        facts.append(f"{_number(each.low)} to {_number(each.high)}")
    if each.default is not None and each.is_widget:
        facts.append(f"default `{_plain(_number(each.default))}`" if each.default != "" else "default empty")
    said = "; ".join(facts)
    return " ".join(part for part in (f"{said}." if said else "", _plain(each.tooltip)) if part)


def _number(value: object) -> str:
    if value == MAX_SEED:
        return "2⁶⁴ − 1"
    if isinstance(value, int | float) and abs(value) >= 2**62:
        return "−2⁶³" if value < 0 else "2⁶³ − 1"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(path: Path) -> None:
    """Write the page."""
    path.write_text(page(built_in()), encoding="utf-8")
    sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
