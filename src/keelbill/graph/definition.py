"""What clients read about a node class: its inputs, outputs and place in the menu. Knows no graph and no run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from keelbill.graph.node import Input, Node

INT64_LOW: Final = -(2**63)
INT64_HIGH: Final = 2**63 - 1


class Folders(Protocol):
    """The files that fields offer."""

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder such as ``checkpoints`` or ``input``; none in one that does not exist."""
        ...

    def has(self, folder: str, name: str) -> bool:
        """Return whether a name can be used, listed or not, such as ``a/b.png [output]``."""
        ...


def definitions(nodes: Mapping[str, type[Node]], folders: Folders) -> dict[str, dict[str, Any]]:
    """Return the definitions of all classes by name."""
    return {name: definition(node, folders) for name, node in nodes.items()}


def definition(node: type[Node], folders: Folders) -> dict[str, Any]:
    """Return the definition of a class; names are in the order of the widgets of saved workflows."""
    required = {each.name: input_spec(each, folders) for each in node.inputs if not each.is_optional}
    optional = {each.name: input_spec(each, folders) for each in node.inputs if each.is_optional}
    inputs: dict[str, Any] = {"required": required}
    order: dict[str, list[str]] = {"required": list(required)}
    if optional:
        inputs["optional"], order["optional"] = optional, list(optional)
    if node.hidden:
        inputs["hidden"], order["hidden"] = dict(node.hidden), list(node.hidden)
    facts: dict[str, Any] = {
        "input": inputs,
        "input_order": order,
        "output": [each.type for each in node.outputs],
        "output_is_list": [each.is_list for each in node.outputs],
        "output_name": [each.name or each.type for each in node.outputs],
        "name": node.name,
        "display_name": node.display_name or node.name,
        "description": node.description,
        "python_module": node.module,
        "category": node.category,
        "output_node": node.is_output,
        "deprecated": node.is_deprecated,
        "experimental": node.is_experimental,
        "api_node": False,  # true would put the vendor's sign-in in the place of the Run button
    }
    if any(each.tooltip for each in node.outputs):
        facts["output_tooltips"] = [each.tooltip for each in node.outputs]
    if node.aliases:
        facts["search_aliases"] = list(node.aliases)
    return facts


def input_spec(each: Input, folders: Folders) -> list[Any]:
    """Return an input as ``[type, options]``; choices are a plain list, which every client understands."""
    options: dict[str, Any] = {}
    if each.type == "COMBO":
        kind: Any = choices(each, folders)
        if each.default is not None:
            options["default"] = each.default
    else:
        kind = each.type
        if each.default is not None:
            options["default"] = each.default
    if each.type in {"INT", "FLOAT"}:
        options |= {
            name: value
            for name, value in (("min", each.low), ("max", each.high), ("step", each.step), ("round", each.round))
            if value is not None
        }
    flags = {
        "multiline": each.is_multiline,
        "dynamicPrompts": each.is_dynamic,
        "control_after_generate": each.has_control,
        "image_upload": each.has_upload,
        "forceInput": each.is_socket and each.type in {"INT", "FLOAT", "STRING", "BOOLEAN"},
        "lazy": each.is_lazy,
        "advanced": each.is_advanced,
    }
    options |= {name: True for name, is_on in flags.items() if is_on}
    if each.has_upload:
        options["image_folder"] = each.folder
    if each.display:
        options["display"] = each.display
    if each.tooltip:
        options["tooltip"] = each.tooltip
    return [kind, options] if options else [kind]


def choices(each: Input, folders: Folders) -> list[str]:
    """Return what a ``COMBO`` offers now."""
    return folders.names(each.folder) if each.folder else list(each.choices)
