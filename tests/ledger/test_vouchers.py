"""Vouchers: what a code looks like, when it works, and that it works once."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from keelbill.core.errors import InvalidInput, RateLimited
from keelbill.core.types import micro
from keelbill.ledger.errors import VoucherRefused
from keelbill.ledger.models import Category, voucher
from keelbill.ledger.vouchers import ALPHABET, Vouchers, make_code, read_code
from support.ledgers import ORG, OTHER, Bank


@pytest.fixture
def vouchers(bank: Bank) -> Vouchers:
    bank.open(ORG)
    bank.open(OTHER)
    return Vouchers(bank.ledger, bank.clock)


def create(bank: Bank, vouchers: Vouchers, **more: object) -> str:
    return bank.database.write_now(lambda c: vouchers.create(c, micro(1000), created_by="ops", **more))  # type: ignore[arg-type]


class TestCodes:
    def test_their_shape(self) -> None:
        code = make_code()
        assert [len(part) for part in code.split("-")] == [5, 5, 5, 5, 1]
        assert read_code(code) == code.replace("-", "")[:20]
        assert make_code() != code

    def test_typing_is_forgiving(self) -> None:
        code = make_code()
        assert read_code(f" {code.lower().replace('-', ' ')} ") == read_code(code)
        assert read_code(code.replace("O", "0").replace("I", "1").replace("B", "8")) == read_code(code)

    def test_one_wrong_character_is_noticed(self) -> None:
        code = make_code().replace("-", "")
        for place in range(21):
            for other in ALPHABET:
                typed = code[:place] + other + code[place + 1 :]
                assert (read_code(typed) is None) == (other != code[place])

    @pytest.mark.parametrize("text", ["", "ABC", "A" * 22, "é" * 21, "!" * 21])
    def test_what_is_no_code(self, text: str) -> None:
        assert read_code(text) is None


class TestRedeem:
    async def test_adds_its_worth_once(self, bank: Bank, vouchers: Vouchers) -> None:
        code = create(bank, vouchers)
        assert await vouchers.redeem_patiently(bank.database, ORG, code, "ann") == micro(1000)
        for org in (ORG, OTHER):
            with pytest.raises(VoucherRefused, match="redeemed before"):
                await vouchers.redeem_patiently(bank.database, org, code)
        assert bank.numbers_of() == ("1000", "0", "1000")
        bank.assert_sound()

    async def test_several_accounts_may_share_one(self, bank: Bank, vouchers: Vouchers) -> None:
        code = create(bank, vouchers, uses=2)
        for org in (ORG, OTHER):
            assert await vouchers.redeem_patiently(bank.database, org, code) == micro(1000)
        bank.assert_sound()

    async def test_many_at_once(self, bank: Bank, vouchers: Vouchers) -> None:
        code = create(bank, vouchers)
        results = await asyncio.gather(
            *(vouchers.redeem_patiently(bank.database, org, code) for org in (ORG, OTHER) * 4), return_exceptions=True
        )
        assert sum(not isinstance(result, BaseException) for result in results) == 1
        total = sum(float(bank.numbers_of(org)[0]) for org in (ORG, OTHER))
        assert total == 1000
        bank.assert_sound()

    async def test_an_expired_one(self, bank: Bank, vouchers: Vouchers) -> None:
        code = create(bank, vouchers, days=1)
        bank.clock.advance(24 * 60 * 60)
        with pytest.raises(VoucherRefused, match="expired"):
            await vouchers.redeem_patiently(bank.database, ORG, code)

    async def test_a_gift_is_spent_first_and_may_expire(self, bank: Bank, vouchers: Vouchers) -> None:
        code = create(bank, vouchers, category=Category.PROMO, credits_last_days=2)
        await vouchers.redeem_patiently(bank.database, ORG, code)
        (lot,) = bank.database.read_now(lambda c: bank.ledger.lots(c, ORG))
        assert (lot.category, lot.expires_ms) == ("promo", bank.clock.ms + 2 * 24 * 60 * 60 * 1000)

    async def test_five_wrong_codes_an_hour(self, bank: Bank, vouchers: Vouchers) -> None:
        right = create(bank, vouchers)
        for _ in range(5):
            with pytest.raises(VoucherRefused, match="no such code"):
                await vouchers.redeem_patiently(bank.database, ORG, make_code())
        with pytest.raises(RateLimited, match="5 wrong codes an hour") as caught:
            await vouchers.redeem_patiently(bank.database, ORG, right)
        assert caught.value.retry_after_s == 3600
        assert await vouchers.redeem_patiently(bank.database, OTHER, right) == micro(1000)
        bank.clock.advance(3600)
        with pytest.raises(VoucherRefused):
            await vouchers.redeem_patiently(bank.database, ORG, right)


class TestCreate:
    def test_only_the_hash_is_kept(self, bank: Bank, vouchers: Vouchers) -> None:
        code = create(bank, vouchers, note="fair")
        (row,) = bank.database.read_now(vouchers.all)
        stored = " ".join(map(str, bank.database.read_now(lambda c: c.execute(select(voucher)).one())))
        assert (row.micro_credits, row.note, row.created_by) == (1_000_000_000, "fair", "ops")
        assert code not in stored
        assert code.replace("-", "")[:20] not in stored

    @pytest.mark.parametrize("wrong", [{"uses": 0}, {"days": 0}, {"credits_last_days": -1}])
    def test_numbers_below_one(self, bank: Bank, vouchers: Vouchers, wrong: dict[str, int]) -> None:
        with pytest.raises(InvalidInput):
            create(bank, vouchers, **wrong)
