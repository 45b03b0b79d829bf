"""The commands of money, as an operator types them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection

from keelbill.cli import credits as credits_command
from keelbill.cli import ledger, migrate, payments, vouchers
from keelbill.core.clock import SystemClock
from keelbill.core.errors import AppError, InvalidInput, NotFound, NotInstalled, Unavailable
from keelbill.core.settings import Settings
from keelbill.core.types import micro
from keelbill.db.base import open_database
from keelbill.identity.audit import AuditLog
from keelbill.identity.models import membership, org, person
from keelbill.ledger.payments import Payments
from keelbill.ledger.prices import PriceList
from keelbill.ledger.service import Ledger
from keelbill.ledger.stripe import Stripe
from support.ledgers import ORG, OTHER
from support.stripedouble import SECRET, StripeDouble

T = TypeVar("T")
Say = Callable[..., Result]
GROUPS = {
    "credits": credits_command.command,
    "ledger": ledger.command,
    "payments": payments.command,
    "vouchers": vouchers.command,
    "migrate": migrate.command,
}


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run a command on a database of its own; an error for users is raised."""
    monkeypatch.setenv("KEELBILL_HOME", str(tmp_path))
    monkeypatch.delenv("KEELBILL_DATABASE_URL", raising=False)

    def go(name: str, *arguments: str) -> Result:
        result = CliRunner().invoke(GROUPS[name], arguments)
        if isinstance(result.exception, AppError):
            raise result.exception
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return go


@pytest.fixture
def home(say: Say, tmp_path: Path) -> Path:
    """A database with one account."""
    say("migrate")
    open_account(tmp_path, ORG)
    return tmp_path


def open_account(home: Path, org_id: str) -> None:
    database = open_database(f"sqlite:///{home / 'keelbill.db'}")
    clock = SystemClock()
    database.write_now(lambda c: Ledger(clock, PriceList.load(clock=clock), Settings()).open_wallet(c, org_id))
    database.close_now()


def on_database(home: Path, look: Callable[[Connection], T]) -> T:
    database = open_database(f"sqlite:///{home / 'keelbill.db'}")
    try:
        return database.write_now(look)
    finally:
        database.close_now()


def buy(home: Path, double: StripeDouble) -> str:
    """Buy a thousand credits and return the purchase's id."""
    clock = SystemClock()
    database = open_database(f"sqlite:///{home / 'keelbill.db'}")
    books = Ledger(clock, PriceList.load(clock=clock), Settings())
    shop = Payments(database, books, Stripe("sk_test_1", SECRET, double.url), clock)

    async def buy() -> str:
        url = await shop.buy(ORG, micro(1000), "https://here/done", "https://here/back")
        session = double.pay(url.rpartition("/")[2])
        await shop.confirm(ORG, session["client_reference_id"])
        return str(session["client_reference_id"])

    try:
        return asyncio.run(buy())
    finally:
        database.close_now()


