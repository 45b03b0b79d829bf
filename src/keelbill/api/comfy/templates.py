"""Workflows to begin with: a catalogue with pictures, made by this server's own model. Knows files of the package."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from keelbill.api.comfy.door import Call, one, reply
from keelbill.api.comfy.models import ModelNames
from keelbill.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER: Final = "templates"
CATALOGUE: Final = "catalogue.json"
NEEDS: Final = {"lora": "loras", "canny": "controlnet", "blur": "controlnet"}
"""Templates that need files that not every server has, with the folders of these."""


class Templates:
    """The routes.

    Args:
        models: Names of model files.
    """

    def __init__(self, models: ModelNames) -> None:
        self._models = models

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            one("/templates/{name}.webp", self.picture),
            one("/templates/{name}.json", self.document),
        ]

    async def document(self, call: Call) -> Response:
        """Send the catalogue, which is the same in every language, or a workflow of it."""
        call.forgive()
        name = call.path("name")
        if name == "index_logo":
            return reply({})
        if name == "index" or name.startswith("index."):
            return reply(await self._catalogue())
        if name not in names(await self._catalogue()):
            raise NotFound("There is no such template.")
        return _fresh(_folder().joinpath(f"{name}.json").read_bytes(), "application/json")

    async def picture(self, call: Call) -> Response:
        """Send the picture of a template."""
        call.forgive()
        file = _folder().joinpath(f"{call.path('name')}.webp")
        if call.path("name").removesuffix("-1") not in names(catalogue()) or not file.is_file():
            raise NotFound("There is no such picture.")
        return _fresh(file.read_bytes(), "image/webp")

    async def _catalogue(self) -> list[dict[str, Any]]:
        files = await self._models.names()
        missing = {name for name, folder in NEEDS.items() if not files[folder]}
        return [
            {**part, "templates": [each for each in part["templates"] if each["name"] not in missing]}
            for part in catalogue()
        ]


@cache
def catalogue() -> list[dict[str, Any]]:
    """Return the whole catalogue."""
    found: list[dict[str, Any]] = json.loads(_folder().joinpath(CATALOGUE).read_bytes())
    return found


def names(parts: Iterable[dict[str, Any]]) -> list[str]:
    """Return the names of all templates of a catalogue."""
    return [each["name"] for part in parts for each in part["templates"]]


def _folder() -> Traversable:
    return resources.files(__package__).joinpath(FOLDER)


def _fresh(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers={"cache-control": "private, no-cache"})
