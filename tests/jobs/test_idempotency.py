"""The same idempotency key never makes or charges a second picture; every row of the table of situations."""

from __future__ import annotations

import asyncio

import pytest

from keelbill.core.errors import Cancelled, Conflict, GenerationFailed, InvalidRequest, PaymentRequired, Unprocessable
from keelbill.core.types import micro
from keelbill.jobs import service
from keelbill.jobs.schemas import Idempotency
from keelbill.serving.scripted import Fault
from support.jobbook import ManualClock
from support.jobhouse import PRICE, House, Houses, wish

KEY = Idempotency("order-66", "a" * 64)
OTHER_REQUEST = Idempotency("order-66", "b" * 64)


class TestFinished:
    async def test_same_answer_and_no_second_charge(self, house: House) -> None:
        ann = house.account("25")
        first = await house.jobs.run(ann, wish(), KEY)
        again = await house.jobs.run(ann, wish(seed=99), KEY)
        assert (first.replayed, again.replayed) == (False, True)
        assert (again.image, again.seed, again.job_id, again.charged) == (first.image, 7, first.job_id, PRICE)
        assert house.balance(ann).posted == micro("18.5")

    async def test_blurred_pictures_are_answered_again_too(self, houses: Houses) -> None:
        async with houses.open(Fault("filter")) as house:
            ann = house.account("25")
            first = await house.jobs.run(ann, wish(), KEY)
            again = await house.jobs.run(ann, wish(), KEY)
            assert (again.filtered, again.image, again.charged) == (True, first.image, 0)

    async def test_several_pictures_come_back_in_order(self, house: House) -> None:
        ann = house.account("25")
        requests = [wish(seed=1), wish(seed=2)]
        first = await house.jobs.run_many(ann, requests, KEY)
        again = await house.jobs.run_many(ann, requests, KEY)
        assert [outcome.image for outcome in again] == [outcome.image for outcome in first]
        assert house.balance(ann).posted == micro(12)

    async def test_a_replay_needs_neither_credits_nor_a_place_in_the_queue(self, house: House) -> None:
        ann = house.account("6.5")
        await house.jobs.run(ann, wish(), KEY)
        house.gateway._course.is_draining = True
        assert (await house.jobs.run(ann, wish(), KEY)).replayed

    async def test_without_a_key_every_request_is_its_own(self, house: House) -> None:
        ann = house.account("25")
        await house.jobs.run(ann, wish())
        await house.jobs.run(ann, wish())
        assert house.balance(ann).posted == micro(12)

    async def test_keys_belong_to_an_account(self, house: House) -> None:
        ann, bob = house.account("25"), house.account("25")
        await house.jobs.run(ann, wish(), KEY)
        assert not (await house.jobs.run(bob, wish(), KEY)).replayed

    async def test_a_day_later_the_key_is_new(self, houses: Houses) -> None:
        clock = ManualClock()
        async with houses.open(clock=clock) as house:
            ann = house.account("25")
            await house.jobs.run(ann, wish(), KEY)
            clock.move(86_401)
            assert not (await house.jobs.run(ann, wish(), OTHER_REQUEST)).replayed

    async def test_a_deleted_picture_is_not_answered_again(self, house: House) -> None:
        ann = house.account("25")
        first = await house.jobs.run(ann, wish(), KEY)
        picture = await house.gallery.of_job(ann.org_id, first.job_id)
        await house.gallery.delete(ann.org_id, picture.id)
        assert not (await house.jobs.run(ann, wish(), KEY)).replayed


class TestRunning:
    async def test_the_second_waits_for_the_first(self, houses: Houses) -> None:
        async with houses.open(step_s=0.05) as house:
            ann = house.account("25")
            outcomes = await asyncio.gather(*(house.jobs.run(ann, wish(), KEY) for _ in range(6)))
            assert len({outcome.job_id for outcome in outcomes}) == 1
            assert sorted(outcome.replayed for outcome in outcomes) == [False] + [True] * 5
            assert house.balance(ann).posted == micro("18.5")
            assert house.sound()

    async def test_too_long(self, houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(service, "REPLAY_WAIT_S", 0.1)
        async with houses.open(step_s=5.0) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish(), KEY)
            with pytest.raises(Conflict) as caught:
                await house.jobs.run(ann, wish(), KEY)
            assert caught.value.retry_after_s > 0
            assert house.job(ticket.job_id).state == "running"
            assert len(await house.jobs.list(ann)) == 1

    async def test_the_client_of_a_replay_goes(self, houses: Houses) -> None:
        async with houses.open(step_s=0.1) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish(), KEY)

            async def gone() -> bool:
                return True

            with pytest.raises(Conflict):
                await house.jobs.run(ann, wish(), KEY, disconnected=gone)
            assert (await house.until(ticket.job_id, "succeeded")).charged_micro == PRICE


