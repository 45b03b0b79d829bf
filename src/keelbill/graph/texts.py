"""What editors do with text fields before they submit: choices, comments, names in file names. Knows no workflow."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from keelbill.graph.node import Node

_LINE_COMMENT: Final = re.compile(r"(?<!:)//[^\n]*")  # an address is no comment
_MARKS: Final = re.compile(r"((?<!\\)[{}|])")
_PERCENT: Final = re.compile(r"%([^%\n]{1,200})%")


def resolved(
    inputs: Mapping[str, Any], kind: type[Node], prompt: Mapping[str, Any], chooser: random.Random
) -> dict[str, Any]:
    """Do with a node's text fields what an editor does before it submits.

    Args:
        inputs: Of the node.
        kind: Its class.
        prompt: All nodes of the graph, with their titles.
        chooser: Decides among groups such as ``{red|blue}``.
    """
    found = dict(inputs)
    for each in kind.inputs:
        value = found.get(each.name)
        if each.type != "STRING" or not isinstance(value, str):
            continue
        if each.is_dynamic:
            found[each.name] = chosen(value, chooser)
        elif each.name == "filename_prefix":
            found[each.name] = _PERCENT.sub(lambda match: _replaced(match, prompt), value)
    return found


def chosen(text: str, chooser: random.Random) -> str:
    """Take comments out of a text and choose one of each group such as ``{red|blue|{dark|light} green}``.

    Args:
        text: At most 100,000 characters.
        chooser: Decides.
    """
    text = _LINE_COMMENT.sub("", _without_blocks(text))
    levels: list[list[list[str]]] = [[[]]]  # of each group that is open its choices, in parts; first the text itself
    for part in _MARKS.split(text):
        if part == "{":
            levels.append([[]])
        elif part == "}" and len(levels) > 1:
            choices = levels.pop()
            levels[-1][-1].append("".join(chooser.choice(choices)))
        elif part == "|" and len(levels) > 1:
            levels[-1].append([])
        else:
            levels[-1][-1].append(part)
    # groups that nobody closed are no groups
    found = "{".join("|".join("".join(parts) for parts in choices) for choices in levels)
    return found.replace("\\{", "{").replace("\\}", "}")


def _without_blocks(text: str) -> str:
    """Take out what stands between ``/*`` and ``*/``, in one go however many there are."""
    kept: list[str] = []
    at = 0
    while (start := text.find("/*", at)) >= 0 and (end := text.find("*/", start + 2)) >= 0:
        kept.append(text[at:start])
        at = end + 2
    return "".join(kept) + text[at:]


def literal(text: str) -> str:
    """Return a text of which `chosen` makes this text; comments cannot be written so, and stay."""
    return text.replace("{", "\\{").replace("}", "\\}")


def _replaced(match: re.Match[str], prompt: Mapping[str, Any]) -> str:
    name, _, rest = match[1].partition(":")
    if name == "date" and rest:
        return _date(rest)
    title, dot, widget = match[1].rpartition(".")
    if dot:
        for node in prompt.values():
            if node["_meta"]["title"] == title or node["class_type"] == title:
                value = node["inputs"].get(widget)
                if isinstance(value, str | int | float):
                    return re.sub(r'[/\\?%*:|"<>\x00-\x1f]', "_", str(value))
    return match[0]


def _date(pattern: str) -> str:
    now = datetime.now(UTC).astimezone()
    parts = {"yyyy": f"{now:%Y}", "yy": f"{now:%y}", "MM": f"{now:%m}", "M": str(now.month), "dd": f"{now:%d}"}
    parts |= {"d": str(now.day), "hh": f"{now:%H}", "h": str(now.hour), "mm": f"{now:%M}", "m": str(now.minute)}
    parts |= {"ss": f"{now:%S}", "s": str(now.second)}
    return re.sub("|".join(parts), lambda match: parts[match[0]], pattern)
