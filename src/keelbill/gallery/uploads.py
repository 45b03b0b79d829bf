"""Keeps for a day the pictures that people bring along: to start from, or as masks. Knows no HTTP and decodes nothing.

They are no part of the history: nobody lists them, and the job that uses one keeps the bytes that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from keelbill.core.clock import Clock
from keelbill.core.ids import new_id
from keelbill.db.base import Database
from keelbill.gallery.errors import NoSuchUpload
from keelbill.gallery.models import upload
from keelbill.storage.blobs import BlobStore

KEPT_MS: Final = 86_400_000
MAX_KEPT: Final = 200
MAX_KEPT_BYTES: Final = 256 * 2**20
"""Beyond either, an organisation's oldest uploads make room for its newest."""


@dataclass(frozen=True)
class Upload:
    """A picture that somebody brought along, clean and without what it said about itself.

    Attributes:
        id: 32 hex digits.
        blob_ref: Where its bytes are, as PNG.
        size_bytes: Of that file.
        width: In pixels.
        height: In pixels.
        has_alpha: Whether a part is transparent.
        created_ms: Milliseconds since 1970.
    """

    id: str
    blob_ref: str
    size_bytes: int
    width: int
    height: int
    has_alpha: bool
    created_ms: int

    @property
    def expires_ms(self) -> int:
        """Until when it may be used, in milliseconds since 1970."""
        return self.created_ms + KEPT_MS


class Uploads:
    """The uploads of all organisations; every method sees only one's own.

    Args:
        database: Where rows are kept.
        blobs: Where bytes are kept.
        clock: Stamps uploads.
        max_kept: Of one organisation.
        max_kept_bytes: Of one organisation, together.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clock: Clock,
        *,
        max_kept: int = MAX_KEPT,
        max_kept_bytes: int = MAX_KEPT_BYTES,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._max_kept = max_kept
        self._max_kept_bytes = max_kept_bytes

    async def keep(self, org_id: str, png: bytes, width: int, height: int, *, has_alpha: bool) -> Upload:
        """Keep a picture that was rebuilt from its pixels, and return its row.

        Args:
            org_id: Whose.
            png: The whole file.
            width: In pixels.
            height: In pixels.
            has_alpha: Whether a part is transparent.

        Raises:
            DiskFull: There is too little space.
        """
        ref = await self._blobs.aput(png)
        new = Upload(new_id(), ref, len(png), width, height, has_alpha, self._clock.now_ms())

        def add(connection: Connection) -> None:
            connection.execute(insert(upload).values(org_id=org_id, **vars(new)))
            self._make_room(connection, org_id)

        await self._database.write(add)
        return new

    async def get(self, org_id: str, upload_id: str) -> Upload:
        """Return an upload.

        Raises:
            NoSuchUpload: It does not exist, is past its time or is somebody else's.
        """
        found = await self._database.read(lambda connection: self._find(connection, org_id, upload_id))
        if found is None:
            raise NoSuchUpload("There is no such upload; uploads are kept for a day.")
        return found

    async def content(self, org_id: str, upload_id: str) -> bytes:
        """Return the PNG of an upload.

        Raises:
            NoSuchUpload: It does not exist, is past its time or is somebody else's.
        """
        return await self._blobs.aread((await self.get(org_id, upload_id)).blob_ref)

    async def forget_old(self) -> int:
        """Forget what is past its time and return how much; the bytes go when orphans are swept."""
        old = delete(upload).where(upload.c.created_ms <= self._clock.now_ms() - KEPT_MS)
        return await self._database.write(lambda connection: connection.execute(old).rowcount)

    def all_refs(self, connection: Connection) -> set[str]:
        """Return every blob that an upload mentions."""
        return set(connection.execute(select(upload.c.blob_ref)).scalars())

    def is_kept(self, connection: Connection, ref: str) -> bool:
        """Return whether an upload mentions a blob."""
        return connection.execute(select(upload.c.id).where(upload.c.blob_ref == ref).limit(1)).first() is not None

    def _find(self, connection: Connection, org_id: str, upload_id: str) -> Upload | None:
        mine = (upload.c.id == upload_id) & (upload.c.org_id == org_id)
        fresh = upload.c.created_ms > self._clock.now_ms() - KEPT_MS
        columns = [column for column in upload.c if column.name != "org_id"]
        row = connection.execute(select(*columns).where(mine, fresh)).one_or_none()
        return None if row is None else Upload(**row._mapping)

    def _make_room(self, connection: Connection, org_id: str) -> None:
        newest = select(upload.c.id, upload.c.size_bytes).where(upload.c.org_id == org_id)
        rows = connection.execute(newest.order_by(upload.c.created_ms.desc(), upload.c.id.desc())).all()
        total, gone = 0, []
        for place, row in enumerate(rows):
            total += row.size_bytes
            if place and (place >= self._max_kept or total > self._max_kept_bytes):
                gone.append(row.id)
        if gone:
            connection.execute(delete(upload).where(upload.c.id.in_(gone)))
