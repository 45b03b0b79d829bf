"""Pictures that people bring along: only their own, only for a day, and never more than there is room for."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelbill.db.base import Database
from keelbill.gallery.errors import NoSuchUpload
from keelbill.gallery.uploads import KEPT_MS, Uploads
from keelbill.storage.blobs import BlobStore
from support.ledgers import HandClock

ANN, BOB = "a" * 32, "b" * 32


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def uploads(database: Database, blobs: BlobStore, clock: HandClock) -> Uploads:
    return Uploads(database, blobs, clock, max_kept=3, max_kept_bytes=100)


async def keep(uploads: Uploads, content: bytes, org_id: str = ANN) -> str:
    return (await uploads.keep(org_id, content, 8, 4, has_alpha=True)).id


async def test_what_is_kept_can_be_had_back(uploads: Uploads) -> None:
    kept = await uploads.get(ANN, await keep(uploads, b"picture"))
    assert (kept.width, kept.height, kept.has_alpha, kept.size_bytes) == (8, 4, True, 7)
    assert kept.expires_ms - kept.created_ms == KEPT_MS
    assert await uploads.content(ANN, kept.id) == b"picture"


async def test_others_do_not_find_it(uploads: Uploads) -> None:
    kept = await keep(uploads, b"picture")
    with pytest.raises(NoSuchUpload):
        await uploads.get(BOB, kept)
    with pytest.raises(NoSuchUpload):
        await uploads.content(BOB, kept)


async def test_the_same_bytes_of_two_people_are_two_uploads(uploads: Uploads, clock: HandClock) -> None:
    first, second = await keep(uploads, b"same"), await keep(uploads, b"same", BOB)
    assert first != second
    assert await uploads.content(ANN, first) == await uploads.content(BOB, second)


async def test_after_a_day_it_is_gone(uploads: Uploads, database: Database, clock: HandClock) -> None:
    kept = await keep(uploads, b"picture")
    ref = (await uploads.get(ANN, kept)).blob_ref
    clock.advance(KEPT_MS / 1000 - 1)
    assert await uploads.forget_old() == 0
    clock.advance(1)
    with pytest.raises(NoSuchUpload):
        await uploads.get(ANN, kept)
    assert await uploads.forget_old() == 1
    assert ref not in await database.read(uploads.all_refs)


async def test_the_oldest_makes_room_when_there_are_too_many(uploads: Uploads, clock: HandClock) -> None:
    kept = []
    for number in range(4):
        kept.append(await keep(uploads, bytes([number])))
        clock.advance(1)
    other = await keep(uploads, b"other", BOB)
    with pytest.raises(NoSuchUpload):
        await uploads.get(ANN, kept[0])
    assert [(await uploads.get(ANN, one)).id for one in kept[1:]] == kept[1:]
    assert (await uploads.get(BOB, other)).id == other


async def test_the_oldest_makes_room_when_they_are_too_large(uploads: Uploads, clock: HandClock) -> None:
    first = await keep(uploads, b"x" * 60)
    clock.advance(1)
    second = await keep(uploads, b"y" * 60)
    with pytest.raises(NoSuchUpload):
        await uploads.get(ANN, first)
    assert (await uploads.get(ANN, second)).size_bytes == 60


async def test_even_one_that_is_too_large_alone_can_be_used(uploads: Uploads) -> None:
    kept = await keep(uploads, b"z" * 200)
    assert await uploads.content(ANN, kept) == b"z" * 200


async def test_its_bytes_are_not_swept_while_it_is_kept(uploads: Uploads, database: Database, blobs: BlobStore) -> None:
    kept = await keep(uploads, b"picture")
    ref = (await uploads.get(ANN, kept)).blob_ref
    known = await database.read(uploads.all_refs)
    assert blobs.sweep(known, older_than_s=0) == 0
    assert await database.read(lambda connection: uploads.is_kept(connection, ref))
    assert blobs.sweep(set(), older_than_s=0) == 1
