"""Scripts that the graph editor loads when it starts: our own. Knows addresses and files, not what scripts do."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from keelbill.api.comfy.door import Call, both, one, reply
from keelbill.api.comfy.own_port import MARK

if TYPE_CHECKING:
    from keelbill.api.platform import Platform

OWN: Final = "/extensions/keelbill/main.js"
_PLACE: Final = 'const STUDIO = "";'
_SCRIPT: Final = "text/javascript; charset=utf-8"


class Extensions:
    """The routes.

    Args:
        platform: For the studio's address, which a port of the editor's own does not have.
    """

    def __init__(self, platform: Platform) -> None:
        self._base_url = platform.accounts.rules.base_url
        self._own = resources.files(__package__).joinpath("extension", "main.js").read_text(encoding="utf-8")

    def routes(self) -> list[BaseRoute]:
        """Return the routes; they must come before that of the editor's own files."""
        return [*both("/extensions", self.names), one(OWN, self.own)]

    async def names(self, call: Call) -> Response:
        """List the scripts to load."""
        return reply([OWN])

    async def own(self, call: Call) -> Response:
        """Send our own script, with the address at which the studio is for this page."""
        base = self._base_url.rstrip("/") if call.request.scope.get(MARK) else ""
        content = self._own.replace(_PLACE, f"const STUDIO = {json.dumps(base)};")
        return Response(content, media_type=_SCRIPT, headers={"cache-control": "no-cache"})
