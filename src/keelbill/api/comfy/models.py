"""Model files and node definitions as the editor lists them. Knows folders by their names, never a path."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import BaseRoute

from keelbill.api.comfy.door import Call, both, reply
from keelbill.core.errors import NotFound
from keelbill.graph.definition import definition, definitions
from keelbill.graph.registry import load_builtin
from keelbill.storage.hub import Hub
from keelbill.storage.shelves import FOLDERS, SUFFIX, Shelved, Shelves
from keelbill.workspace.errors import BadName
from keelbill.workspace.names import Area, Place, annotated, place_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from keelbill.api.platform import Platform
    from keelbill.workspace.schemas import Account

FRESH_S: Final = 5.0
MAX_LISTED: Final = 2000
MAX_HEADER_BYTES: Final = 32 * 2**20
PAINTERS: Final = ("checkpoints", "diffusion_models")
"""Folders whose files paint; where both have a name, the first one's counts."""

_PICTURES: Final[tuple[Area, ...]] = ("input", "output", "temp")


class ModelNames:
    """Names of model files, read from the disk at most every few seconds.

    Args:
        platform: For settings and clock.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._names: dict[str, list[str]] = {}
        self._painters: dict[str, str] = {}
        self._until_s = -1.0

    def shelves(self) -> Shelves:
        """Return the model files themselves; looking into them takes the disk."""
        return Shelves(Hub.from_settings(self._platform.settings))

    async def names(self) -> dict[str, list[str]]:
        """Return the names in every folder."""
        now_s = self._platform.clock.monotonic_s()
        if now_s >= self._until_s:
            self._names, self._painters = await asyncio.to_thread(self._read)
            self._until_s = now_s + FRESH_S
        return self._names

    async def painter(self, name: str) -> str:
        """Return the installed model for which a name stands where graphs name whole models or transformers, or ""."""
        await self.names()
        return self._painters.get(name) or self._painters.get(name + SUFFIX) or ""

    def _read(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        shelves = self.shelves()
        names = {folder: shelves.names(folder) for folder in FOLDERS}
        painters = {
            name: shelves.find(folder, name).model for folder in reversed(PAINTERS) for name in ("", *names[folder])
        }
        return names, painters


class AccountFolders:
    """What fields of files offer to one account: model files, and its own pictures.

    Args:
        models: Names in the folders of models.
        pictures: Paths of its newest pictures by area.
        others: Places of older ones that can be used too.
    """

    def __init__(
        self, models: dict[str, list[str]], pictures: dict[str, list[str]], others: Collection[Place] = ()
    ) -> None:
        self._models = models
        self._pictures = pictures
        self._there = {(area, path) for area, paths in pictures.items() for path in paths}
        self.add(others)

    def add(self, others: Collection[Place]) -> None:
        """Add places of pictures that are too old to be listed."""
        self._there |= {(place.area, place.path) for place in others}

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        return self._models.get(folder) or self._pictures.get(folder) or []

    def has(self, folder: str, name: str) -> bool:
        """Return whether a name can be used, listed or not."""
        if folder in self._models:
            listed = self._models[folder]
            return name in listed or f"{name}.safetensors" in listed
        place = picture_place(name, folder) if folder in self._pictures else None
        return place is not None and (place.area, place.path) in self._there


def picture_place(name: str, folder: str) -> Place | None:
    """Return where a picture is that a graph names, nothing if no picture can have that name."""
    plain, area = annotated(name, "output" if folder == "output" else "input")
    try:
        return place_of(area, plain)
    except BadName:
        return None


async def folders_of(
    platform: Platform, models: ModelNames, account: Account, *, with_pictures: bool = True
) -> AccountFolders:
    """Return what an account's fields offer now.

    Args:
        platform: For the account's files.
        models: Names of model files.
        account: Whose.
        with_pictures: Whether its pictures are looked up too.
    """
    newest = await platform.workspace.newest_by_area(account, _PICTURES if with_pictures else (), MAX_LISTED)
    pictures: dict[str, list[str]] = {area: sorted(each.path for each in newest.get(area, ())) for area in _PICTURES}
    return AccountFolders(await models.names(), pictures)


class Models:
    """The routes.

    Args:
        models: Names of model files.
    """

    def __init__(self, models: ModelNames) -> None:
        self._models = models

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            *both("/object_info", self.all_definitions),
            *both("/object_info/{name:path}", self.one_definition),
            *both("/embeddings", self.embeddings),
            *both("/models", self.folders),
            *both("/models/{folder}", self.names),
            *both("/experiment/models", self.labelled_folders),
            *both("/experiment/models/preview/{folder}/{place}/{file:path}", self.preview),
            *both("/experiment/models/{folder}", self.facts),
            *both("/view_metadata/{folder}", self.metadata),
        ]

    async def all_definitions(self, call: Call) -> Response:
        """Return the definitions of all nodes."""
        folders = await folders_of(call.platform, self._models, call.account)
        return reply(definitions(load_builtin(), folders))

    async def one_definition(self, call: Call) -> Response:
        """Return the definition of a node, or an empty object."""
        name = call.path("name")
        node = load_builtin().get(name)
        if node is None:
            return reply({})
        return reply({name: definition(node, await folders_of(call.platform, self._models, call.account))})

    async def folders(self, call: Call) -> Response:
        """Return the folders of models."""
        return reply(list(FOLDERS))

    async def names(self, call: Call) -> Response:
        """Return the names in a folder."""
        return reply((await self._models.names())[_folder(call)])

    async def embeddings(self, call: Call) -> Response:
        """Return the names of embeddings without their endings."""
        return reply([name.removesuffix(".safetensors") for name in (await self._models.names())["embeddings"]])

    async def labelled_folders(self, call: Call) -> Response:
        """Return the folders of models with a label each."""
        return reply([{"name": folder, "folders": [folder]} for folder in FOLDERS])

    async def facts(self, call: Call) -> Response:
        """Return the files of a folder with their sizes and times."""
        folder = _folder(call)
        names, shelves = (await self._models.names())[folder], self._models.shelves()
        return reply(await asyncio.to_thread(lambda: [_facts(name, shelves.find(folder, name)) for name in names]))

    async def preview(self, call: Call) -> Response:
        """Say that no model has a preview."""
        raise NotFound("There is no preview of this model.")

    async def metadata(self, call: Call) -> Response:
        """Return what a model file says of itself."""
        folder, name = _folder(call), call.query.get("filename", "")
        if name not in (await self._models.names())[folder]:
            raise NotFound("filename: there is no such file.")
        shelves = self._models.shelves()
        found = await asyncio.to_thread(lambda: _metadata(shelves.find(folder, name).path))
        if found is None:
            raise NotFound("The file says nothing of itself.")
        return reply(found)


def _folder(call: Call) -> str:
    folder = call.path("folder")
    if folder not in FOLDERS:
        raise NotFound(f"folder: must be one of {', '.join(FOLDERS)}.")
    return folder


def _facts(name: str, shelved: Shelved) -> dict[str, Any]:
    if shelved.path is None:
        return {"name": name, "pathIndex": 0, "modified": 0, "created": 0, "size": 0}
    stat = shelved.path.stat()
    times = {"modified": stat.st_mtime, "created": stat.st_ctime}
    return {"name": name, "pathIndex": 0, **times, "size": stat.st_size}


def _metadata(path: Path | None) -> dict[str, Any] | None:
    """Read the header of a safetensors file: its length in 8 bytes, then JSON."""
    if path is None:
        return None
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 0 < length <= MAX_HEADER_BYTES:
            return None
        try:
            header: Any = json.loads(file.read(length))
        except ValueError:
            return None
    found = header.get("__metadata__") if isinstance(header, dict) else None
    return found if isinstance(found, dict) else None
