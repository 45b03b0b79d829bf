"""What a crash leaves behind: every job runs once more or ends, every hold is taken or given back."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from keelbill.core.principal import Principal
from keelbill.core.types import micro
from keelbill.db.base import Database
from keelbill.jobs.intake import Claim, Intake
from keelbill.jobs.models import job as jobs
from keelbill.jobs.schemas import Idempotency, Ticket
from keelbill.serving.messages import Failed, Succeeded
from support.jobbook import ManualClock
from support.jobhouse import PRICE, House, Houses, wish

KEY = Idempotency("k", "f" * 64)


def picture(content: bytes = b"a picture") -> Succeeded:
    return Succeeded(image=content, media_type="image/png", width=8, height=8, seed=1, model="m")


async def die_with(houses: Houses, running: bool, keyed: bool = False, is_async: bool = False) -> tuple[Principal, str]:
    """Let a server process take a job in, perhaps begin it, and vanish."""
    async with houses.open(start=False) as house:
        ann = house.account("25")
        ticket = await house.jobs.submit(ann, wish(is_async=is_async), KEY if keyed else None)
        if running:
            assert await house.book.claim(ticket.job_id, "worker", 0.0) == 1
    _let_leases_run_out(houses.database)
    return ann, ticket.job_id


def _let_leases_run_out(database: Database) -> None:
    """PostgreSQL's clock cannot be moved, so its leases are."""
    from keelbill.jobs.models import server_process

    database.write_now(lambda c: c.execute(server_process.delete()))


class TestBoot:
    async def test_a_job_that_was_written_as_claimed_and_never_reached_its_worker(self, houses: Houses) -> None:
        async with houses.open(start=False) as house:
            ann = house.account("25")
            intake = Intake(house.ledger, house.clock, house.book.leases)
            order = intake.order(ann, [wish(is_async=True)], [1000.0], None)
            ticket = await house.database.write(lambda c: intake.take(c, order, Claim("worker", 0.0)))
            job = house.job(ticket.job_id)
            assert (job.state, job.epoch, job.worker, job.attempt) == ("running", 1, "worker", 1)
            assert house.balance(ann).held == PRICE
        _let_leases_run_out(houses.database)
        async with houses.open() as later:
            done = await later.until(ticket.job_id, "succeeded")
            assert (done.charged_micro, done.epoch, done.attempt) == (PRICE, 2, 2)
            assert (later.balance(ann).posted, later.balance(ann).held) == (micro("18.5"), 0)
            assert later.sound()

    async def test_a_running_job_runs_once_more(self, houses: Houses) -> None:
        ann, job_id = await die_with(houses, running=True)
        async with houses.open() as house:
            job = await house.until(job_id, "succeeded")
            assert (job.attempt, job.epoch, job.charged_micro) == (2, 2, PRICE)
            assert house.balance(ann).posted == micro("18.5")
            assert (await house.gallery.of_job(ann.org_id, job_id)).price == PRICE
            assert house.sound()

    async def test_a_second_crash_ends_it(self, houses: Houses) -> None:
        ann, job_id = await die_with(houses, running=True)
        async with houses.open(start=False) as house:
            await house.janitor.recover()
            assert await house.book.claim(job_id, "worker", 0.0) == 2
        _let_leases_run_out(houses.database)
        async with houses.open() as house:
            assert (house.job(job_id).state, house.job(job_id).error_code) == ("failed", "worker_lost")
            assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)

    async def test_a_waiting_job_that_nobody_waits_for_is_given_up(self, houses: Houses) -> None:
        ann, job_id = await die_with(houses, running=False)
        async with houses.open() as house:
            assert house.job(job_id).state == "failed"
            assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)

    async def test_a_waiting_job_with_a_key_is_there_for_the_retry(self, houses: Houses) -> None:
        ann, job_id = await die_with(houses, running=False, keyed=True)
        async with houses.open() as house:
            outcome = await house.jobs.run(ann, wish(), KEY)
            assert (outcome.job_id, outcome.replayed, outcome.charged) == (job_id, True, PRICE)
            assert house.balance(ann).posted == micro("18.5")

    async def test_a_waiting_job_that_is_polled_for(self, houses: Houses) -> None:
        ann, job_id = await die_with(houses, running=False, is_async=True)
        async with houses.open() as house:
            await house.until(job_id, "succeeded")
            assert await house.jobs.result(ann, job_id) is not None

    async def test_the_late_result_of_the_old_worker_is_refused(self, houses: Houses) -> None:
        ann, job_id = await die_with(houses, running=True)
        async with houses.open() as house:
            await house.until(job_id, "succeeded")
            assert not await house.book.succeed(job_id, 1, picture())
            assert house.balance(ann).posted == micro("18.5")

    async def test_jobs_of_a_living_process_are_left_alone(self, houses: Houses) -> None:
        async with houses.open(start=False) as first:
            ann = first.account("25")
            await first.janitor.recover()
            ticket = await first.jobs.submit(ann, wish())
            if houses.database.dialect == "sqlite":
                pytest.skip("SQLite has one server process; the lock file sees to that")
            async with houses.open() as second:
                await second.janitor.sweep()
                assert first.job(ticket.job_id).state == "queued"
                assert first.job(ticket.job_id).owner == first.book.leases.process_id

    async def test_a_lease_that_has_not_run_out_is_left_alone(self, houses: Houses) -> None:
        if houses.database.dialect == "sqlite":
            pytest.skip("leases of a process before this one mean nothing on SQLite")
        async with houses.open(start=False) as house:
            ticket = await house.jobs.submit(house.account("25"), wish())
            await house.book.claim(ticket.job_id, "worker", 3600.0)
        async with houses.open() as house:
            assert house.job(ticket.job_id).state == "running"


