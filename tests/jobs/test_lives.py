"""The life of a charge: every way in which a job can end, and what it costs."""

from __future__ import annotations

import asyncio

import pytest

from keelbill.core.errors import (
    Cancelled,
    GenerationFailed,
    InvalidRequest,
    PaymentRequired,
    RateLimited,
    Unavailable,
)
from keelbill.core.principal import Caps
from keelbill.core.settings import Settings
from keelbill.core.types import micro
from keelbill.imaging.decode import decode
from keelbill.jobs.schemas import Idempotency
from keelbill.serving.admission import Limits
from keelbill.serving.messages import Failed, JobSpec
from keelbill.serving.scripted import Fault
from keelbill.storage.blobs import DiskFull
from support.jobhouse import PRICE, House, Houses, wish


class TestSuccess:
    async def test_a_picture_comes_back_and_is_charged_once(self, house: House) -> None:
        ann = house.account("25")
        outcome = await house.jobs.run(ann, wish(seed=41))
        assert decode(outcome.image).shape == (64, 64, 3)
        assert (outcome.width, outcome.height, outcome.seed, outcome.filtered) == (64, 64, 41, False)
        assert outcome.charged == PRICE
        assert (house.balance(ann).posted, house.balance(ann).held) == (micro("18.5"), 0)
        assert house.sound()

    async def test_price_picture_history_and_usage_agree(self, house: House) -> None:
        ann = house.account("25")
        outcome = await house.jobs.run(ann, wish("a blue door", negative_prompt="fog", recipe_prompt="door"))
        picture = await house.gallery.of_job(ann.org_id, outcome.job_id)
        assert (picture.prompt, picture.negative, picture.price, picture.seed) == ("door", "fog", PRICE, 7)
        assert house.blobs.read(picture.blob_ref) == outcome.image
        assert house.job(outcome.job_id).result_ref == picture.blob_ref
        (line,) = await house.usage.report(ann.org_id, "key")
        assert (line.group, line.requests, line.pictures, line.charged) == (ann.key_id, 1, 1, PRICE)

    async def test_the_front_door_may_name_the_price(self, house: House) -> None:
        ann = house.account("25")
        outcome = await house.jobs.run(ann, wish(service="v1", price=micro("0.9")))
        assert outcome.charged == micro("0.9")

    async def test_free_service_still_makes_a_picture(self, house: House) -> None:
        ann = house.account("0")
        outcome = await house.jobs.run(ann, wish(price=micro(0)))
        assert outcome.charged == 0
        assert house.sound()

    async def test_seed_beyond_what_integer_columns_hold(self, house: House) -> None:
        ann = house.account("25")
        outcome = await house.jobs.run(ann, wish(seed=2**64 - 1))
        assert outcome.seed == 2**64 - 1
        assert (await house.gallery.of_job(ann.org_id, outcome.job_id)).seed == 2**64 - 1

    async def test_many_at_once_never_overdraw(self, house: House) -> None:
        ann = house.account("25")  # pays for three
        results = await asyncio.gather(
            *(house.jobs.run(ann, wish(seed=number)) for number in range(8)), return_exceptions=True
        )
        assert sum(isinstance(result, PaymentRequired) for result in results) == 5
        assert (house.balance(ann).posted, house.balance(ann).held) == (micro("5.5"), 0)
        assert house.sound()


