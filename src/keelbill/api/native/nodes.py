"""Routes about packs of nodes: which there are, and which ones a workflow lacks. Nothing can be changed here."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request

from keelbill.api.deps import CanGenerate, CanReadAccount, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, View
from keelbill.api.native.workflow_asks import read_ask
from keelbill.api.native.workflow_views import EXAMPLE
from keelbill.graph import pack_index, packs
from keelbill.graph.registry import load_builtin

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["workflow"],
                    "properties": {
                        "workflow": {
                            "type": "object",
                            "description": "A graph or a saved workflow.",
                            "examples": [EXAMPLE],
                        }
                    },
                }
            }
        },
    }
}

router = APIRouter(prefix="/api/nodes", tags=["Workflows"], responses=ERRORS)


class PackView(View):
    """A pack of nodes."""

    name: str
    version: str
    about: str
    classes: list[str] = Field(description="Class keys of its nodes.")
    state: str = Field(description="`enabled`, `changed` since it was enabled, `off`, or `not installed`.")
    command: str = Field(description="What an administrator would run to have it; empty if it is enabled.")


class MissingView(View):
    """A class of nodes that is not there."""

    class_type: str
    nodes: list[str] = Field(description="Ids of the workflow's nodes of this class.")
    pack: str = Field(description="That has it; empty if no known pack does.")
    command: str = Field(description="What an administrator would run to have it.")


@router.get("/packs", openapi_extra=WITH_CREDENTIAL)
async def list_packs(request: Request, caller: CanReadAccount) -> list[PackView]:
    """List the packs of nodes that are installed or known. Only an administrator can enable one, on the machine."""
    there, known = await asyncio.to_thread(_packs, request)
    views = [
        PackView(
            name=pack.name,
            version=pack.version,
            about=pack.summary,
            classes=list(pack.classes),
            state=pack.state,
            command="" if pack.state == "enabled" else f"keelbill nodes enable {pack.name}",
        )
        for pack in there
    ]
    names = {packs.plain(pack.name) for pack in there}
    views += [
        PackView(
            name=pack.name,
            version=pack.version,
            about=pack.about,
            classes=list(pack.classes),
            state="not installed",
            command=pack.command,
        )
        for pack in known
        if packs.plain(pack.name) not in names
    ]
    return views


@router.post("/missing", openapi_extra=WITH_CREDENTIAL | _BODY)
async def find_missing_nodes(request: Request, caller: CanGenerate) -> list[MissingView]:
    """Say which nodes of a workflow are not there, and what an administrator would run to add them."""
    ask = await read_ask(request, max_bytes=platform_of(request).settings.max_body_bytes)
    there, known = await asyncio.to_thread(_packs, request)
    used = pack_index.used_classes(ask.workflow)
    return [
        MissingView(class_type=each.class_type, nodes=list(each.nodes), pack=each.pack, command=each.command)
        for each in pack_index.missing(used, load_builtin(), there, known)
    ]


def _packs(request: Request) -> tuple[list[packs.Pack], list[pack_index.Listed]]:
    settings = platform_of(request).settings
    return packs.installed(settings.node_packs), pack_index.known(settings.home)
