"""Reserve, capture, void: the life of a charge."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import DBAPIError

from keelbill.core.errors import InvalidInput
from keelbill.core.types import micro
from keelbill.db.base import Database
from keelbill.ledger.errors import AlreadyReserved, HoldNotOpen, NoWallet, OutOfCredits
from keelbill.ledger.models import Category, hold, transfer, wallet
from support.ledgers import ORG, OTHER, Bank, Terms

JOB = "1" * 32


class TestReserve:
    def test_out_of_credits(self, bank: Bank) -> None:
        bank.open(amount="6")
        with pytest.raises(OutOfCredits, match=r"costs 6.5 credits and 6 are available") as caught:
            bank.reserve(JOB)
        assert (caught.value.status, caught.value.code) == (402, "payment_required")
        assert bank.numbers_of() == ("6", "0", "6")

    def test_no_wallet(self, bank: Bank) -> None:
        with pytest.raises(NoWallet):
            bank.reserve(JOB)

    def test_the_last_credit_can_be_spent(self, bank: Bank) -> None:
        bank.open(amount="13")
        bank.charge("1")
        bank.charge("2")
        with pytest.raises(OutOfCredits):
            bank.reserve("3", "0.000001")
        assert bank.numbers_of() == ("0", "0", "0")
        bank.assert_sound()

    def test_what_is_held_is_not_available(self, bank: Bank) -> None:
        bank.open(amount="10")
        bank.reserve(JOB)
        assert bank.numbers_of() == ("10", "6.5", "3.5")
        with pytest.raises(OutOfCredits, match=r"3.5 are available"):
            bank.reserve("2")
        bank.assert_sound()

    def test_a_job_has_one_hold(self, bank: Bank) -> None:
        bank.open(amount="100")
        bank.reserve(JOB)
        with pytest.raises(AlreadyReserved):
            bank.reserve(JOB)
        bank.capture(JOB)
        with pytest.raises(AlreadyReserved):
            bank.reserve(JOB)
        assert bank.numbers_of() == ("93.5", "0", "93.5")

    def test_something_free_leaves_no_transfer(self, bank: Bank) -> None:
        bank.open()
        bank.charge(JOB, "0")
        assert bank.database.read_now(lambda c: bank.ledger.transfers(c, ORG)) == []
        bank.assert_sound()

    def test_negative_amounts_are_refused(self, bank: Bank) -> None:
        bank.open(amount="1")
        with pytest.raises(InvalidInput, match="amount"):
            bank.reserve(JOB, "-1")

    def test_orgs_do_not_share(self, bank: Bank) -> None:
        bank.open(ORG)
        bank.open(OTHER, "100")
        with pytest.raises(OutOfCredits):
            bank.reserve(JOB)


class TestCapture:
    def test_takes_the_price_once(self, bank: Bank) -> None:
        bank.open(amount="25")
        bank.reserve(JOB)
        assert bank.capture(JOB) == micro("6.5")
        with pytest.raises(HoldNotOpen):
            bank.capture(JOB)
        assert bank.numbers_of() == ("18.5", "0", "18.5")
        bank.assert_sound()

    def test_what_was_given_back_cannot_be_taken(self, bank: Bank) -> None:
        bank.open(amount="25")
        bank.reserve(JOB)
        assert bank.void(JOB)
        with pytest.raises(HoldNotOpen):
            bank.capture(JOB)
        assert bank.numbers_of() == ("25", "0", "25")
        bank.assert_sound()

    def test_an_unknown_job(self, bank: Bank) -> None:
        with pytest.raises(HoldNotOpen):
            bank.capture("nothing")

    def test_history_names_the_price(self, bank: Bank) -> None:
        bank.open(amount="25")
        bank.charge(JOB)
        charge, topup = bank.database.read_now(lambda c: bank.ledger.transfers(c, ORG))
        assert (charge.kind, charge.amount, charge.item, charge.job_id) == ("capture", -6_500_000, "sd3.5-large", JOB)
        assert (charge.key_id, charge.price_version) == ("key", "2026-01")
        assert (topup.kind, topup.amount) == ("topup", 25_000_000)

    def test_history_comes_in_pages(self, bank: Bank) -> None:
        bank.open(amount="25")
        for number in range(4):
            bank.charge(str(number), "1")
        first = bank.database.read_now(lambda c: bank.ledger.transfers(c, ORG, limit=3))
        rest = bank.database.read_now(lambda c: bank.ledger.transfers(c, ORG, first[-1].id, 3))
        assert [each.job_id for each in (*first, *rest)] == ["3", "2", "1", "0", ""]


class TestVoid:
    def test_gives_everything_back_once(self, bank: Bank) -> None:
        bank.open(amount="25")
        bank.reserve(JOB)
        assert bank.void(JOB)
        assert not bank.void(JOB)
        assert bank.numbers_of() == ("25", "0", "25")
        bank.assert_sound()

    def test_what_was_taken_stays_taken(self, bank: Bank) -> None:
        bank.open(amount="25")
        bank.charge(JOB)
        assert not bank.void(JOB)
        assert bank.numbers_of() == ("18.5", "0", "18.5")


class TestSweep:
    def test_expired_holds_are_given_back(self, bank: Bank) -> None:
        bank.open(amount="25")
        bank.reserve("1", "1")
        bank.clock.advance(10 * 60)
        bank.reserve("2", "1")
        bank.clock.advance(6 * 60)
        assert bank.database.write_now(bank.ledger.sweep) == 1
        assert bank.numbers_of() == ("25", "1", "24")
        bank.assert_sound()

    def test_a_job_that_runs_keeps_its_hold(self, bank: Bank) -> None:
        bank.open(amount="25")
        for job in ("1", "2"):
            bank.reserve(job, "1")
        bank.clock.advance(10**6)
        asked: list[list[str]] = []

        def live(_: object, jobs: list[str]) -> set[str]:
            asked.append(jobs)
            return {"2"}

        assert bank.database.write_now(lambda c: bank.ledger.sweep(c, live)) == 1
        assert asked == [["1", "2"]]
        assert bank.capture("2") == micro("1")
        bank.assert_sound()


class TestFreeCredits:
    def test_once_per_account(self, bank: Bank) -> None:
        bank.open()
        grant = bank.ledger.grant_free
        assert bank.database.write_now(lambda c: grant(c, ORG, "ann@example.org"))
        assert not bank.database.write_now(lambda c: grant(c, ORG, "bob@example.org"))
        assert bank.numbers_of() == ("25", "0", "25")

    @pytest.mark.parametrize(
        "variant", ["ann@example.org", "Ann@Example.ORG", "ann+2@example.org", " ann@example.org", "ａnn@example.org"]
    )
    def test_once_per_person(self, bank: Bank, variant: str) -> None:
        bank.open(ORG)
        bank.open(OTHER)
        grant = bank.ledger.grant_free
        assert bank.database.write_now(lambda c: grant(c, ORG, "ann@example.org"))
        assert not bank.database.write_now(lambda c: grant(c, OTHER, variant))
        assert bank.numbers_of(OTHER) == ("0", "0", "0")
        assert bank.database.write_now(lambda c: grant(c, OTHER, "https://login.example/|12345"))
        bank.assert_sound()

    def test_the_setting_may_be_nothing(self, database: Database) -> None:
        bank = Bank(database, Terms(free_credits="0"))
        bank.open()
        assert database.write_now(lambda c: bank.ledger.grant_free(c, ORG, "ann@example.org"))
        assert bank.numbers_of() == ("0", "0", "0")


class TestAdjust:
    def test_adds_and_takes_with_a_note(self, bank: Bank) -> None:
        bank.open()
        bank.database.write_now(lambda c: bank.ledger.adjust(c, ORG, micro(10), "ops", "sorry"))
        bank.database.write_now(lambda c: bank.ledger.adjust(c, ORG, micro(-4), "ops", "too much"))
        assert bank.numbers_of() == ("6", "0", "6")
        last = bank.database.read_now(lambda c: bank.ledger.transfers(c, ORG))[0]
        assert (last.amount, last.note, last.actor) == (-4_000_000, "too much", "operator:ops")
        bank.assert_sound()

    def test_never_takes_what_is_held(self, bank: Bank) -> None:
        bank.open(amount="10")
        bank.reserve(JOB)
        with pytest.raises(InvalidInput, match="no more than what is available"):
            bank.database.write_now(lambda c: bank.ledger.adjust(c, ORG, micro(-4), "ops", ""))
        bank.assert_sound()

    def test_nothing_is_not_an_adjustment(self, bank: Bank) -> None:
        bank.open()
        with pytest.raises(InvalidInput):
            bank.database.write_now(lambda c: bank.ledger.adjust(c, ORG, micro(0), "ops", ""))


class TestUnlimited:
    def test_the_wallet_fills_itself_and_usage_is_recorded(self, database: Database) -> None:
        bank = Bank(database, Terms(billing="unlimited"))
        bank.open()
        bank.charge(JOB, "6.5")
        bank.charge("2", "20000")
        kinds = [each.kind for each in database.read_now(lambda c: bank.ledger.transfers(c, ORG))]
        assert kinds == ["capture", "grant", "capture", "grant"]
        bank.assert_sound()


class TestGuards:
    @pytest.mark.parametrize("statement", ["UPDATE ledger_transfer SET amount = 1", "DELETE FROM ledger_transfer"])
    def test_transfers_are_never_changed(self, bank: Bank, statement: str) -> None:
        bank.open(amount="10")
        with pytest.raises(DBAPIError, match="transfers are never"):
            bank.database.write_now(lambda c: c.exec_driver_sql(statement))

    @pytest.mark.parametrize("values", [{"posted": -1}, {"held": -1}, {"held": 11_000_000}])
    def test_a_wallet_cannot_go_below_zero(self, bank: Bank, values: dict[str, int]) -> None:
        bank.open(amount="10")
        with pytest.raises(DBAPIError, match="covered"):
            bank.database.write_now(lambda c: c.execute(update(wallet).where(wallet.c.org_id == ORG).values(values)))

    def test_a_hold_is_captured_by_one_transfer(self, bank: Bank) -> None:
        bank.open(amount="10")
        bank.charge(JOB)
        row = bank.database.read_now(lambda c: c.execute(transfer.select().where(transfer.c.kind == "capture")).one())
        again = row._asdict() | {"id": "f" * 32}
        with pytest.raises(DBAPIError, match=r"(?i)unique"):
            bank.database.write_now(lambda c: c.execute(insert(transfer).values(again)))


class TestLots:
    def test_free_before_promotional_before_paid(self, bank: Bank) -> None:
        bank.open(amount="5", category=Category.PAID)
        bank.add("5", category=Category.PROMO)
        bank.add("5", category=Category.FREE)
        bank.charge(JOB, "8")
        left = bank.database.read_now(lambda c: bank.ledger.lots(c, ORG))
        assert [(each.category, each.remaining) for each in left] == [("promo", 2_000_000), ("paid", 5_000_000)]
        bank.assert_sound()

    def test_the_next_to_expire_goes_first(self, bank: Bank) -> None:
        bank.open(amount="5")
        bank.add("5", expires_ms=bank.clock.ms + 2000)
        bank.add("5", expires_ms=bank.clock.ms + 1000)
        bank.charge(JOB, "6")
        left = bank.database.read_now(lambda c: bank.ledger.lots(c, ORG))
        assert [each.remaining for each in left] == [4_000_000, 5_000_000]

    def test_credits_expire(self, bank: Bank) -> None:
        bank.open(amount="5")
        bank.add("5", category=Category.PROMO, expires_ms=bank.clock.ms + 1000)
        bank.clock.advance(2)
        with pytest.raises(OutOfCredits):
            bank.reserve(JOB, "6")  # even before the sweep
        assert bank.database.write_now(bank.ledger.expire_lots) == 1
        assert bank.database.write_now(bank.ledger.expire_lots) == 0
        assert bank.numbers_of() == ("5", "0", "5")
        bank.assert_sound()

    def test_credits_do_not_expire_under_a_running_job(self, bank: Bank) -> None:
        bank.open(amount="10", expires_ms=bank.clock.ms + 1000)
        bank.reserve(JOB)
        bank.clock.advance(2)
        assert bank.database.write_now(bank.ledger.expire_lots) == 1
        assert bank.numbers_of() == ("6.5", "6.5", "0")
        assert bank.capture(JOB) == micro("6.5")
        bank.assert_sound()

    def test_they_expire_when_the_job_gives_them_back(self, bank: Bank) -> None:
        bank.open(amount="10", expires_ms=bank.clock.ms + 1000)
        bank.reserve(JOB)
        bank.clock.advance(2)
        bank.database.write_now(bank.ledger.expire_lots)
        bank.void(JOB)
        assert bank.database.write_now(bank.ledger.expire_lots) == 1
        assert bank.numbers_of() == ("0", "0", "0")
        bank.assert_sound()


class TestVerify:
    def test_sound_books(self, bank: Bank) -> None:
        bank.open(amount="100")
        bank.charge("1")
        bank.reserve("2")
        bank.void("2")
        bank.reserve("3")
        assert bank.database.write_now(bank.ledger.check_books) == []
        bank.assert_sound()

    @pytest.mark.parametrize(
        ("tamper", "rule"),
        [
            (update(wallet).where(wallet.c.org_id == ORG).values(posted=wallet.c.posted + 1), "sum of its transfers"),
            (update(wallet).where(wallet.c.org_id == ORG).values(held=wallet.c.held + 1), "sum of its open holds"),
            (update(hold).where(hold.c.job_id == "1").values(state="voided"), "a voided hold"),
            (update(hold).where(hold.c.job_id == "2").values(state="captured"), "a captured hold"),
            (update(hold).where(hold.c.job_id == "2").values(amount=7), "amount is the sum of its lots"),
        ],
    )
    def test_what_was_tampered_with_is_found(self, bank: Bank, tamper: object, rule: str) -> None:
        bank.open(amount="100")
        bank.charge("1")
        bank.reserve("2")
        bank.database.write_now(lambda c: c.execute(tamper))  # type: ignore[call-overload]
        found = bank.database.read_now(bank.ledger.verify)
        assert any(rule in str(each) for each in found), found

    def test_a_missing_guard_is_found(self, bank: Bank) -> None:
        statement = "DROP TRIGGER ledger_transfer_no_update"
        suffix = " ON ledger_transfer" if bank.database.dialect == "postgresql" else ""
        bank.database.write_now(lambda c: c.exec_driver_sql(statement + suffix))
        assert [each.subject for each in bank.database.read_now(bank.ledger.verify)] == [
            "trigger ledger_transfer_no_update"
        ]