class TestAClaimedStart:
    """A picture that finds a free worker is written as claimed for it, which spares it a transaction."""

    async def test_takes_two_transactions(self, house: House) -> None:
        ann, written = house.account("25"), []
        house.database.on_commit = lambda seconds, operations: written.append(operations)
        outcome = await house.jobs.run(ann, wish())
        job = house.job(outcome.job_id)
        assert (job.state, job.epoch, job.attempt, job.worker) == ("succeeded", 1, 1, "scripted-0")
        assert 0 < job.created_ms <= job.started_ms <= job.finished_ms
        assert sum(written) == 2

    async def test_without_a_free_worker_it_waits_its_turn(self, houses: Houses) -> None:
        async with houses.open(step_s=0.02) as house:
            ann = house.account("25")
            outcomes = await asyncio.gather(*(house.jobs.run(ann, wish(seed=number)) for number in range(3)))
            assert {house.job(outcome.job_id).epoch for outcome in outcomes} == {1}
            assert house.balance(ann).posted == micro("5.5")
            assert house.sound()

    async def test_who_cannot_pay_keeps_no_worker(self, house: House) -> None:
        poor, ann = house.account("1"), house.account("25")
        for _ in range(3):
            with pytest.raises(PaymentRequired):
                await house.jobs.run(poor, wish())
        assert (await house.jobs.run(ann, wish())).charged == PRICE

    async def test_who_waits_behind_one_that_cannot_pay_begins(self, house: House) -> None:
        poor, ann = house.account("1"), house.account("25")
        refused, outcome = await asyncio.gather(
            house.jobs.run(poor, wish()), house.jobs.run(ann, wish()), return_exceptions=True
        )
        assert isinstance(refused, PaymentRequired)
        assert not isinstance(outcome, BaseException)
        assert outcome.charged == PRICE

    async def test_the_same_request_twice_at_once_keeps_no_worker(self, house: House) -> None:
        ann, key = house.account("25"), Idempotency("k", "f")
        first, second = await asyncio.gather(*(house.jobs.run(ann, wish(), key) for _ in range(2)))
        assert first.job_id == second.job_id
        assert (await house.jobs.run(ann, wish(seed=8))).charged == PRICE
        assert house.balance(ann).posted == micro(12)

    async def test_its_worker_is_lost_while_it_is_written(self, houses: Houses) -> None:
        async with houses.open(restart_s=0.0) as house:
            ann, submit = house.account("25"), house.gateway.submit

            async def too_late(spec: JobSpec, *, sync: bool = True, worker: str = "") -> None:
                house.pool.lose("scripted-0")
                await submit(spec, sync=sync, worker=worker)

            house.gateway.submit = too_late  # type: ignore[method-assign]
            ticket = await house.jobs.submit(ann, wish())
            job = await house.until(ticket.job_id, "succeeded")
            assert (job.attempt, job.charged_micro) == (2, PRICE)
            assert house.sound()


class TestRefusals:
    async def test_out_of_credits(self, house: House) -> None:
        ann = house.account("6.4")
        with pytest.raises(PaymentRequired):
            await house.jobs.run(ann, wish())
        assert await house.jobs.list(ann) == []
        assert house.balance(ann).held == 0

    async def test_cap_of_the_key(self, house: House) -> None:
        ann = house.account("25", caps=Caps(per_day=micro(10)))
        await house.jobs.run(ann, wish())
        with pytest.raises(PaymentRequired, match="cap"):
            await house.jobs.run(ann, wish())
        assert house.balance(ann).posted == micro("18.5")

    async def test_too_many_jobs_of_one_account(self, houses: Houses) -> None:
        async with houses.open(step_s=5.0, limits=Limits(account_jobs=2)) as house:
            ann = house.account("100")
            for _ in range(2):
                await house.jobs.submit(ann, wish())
            with pytest.raises(RateLimited):
                await house.jobs.submit(ann, wish())
            assert house.balance(ann).held == 2 * PRICE

    async def test_a_refused_hold_does_not_count_as_waiting(self, houses: Houses) -> None:
        async with houses.open(limits=Limits(account_jobs=2)) as house:
            poor = house.account("1")
            for _ in range(5):
                with pytest.raises(PaymentRequired):
                    await house.jobs.run(poor, wish())

    async def test_full_disk(self, house: House) -> None:
        ann = house.account("25")
        house.blobs.min_free_bytes = 2**62
        with pytest.raises(Unavailable):
            await house.jobs.run(ann, wish())
        assert house.balance(ann).held == 0

    @pytest.mark.parametrize("count", [0, 11])
    async def test_number_of_pictures(self, house: House, count: int) -> None:
        with pytest.raises(InvalidRequest):
            await house.jobs.submit_many(house.account("99"), [wish()] * count)


