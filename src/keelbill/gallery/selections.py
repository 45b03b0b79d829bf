"""Marks, tags, deletes and packs many pictures at once. Knows no HTTP; what is not the organisation's is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from sqlalchemy import Connection

from keelbill.core.errors import InvalidRequest
from keelbill.db.base import Database
from keelbill.gallery import repository
from keelbill.gallery.archive import packed
from keelbill.gallery.errors import NoSuchPicture
from keelbill.gallery.schemas import Picture
from keelbill.gallery.tags import MAX_TAGS, checked_tags
from keelbill.storage.blobs import BlobStore

MOST: Final = 500

Hide = Callable[[Connection, str, str], bool]
"""Takes a picture of an organisation out of the history; says whether it was there."""


class Selections:
    """Pictures that somebody chose.

    Args:
        database: Where rows are kept.
        blobs: Where bytes are kept.
        hide: Takes one picture out of the history.
    """

    def __init__(self, database: Database, blobs: BlobStore, *, hide: Hide) -> None:
        self._database = database
        self._blobs = blobs
        self._hide = hide

    async def change(
        self,
        org_id: str,
        picture_ids: Sequence[str],
        *,
        favourite: bool | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
    ) -> None:
        """Mark pictures and change their tags: all of them, or none.

        Raises:
            InvalidRequest: There are too many, a tag is not one, or a picture would have more than 32.
            NoSuchPicture: One does not exist or is somebody else's.
        """
        ids, added, removed = _checked(picture_ids), checked_tags(add_tags), set(checked_tags(remove_tags))

        def change(connection: Connection) -> None:
            _require_own(connection, org_id, ids)
            if favourite is not None:
                repository.mark_all(connection, ids, favourite)
            if not added and not removed:
                return
            for picture_id, tags in repository.tags_of_all(connection, ids).items():
                wanted = sorted({*tags, *added} - removed)
                if len(wanted) > MAX_TAGS:
                    raise InvalidRequest(f"add_tags: picture {picture_id} would have more than {MAX_TAGS} tags")
                if wanted != list(tags):
                    repository.set_tags(connection, picture_id, wanted)

        await self._database.write(change)

    async def delete(self, org_id: str, picture_ids: Sequence[str]) -> int:
        """Take pictures out of the history and return how many there were; those that are gone are passed over.

        Their files go with the next purge.

        Raises:
            InvalidRequest: There are too many.
        """
        ids = _checked(picture_ids)
        return await self._database.write(lambda c: sum(self._hide(c, org_id, picture_id) for picture_id in ids))

    async def archive(self, org_id: str, picture_ids: Sequence[str]) -> AsyncIterator[bytes]:
        """Return a ZIP file of pictures with their recipes, in pieces.

        Raises:
            InvalidRequest: There are too many.
            NoSuchPicture: One does not exist or is somebody else's.
        """
        ids = _checked(picture_ids)

        def read(connection: Connection) -> list[Picture]:
            _require_own(connection, org_id, ids)
            return repository.find_all(connection, org_id, ids)

        return packed(await self._database.read(read), self._blobs.aread)


def _checked(picture_ids: Sequence[str]) -> list[str]:
    ids = list(dict.fromkeys(picture_ids))
    if not 1 <= len(ids) <= MOST:
        raise InvalidRequest(f"picture_ids: from 1 to {MOST} pictures at once")
    return ids


def _require_own(connection: Connection, org_id: str, ids: Sequence[str]) -> None:
    if repository.own(connection, org_id, ids) != set(ids):
        raise NoSuchPicture("There is no such picture.")
