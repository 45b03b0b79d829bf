"""Looking at jobs, polling for results, cancelling and watching: only one's own, and never the work of others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keelbill.core.errors import Cancelled, GenerationFailed, InvalidRequest, NotFound
from keelbill.core.ids import new_id
from keelbill.core.types import micro
from keelbill.jobs.schemas import State
from keelbill.serving.messages import Cancelled as CancelledEvent
from keelbill.serving.messages import Failed, Progress, Queued, Started, Succeeded
from keelbill.serving.scripted import Fault
from support.jobbook import ManualClock
from support.jobhouse import PRICE, House, Houses, ids, wish


class TestOwnership:
    async def test_the_job_of_another_account_is_not_there(self, house: House) -> None:
        ann, bob = house.account("25"), house.account("25")
        job_id = (await house.jobs.run(ann, wish())).job_id
        for job in (job_id, new_id(), "", "../etc"):
            with pytest.raises(NotFound):
                await house.jobs.get(bob, job)
            with pytest.raises(NotFound):
                await house.jobs.result(bob, job)
            with pytest.raises(NotFound):
                await house.jobs.cancel(bob, job)
            with pytest.raises(NotFound):
                await anext(house.jobs.events(bob, job))

    async def test_lists_are_of_one_account(self, house: House) -> None:
        ann, bob = house.account("25"), house.account("25")
        await house.jobs.run(ann, wish())
        assert await house.jobs.list(bob) == []

    async def test_polling_may_be_bound_to_the_key(self, house: House) -> None:
        ann = house.account("25")
        job_id = (await house.jobs.run(ann, wish())).job_id
        other_key = replace(ann, key_id=new_id())
        assert await house.jobs.result(other_key, job_id) is not None
        with pytest.raises(NotFound):
            await house.jobs.result(other_key, job_id, same_key=True)


class TestList:
    async def test_newest_first_in_pages(self, house: House) -> None:
        ann = house.account("99")
        made = [(await house.jobs.run(ann, wish(seed=seed))).job_id for seed in range(1, 6)]
        page = await house.jobs.list(ann, limit=3)
        rest = await house.jobs.list(ann, before_id=page[-1].id, limit=3)
        assert ids([*page, *rest]) == made[::-1]

    async def test_by_state(self, houses: Houses) -> None:
        async with houses.open(Fault("fail", when="bad")) as house:
            ann = house.account("99")
            await house.jobs.run(ann, wish())
            with pytest.raises(GenerationFailed):
                await house.jobs.run(ann, wish("bad"))
            failed: tuple[State, ...] = ("failed",)
            assert [job.error_code for job in await house.jobs.list(ann, states=failed)] == ["internal_error"]

    @pytest.mark.parametrize("limit", [0, 101])
    async def test_limit(self, house: House, limit: int) -> None:
        with pytest.raises(InvalidRequest):
            await house.jobs.list(house.account("0"), limit=limit)


class TestPolling:
    async def test_nothing_yet_then_the_picture(self, houses: Houses) -> None:
        async with houses.open(step_s=0.05) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish(is_async=True))
            assert await house.jobs.result(ann, ticket.job_id) is None
            await house.until(ticket.job_id, "succeeded")
            polled = await house.jobs.result(ann, ticket.job_id)
            assert polled is not None
            assert (polled.seed, polled.charged, polled.media_type) == (7, PRICE, "image/png")
            assert house.blobs.exists(house.job(ticket.job_id).result_ref)

    async def test_failed(self, houses: Houses) -> None:
        async with houses.open(Fault("fail")) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish(is_async=True))
            await house.until(ticket.job_id, "failed")
            with pytest.raises(GenerationFailed):
                await house.jobs.result(ann, ticket.job_id)

    async def test_older_than_a_day(self, houses: Houses) -> None:
        clock = ManualClock()
        async with houses.open(clock=clock) as house:
            ann = house.account("25")
            job_id = (await house.jobs.run(ann, wish(is_async=True))).job_id
            clock.move(86_401)
            with pytest.raises(NotFound):
                await house.jobs.result(ann, job_id)
            await house.janitor.sweep()
            assert (house.job(job_id).result_ref, house.job(job_id).task) == ("", "")
            assert (await house.gallery.of_job(ann.org_id, job_id)).prompt == "a red fox", "history keeps it"

    async def test_deleted_from_the_history(self, house: House) -> None:
        ann = house.account("25")
        job_id = (await house.jobs.run(ann, wish("secret words"))).job_id
        picture = await house.gallery.of_job(ann.org_id, job_id)
        await house.gallery.delete(ann.org_id, picture.id)
        with pytest.raises(NotFound):
            await house.jobs.result(ann, job_id)
        assert "secret" not in repr(house.job(job_id))
        assert not house.blobs.exists(picture.blob_ref)


class TestCancel:
    async def test_a_waiting_job_at_once(self, houses: Houses) -> None:
        async with houses.open(step_s=5.0) as house:
            ann = house.account("25")
            await house.jobs.submit(ann, wish())
            ticket = await house.jobs.submit(ann, wish())
            assert await house.jobs.cancel(ann, ticket.job_id)
            with pytest.raises(Cancelled):
                await house.jobs.outcome(ticket)
            assert house.balance(ann).held == PRICE

    async def test_a_running_job_at_its_next_step(self, houses: Houses) -> None:
        async with houses.open(step_s=0.05, steps=200) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish())
            await house.until(ticket.job_id, "running")
            assert await house.jobs.cancel(ann, ticket.job_id)
            await house.until(ticket.job_id, "cancelled")
            assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)

    async def test_what_has_ended(self, house: House) -> None:
        ann = house.account("25")
        job_id = (await house.jobs.run(ann, wish())).job_id
        assert not await house.jobs.cancel(ann, job_id)
        assert house.balance(ann).posted == micro("18.5")

    async def test_what_waits_in_no_queue(self, houses: Houses) -> None:
        async with houses.open(start=False) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish())
            house.gateway.roll.forget_all()
            assert await house.jobs.cancel(ann, ticket.job_id)
            assert (house.job(ticket.job_id).state, house.balance(ann).held) == ("cancelled", 0)

    async def test_waiting_jobs_of_a_revoked_key(self, houses: Houses) -> None:
        async with houses.open(step_s=5.0) as house:
            ann = house.account("99")
            other_key = replace(ann, key_id=new_id())
            running = await house.jobs.submit(ann, wish())
            waiting = await house.jobs.submit(ann, wish())
            others = await house.jobs.submit(other_key, wish())
            await house.until(running.job_id, "running")
            await house.jobs.cancel_of_key(ann.key_id)
            await house.until(waiting.job_id, "cancelled")
            assert house.job(running.job_id).state == "running"
            assert house.job(others.job_id).state == "queued"


class TestEvents:
    async def test_from_waiting_to_done(self, houses: Houses) -> None:
        async with houses.open(step_s=0.05) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish())
            seen = [event async for event in house.jobs.events(ann, ticket.job_id)]
            assert isinstance(seen[0], Queued | Started | Progress)
            assert any(isinstance(event, Progress) and event.total == 4 for event in seen)
            assert isinstance(seen[-1], Succeeded)

    @pytest.mark.parametrize(
        ("fault", "kind"), [(None, Succeeded), (Fault("fail"), Failed)], ids=["succeeded", "failed"]
    )
    async def test_of_a_job_that_the_queue_forgot(self, houses: Houses, fault: Fault | None, kind: type) -> None:
        async with houses.open(*([fault] if fault else [])) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish(is_async=True))
            await house.until(ticket.job_id, "succeeded", "failed")
            house.gateway.roll.forget_all()
            (event,) = [event async for event in house.jobs.events(ann, ticket.job_id)]
            assert isinstance(event, kind)

    async def test_of_a_job_elsewhere(self, houses: Houses) -> None:
        async with houses.open(start=False) as house:
            ann = house.account("25")
            ticket = await house.jobs.submit(ann, wish())
            house.gateway.roll.forget_all()
            await house.book.claim(ticket.job_id, "far-away", 15.0)
            events = house.jobs.events(ann, ticket.job_id)
            assert await anext(events) == Started("far-away", 1)
            await house.book.cancelled(ticket.job_id, 1, "enough")
            assert await anext(events) == CancelledEvent("enough")
