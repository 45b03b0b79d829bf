"""Passwords: what is allowed, and argon2id in two threads so that logins never starve pictures. Knows no accounts."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from keelbill.core.errors import Unavailable
from keelbill.identity.common_passwords import is_common
from keelbill.identity.errors import WeakPassword

T = TypeVar("T")

MIN_CHARACTERS = 8
MAX_CHARACTERS = 128
MEMORY_KIB = 19 * 1024
PASSES = 2
THREADS = 2
MAX_WAITING = 64


def normal(password: str) -> str:
    """Return a password as it is hashed: NFKC, so that the same keys on another keyboard give the same text."""
    return unicodedata.normalize("NFKC", password)


def check_new(password: str, *, address: str = "") -> None:
    """Check a password that somebody chose.

    Raises:
        WeakPassword: It is shorter than 8 or longer than 128 characters, common, or the address itself.
    """
    text = normal(password)
    if not MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS:
        raise WeakPassword(f"password: must have {MIN_CHARACTERS} to {MAX_CHARACTERS} characters, not {len(text)}")
    if is_common(text):
        raise WeakPassword("password: is among the first that attackers try; choose another")
    folded = text.casefold()
    if address and folded in (address.casefold(), address.casefold().partition("@")[0]):
        raise WeakPassword("password: must not be your own address")


class Passwords:
    """Hashes and compares in a pool of two threads.

    Args:
        memory_kib: Memory of one hash in KiB; the default follows OWASP's advice for argon2id (RFC 9106).
        passes: Passes over the memory.
    """

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1, type=Type.ID)
        self._threads: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._dummy = ""

    def hash_now(self, password: str) -> str:
        """Hash on this thread; takes tens of milliseconds."""
        return self._hasher.hash(normal(password))

    async def hash(self, password: str) -> str:
        """Hash a password.

        Raises:
            Unavailable: 64 others wait already.
        """
        return await self._in_thread(self.hash_now, password)

    async def verify(self, password: str, stored: str) -> bool:
        """Compare a password with a stored hash; without one, take the same time and say no.

        Raises:
            Unavailable: 64 others wait already.
        """
        return await self._in_thread(self._verify, password[: 4 * MAX_CHARACTERS], stored)

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    def _verify(self, password: str, stored: str) -> bool:
        if not stored and not self._dummy:
            self._dummy = self._hasher.hash("nobody's password")
        try:
            return self._hasher.verify(stored or self._dummy, normal(password)) and bool(stored)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, function: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many people sign in at the moment.", retry_after_s=2)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="keelbill-password")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        finally:
            self._waiting -= 1