class TestFailure:
    async def test_model_error_is_not_charged(self, houses: Houses) -> None:
        async with houses.open(Fault("fail")) as house:
            ann = house.account("25")
            with pytest.raises(GenerationFailed) as caught:
                await house.jobs.run(ann, wish())
            assert "not charged" in str(caught.value)
            assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)
            (line,) = await house.usage.report(ann.org_id, "outcome")
            assert (line.group, line.failed, line.charged) == ("failed", 1, 0)
            assert house.sound()

    async def test_worker_lost_once_is_charged_once(self, houses: Houses) -> None:
        async with houses.open(Fault("lose"), workers=2) as house:
            ann = house.account("25")
            outcome = await house.jobs.run(ann, wish())
            assert outcome.charged == PRICE
            assert (house.job(outcome.job_id).attempt, house.job(outcome.job_id).epoch) == (2, 2)
            assert house.balance(ann).posted == micro("18.5")
            assert house.sound()

    async def test_worker_lost_twice_is_not_charged(self, houses: Houses) -> None:
        async with houses.open(Fault("lose", times=2), workers=3) as house:
            ann = house.account("25")
            with pytest.raises(GenerationFailed):
                await house.jobs.run(ann, wish())
            assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)

    async def test_deadline_while_running(self, houses: Houses) -> None:
        async with houses.open(step_s=5.0) as house:
            ann = house.account("25")
            with pytest.raises(GenerationFailed, match="not charged"):
                await house.jobs.run(ann, wish(deadline_s=0.4))
            assert house.balance(ann).held == 0

    async def test_deadline_in_the_queue(self, houses: Houses) -> None:
        async with houses.open(step_s=5.0) as house:
            ann = house.account("25")
            await house.jobs.submit(ann, wish())
            ticket = await house.jobs.submit(ann, wish(deadline_s=0.4, is_async=True))
            with pytest.raises(Unavailable, match="not charged"):
                await house.jobs.outcome(ticket)
            assert house.balance(ann).held == PRICE, "only the first holds credits"

    async def test_result_that_cannot_be_stored(self, houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
        async with houses.open() as house:
            ann = house.account("25")

            async def full(content: bytes) -> None:
                raise DiskFull("storage: full")

            monkeypatch.setattr(house.blobs, "aput", full)
            with pytest.raises(Unavailable, match="not charged"):
                await house.jobs.run(ann, wish())
            assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)

    async def test_input_that_the_worker_refuses(self, houses: Houses) -> None:
        async with houses.open(step_s=5.0) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish())
            job = await house.until(ticket.job_id, "running")
            await house.book.fail(job.id, job.epoch, Failed("bad_image", "image: truncated"))
            house.gateway.pool.cancel(job.id, "")
            with pytest.raises(InvalidRequest, match="truncated"):
                await house.jobs.outcome(ticket)


class TestFiltered:
    async def test_is_free_and_blurred(self, houses: Houses) -> None:
        async with houses.open(Fault("filter")) as house:
            ann = house.account("25")
            outcome = await house.jobs.run(ann, wish())
            assert (outcome.filtered, outcome.charged) == (True, 0)
            assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)
            assert (await house.gallery.of_job(ann.org_id, outcome.job_id)).filtered
            (line,) = await house.usage.report(ann.org_id)
            assert (line.filtered, line.charged) == (1, 0)

    async def test_is_charged_if_the_operator_says_so(self, houses: Houses) -> None:
        async with houses.open(Fault("filter"), settings=Settings(charge_filtered=True)) as house:
            ann = house.account("25")
            assert (await house.jobs.run(ann, wish())).charged == PRICE

    async def test_more_than_twenty_a_day_are_charged(self, houses: Houses) -> None:
        async with houses.open(Fault("filter", times=99)) as house:
            ann, bob = house.account("25"), house.account("25")
            for seed in range(20):
                assert (await house.jobs.run(ann, wish(seed=seed))).charged == 0
            assert (await house.jobs.run(ann, wish(seed=20))).charged == PRICE
            assert (await house.jobs.run(bob, wish(seed=21))).charged == 0, "each account has its own twenty"
            assert house.sound()