class TestOtherRequest:
    async def test_is_refused(self, house: House) -> None:
        ann = house.account("25")
        await house.jobs.run(ann, wish(), KEY)
        with pytest.raises(Unprocessable):
            await house.jobs.run(ann, wish(), OTHER_REQUEST)
        assert house.balance(ann).posted == micro("18.5")


class TestFreeAgain:
    async def test_after_a_failure(self, houses: Houses) -> None:
        async with houses.open(Fault("fail")) as house:
            ann = house.account("25")
            with pytest.raises(GenerationFailed):
                await house.jobs.run(ann, wish(), KEY)
            again = await house.jobs.run(ann, wish(), KEY)
            assert (again.replayed, again.charged) == (False, PRICE)
            assert house.balance(ann).posted == micro("18.5")

    async def test_after_out_of_credits(self, house: House) -> None:
        ann = house.account("1")
        with pytest.raises(PaymentRequired):
            await house.jobs.run(ann, wish(), KEY)
        house.database.write_now(lambda c: house.ledger.adjust(c, ann.org_id, micro(9), "tests", "more"))
        assert (await house.jobs.run(ann, wish(), OTHER_REQUEST)).charged == PRICE

    async def test_after_it_was_cancelled(self, houses: Houses) -> None:
        async with houses.open(step_s=0.05, steps=100) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish(), KEY)
            await house.until(ticket.job_id, "running")
            assert await house.jobs.cancel(ann, ticket.job_id)
            await house.until(ticket.job_id, "cancelled")
            again = await house.jobs.submit(ann, wish(steps=1), KEY)
            assert not again.replayed

    async def test_the_one_that_waited_runs_anew_when_the_first_fails(self, houses: Houses) -> None:
        async with houses.open(Fault("fail", step=2), step_s=0.1) as house:
            ann = house.account("25")
            first = asyncio.create_task(house.jobs.run(ann, wish(), KEY))
            while not await house.jobs.list(ann):
                await asyncio.sleep(0.01)
            second = await house.jobs.run(ann, wish(), KEY)
            with pytest.raises(GenerationFailed):
                await first
            assert (second.replayed, second.charged) == (False, PRICE)
            assert house.balance(ann).posted == micro("18.5")

    async def test_of_many_that_take_a_free_key_over_one_wins(self, houses: Houses) -> None:
        async with houses.open(Fault("fail"), step_s=0.02) as house:
            ann = house.account("25")
            with pytest.raises(GenerationFailed):
                await house.jobs.run(ann, wish(), KEY)
            outcomes = await asyncio.gather(*(house.jobs.run(ann, wish(), KEY) for _ in range(5)))
            assert len({outcome.job_id for outcome in outcomes}) == 1
            assert house.balance(ann).posted == micro("18.5")


class TestClientGone:
    async def test_a_running_job_with_a_key_finishes_and_is_kept_for_the_retry(self, houses: Houses) -> None:
        async with houses.open(step_s=0.05) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish(), KEY)
            await house.until(ticket.job_id, "running")

            async def gone() -> bool:
                return True

            with pytest.raises(Cancelled):
                await house.jobs.outcome(ticket, disconnected=gone)
            await house.until(ticket.job_id, "succeeded")
            assert (await house.jobs.run(ann, wish(), KEY)).replayed
            assert house.balance(ann).posted == micro("18.5")


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "naïve", "tab\t", "line\n"])
async def test_malformed_keys(house: House, key: str) -> None:
    with pytest.raises(InvalidRequest, match="idempotency-key"):
        await house.jobs.run(house.account("25"), wish(), Idempotency(key, "a" * 64))