class TestBook:
    async def test_of_two_claims_one_wins(self, houses: Houses) -> None:
        async with houses.open(start=False) as house:
            ticket = await house.jobs.submit(house.account("25"), wish())
            assert await house.book.claim(ticket.job_id, "a", 15.0) == 1
            assert await house.book.claim(ticket.job_id, "b", 15.0) is None

    async def test_an_old_epoch_changes_nothing(self, houses: Houses) -> None:
        async with houses.open(start=False) as house:
            ann, ticket = await _running(house)
            assert await house.book.requeue(ticket.job_id, 1, "lost") == 2
            assert await house.book.claim(ticket.job_id, "b", 15.0) == 2
            assert not await house.book.succeed(ticket.job_id, 1, picture())
            assert not await house.book.fail(ticket.job_id, 1, Failed("internal_error", "late"))
            assert not await house.book.cancelled(ticket.job_id, 1, "late")
            assert await house.book.requeue(ticket.job_id, 1, "lost") is None
            assert await house.book.succeed(ticket.job_id, 2, picture())
            assert house.balance(ann).posted == micro("18.5")
            assert house.sound()

    async def test_a_job_ends_once(self, houses: Houses) -> None:
        async with houses.open(start=False) as house:
            ann, ticket = await _running(house)
            assert await house.book.succeed(ticket.job_id, 1, picture())
            assert not await house.book.succeed(ticket.job_id, 1, picture())
            assert not await house.book.fail(ticket.job_id, 1, Failed("internal_error", "late"))
            assert not await house.book.withdraw(ticket.job_id, "late")
            assert house.balance(ann).posted == micro("18.5")
            assert len((await house.gallery.page(ann.org_id)).pictures) == 1

    async def test_renewal_returns_what_is_still_ours(self, houses: Houses) -> None:
        async with houses.open(start=False) as house:
            _, ticket = await _running(house)
            assert await house.book.renew({ticket.job_id: 1}, 15.0) == {ticket.job_id}
            assert await house.book.renew({ticket.job_id: 0, "f" * 32: 1}, 15.0) == set()
            await house.book.cancelled(ticket.job_id, 1, "enough")
            assert await house.book.renew({ticket.job_id: 1}, 15.0) == set()

    async def test_a_lost_hold_is_never_charged(self, houses: Houses) -> None:
        async with houses.open(start=False) as house:
            ann, ticket = await _running(house)
            house.database.write_now(lambda c: house.ledger.void(c, ticket.job_id, "by mistake"))
            assert not await house.book.succeed(ticket.job_id, 1, picture())
            assert (house.job(ticket.job_id).state, house.job(ticket.job_id).error_code) == ("failed", "hold_lost")
            assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)
            assert (await house.gallery.page(ann.org_id)).pictures == ()
            assert house.book.lost_holds == 1

    async def test_inputs_are_kept_until_the_job_ends(self, houses: Houses) -> None:
        async with houses.open(start=False) as house:
            ref = await house.jobs.keep_input(b"an input")
            ticket = await house.jobs.submit(house.account("25"), wish(image=ref))
            await house.janitor.tidy()
            assert house.database.read_now(lambda c: house.gallery.is_needed(c, ref))
            await house.book.claim(ticket.job_id, "w", 15.0)
            await house.book.fail(ticket.job_id, 1, Failed("internal_error", "x"))
            assert not house.database.read_now(lambda c: house.gallery.is_needed(c, ref))


