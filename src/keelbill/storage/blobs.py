"""Keeps bytes under the hash of their content, durably and privately. Knows neither owners nor pictures."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NewType

from keelbill.core.errors import InvalidInput, NotFound, Unavailable

BlobRef = NewType("BlobRef", str)
"""SHA-256 of the content as 64 lower-case hex digits."""

ORPHAN_AGE_S: Final = 3600.0
"""Files younger than this are never swept: a row that mentions them may still be on its way."""

DELETE_GRACE_S: Final = 60.0
"""Files put within this time are not deleted: somebody else may be about to mention the same content."""

FAILED_PAUSE_S: Final = 10.0
"""How long a store says that it has no space after a file could not be written; then somebody may try again."""

THREADS: Final = 32

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_REF = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = ".new-"


class BlobMissing(NotFound):
    """No content is kept under this reference."""


class DiskFull(Unavailable):
    """There is too little free disk space to keep anything more."""


def blob_ref(text: str) -> BlobRef:
    """Check a reference, so that no path can be made of anything else.

    Raises:
        InvalidInput: `text` is not 64 lower-case hex digits.
    """
    if not _REF.fullmatch(text):
        raise InvalidInput("blob", text, "64 lower-case hex digits")
    return BlobRef(text)


class BlobStore:
    """A private folder of files, each named by the SHA-256 of its content.

    A file appears under its name only when it is complete and synced: it is written under a temporary name in the same
    folder, synced, renamed, and its folder synced. Same content is kept once. Folders have mode 0700, files 0600.

    Args:
        folder: Made when the first file is kept.
        min_free_bytes: Free space below which nothing more is kept; 0 keeps on until the disk is full.
        delete_grace_s: How long a file stays after it was last put, whoever deletes it.
        failed_pause_s: How long `has_space` says no after a file could not be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        min_free_bytes: int = 0,
        delete_grace_s: float = DELETE_GRACE_S,
        failed_pause_s: float = FAILED_PAUSE_S,
    ) -> None:
        self.folder = folder
        self.min_free_bytes = min_free_bytes
        self.delete_grace_s = delete_grace_s
        self.failed_pause_s = failed_pause_s
        self._failed_at_s = -math.inf
        self._lock = threading.Lock()  # putting what exists and removing it exclude each other
        self._made: set[Path] = set()
        self._pool: ThreadPoolExecutor | None = None

    def path(self, ref: str) -> Path:
        """Return where the content of `ref` lies, or would lie.

        Raises:
            InvalidInput: `ref` is no reference.
        """
        name = blob_ref(ref)
        return self.folder / name[:2] / name[2] / name

    def exists(self, ref: str) -> bool:
        """Return whether the content of `ref` is kept."""
        return self.path(ref).is_file()

    def put(self, content: bytes) -> BlobRef:
        """Keep some bytes and return their reference; they are on the disk when this returns.

        Raises:
            DiskFull: There is too little space.
        """
        ref = BlobRef(hashlib.sha256(content).hexdigest())
        path = self.path(ref)
        if self._touch(path):
            return ref
        if not self._is_roomy():
            raise DiskFull("storage: the disk of the server is almost full.", retry_after_s=60)
        # Beside its place: a rename between two folders costs the file system twice as much.
        temporary = path.with_name(f"{_TEMPORARY}{ref[:16]}-{secrets.token_hex(8)}")
        try:
            self._make(path.parent)
            _write_synced(temporary, content)
            temporary.rename(path)
            _sync_folder(path.parent)
        except OSError as error:
            self._failed_at_s = time.monotonic()
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise DiskFull("storage: the picture could not be written to the disk.", retry_after_s=30) from error
        self._failed_at_s = -math.inf
        return ref

    async def aput(self, content: bytes) -> BlobRef:
        """As `put`, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads(), self.put, content)

    def read(self, ref: str) -> bytes:
        """Return the content of `ref`.

        Raises:
            BlobMissing: Nothing is kept under it.
            InvalidInput: `ref` is no reference.
        """
        try:
            return self.path(ref).read_bytes()
        except FileNotFoundError as error:
            raise BlobMissing("The picture is no longer kept.") from error

    async def aread(self, ref: str) -> bytes:
        """As `read`, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads(), self.read, ref)

    def delete(self, ref: str) -> bool:
        """Forget the content of `ref`.

        Returns:
            Whether it is gone; false if it was put so recently that somebody else may be about to mention it.
        """
        return self._remove(self.path(ref), self.delete_grace_s)

    def refs(self) -> Iterator[BlobRef]:
        """Yield the reference of everything that is kept, in no order."""
        for path in self.folder.glob("??/?/*"):
            if _REF.fullmatch(path.name):
                yield BlobRef(path.name)

    def total_bytes(self) -> int:
        """Return the size of everything that is kept."""
        total = 0
        for ref in self.refs():
            try:
                total += self.path(ref).stat().st_size
            except FileNotFoundError:  # removed meanwhile
                continue
        return total

    def free_bytes(self) -> int:
        """Return the free space of the disk."""
        place = self.folder
        while True:
            try:
                return shutil.disk_usage(place).free
            except FileNotFoundError:  # not made yet
                place = place.parent

    def has_space(self) -> bool:
        """Return whether more may be kept: there is room, and no file failed to be written a moment ago."""
        return self._is_roomy() and not self._has_just_failed()

    def require_space(self) -> None:
        """Check that more may be kept.

        Raises:
            DiskFull: The free space is below `min_free_bytes`, or a file could not be written a moment ago.
        """
        if not self._is_roomy():
            raise DiskFull("storage: the disk of the server is almost full.", retry_after_s=60)
        if self._has_just_failed():
            raise DiskFull("storage: the disk of the server cannot be written to now.", retry_after_s=30)

    def _is_roomy(self) -> bool:
        return self.min_free_bytes == 0 or self.free_bytes() >= self.min_free_bytes

    def _has_just_failed(self) -> bool:
        return time.monotonic() - self._failed_at_s < self.failed_pause_s

    def sweep(self, known: Collection[str], *, older_than_s: float = ORPHAN_AGE_S) -> int:
        """Remove temporary files and content that nothing mentions, and return how many files went.

        Args:
            known: References that something mentions; collect them before calling.
            older_than_s: Age in seconds from which a file may be removed.
        """
        strays = list(self.folder.glob(f"??/?/{_TEMPORARY}*"))
        strays += [self.path(ref) for ref in self.refs() if ref not in known]
        return sum(self._remove(path, older_than_s) for path in strays if path.exists())

    def _threads(self) -> ThreadPoolExecutor:
        """Return threads of our own: they wait for the disk most of the time, and disks sync many files at once."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="keelbill-blobs")
        return self._pool

    def _touch(self, path: Path) -> bool:
        """Say that existing content was put again; return whether it exists."""
        with self._lock:
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
            return True

    def _remove(self, path: Path, older_than_s: float) -> bool:
        with self._lock:
            try:
                if _age_s(path) < older_than_s:
                    return False
                path.unlink()
            except FileNotFoundError:
                pass
            return True

    def _make(self, folder: Path) -> None:
        """Make a private folder whose entry in its parent is synced, once in the life of this store."""
        if folder in self._made:
            return
        if folder == self.folder:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            self._make(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)  # also of one that was there: whoever made it may have crashed before syncing
        self._made.add(folder)


def _age_s(path: Path) -> float:
    """Return seconds since a file was last written or put, by the clock that the file system used."""
    return time.time() - path.stat().st_mtime


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, _CREATE, 0o600)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