class TestPayments:
    @pytest.fixture
    def open_shop(self, home: Path, stripe_double: StripeDouble, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("KEELBILL_STRIPE_SECRET_KEY", "sk_test_1")
        monkeypatch.setenv("KEELBILL_STRIPE_API_BASE", stripe_double.url)
        return home

    def test_list_and_refund(self, say: Say, open_shop: Path, stripe_double: StripeDouble) -> None:
        purchase = buy(open_shop, stripe_double)
        head, line = say("payments", "list", "--org", ORG).output.splitlines()
        assert head.split() == ["purchase", "time", "account", "credits", "money", "status"]
        assert line.split()[0] == purchase
        assert line.split()[-4:] == ["1000", "10.00", "usd", "paid"]
        assert say("payments", "refund", purchase).output == "1000 credits were taken back; the money is on its way.\n"
        assert say("payments", "refund", purchase).output == "Nothing is left of this purchase.\n"
        assert [refund["amount"] for refund in stripe_double.refunds] == ["1000"]
        (entry,) = on_database(open_shop, lambda c: AuditLog(SystemClock()).entries(c, ORG))
        assert (entry.action, entry.target) == ("payment.refund", purchase)

    def test_a_purchase_that_is_not_there(self, say: Say, open_shop: Path) -> None:
        with pytest.raises(NotFound):
            say("payments", "refund", "f" * 32)

    def test_without_stripe(self, say: Say, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KEELBILL_STRIPE_SECRET_KEY", raising=False)
        with pytest.raises(NotInstalled, match="KEELBILL_STRIPE_SECRET_KEY"):
            say("payments", "refund", "f" * 32)


class TestMigrate:
    def test_from_nothing_and_again(self, say: Say) -> None:
        before = say("migrate", "--check")
        assert (before.exit_code, before.output) == (1, "revision empty, this version needs 0001\n")
        assert say("migrate").output == "revision empty -> 0001\n"
        assert say("migrate").output == "revision 0001, nothing to do\n"
        assert say("migrate", "--check").output == "revision 0001, up to date\n"

    def test_other_commands_ask_for_it(self, say: Say) -> None:
        with pytest.raises(Unavailable, match="keelbill migrate"):
            say("credits", "show")


class TestCredits:
    def test_grant_and_show(self, say: Say, home: Path) -> None:
        assert say("credits", "grant", "25", "--note", "hello").output == "available 25\n"
        assert say("credits", "grant", "--", "-6.5").output == "available 18.5\n"
        assert say("credits", "show").output == "available 18.5\nreserved  0\ntotal     18.5\n  18.5 free\n"

    def test_transfers(self, say: Say, home: Path) -> None:
        say("credits", "grant", "25", "--note", "hello")
        head, line = say("credits", "transfers").output.splitlines()
        assert head.split() == ["time", "kind", "credits", "what"]
        assert line.split()[2:] == ["adjust", "+25", "hello"]

    def test_a_grant_is_in_the_audit_log(self, say: Say, home: Path) -> None:
        say("credits", "grant", "25", "--note", "hello")
        (entry,) = on_database(home, lambda c: AuditLog(SystemClock()).entries(c, ORG))
        assert (entry.action, entry.target, entry.actor_id) == ("credits.adjust", ORG, "command line")
        after = json.loads(entry.after)
        assert (after["micro_credits"], after["note"]) == (25_000_000, "hello")

    def test_what_is_refused_is_not(self, say: Say, home: Path) -> None:
        with pytest.raises(InvalidInput):
            say("credits", "grant", "--", "-1")
        assert on_database(home, lambda c: AuditLog(SystemClock()).entries(c, ORG)) == []

    def test_several_accounts_need_a_name(self, say: Say, home: Path) -> None:
        open_account(home, OTHER)
        with pytest.raises(InvalidInput, match="--org"):
            say("credits", "show")
        assert say("credits", "grant", "1", "--org", OTHER).output == "available 1\n"
        assert say("credits", "show", "--org", ORG).output.startswith("available 0\n")

    def test_an_address_finds_the_personal_account(self, say: Say, home: Path) -> None:
        database = open_database(f"sqlite:///{home / 'keelbill.db'}")
        for table, values in (
            (person, {"id": "p" * 32, "email": "ann@example.org"}),
            (org, {"id": ORG, "kind": "personal"}),
            (membership, {"org_id": ORG, "user_id": "p" * 32, "role": "owner"}),
        ):
            blank = {
                column.name: 0 if "INT" in str(column.type).upper() or "BOOL" in str(column.type).upper() else ""
                for column in table.columns
                if not column.nullable
            }
            database.write_now(lambda c, t=table, v=blank | values: c.execute(t.insert().values(v)))  # type: ignore[misc]
        database.close_now()
        assert say("credits", "grant", "2", "--org", "Ann@Example.org").output == "available 2\n"

    @pytest.mark.parametrize("name", ["nobody@example.org", "c" * 32])
    def test_nobody(self, say: Say, home: Path, name: str) -> None:
        with pytest.raises(NotFound):
            say("credits", "show", "--org", name)


class TestVouchers:
    def test_create_and_list(self, say: Say, home: Path) -> None:
        made = say("vouchers", "create", "--credits", "1000", "--count", "2", "--days", "90", "--note", "fair")
        codes = made.output.split()
        assert [len(code) for code in codes] == [25, 25]
        listed = say("vouchers", "list").output
        assert listed.count("1000 paid  used 0/1  until ") == 2
        assert listed.count("fair") == 2
        assert not any(code in listed for code in codes)

    def test_none(self, say: Say, home: Path) -> None:
        assert say("vouchers", "list").output == "There are no vouchers.\n"


class TestLedger:
    def test_sound_books(self, say: Say, home: Path) -> None:
        say("credits", "grant", "25")
        assert say("ledger", "verify").output == "the books agree\n"

    def test_what_does_not_agree_is_shown(self, say: Say, home: Path) -> None:
        say("credits", "grant", "25")
        database = open_database(f"sqlite:///{home / 'keelbill.db'}")
        database.write_now(lambda c: c.exec_driver_sql("UPDATE wallet SET posted = posted + 1 WHERE id >= 0"))
        database.close_now()
        result = say("ledger", "verify")
        assert result.exit_code == 1
        assert "posted is the sum of its transfers: expected 25000000, found 25000001" in result.output
        assert result.output.endswith("2 mismatches\n")

    def test_prices(self, say: Say, home: Path) -> None:
        lines = say("ledger", "prices").output.splitlines()
        assert lines[0] == "price list 2026-01"
        assert lines[1].split() == ["sd3.5-large", "6.5"]

    def test_the_operators_own_prices(self, say: Say, home: Path) -> None:
        (home / "prices.toml").write_text(
            '[[list]]\nversion = "mine"\neffective_from = 2020-01-01T00:00:00Z\n[list.credits]\nsd3 = "1"\n'
        )
        assert say("ledger", "prices").output.split() == ["price", "list", "mine", "sd3", "1"]

    def test_sweep_leaves_what_may_still_run(self, say: Say, home: Path) -> None:
        say("credits", "grant", "25")
        database = open_database(f"sqlite:///{home / 'keelbill.db'}")
        clock = SystemClock()
        books = Ledger(clock, PriceList.load(clock=clock), Settings())
        for job, ago_s in (("old", 2 * 3600), ("new", 60)):
            expires = clock.now_ms() - ago_s * 1000
            database.write_now(
                lambda c, j=job, e=expires: books.reserve(  # type: ignore[misc]
                    c, org_id=ORG, job_id=j, amount=micro(1), price_version="x", expires_ms=e
                )
            )
        database.close_now()
        assert say("ledger", "sweep").output == "1 reservations given back, 0 lots of credits expired\n"
