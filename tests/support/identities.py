"""An identity domain on a database, with a clock and a letter box that tests look into."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest_asyncio
from sqlalchemy import Connection

from keelbill.core.principal import Principal
from keelbill.core.settings import Settings
from keelbill.db.base import Database
from keelbill.identity.mail import Letter, MailFailed
from keelbill.identity.passwords import Passwords
from keelbill.identity.schemas import Bootstrap
from keelbill.identity.sessions import OpenedSession
from keelbill.identity.wiring import Identity, build_identity

T = TypeVar("T")

SECRET = bytes(range(32))
START_MS = 1_790_000_000_000
PASSWORD = "seven lighthouses at dusk"
HERE = "127.0.0.1"


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.ms / 1000, UTC)

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000

    def advance(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


class LetterBox:
    """Keeps messages instead of sending them; fails as often as it is told to."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.failures = 0

    async def send(self, letter: Letter) -> None:
        if self.failures:
            self.failures -= 1
            raise MailFailed("The mail server is away.")
        self.letters.append(letter)


@dataclass
class House:
    """Everything of identity, and what its hooks were told."""

    database: Database
    clock: HandClock
    mail: LetterBox
    identity: Identity
    wallets: list[str] = field(default_factory=list)
    grants: list[tuple[str, str]] = field(default_factory=list)
    revoked: list[tuple[str, str]] = field(default_factory=list)
    after_revoked: list[str] = field(default_factory=list)

    async def write(self, operation: Callable[[Connection], T]) -> T:
        return await self.database.write(operation)

    async def bootstrap(self) -> Bootstrap:
        return await self.write(self.identity.accounts.bootstrap)

    async def owner(self) -> tuple[Principal, Bootstrap]:
        """The first account, as its key shows it."""
        first = await self.bootstrap()
        return await self.identity.authenticator.authenticate(first.key_secret, HERE), first

    async def person(self, email: str = "ada@example.org", **values: Any) -> str:
        """Add a person with a password and return the id."""
        hashed = self.identity.accounts.passwords.hash_now(PASSWORD)
        made = await self.write(
            lambda c: self.identity.accounts.add_person(c, email=email, password_hash=hashed, **values)
        )
        assert made is not None
        return made[0]

    async def signed_in(self, email: str = "ada@example.org") -> tuple[Principal, OpenedSession]:
        """Sign somebody in who exists."""
        session = await self.identity.accounts.sign_in(email, PASSWORD, ip=HERE)
        return await self.principal(session), session

    async def principal(self, session: OpenedSession) -> Principal:
        return (await self.identity.authenticator.authenticate_session(session.cookie, HERE))[0]

    async def link(self) -> str:
        """The token in the last message."""
        await self.identity.postman.flush()
        return self.mail.letters[-1].link.partition("#token=")[2]


def build_house(database: Database, home: Path, clock: HandClock | None = None, **settings: Any) -> House:
    """Build everything with cheap password hashing."""
    clock = clock or HandClock()
    mail = LetterBox()
    wallets: list[str] = []
    grants: list[tuple[str, str]] = []
    revoked: list[tuple[str, str]] = []
    after: list[str] = []

    async def after_revoked(key_id: str) -> None:
        after.append(key_id)

    identity = build_identity(
        database,
        clock,
        Settings(home=home, open_registration=True, **settings)
        if "open_registration" not in settings
        else Settings(home=home, **settings),
        SECRET,
        on_org_created=lambda _, org_id: wallets.append(org_id),
        on_verified=lambda _, org_id, who: grants.append((org_id, who)),
        on_key_revoked=lambda _, org_id, key_id: revoked.append((org_id, key_id)),
        after_key_revoked=after_revoked,
        mailer=mail,
        passwords=Passwords(memory_kib=64, passes=1),
    )
    return House(database, clock, mail, identity, wallets, grants, revoked, after)


@pytest_asyncio.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    """Identity on both databases; strangers may sign up."""
    built = build_house(database, tmp_path)
    yield built
    await built.identity.close()
    await database.close()
