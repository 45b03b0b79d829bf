"""Reads what a client wants to have run: a graph, a workflow of the editor, or a picture that carries one.

Knows the forms of the request, no price and no run.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from starlette.requests import Request

from keelbill.api.comfy.bodies import kind_of, parse, read_bytes, read_object
from keelbill.api.forms import read_form
from keelbill.core.errors import InvalidRequest
from keelbill.graph.workflow import is_workflow
from keelbill.imaging.workflows import PROMPT, WORKFLOW, read_texts

Mode = Literal["sync", "async", "stream"]

MODES: Final[tuple[Mode, ...]] = ("sync", "async", "stream")
_MEMBERS: Final = frozenset({"workflow", "picture", "inputs", "files", "mode", "dry_run", "seed"})
_PICTURES: Final = frozenset({"image/png", "image/webp"})
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off", ""})


@dataclass(frozen=True)
class Ask:
    """What a client wants.

    Attributes:
        workflow: The graph, in the API format or as the editor saves it.
        inputs: Other values, by ``NODE.INPUT``.
        files: Pictures to be uploaded, by the input that is to name them.
        mode: Whether the answer waits for the pictures, is an id, or tells what happens.
        dry_run: Whether only the price is wanted.
        seed: Decides among choice groups in texts.
    """

    workflow: dict[str, Any]
    inputs: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    mode: Mode = "sync"
    dry_run: bool = False
    seed: int = 0


async def read_ask(request: Request, *, max_bytes: int) -> Ask:
    """Read a request.

    Args:
        request: Whose body has not been read: JSON, a form, or a picture.
        max_bytes: Largest body.

    Raises:
        InvalidRequest: There is no graph in it, or something beside it cannot be read.
        PayloadTooLarge: It is too long.
    """
    kind = kind_of(request)
    if kind == "multipart/form-data":
        said = await _from_form(request, max_bytes)
    elif kind in _PICTURES:
        said = {"workflow": await _carried(await read_bytes(request, max_bytes))}
    else:
        said = await _from_json(request, max_bytes)
    said = {name: value for name, value in request.query_params.items() if name in ("mode", "dry_run", "seed")} | said
    workflow = said.get("workflow")
    if isinstance(workflow, str):
        workflow = parse(workflow.encode())
    if not isinstance(workflow, dict) or not workflow:
        raise InvalidRequest("workflow: required; a graph in the API format, a saved workflow, or a picture with one")
    return Ask(workflow, _inputs(said), said.get("files") or {}, _mode(said), _flag(said), _seed(said))


async def _from_json(request: Request, max_bytes: int) -> dict[str, Any]:
    body = await read_object(request, max_bytes, empty=False)
    if is_workflow(body) or _is_graph(body):
        return {"workflow": body}
    if unknown := sorted(body.keys() - _MEMBERS):
        raise InvalidRequest(*(f"{name}: unknown field" for name in unknown[:5]))
    said = {name: value for name, value in body.items() if value is not None}
    if "picture" in said:
        said["workflow"] = await _carried(_unpacked("picture", said.pop("picture")))
    files = said.get("files", {})
    if not isinstance(files, dict):
        raise InvalidRequest("files: must be an object of pictures in base64")
    said["files"] = {name: _unpacked(f"files.{name}", content) for name, content in files.items()}
    return said


async def _from_form(request: Request, max_bytes: int) -> dict[str, Any]:
    form = await read_form(
        request,
        max_bytes=max_bytes,
        known=lambda name: name in _MEMBERS or "." in name,
        unknown="refuse",
        repeated_files=(),
    )
    said: dict[str, Any] = {name: value for name, value in form.fields.items() if name in _MEMBERS}
    inputs: dict[str, Any] = {}
    if "inputs" in said:
        given = parse(said["inputs"].encode())
        if not isinstance(given, dict):
            raise InvalidRequest("inputs: must be a JSON object")
        inputs = given
    said["inputs"] = inputs | {name: value for name, value in form.fields.items() if "." in name}
    contents = {name: await upload.read() for name, upload in form.files.items()}
    for name in ("workflow", "picture"):
        if name in contents:
            said["workflow"] = await _opened(contents[name])
    said["files"] = {name: content for name, content in contents.items() if "." in name}
    return said


async def _opened(content: bytes) -> object:
    """Read a file that is JSON or a picture."""
    if content.lstrip()[:1] in (b"{", b"["):
        return await asyncio.to_thread(parse, content)
    return await _carried(content)


async def _carried(content: bytes) -> dict[str, Any]:
    """Return the graph that a picture carries: as it ran, else as the editor shows it.

    Raises:
        BadImage: It is no picture.
        InvalidRequest: It carries none.
    """
    texts = await asyncio.to_thread(read_texts, content, field="workflow", max_bytes=max(len(content), 1))
    for name in (PROMPT, WORKFLOW):
        found: Any = None
        try:
            found = json.loads(texts.get(name, "null"))
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and found:
            return found
    raise InvalidRequest("workflow: the picture carries no graph; only PNG and WebP pictures of graphs do")


def _is_graph(body: Mapping[str, Any]) -> bool:
    return bool(body) and all(isinstance(node, dict) and "class_type" in node for node in body.values())


def _unpacked(name: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name}: must be base64")
    try:
        return base64.b64decode(value.rpartition("base64,")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{name}: must be base64") from error


def _inputs(said: Mapping[str, Any]) -> dict[str, Any]:
    found = said.get("inputs", {})
    if not isinstance(found, dict):
        raise InvalidRequest('inputs: must be an object such as {"6.text": "a red fox"}')
    return found


def _mode(said: Mapping[str, Any]) -> Mode:
    found = said.get("mode", "sync")
    if found not in MODES:
        raise InvalidRequest(f"mode: must be one of {', '.join(MODES)}")
    return cast(Mode, found)


def _flag(said: Mapping[str, Any]) -> bool:
    found = said.get("dry_run", False)
    if isinstance(found, str) and found.lower() in _TRUE | _FALSE:
        return found.lower() in _TRUE
    if not isinstance(found, bool):
        raise InvalidRequest("dry_run: must be true or false")
    return found


def _seed(said: Mapping[str, Any]) -> int:
    found = said.get("seed", 0)
    if isinstance(found, str) and found.isascii() and found.isdecimal() and len(found) <= 20:
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 2**64:
        raise InvalidRequest(f"seed: must be a whole number from 0 to {2**64 - 1}")
    return found