class TestSweep:
    async def test_expired_hold_of_a_job_that_nobody_has(self, houses: Houses) -> None:
        clock = ManualClock()
        async with houses.open(clock=clock, start=False) as house:
            ann, _ = await _running(house)
            house.database.write_now(lambda c: c.execute(update(jobs).values(owner="gone", lease_ms=0)))
            clock.move(3600)
            assert await house.janitor.sweep() == 1
            assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)

    async def test_a_jump_of_the_time_of_day_takes_no_hold_from_a_running_job(self, houses: Houses) -> None:
        class Jumping(ManualClock):
            jumped_ms = 0

            def now_ms(self) -> int:
                return super().now_ms() + self.jumped_ms

        clock = Jumping()
        async with houses.open(clock=clock, start=False) as house:
            ann, ticket = await _running(house)
            clock.jumped_ms = 10 * 3_600_000
            assert await house.janitor.sweep() == 0
            assert await house.book.succeed(ticket.job_id, 1, picture())
            assert house.balance(ann).posted == micro("18.5")

    async def test_a_job_that_the_queue_lost_runs_all_the_same(self, houses: Houses) -> None:
        clock = ManualClock()
        async with houses.open(clock=clock) as house:
            ann = house.account("25")
            house.gateway.pause()
            real, house.gateway.submit = house.gateway.submit, _nowhere  # type: ignore[method-assign]
            ticket = await house.jobs.submit(ann, wish(is_async=True))
            house.gateway.submit = real  # type: ignore[method-assign]
            house.gateway.resume()
            await house.janitor.sweep()
            assert house.job(ticket.job_id).state == "queued", "it may still be on its way"
            clock.move(61)
            await house.janitor.sweep()
            assert (await house.until(ticket.job_id, "succeeded")).charged_micro == PRICE

    async def test_tidying_removes_orphans_and_keeps_what_is_needed(self, houses: Houses) -> None:
        async with houses.open() as house:
            ann = house.account("25")
            outcome = await house.jobs.run(ann, wish())
            orphan = house.blobs.put(b"orphan")
            real = house.blobs.sweep
            house.blobs.sweep = lambda known, **_: real(known, older_than_s=0.0)  # type: ignore[method-assign]
            assert await house.janitor.tidy() == 1
            assert not house.blobs.exists(orphan)
            assert await house.jobs.result(ann, outcome.job_id) is not None


async def _running(house: House) -> tuple[Principal, Ticket]:
    ann = house.account("25")
    ticket = await house.jobs.submit(ann, wish())
    assert await house.book.claim(ticket.job_id, "worker", 15.0) == 1
    return ann, ticket


async def _nowhere(*_: object, **__: object) -> None:
    """Take a job and lose it."""
