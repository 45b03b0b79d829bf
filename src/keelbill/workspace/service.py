"""Keeps the files and editor settings of accounts: names, numbers, quotas, expiry. Knows no graph and no HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import InvalidRequest
from keelbill.core.ids import new_id
from keelbill.db.base import Database
from keelbill.serving.messages import GraphFile
from keelbill.storage.blobs import BlobStore
from keelbill.workspace import repository
from keelbill.workspace.errors import BadName, NameTaken, NoSuchFile, QuotaFull
from keelbill.workspace.names import Area, Place, beside, numbered, place_of
from keelbill.workspace.schemas import Account, Content, Limits, StoredFile

BATCH: Final = 500
MAX_NAMESAKES: Final = 1000
MAX_SETTING_NAME: Final = 128
UNNAMED: Final = "output"


class Workspace:
    """The files and settings of all accounts; every method sees only one's own.

    Args:
        database: Where rows are kept.
        blobs: Where bytes are kept; what no row mentions is swept elsewhere.
        clock: Stamps files.
        limits: How much one account may keep.
    """

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock, limits: Limits | None = None) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self.limits = limits or Limits()
        self._examples: dict[Place, StoredFile] = {}

    async def offer(self, name: str, content: bytes, media_type: str, **facts: Any) -> None:
        """Put a picture among the inputs of every account; one's own of the same name goes before it.

        Raises:
            DiskFull: It cannot be kept.
        """
        kept = await self.keep(content, media_type, **facts)
        example = self._row(place_of("input", name), kept, "")
        self._examples[example.place] = example

    # ------------------------------------------------------------ what people bring

    async def keep(self, content: bytes, media_type: str, **facts: Any) -> Content:
        """Keep some bytes for a file that gets its name within the hour.

        Raises:
            DiskFull: They cannot be kept.
        """
        return Content(await self._blobs.aput(content), media_type, len(content), **facts)

    async def upload(self, account: Account, place: Place, content: Content, *, overwrite: bool = False) -> StoredFile:
        """Add a picture: the same once more is the same file, another of the same name gets a number.

        Raises:
            QuotaFull: The account keeps as much as it may.
        """

        def upload(connection: Connection) -> StoredFile:
            wanted = place
            for number in range(1, MAX_NAMESAKES):
                there = repository.find(connection, account, wanted)
                if there is None:
                    return self._add(connection, account, wanted, content)
                if there.blob_ref == content.blob_ref and there.made_by == content.made_by:
                    return there
                if overwrite:
                    return self._replace(connection, account, there, content)
                wanted = replace(place, name=beside(place.name, number))
            raise NameTaken(f"filename: there are {MAX_NAMESAKES} files named like {place.name!r}.")

        return await self._database.write(upload)

    async def write(self, account: Account, place: Place, content: Content, *, overwrite: bool = True) -> StoredFile:
        """Write a file of the editor.

        Raises:
            NameTaken: It exists and may not be replaced.
            QuotaFull: The account keeps as much as it may.
        """

        def write(connection: Connection) -> StoredFile:
            there = repository.find(connection, account, place)
            if there is None:
                return self._add(connection, account, place, content)
            if not overwrite:
                raise NameTaken(f"file: there is a file {place.path!r} already.")
            return self._replace(connection, account, there, content)

        return await self._database.write(write)

    async def move(self, account: Account, place: Place, to: Place, *, overwrite: bool = True) -> StoredFile:
        """Give a file another name.

        Raises:
            NoSuchFile: It does not exist.
            NameTaken: The other name is taken and may not be replaced.
        """

        def move(connection: Connection) -> StoredFile:
            moved = _present(repository.find(connection, account, place), place)
            if to == place:
                return moved
            if repository.find(connection, account, to) is not None:
                if not overwrite:
                    raise NameTaken(f"file: there is a file {to.path!r} already.")
                repository.remove(connection, account, to)
            return repository.move(connection, account, moved, to)

        return await self._database.write(move)

    async def remove(self, account: Account, place: Place) -> None:
        """Remove a file.

        Raises:
            NoSuchFile: It does not exist.
        """
        if not await self._database.write(lambda c: repository.remove(c, account, place)):
            raise NoSuchFile(f"There is no file {place.path!r}.")

    # ------------------------------------------------------------ looking

    async def find(self, account: Account, place: Place) -> StoredFile:
        """Return a file.

        Raises:
            NoSuchFile: It does not exist or is somebody else's.
        """
        found = await self._database.glance(lambda c: repository.find(c, account, place))
        return _present(found or self._examples.get(place), place)

    async def content(self, account: Account, place: Place) -> tuple[StoredFile, bytes]:
        """Return a file with its bytes.

        Raises:
            NoSuchFile: It does not exist or is somebody else's.
        """
        found = await self.find(account, place)
        return found, await self._blobs.aread(found.blob_ref)

    async def listed(
        self, account: Account, area: Area, folder: str | None = None, *, deep: bool = False
    ) -> list[StoredFile]:
        """Return the files of a folder (of all, without one) by name; `deep` takes in the folders inside it."""
        return await self._database.read(lambda c: repository.listed(c, account, area, folder, deep=deep))

    async def newest(self, account: Account, area: Area, limit: int = 1000) -> list[StoredFile]:
        """Return the files of an area, newest first, and then the examples."""
        return (await self.newest_by_area(account, (area,), limit))[area]

    async def newest_by_area(
        self, account: Account, areas: Sequence[Area], limit: int = 1000
    ) -> dict[Area, list[StoredFile]]:
        """Return the files of some areas, newest first, and then the examples; all in one look."""

        def look(connection: Connection) -> dict[Area, list[StoredFile]]:
            return {area: repository.newest(connection, account, area, limit) for area in areas}

        found = await self._database.read(look) if areas else {}
        own = {each.place for files in found.values() for each in files}
        examples = [each for place, each in self._examples.items() if place not in own]
        return {area: files + [each for each in examples if each.area == area] for area, files in found.items()}

    async def files(self, account: Account, places: Mapping[str, Place]) -> dict[str, StoredFile]:
        """Return the file of each name that some place stands for; names without a file are left out."""
        wanted = list(places.values())
        found = await self._database.read(lambda c: repository.of_paths(c, account, wanted)) if wanted else {}
        there = self._examples | found
        return {name: there[place] for name, place in places.items() if place in there}

    async def refs(self, account: Account, places: Mapping[str, Place]) -> dict[str, str]:
        """Return the blob of each name that some place stands for; names without a file are left out."""
        return {name: file.blob_ref for name, file in (await self.files(account, places)).items()}

    async def require_room(self, account: Account) -> None:
        """Check that the account may keep more.

        Raises:
            QuotaFull: It may not.
        """
        await self._database.read(lambda c: self._require_room(c, account, 0))

    # ------------------------------------------------------------ what graphs put out

    async def keep_outputs(
        self, account: Account, job_id: str, files: Sequence[GraphFile], *, is_cached: bool = False
    ) -> list[StoredFile]:
        """Name and keep what a node made.

        A result that was known already keeps the file it has, if that is still there; so does what the job put out
        before its worker was lost. All else gets the next number of its prefix.

        Raises:
            DiskFull: It cannot be kept.
        """
        kept = await asyncio.gather(*(self._blobs.aput(each.content) for each in files))

        def name(connection: Connection) -> list[StoredFile]:
            named = [
                self._output(connection, account, job_id, each, ref, is_cached=is_cached)
                for each, ref in zip(files, kept, strict=True)
            ]
            if any(each.area == "temp" for each in named):
                repository.drop(connection, repository.temp_beyond(connection, account, self.limits.temp_files))
            return named

        return await self._database.write(name)

    def _output(
        self, connection: Connection, account: Account, job_id: str, new: GraphFile, ref: str, *, is_cached: bool
    ) -> StoredFile:
        of_job = None if is_cached else job_id
        mark = sha256(new.key.encode()).hexdigest() if new.key else ""
        there = repository.made_by(connection, account, new.kind, mark, of_job) if mark else None
        if there is not None and there.blob_ref == ref:
            return there
        content = Content(ref, new.media_type, len(new.content), new.width, new.height, mark)
        place = _place_of_output(new)
        while True:
            number = repository.count_on(connection, account, place.area, place.folder, place.name)
            named = replace(place, name=numbered(place.name, number, new.media_type))
            made = self._row(named, content, job_id)
            if repository.add(connection, account, made):
                return made

    # ------------------------------------------------------------ settings of the editor

    async def settings(self, account: Account) -> dict[str, Any]:
        """Return an account's settings by name."""
        found = await self._database.read(lambda c: repository.settings(c, account))
        return {name: json.loads(value) for name, value in found.items()}

    async def set_settings(self, account: Account, values: Mapping[str, Any]) -> None:
        """Replace some settings.

        Raises:
            InvalidRequest: A name is empty or long, a value is large, or there are too many.
        """
        written = {name: json.dumps(value, separators=(",", ":")) for name, value in values.items()}
        for name, text in written.items():
            if not 1 <= len(name) <= MAX_SETTING_NAME or not name.isprintable():
                raise InvalidRequest(f"settings: names have from 1 to {MAX_SETTING_NAME} printable characters")
            if len(text) > self.limits.setting_bytes:
                raise InvalidRequest(f"settings: {name} must have at most {self.limits.setting_bytes} characters")

        def write(connection: Connection) -> None:
            held = repository.settings(connection, account)
            if len({*held, *written}) > self.limits.settings:
                raise InvalidRequest(f"settings: an account may have {self.limits.settings}")
            repository.set_settings(connection, account, written)

        await self._database.write(write)

    # ------------------------------------------------------------ housekeeping

    async def sweep(self) -> int:
        """Forget temporary files that are past their time; return how many."""
        before_ms = self._clock.now_ms() - self.limits.temp_ms

        def sweep(connection: Connection) -> int:
            old = repository.temp_before(connection, before_ms, BATCH)
            repository.drop(connection, old)
            return len(old)

        swept = 0
        while batch := await self._database.write(sweep):
            swept += batch
            await asyncio.sleep(0)
        return swept

    def forget(self, connection: Connection, job_id: str, kept: Collection[str]) -> None:
        """Forget the pictures of a job that were deleted elsewhere.

        Args:
            connection: Of the transaction.
            job_id: That made them.
            kept: Blobs of those that are left.
        """
        made = repository.of_job(connection, job_id)
        repository.drop(connection, [each.id for each in made if each.blob_ref not in kept])

    def is_needed(self, connection: Connection, ref: str) -> bool:
        """Return whether a file has these bytes."""
        return ref in self._example_refs() or repository.mentions(connection, ref)

    def all_refs(self, connection: Connection) -> set[str]:
        """Return every blob that a file mentions, so that all others can be swept."""
        return repository.all_refs(connection) | self._example_refs()

    def _example_refs(self) -> set[str]:
        return {each.blob_ref for each in self._examples.values()}

    # ------------------------------------------------------------ rows

    def _add(self, connection: Connection, account: Account, place: Place, content: Content) -> StoredFile:
        self._require_room(connection, account, content.size_bytes)
        made = self._row(place, content, "")
        if not repository.add(connection, account, made):
            raise NameTaken(f"file: there is a file {place.path!r} already.")
        return made

    def _replace(self, connection: Connection, account: Account, there: StoredFile, content: Content) -> StoredFile:
        self._require_room(connection, account, content.size_bytes - there.size_bytes, more_files=0)
        made = self._row(there.place, content, "")
        changed = replace(made, id=there.id, created_ms=there.created_ms)
        repository.change(connection, changed)
        return changed

    def _row(self, place: Place, content: Content, job_id: str) -> StoredFile:
        now_ms = self._clock.now_ms()
        return StoredFile(
            id=new_id(),
            area=place.area,
            folder=place.folder,
            name=place.name,
            **vars(content),
            job_id=job_id,
            created_ms=now_ms,
            modified_ms=now_ms,
        )

    def _require_room(self, connection: Connection, account: Account, more_bytes: int, *, more_files: int = 1) -> None:
        files, size_bytes = repository.held(connection, account)
        if files + more_files > self.limits.files:
            raise QuotaFull(f"files: an account may keep {self.limits.files:,}; delete some first.")
        if size_bytes + more_bytes > self.limits.size_bytes:
            held, limit = size_bytes >> 20, self.limits.size_bytes >> 20
            raise QuotaFull(f"files: an account may keep {limit:,} MiB and has {held:,} MiB; delete some first.")


def _place_of_output(new: GraphFile) -> Place:
    """Return folder and prefix; a prefix that a graph computed and that no name may have is not asked."""
    try:
        return place_of(new.kind, new.prefix, field="filename_prefix")
    except BadName:
        return Place(new.kind, "", UNNAMED)


def _present(found: StoredFile | None, place: Place) -> StoredFile:
    if found is None:
        raise NoSuchFile(f"There is no file {place.path!r}.")
    return found


def folders_of(files: Iterable[StoredFile]) -> set[str]:
    """Return every folder that some files make, with those above them."""
    found: set[str] = set()
    for each in files:
        parts = each.folder.split("/") if each.folder else []
        found |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    return found
