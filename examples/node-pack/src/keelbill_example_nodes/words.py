"""Counts words. Needs nothing but Python."""

from __future__ import annotations

from typing import Any

from keelbill.graph.context import Context
from keelbill.graph.node import Node, Output, text


class WordCount(Node):
    """How many words a text has."""

    name = "Example Word Count"
    category = "example"
    description = "Counts the words of a text."
    inputs = (text("text", multiline=True),)
    outputs = (Output("INT"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the number of words."""
        return (len(values["text"].split()),)
