"""Keeps finished pictures: finds, marks, sorts and deletes them for their organisation. Knows no money."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Sequence
from typing import Final

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import Conflict, InvalidRequest
from keelbill.core.ids import new_id
from keelbill.db.base import Database
from keelbill.gallery import facets, repository
from keelbill.gallery.errors import NoSuchAlbum, NoSuchPicture
from keelbill.gallery.schemas import MAX_PAGE, PAGE, Album, Filter, NewPicture, Page, Picture
from keelbill.gallery.selections import Selections
from keelbill.gallery.tags import checked_tags
from keelbill.gallery.uploads import Uploads
from keelbill.imaging.thumbnails import thumbnail
from keelbill.storage.blobs import BlobStore

DAY_MS: Final = 86_400_000
BATCH: Final = 200
MAX_ALBUMS: Final = 1000

Forget = Callable[[Connection, str], None]
"""Told in the same transaction which job's picture is deleted, so that the job forgets it too."""

Needs = Callable[[Connection, str], bool]
"""Asked whether anybody else still needs a blob."""


class Gallery:
    """The pictures of all organisations; every method sees only one's own.

    Args:
        database: Where rows are kept.
        blobs: Where bytes are kept.
        clock: Stamps pictures.
        forget_job: Told about deletions.
        needed_elsewhere: Asked before bytes are removed.

    Attributes:
        selections: What is done to many pictures at once.
        uploads: Pictures that people bring along to start from.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clock: Clock,
        *,
        forget_job: Forget | None = None,
        needed_elsewhere: Needs | None = None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._forget_job = forget_job
        self._needed_elsewhere = needed_elsewhere
        self._thumbnails = asyncio.Semaphore(2)
        self.selections = Selections(database, blobs, hide=self._hide)
        self.uploads = Uploads(database, blobs, clock)

    def add(self, connection: Connection, new: NewPicture) -> None:
        """Put a picture into the history, in the transaction that captures its price."""
        repository.add(connection, new, self._clock.now_ms())

    async def page(self, org_id: str, wanted: Filter | None = None, cursor: str = "", limit: int = PAGE) -> Page:
        """Return pictures of an organisation, newest first.

        Args:
            org_id: Whose.
            wanted: Which; all if not given.
            cursor: As the page before returned it, "" for the first.
            limit: 1 to 200.

        Raises:
            InvalidRequest: The cursor is not ours, or the limit is out of range.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit: from 1 to {MAX_PAGE}")
        before = _number(cursor)
        found = await self._database.read(
            lambda connection: repository.listed(connection, org_id, wanted or Filter(), before, limit + 1)
        )
        shown = tuple(found[:limit])
        return Page(shown, f"{shown[-1].number:x}" if len(found) > limit else "")

    async def get(self, org_id: str, picture_id: str) -> Picture:
        """Return one picture with its tags.

        Raises:
            NoSuchPicture: It does not exist or is somebody else's.
        """
        found = await self._database.read(lambda connection: repository.find(connection, org_id, picture_id))
        return _present(found)

    async def of_job(self, org_id: str, job_id: str) -> Picture:
        """Return the picture that a job made.

        Raises:
            NoSuchPicture: It made none, or it is deleted or somebody else's.
        """
        found = await self._database.read(lambda connection: repository.find_by_job(connection, org_id, job_id))
        return _present(found)

    async def content(self, org_id: str, picture_id: str) -> tuple[Picture, bytes]:
        """Return a picture with the bytes of its file.

        Raises:
            NoSuchPicture: It does not exist or is somebody else's.
        """
        found = await self.get(org_id, picture_id)
        return found, await self._blobs.aread(found.blob_ref)

    async def thumbnail(self, org_id: str, picture_id: str) -> bytes:
        """Return a small WebP of a picture, made when it is first asked for.

        Raises:
            NoSuchPicture: It does not exist or is somebody else's.
        """
        found = await self._database.read(lambda connection: repository.refs(connection, org_id, picture_id))
        if found is None:
            raise NoSuchPicture("There is no such picture.")
        blob_ref, thumb_ref = found
        if thumb_ref:
            return await self._blobs.aread(thumb_ref)
        content = await self._blobs.aread(blob_ref)
        async with self._thumbnails:
            small = await asyncio.to_thread(thumbnail, content)
        ref = await self._blobs.aput(small)
        await self._database.write(lambda connection: repository.keep_thumb(connection, org_id, picture_id, ref))
        return small

    async def mark(self, org_id: str, picture_id: str, favourite: bool) -> None:
        """Mark a picture as a favourite or not.

        Raises:
            NoSuchPicture: It does not exist or is somebody else's.
        """
        if not await self._database.write(lambda c: repository.mark(c, org_id, picture_id, favourite)):
            raise NoSuchPicture("There is no such picture.")

    async def set_tags(self, org_id: str, picture_id: str, tags: Sequence[str]) -> tuple[str, ...]:
        """Replace the tags of a picture and return them in order.

        Raises:
            InvalidRequest: There are more than 32, or one is empty, longer than 64 characters or has a comma.
            NoSuchPicture: It does not exist or is somebody else's.
        """
        wanted = checked_tags(tags)

        def replace(connection: Connection) -> None:
            _present(repository.find(connection, org_id, picture_id))
            repository.set_tags(connection, picture_id, wanted)

        await self._database.write(replace)
        return tuple(wanted)

    async def facets(self, org_id: str) -> facets.Facets:
        """Return how many pictures of an organisation there are of each model, size, key and source."""
        return await self._database.read(lambda connection: facets.count(connection, org_id))

    async def tags(self, org_id: str) -> list[tuple[str, int]]:
        """Return all tags of an organisation with the number of pictures that carry each."""
        return await self._database.read(lambda connection: repository.all_tags(connection, org_id))

    async def delete(self, org_id: str, picture_id: str) -> None:
        """Delete a picture: it is out of the history at once, its file soon after.

        Raises:
            NoSuchPicture: It does not exist or is somebody else's.
        """
        if not await self._database.write(lambda connection: self._hide(connection, org_id, picture_id)):
            raise NoSuchPicture("There is no such picture.")
        await self.purge()

    async def retire(self, days: int) -> int:
        """Delete all pictures older than some days, favourites too, and return how many; 0 days keeps everything."""
        if days <= 0:
            return 0
        before_ms = self._clock.now_ms() - days * DAY_MS

        def hide_old(connection: Connection) -> int:
            old = repository.older_than(connection, before_ms, BATCH)
            return sum(self._hide(connection, org_id, picture_id) for org_id, picture_id in old)

        retired = 0
        while batch := await self._database.write(hide_old):
            retired += batch
        await self.purge()
        return retired

    async def purge(self) -> int:
        """Remove the files and rows of deleted pictures; what was just put is left for the next time.

        Uploads that are past their time go with them.
        """
        await self.uploads.forget_old()
        hidden = await self._database.read(lambda connection: repository.hidden(connection, BATCH))
        gone = [picture_id for picture_id, *refs in hidden if await self._remove_all(refs)]
        if gone:
            await self._database.write(lambda connection: repository.drop(connection, gone))
        return len(gone)

    def is_needed(self, connection: Connection, ref: str) -> bool:
        """Return whether a picture of the history, or anybody else, needs these bytes."""
        if repository.mentions(connection, ref) or self.uploads.is_kept(connection, ref):
            return True
        return self._needed_elsewhere is not None and self._needed_elsewhere(connection, ref)

    def all_refs(self, connection: Connection) -> set[str]:
        """Return every blob that a picture or an upload mentions, so that all others can be swept."""
        return repository.all_refs(connection) | self.uploads.all_refs(connection)

    async def add_album(self, org_id: str, name: str) -> Album:
        """Make an empty album.

        Raises:
            Conflict: The name is taken, or there are 1,000 albums already.
            InvalidRequest: The name is empty or longer than 200 characters.
        """
        new = Album(new_id(), _album_name(name), 0, self._clock.now_ms())

        def add(connection: Connection) -> None:
            if len(repository.albums(connection, org_id)) >= MAX_ALBUMS:
                raise Conflict(f"albums: an account may have {MAX_ALBUMS}; remove one first.")
            if not repository.add_album(connection, org_id, new):
                raise Conflict(f"name: there is an album {new.name!r} already.")

        await self._database.write(add)
        return new

    async def albums(self, org_id: str) -> list[Album]:
        """Return an organisation's albums by name."""
        return await self._database.read(lambda connection: repository.albums(connection, org_id))

    async def rename_album(self, org_id: str, album_id: str, name: str) -> None:
        """Give an album another name.

        Raises:
            Conflict: The name is taken.
            InvalidRequest: The name is empty or longer than 200 characters.
            NoSuchAlbum: It does not exist or is somebody else's.
        """
        wanted = _album_name(name)

        def rename(connection: Connection) -> None:
            _require_album(connection, org_id, album_id)
            if any(other.name == wanted and other.id != album_id for other in repository.albums(connection, org_id)):
                raise Conflict(f"name: there is an album {wanted!r} already.")
            repository.rename_album(connection, org_id, album_id, wanted)

        await self._database.write(rename)

    async def remove_album(self, org_id: str, album_id: str) -> None:
        """Remove an album; its pictures stay.

        Raises:
            NoSuchAlbum: It does not exist or is somebody else's.
        """
        if not await self._database.write(lambda c: repository.remove_album(c, org_id, album_id)):
            raise NoSuchAlbum("There is no such album.")

    async def put_into_album(self, org_id: str, album_id: str, picture_ids: Sequence[str]) -> None:
        """Add pictures to an album.

        Raises:
            NoSuchAlbum: The album does not exist or is somebody else's.
            NoSuchPicture: One of the pictures does not exist or is somebody else's; none is added.
        """

        def put(connection: Connection) -> None:
            _require_album(connection, org_id, album_id)
            if repository.own(connection, org_id, picture_ids) != set(picture_ids):
                raise NoSuchPicture("There is no such picture.")
            repository.put_into_album(connection, album_id, set(picture_ids))

        await self._database.write(put)

    async def take_from_album(self, org_id: str, album_id: str, picture_ids: Sequence[str]) -> None:
        """Take pictures out of an album; those that it does not hold are passed over.

        Raises:
            NoSuchAlbum: The album does not exist or is somebody else's.
        """

        def take(connection: Connection) -> None:
            _require_album(connection, org_id, album_id)
            repository.take_from_album(connection, album_id, set(picture_ids))

        await self._database.write(take)

    def _hide(self, connection: Connection, org_id: str, picture_id: str) -> bool:
        job_id = repository.hide(connection, org_id, picture_id, self._clock.now_ms())
        if job_id is not None and self._forget_job is not None:
            self._forget_job(connection, job_id)
        return job_id is not None

    async def _remove_all(self, refs: Collection[str]) -> bool:
        """Remove the bytes that nobody needs any more; return whether nothing is left to do."""
        mentioned = [ref for ref in refs if ref]
        needed = await self._database.read(lambda c: {ref for ref in mentioned if self.is_needed(c, ref)})
        unneeded = [ref for ref in mentioned if ref not in needed]
        return all([await asyncio.to_thread(self._blobs.delete, ref) for ref in unneeded])


def _present(found: Picture | None) -> Picture:
    if found is None:
        raise NoSuchPicture("There is no such picture.")
    return found


def _require_album(connection: Connection, org_id: str, album_id: str) -> None:
    if not repository.has_album(connection, org_id, album_id):
        raise NoSuchAlbum("There is no such album.")


def _album_name(name: str) -> str:
    shown = " ".join(name.split())
    if not 1 <= len(shown) <= 200:
        raise InvalidRequest("name: from 1 to 200 characters")
    return shown


def _number(cursor: str) -> int | None:
    if not cursor:
        return None
    if not re.fullmatch(r"[0-9a-f]{1,15}", cursor):
        raise InvalidRequest("cursor: must be one that a page returned")
    return int(cursor, 16)
