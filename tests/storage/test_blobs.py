"""Blobs are complete, private, kept once, and removed only when nobody can want them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from keelbill.core.errors import InvalidInput
from keelbill.storage.blobs import BlobMissing, BlobStore, DiskFull, blob_ref


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs", delete_grace_s=0.0)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def files(store: BlobStore) -> list[str]:
    """Return the names of all files of a store, whatever they are."""
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file())


def test_content_comes_back_under_its_hash(store: BlobStore) -> None:
    ref = store.put(b"a picture")
    assert ref == hashlib.sha256(b"a picture").hexdigest()
    assert store.read(ref) == b"a picture"
    assert store.exists(ref)
    assert list(store.refs()) == [ref]
    assert store.total_bytes() == 9


def test_files_and_folders_are_private(store: BlobStore) -> None:
    path = store.path(store.put(b"private"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, store.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_folders_are_two_levels_deep(store: BlobStore) -> None:
    ref = store.put(b"deep")
    assert store.path(ref) == store.folder / ref[:2] / ref[2] / ref


def test_same_content_is_kept_once(store: BlobStore) -> None:
    first = store.put(b"twice")
    written = store.path(first).stat().st_ino
    assert store.put(b"twice") == first
    assert store.path(first).stat().st_ino == written


def test_nothing_temporary_is_left(store: BlobStore) -> None:
    ref = store.put(b"done")
    assert files(store) == [ref]


@pytest.mark.parametrize(
    "ref", ["", "..", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "\n", "a" * 62 + "/b", "ａ" * 64]
)
def test_what_is_no_reference_makes_no_path(store: BlobStore, ref: str) -> None:
    for use in (store.path, store.read, store.exists, store.delete, blob_ref):
        with pytest.raises(InvalidInput):
            use(ref)


def test_missing_content(store: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        store.read("0" * 64)
    assert not store.exists("0" * 64)


def test_delete(store: BlobStore) -> None:
    ref = store.put(b"gone soon")
    assert store.delete(ref)
    assert not store.exists(ref)
    assert store.delete(ref), "what is gone counts as deleted"


def test_what_was_just_put_again_is_not_deleted(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, delete_grace_s=60.0)
    ref = store.put(b"shared")
    age(store.path(ref), 120)
    store.put(b"shared")
    assert not store.delete(ref)
    assert store.read(ref) == b"shared"
    age(store.path(ref), 120)
    assert store.delete(ref)


def test_sweep_takes_old_orphans_and_temporaries_only(store: BlobStore) -> None:
    known, orphan, fresh = store.put(b"known"), store.put(b"orphan"), store.put(b"fresh orphan")
    torn, writing = (store.path(known).with_name(f".new-{name}") for name in ("torn", "writing"))
    torn.write_bytes(b"half")
    writing.write_bytes(b"ha")
    for path in (store.path(known), store.path(orphan), torn):
        age(path, 4000)
    assert store.sweep({known}) == 2
    assert set(store.refs()) == {known, fresh}
    assert not torn.exists()
    assert writing.exists()


def test_what_is_being_written_has_a_name_of_its_own(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []

    def named(source: Path, target: Path) -> None:
        names.append((source.parent == target.parent, source.name[:5], target.exists()))
        source.replace(target)

    monkeypatch.setattr(os, "rename", named)
    store.put(b"a picture that is long enough to be written")
    assert names == [(True, ".new-", False)]


def test_sweep_of_an_empty_store(store: BlobStore) -> None:
    assert store.sweep(set()) == 0


def test_a_full_disk_refuses_before_writing(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs", min_free_bytes=2**62)
    assert not store.has_space()
    with pytest.raises(DiskFull):
        store.put(b"too much")
    assert list(store.refs()) == []


def test_a_failing_write_leaves_nothing(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    kept = store.put(b"makes the folders")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(DiskFull):
        store.put(b"never complete")
    assert files(store) == [kept]


def test_after_a_failing_write_there_is_no_space_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BlobStore(tmp_path / "blobs", failed_pause_s=0.2)

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(DiskFull):
            store.put(b"never complete")
    assert not store.has_space()
    with pytest.raises(DiskFull, match="cannot be written"):
        store.require_space()
    time.sleep(0.25)
    assert store.has_space()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(DiskFull):
            store.put(b"never complete")
    assert not store.has_space()
    store.put(b"what was asked for before is still kept")
    assert store.has_space()


async def test_from_the_event_loop_at_once(store: BlobStore) -> None:
    contents = [b"%d" % (number % 10) for number in range(50)]
    refs = await asyncio.gather(*(store.aput(content) for content in contents))
    assert len(set(refs)) == 10
    assert [await store.aread(ref) for ref in refs] == contents
