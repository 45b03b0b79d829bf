"""Scripts that the graph editor loads when it starts: our own, and those of enabled packs. Knows not what they do."""

from __future__ import annotations

import json
import mimetypes
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from keelbill.api.comfy.door import Call, both, one, reply
from keelbill.api.comfy.own_port import MARK
from keelbill.graph.pack_web import web_files

if TYPE_CHECKING:
    from keelbill.api.platform import Platform

OWN: Final = "/extensions/keelbill/main.js"
_PLACE: Final = 'const STUDIO = "";'
_SCRIPT: Final = "text/javascript; charset=utf-8"


class Extensions:
    """The routes.

    Args:
        platform: For the studio's address, which a port of the editor's own does not have, and for the enabled packs.
    """

    def __init__(self, platform: Platform) -> None:
        self._base_url = platform.accounts.rules.base_url
        self._own = resources.files(__package__).joinpath("extension", "main.js").read_text(encoding="utf-8")
        self._of_packs = web_files(platform.settings.node_packs)
        self._packs = sorted({name.partition("/")[0] for name in self._of_packs})
        scripts = (name for name in self._of_packs if name.endswith(".js"))
        self._names = [OWN, *(f"/extensions/{name}" for name in scripts)]

    def routes(self) -> list[BaseRoute]:
        """Return the routes; they must come before that of the editor's own files."""
        return [
            *both("/extensions", self.names),
            one(OWN, self.own),
            *(one(f"/extensions/{pack}/{{path:path}}", partial(self.of_pack, pack)) for pack in self._packs),
        ]

    async def names(self, call: Call) -> Response:
        """List the scripts to load."""
        return reply(self._names)

    async def own(self, call: Call) -> Response:
        """Send our own script, with the address at which the studio is for this page."""
        base = self._base_url.rstrip("/") if call.request.scope.get(MARK) else ""
        content = self._own.replace(_PLACE, f"const STUDIO = {json.dumps(base)};")
        return Response(content, media_type=_SCRIPT, headers={"cache-control": "no-cache"})

    async def of_pack(self, pack: str, call: Call) -> Response:
        """Send a file of an enabled pack."""
        name = f"{pack}/{call.path('path')}"
        content = self._of_packs.get(name)
        if content is None:
            raise HTTPException(404)
        kind = (
            _SCRIPT if name.endswith((".js", ".mjs")) else mimetypes.guess_type(name)[0] or "application/octet-stream"
        )
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})
