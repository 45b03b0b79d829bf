from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from keelbill.core.clock import SystemClock
from keelbill.core.settings import Settings
from keelbill.db.base import open_database
from keelbill.db.migrate import upgrade
from keelbill.identity.errors import CredentialRefused, WrongPassword
from keelbill.identity.secret import load_secret
from keelbill.identity.wiring import Identity, build_identity
from support.commandline import Outcome, Run

PASSWORD = "seven lighthouses at dusk"
Type = Callable[[str], None]


@pytest.fixture(autouse=True)
def tables(home: Path) -> None:
    home.mkdir()
    database = open_database(f"sqlite:///{home / 'keelbill.db'}")
    upgrade(database)
    database.close_now()


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Let the next command read a line from standard input."""

    def go(line: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(line + "\n"))

    return go


@pytest.fixture
def ada(run: Run, types: Type) -> Outcome:
    types(PASSWORD)
    return run("accounts", "create", "Ada@example.org", "--name", "Ada")


def serve(home: Path, work: Callable[[Identity], object]) -> None:
    """Run something as a server beside the command would."""

    async def go() -> None:
        database = open_database(f"sqlite:///{home / 'keelbill.db'}")
        identity = build_identity(
            database,
            SystemClock(),
            Settings(home=home),
            load_secret(home),
            on_org_created=lambda *_: None,
            on_verified=lambda *_: None,
        )
        await work(identity)  # type: ignore[misc]
        await identity.close()
        await database.close()

    asyncio.run(go())


class TestAccounts:
    def test_create_and_list(self, run: Run, ada: Outcome) -> None:
        assert ada.code == 0, ada
        listed = json.loads(run("accounts", "list", "--json").out)

        assert [(person["email"], person["name"], person["is_staff"]) for person in listed] == [
            ("Ada@example.org", "Ada", False)
        ]
        assert "Ada@example.org" in run("accounts", "list").out

    def test_the_new_account_has_the_free_credits(self, run: Run, ada: Outcome) -> None:
        assert run("credits", "show", "--org", "ada@example.org").out.startswith("available 25\n")

    def test_a_weak_password(self, run: Run, types: Type) -> None:
        types("password1")

        assert "attackers" in run("accounts", "create", "ada@example.org").sentence

    def test_twice(self, run: Run, ada: Outcome, types: Type) -> None:
        types(PASSWORD)

        assert "no account yet" in run("accounts", "create", "ada@example.org").sentence

    def test_a_new_password(self, run: Run, ada: Outcome, types: Type, home: Path) -> None:
        types("eight lighthouses at dawn")

        assert run("accounts", "reset-password", "ada@example.org").code == 0

        async def sign_in(identity: Identity) -> None:
            with pytest.raises(WrongPassword):
                await identity.accounts.sign_in("ada@example.org", PASSWORD)
            await identity.accounts.sign_in("ada@example.org", "eight lighthouses at dawn")

        serve(home, sign_in)

    def test_promote_and_disable(self, run: Run, ada: Outcome) -> None:
        run("accounts", "promote", "ada@example.org")
        run("accounts", "disable", "ada@example.org")
        person = json.loads(run("accounts", "list", "--json").out)[0]
        assert person["is_staff"]
        assert person["disabled_ms"] > 0

        run("accounts", "promote", "ada@example.org", "--undo")
        run("accounts", "disable", "ada@example.org", "--undo")
        person = json.loads(run("accounts", "list", "--json").out)[0]
        assert (person["is_staff"], person["disabled_ms"]) == (False, 0)

    def test_nobody(self, run: Run) -> None:
        assert "accounts list" in run("accounts", "promote", "nobody@example.org").sentence


class TestKeys:
    def test_the_key_is_the_only_output_and_works(self, run: Run, ada: Outcome, home: Path) -> None:
        made = run("keys", "create", "--name", "script", "--scope", "generate", "--days", "30", "--cap-day", "6.5")

        async def use(identity: Identity) -> None:
            principal = await identity.authenticator.authenticate(made.out.strip(), "127.0.0.1")
            assert principal.scopes == {"generate"}
            assert principal.caps.per_day == 6_500_000

        serve(home, use)

    def test_list_shows_no_secret(self, run: Run, ada: Outcome) -> None:
        secret = run("keys", "create", "--name", "script").out.strip()

        shown = run("keys", "list").out
        rows = json.loads(run("keys", "list", "--json").out)

        assert f"{secret[:7]}…{secret[-4:]}" in shown
        assert secret not in shown
        assert rows[0]["name"] == "script"
        assert rows[0]["is_active"]

    def test_rotate_and_revoke(self, run: Run, ada: Outcome, home: Path) -> None:
        first = run("keys", "create").out.strip()
        old = json.loads(run("keys", "list", "--json").out)[0]["id"]
        second = run("keys", "rotate", old, "--overlap-hours", "1").out.strip()
        assert run("keys", "revoke", old).out == f"{old} is revoked.\n"
        assert run("keys", "revoke", old).out == f"{old} was revoked before.\n"

        async def use(identity: Identity) -> None:
            with pytest.raises(CredentialRefused):
                await identity.authenticator.authenticate(first, "127.0.0.1")
            assert (await identity.authenticator.authenticate(second, "127.0.0.1")).key_id

        serve(home, use)

    def test_of_no_such_key(self, run: Run, ada: Outcome) -> None:
        assert "keys list" in run("keys", "revoke", "f" * 32).sentence

    def test_a_network_that_is_none(self, run: Run, ada: Outcome) -> None:
        assert "CIDR" in run("keys", "create", "--network", "everywhere").sentence
