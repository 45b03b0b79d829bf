"""Files of the editor itself: workflows, blueprints, style sheets. Knows HTTP; names are decoded by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from keelbill.api.comfy.bodies import read_bytes
from keelbill.api.comfy.door import Call, both, nothing, one, raw_parts, reply
from keelbill.api.comfy.files import CACHING
from keelbill.api.comfy.secrets import clean_file
from keelbill.core.errors import InvalidRequest, NotFound
from keelbill.graph.registry import load_builtin
from keelbill.workspace.names import Place, folder_of, place_of
from keelbill.workspace.service import folders_of

if TYPE_CHECKING:
    from keelbill.workspace.schemas import StoredFile

STYLE: Final = "user.css"
_KINDS: Final = {"json": "application/json", "css": "text/css; charset=utf-8"}
MOVE: Final = "move"


class Userdata:
    """The routes."""

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            one("/user.css", self.style),
            one("/api/user.css", self.style),
            *both("/userdata", self.listed),
            *both("/v2/userdata", self.listed_with_folders),
            *both("/userdata/{file:path}", self.read),
            *both("/userdata/{file:path}", self.write, "POST", reads="text"),
            *both("/userdata/{file:path}", self.remove, "DELETE"),
        ]

    async def style(self, call: Call) -> Response:
        """Send the account's own style sheet, which is empty until there is one."""
        return await self._style(call)

    async def listed(self, call: Call) -> Response:
        """List a folder's files."""
        folder = folder_of(_decoded(call.query.get("dir", "")), "dir")
        if not call.query.get("dir"):
            raise InvalidRequest("dir: required")
        is_deep = call.flag("recurse")
        found = await call.platform.workspace.listed(call.account, "userdata", folder, deep=is_deep)
        if not found and not await self._exists(call, folder):
            raise NotFound(f"dir: there is no folder {folder!r}.")
        return reply([_entry(each, folder, call) for each in found])

    async def listed_with_folders(self, call: Call) -> Response:
        """List a folder's files and folders."""
        folder = folder_of(call.query.get("path", ""), "path")
        found = await call.platform.workspace.listed(call.account, "userdata", folder, deep=True)
        if not found and folder:
            raise NotFound(f"path: there is no folder {folder!r}.")
        folders = sorted(each for each in folders_of(found) if each.rpartition("/")[0] == folder and each != folder)
        inside = [{"name": each.rpartition("/")[2], "path": each, "type": "directory"} for each in folders]
        files = [
            {
                "name": each.name,
                "path": each.path,
                "type": "file",
                "size": each.size_bytes,
                "modified": each.modified_ms,
            }
            for each in found
            if each.folder == folder
        ]
        return reply(inside + files)

    async def read(self, call: Call) -> Response:
        """Send a file."""
        place = _place(call)
        if place.path == STYLE:
            return await self._style(call)
        stored, content = await call.platform.workspace.content(call.account, place)
        kind = _KINDS.get(stored.name.rpartition(".")[2], "")
        headers = dict(CACHING) | ({} if kind else {"content-disposition": "attachment"})
        return Response(content, media_type=kind or "application/octet-stream", headers=headers)

    async def write(self, call: Call) -> Response:
        """Write a file, or move one."""
        parts = raw_parts(call.request, "userdata")
        if len(parts) == 3 and parts[1] == MOVE:
            place, to = place_of("userdata", parts[0], field="file"), place_of("userdata", parts[2], field="dest")
            overwrite = call.flag("overwrite", True)
            stored = await call.platform.workspace.move(call.account, place, to, overwrite=overwrite)
            return reply(_told(stored, call))
        place = _place(call)
        content = await read_bytes(call.request, call.platform.settings.max_body_bytes)
        if place.name.lower().endswith(".json"):
            content = await asyncio.to_thread(clean_file, content, load_builtin())
        kept = await call.platform.workspace.keep(content, "application/octet-stream")
        overwrite = call.flag("overwrite", True)
        stored = await call.platform.workspace.write(call.account, place, kept, overwrite=overwrite)
        return reply(_told(stored, call))

    async def remove(self, call: Call) -> Response:
        """Remove a file."""
        await call.platform.workspace.remove(call.account, _place(call))
        return nothing(204)

    async def _style(self, call: Call) -> Response:
        try:
            _, content = await call.platform.workspace.content(call.account, Place("userdata", "", STYLE))
        except NotFound:
            content = b""
        return Response(content, media_type=_KINDS["css"], headers=dict(CACHING))

    async def _exists(self, call: Call, folder: str) -> bool:
        return bool(await call.platform.workspace.listed(call.account, "userdata", folder, deep=True))


def _place(call: Call) -> Place:
    return place_of("userdata", "/".join(raw_parts(call.request, "userdata")), field="file")


def _decoded(folder: str) -> str:
    return folder.removesuffix("/")


def _facts(stored: StoredFile, path: str) -> dict[str, Any]:
    return {
        "path": path,
        "size": stored.size_bytes,
        "modified": stored.modified_ms,
        "created": stored.created_ms,
    }


def _entry(stored: StoredFile, folder: str, call: Call) -> object:
    path = stored.path.removeprefix(folder + "/") if folder else stored.path
    if call.flag("full_info"):
        return _facts(stored, path)
    return [path, *path.split("/")] if call.flag("split") else path


def _told(stored: StoredFile, call: Call) -> object:
    return _facts(stored, stored.path) if call.flag("full_info") else stored.path
