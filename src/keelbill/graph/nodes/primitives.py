"""Nodes that hold one value, join texts, or show a value as text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from keelbill.core.errors import InvalidInput
from keelbill.graph.definition import INT64_HIGH, INT64_LOW
from keelbill.graph.errors import shown
from keelbill.graph.node import ANY, Node, Output, Result, integer, number, socket, switch, text
from keelbill.graph.registry import register

if TYPE_CHECKING:
    from keelbill.graph.context import Context

MODULE: Final = "comfy_extras.nodes_primitive"
MAX_TEXT: Final = 1_000_000
MAX_SHOWN: Final = 20_000


class _Primitive(Node):
    category = "utils/primitive"
    module = MODULE

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the value."""
        return (values["value"],)


@register
class PrimitiveString(_Primitive):
    """A line of text."""

    name = "PrimitiveString"
    display_name = "String"
    description = "Gives one text to several nodes."
    inputs = (text("value"),)
    outputs = (Output("STRING"),)


@register
class PrimitiveStringMultiline(_Primitive):
    """A text."""

    name = "PrimitiveStringMultiline"
    display_name = "String (Multiline)"
    description = "Gives one text of several lines to several nodes."
    inputs = (text("value", multiline=True),)
    outputs = (Output("STRING"),)


@register
class PrimitiveInt(_Primitive):
    """A whole number."""

    name = "PrimitiveInt"
    display_name = "Int"
    description = "Gives one whole number to several nodes."
    inputs = (integer("value", 0, INT64_LOW, INT64_HIGH, control=True),)
    outputs = (Output("INT"),)


@register
class PrimitiveFloat(_Primitive):
    """A number."""

    name = "PrimitiveFloat"
    display_name = "Float"
    description = "Gives one number to several nodes."
    inputs = (number("value", 0.0, INT64_LOW, INT64_HIGH, 0.1),)
    outputs = (Output("FLOAT"),)


@register
class PrimitiveBoolean(_Primitive):
    """Yes or no."""

    name = "PrimitiveBoolean"
    display_name = "Boolean"
    description = "Gives one yes or no to several nodes."
    inputs = (switch("value"),)
    outputs = (Output("BOOLEAN"),)


@register
class StringConcatenate(Node):
    """Two texts as one."""

    name = "StringConcatenate"
    display_name = "Concatenate"
    category = "utils/string"
    description = "Joins two texts, with something between them."
    module = "comfy_extras.nodes_string"
    inputs = (text("string_a", multiline=True), text("string_b", multiline=True), text("delimiter"))
    outputs = (Output("STRING"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Join.

        Raises:
            InvalidInput: The text becomes too long.
        """
        parts = str(values["string_a"]), str(values["delimiter"]), str(values["string_b"])
        length = sum(map(len, parts))
        if length > MAX_TEXT:  # nodes in a row could double it again and again
            raise InvalidInput("text length", length, f"at most {MAX_TEXT:,} characters")
        return ("".join(parts),)


@register
class PreviewAny(Node):
    """Any value as text."""

    name = "PreviewAny"
    display_name = "Preview as Text"
    category = "utils"
    description = "Shows a value as text; of pictures and the like only what they are."
    module = "comfy_extras.nodes_preview_any"
    inputs = (socket("source", ANY),)
    is_output = True

    def run(self, context: Context, **values: Any) -> Result:
        """Show it."""
        return Result(shown={"text": (as_text(values["source"])[:MAX_SHOWN],)})


def as_text(value: Any) -> str:
    """Return a value in words: text as it is, numbers and plain lists in JSON, all else by its kind and shape."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, indent=2, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        pass  # it holds a tensor or a handle
    if isinstance(value, dict):
        return "\n".join(f"{name}: {shown(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(shown(each) for each in value)
    return shown(value)