class TestClientGone:
    async def test_while_the_job_waits(self, houses: Houses) -> None:
        async with houses.open(step_s=5.0) as house:
            ann = house.account("25")
            await house.jobs.submit(ann, wish())
            ticket = await house.jobs.submit(ann, wish())
            with pytest.raises(Cancelled):
                await house.jobs.outcome(ticket, disconnected=_gone)
            assert (await house.until(ticket.job_id, "cancelled")).charged_micro == 0
            assert house.balance(ann).held == PRICE, "only the first holds credits"

    async def test_while_it_runs_cancels_it(self, houses: Houses) -> None:
        async with houses.open(step_s=0.1, steps=50) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish())
            await house.until(ticket.job_id, "running")
            with pytest.raises(Cancelled):
                await house.jobs.outcome(ticket, disconnected=_gone)
            await house.until(ticket.job_id, "cancelled")
            assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)

    async def test_the_request_that_waits_is_cancelled(self, houses: Houses) -> None:
        async with houses.open(step_s=0.1, steps=50) as house:
            ann = house.account("25")
            request = asyncio.create_task(house.jobs.run(ann, wish()))
            while not await house.jobs.list(ann):
                await asyncio.sleep(0.01)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            (job,) = await house.jobs.list(ann)
            await house.until(job.id, "cancelled")
            assert house.balance(ann).held == 0

    @pytest.mark.parametrize("moment", range(6))
    async def test_cancelled_at_any_moment_of_the_submission(self, houses: Houses, moment: int) -> None:
        async with houses.open(step_s=0.1, steps=50) as house:
            ann = house.account("25")
            request = asyncio.create_task(house.jobs.run(ann, wish()))
            for _ in range(moment):
                await asyncio.sleep(0)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            async with asyncio.timeout(60):
                while house.jobs._handing_over or house.balance(ann).held:
                    await asyncio.sleep(0.01)
            assert house.balance(ann).posted == micro(25)

    async def test_a_client_that_stays_gets_its_picture(self, house: House) -> None:
        ann = house.account("25")

        async def never() -> bool:
            return False

        assert (await house.jobs.run(ann, wish(), disconnected=never)).charged == PRICE


class TestSeveralPictures:
    async def test_each_is_charged(self, house: House) -> None:
        ann = house.account("25")
        outcomes = await house.jobs.run_many(ann, [wish(seed=1), wish(seed=2), wish(seed=3)])
        assert [outcome.seed for outcome in outcomes] == [1, 2, 3]
        assert house.balance(ann).posted == micro("5.5")

    async def test_all_or_none_are_taken_in(self, house: House) -> None:
        ann = house.account("25")
        with pytest.raises(PaymentRequired):
            await house.jobs.run_many(ann, [wish(seed=seed) for seed in range(4)])
        assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)
        assert await house.jobs.list(ann) == []

    async def test_when_one_fails_the_others_are_not_waited_for(self, houses: Houses) -> None:
        async with houses.open(Fault("fail", when="bad"), step_s=0.2, workers=2) as house:
            ann = house.account("25")
            with pytest.raises(GenerationFailed):
                await house.jobs.run_many(ann, [wish("good", steps=500), wish("bad")])
            bad, good = sorted(await house.jobs.list(ann), key=lambda job: job.image_task().prompt)
            await house.until(good.id, "cancelled")
            assert house.job(bad.id).state == "failed"
            assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)


async def _gone() -> bool:
    await asyncio.sleep(0.05)
    return True
