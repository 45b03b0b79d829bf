"""From a durable job to its end, with workers that follow a script."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from keelbill.core.errors import NotFound, RateLimited, Unavailable
from keelbill.serving import course, scribe
from keelbill.serving.admission import Limits
from keelbill.serving.gateway import Gateway
from keelbill.serving.messages import (
    Cancelled,
    Event,
    Failed,
    ImageTask,
    JobSpec,
    Progress,
    Queued,
    Retrying,
    Started,
    Succeeded,
)
from keelbill.serving.scripted import Fault, ScriptedPool
from keelbill.storage.blobs import DiskFull
from support.jobbook import ManualClock, MemoryBook


def spec(job_id: str = "a", org: str = "org", *, deadline_s: float = 120.0, cost_ms: float = 1000.0) -> JobSpec:
    task = ImageTask(prompt="a red kite", width=16, height=16, seed=7)
    return JobSpec(job_id=job_id, org_id=org, task=task, deadline_s=deadline_s, cost_ms=cost_ms)


@asynccontextmanager
async def serving(
    pool: ScriptedPool, book: MemoryBook | None = None, clock: ManualClock | None = None, limits: Limits | None = None
) -> AsyncIterator[Gateway]:
    gateway = Gateway(pool, book or MemoryBook(), clock, limits=limits)
    await gateway.start()
    try:
        async with asyncio.timeout(60):
            yield gateway
    finally:
        await gateway.stop()


async def watch(gateway: Gateway, job_id: str) -> list[Event]:
    return [event async for event in gateway.events(job_id)]


async def until_running(gateway: Gateway, job_id: str) -> None:
    while not any(job_id in worker.running for worker in gateway.workers()):
        await asyncio.sleep(0.001)


SLOW = {"step_s": 0.01, "steps": 1000}


class TestAPicture:
    async def test_is_stored_before_it_is_shown(self) -> None:
        book = MemoryBook()
        async with serving(ScriptedPool(), book) as gateway:
            await gateway.submit(spec())
            end = await gateway.result("a")
            assert isinstance(end, Succeeded)
            assert book.rows["a"].result == end
            assert book.rows["a"].charges == 1

    async def test_events_come_in_order(self) -> None:
        async with serving(ScriptedPool(steps=3, step_s=0.01)) as gateway:
            await gateway.submit(spec())
            kinds = [type(event) for event in await watch(gateway, "a")]
            assert kinds[0] in {Queued, Started}
            assert kinds[-4:] == [Progress, Progress, Progress, Succeeded]

    async def test_a_late_watcher_hears_the_last_event_first(self) -> None:
        async with serving(ScriptedPool(steps=1)) as gateway:
            await gateway.submit(spec())
            end = await gateway.result("a")
            assert await watch(gateway, "a") == [end]

    async def test_its_worker_may_forget_it(self) -> None:
        pool = ScriptedPool()
        async with serving(pool) as gateway:
            await gateway.submit(spec())
            await gateway.result("a")
            assert pool.acknowledged == [("a", 1)]

    async def test_a_job_that_failed(self) -> None:
        book = MemoryBook()
        async with serving(ScriptedPool(faults=[Fault("fail")]), book) as gateway:
            await gateway.submit(spec())
            assert isinstance(await gateway.result("a"), Failed)
            assert (book.rows["a"].state, book.rows["a"].charges, book.rows["a"].voids) == ("failed", 0, 1)

    async def test_the_same_job_twice_runs_once(self) -> None:
        pool = ScriptedPool()
        async with serving(pool) as gateway:
            await gateway.submit(spec())
            await gateway.submit(spec())
            await gateway.result("a")
            assert pool.started == ["a"]

    async def test_a_job_that_ended_elsewhere_is_not_begun(self) -> None:
        book = MemoryBook()
        book.row("a").state = "cancelled"
        pool = ScriptedPool()
        async with serving(pool, book) as gateway:
            await gateway.submit(spec())
            assert isinstance(await gateway.result("a"), Cancelled)
            assert pool.started == []

    async def test_nobody_knows_the_job(self) -> None:
        async with serving(ScriptedPool()) as gateway:
            with pytest.raises(NotFound, match="'ghost'"):
                await gateway.result("ghost")
            with pytest.raises(NotFound):
                await watch(gateway, "ghost")

    async def test_ended_jobs_are_forgotten_after_a_minute(self) -> None:
        clock = ManualClock()
        async with serving(ScriptedPool(), clock=clock) as gateway:
            await gateway.submit(spec())
            await gateway.result("a")
            clock.move(61)
            await gateway.tick()
            with pytest.raises(NotFound):
                await gateway.result("a")


class TestTurns:
    async def test_many_jobs_on_few_workers_all_end_once(self) -> None:
        book = MemoryBook()
        async with serving(ScriptedPool(workers=2, slots=3), book) as gateway:
            names = [f"job{i}" for i in range(50)]
            for i, name in enumerate(names):
                await gateway.submit(spec(name, org=f"org{i % 5}"))
            await asyncio.gather(*(gateway.result(name) for name in names))
            assert {book.rows[name].charges for name in names} == {1}

    async def test_accounts_take_turns(self) -> None:
        pool = ScriptedPool(step_s=0.001, steps=1)
        async with serving(pool) as gateway:
            for i in range(6):
                await gateway.submit(spec(f"many{i}", org="many", cost_ms=3000))
            await gateway.submit(spec("single", org="single", cost_ms=3000))
            await gateway.result("single")
            assert pool.started.index("single") <= 2

    async def test_place_and_estimate(self) -> None:
        async with serving(ScriptedPool(**SLOW)) as gateway:  # type: ignore[arg-type]
            await gateway.submit(spec("running"))
            await until_running(gateway, "running")
            await gateway.submit(spec("first"))
            await gateway.submit(spec("second"))
            assert gateway.position("running") is None
            await asyncio.sleep(0.06)  # places are looked up at most every 50 ms
            place = gateway.position("second")
            assert place is not None
            assert place.position == 2
            assert 1000 <= place.estimate_ms <= 2000

    async def test_watchers_hear_that_their_place_changed(self) -> None:
        clock = ManualClock()
        async with serving(ScriptedPool(**SLOW), clock=clock) as gateway:  # type: ignore[arg-type]
            for name in ("running", "first", "second"):
                await gateway.submit(spec(name))
            await until_running(gateway, "running")
            events = gateway.events("second")
            before = await anext(events)
            gateway.cancel("first", "changed my mind")
            clock.move(2)
            await gateway.tick()
            after = await anext(events)
            assert isinstance(before, Queued)
            assert isinstance(after, Queued)
            assert (before.position, after.position) == (2, 1)
            await events.aclose()  # type: ignore[attr-defined]

    async def test_estimates_are_learnt(self) -> None:
        async with serving(ScriptedPool(step_s=0.01, steps=4)) as gateway:
            assert gateway.estimate(spec().task) == 2000
            await gateway.submit(spec())
            await gateway.result("a")
            assert gateway.estimate(spec().task) == pytest.approx(40)


class TestASeat:
    async def test_the_job_begins_without_asking_the_book(self) -> None:
        book, pool = MemoryBook(), ScriptedPool()
        async with serving(pool, book) as gateway:
            worker = gateway.seat(spec().task)
            row = book.row("a")
            row.state, row.epoch = "running", 1
            await gateway.submit(replace(spec(), epoch=1), worker=worker)
            assert isinstance(await gateway.result("a"), Succeeded)
            assert (worker, pool.started, book.rows["a"].charges) == ("scripted-0", ["a"], 1)

    async def test_is_kept_once_for_each_slot(self) -> None:
        async with serving(ScriptedPool(slots=2)) as gateway:
            assert [gateway.seat(spec().task) for _ in range(3)] == ["scripted-0", "scripted-0", ""]
            gateway.unseat("scripted-0")
            assert gateway.seat(spec().task) == "scripted-0"

    async def test_lets_others_wait_until_it_is_given_back(self) -> None:
        pool = ScriptedPool()
        async with serving(pool) as gateway:
            worker = gateway.seat(spec().task)
            await gateway.submit(spec("b"))
            assert gateway.position("b") is not None
            assert gateway.seat(spec().task) == "", "somebody waits"
            gateway.unseat(worker)
            assert isinstance(await gateway.result("b"), Succeeded)

    async def test_spreads_over_workers(self) -> None:
        async with serving(ScriptedPool(workers=2, slots=2)) as gateway:
            assert sorted(gateway.seat(spec().task) for _ in range(2)) == ["scripted-0", "scripted-1"]

    async def test_none_while_paused(self) -> None:
        async with serving(ScriptedPool()) as gateway:
            gateway.pause()
            assert gateway.seat(spec().task) == ""

    async def test_none_while_the_book_is_away(self) -> None:
        book, clock = MemoryBook(), ManualClock()
        async with serving(ScriptedPool(), book, clock) as gateway:
            book.away = True
            await gateway.submit(spec())
            while gateway.position("a") is None:
                await asyncio.sleep(0)
            book.away = False
            gateway.cancel("a", "not wanted")
            await gateway.result("a")
            assert gateway.seat(spec().task) == ""
            clock.move(scribe.BACK_OFF_S)
            assert gateway.seat(spec().task) == "scripted-0"

    async def test_a_server_that_shuts_down_meanwhile(self) -> None:
        book, pool = MemoryBook(), ScriptedPool()
        async with serving(pool, book) as gateway:
            worker = gateway.seat(spec().task)
            await gateway.drain(0)
            row = book.row("a")
            row.state, row.epoch = "running", 1
            await gateway.submit(replace(spec(), epoch=1), worker=worker)
            end = await gateway.result("a")
            assert isinstance(end, Failed)
            assert (end.code, pool.started) == ("service_unavailable", [])
            assert book.rows["a"].voids == 1

    async def test_the_same_job_twice(self) -> None:
        pool = ScriptedPool(slots=2, **SLOW)  # type: ignore[arg-type]
        async with serving(pool) as gateway:
            await gateway.submit(spec())
            await until_running(gateway, "a")
            await gateway.submit(spec(), worker=gateway.seat(spec().task))
            assert pool.started == ["a"]
            assert gateway.seat(spec().task) == "scripted-0"


class TestAdmission:
    async def test_the_seventeenth_job_of_an_account_is_refused(self) -> None:
        async with serving(ScriptedPool(**SLOW)) as gateway:  # type: ignore[arg-type]
            for i in range(16):
                gateway.admission("org", 1000, 120)
                await gateway.submit(spec(f"job{i}"))
            with pytest.raises(RateLimited) as refusal:
                gateway.admission("org", 1000, 120)
            assert 1 <= refusal.value.retry_after_s <= 16
            gateway.admission("other", 1000, 120)

    async def test_a_place_is_free_again_when_a_job_ends(self) -> None:
        async with serving(ScriptedPool(), limits=Limits(account_jobs=1)) as gateway:
            gateway.admission("org", 1000, 120)
            await gateway.submit(spec())
            await gateway.result("a")
            gateway.admission("org", 1000, 120)

    async def test_a_full_queue_says_when_to_come_back(self) -> None:
        async with serving(ScriptedPool(**SLOW), limits=Limits(queued_jobs=5)) as gateway:  # type: ignore[arg-type]
            for i in range(6):
                await gateway.submit(spec(f"job{i}", org=f"org{i}", cost_ms=4000))
            with pytest.raises(Unavailable, match="5 jobs wait") as refusal:
                gateway.admission("new", 1000, 120)
            assert 20 <= refusal.value.retry_after_s <= 24

    async def test_a_wait_beyond_the_deadline_is_refused_and_never_more_than_five_minutes_named(self) -> None:
        async with serving(ScriptedPool(**SLOW), limits=Limits(account_jobs=99)) as gateway:  # type: ignore[arg-type]
            for i in range(20):
                await gateway.submit(spec(f"job{i}", cost_ms=60_000))
            with pytest.raises(Unavailable, match="deadline is 120 s") as refusal:
                gateway.admission("org", 1000, 120)
            assert refusal.value.retry_after_s == 300
            gateway.admission("other", 1000, 120)  # fair: another account hardly waits

    async def test_a_server_that_shuts_down(self) -> None:
        gateway = Gateway(ScriptedPool(), MemoryBook())
        await gateway.start()
        await gateway.drain(0.1)
        with pytest.raises(Unavailable, match="shutting down"):
            gateway.admission("org", 1000, 120)


class TestCancel:
    async def test_a_waiting_job_at_once(self) -> None:
        book = MemoryBook()
        async with serving(ScriptedPool(**SLOW), book) as gateway:  # type: ignore[arg-type]
            await gateway.submit(spec("running"))
            await gateway.submit(spec("waiting"))
            assert gateway.cancel("waiting", "changed my mind")
            assert await gateway.result("waiting") == Cancelled("changed my mind")
            assert (book.rows["waiting"].state, book.rows["waiting"].voids) == ("cancelled", 1)

    async def test_a_running_job_at_its_next_step(self) -> None:
        book = MemoryBook()
        async with serving(ScriptedPool(**SLOW), book) as gateway:  # type: ignore[arg-type]
            await gateway.submit(spec())
            await until_running(gateway, "a")
            assert gateway.cancel("a", "gone")
            assert not gateway.cancel("a", "again")
            assert await gateway.result("a") == Cancelled("gone")
            assert book.rows["a"].charges == 0

    async def test_while_it_is_being_claimed(self) -> None:
        pool, book = ScriptedPool(), MemoryBook()
        async with serving(pool, book) as gateway:
            await gateway.submit(spec())
            assert gateway.cancel("a", "quick")
            assert await gateway.result("a") == Cancelled("quick")
            assert pool.started == []
            assert book.rows["a"].voids == 1

    async def test_what_has_ended_or_never_was(self) -> None:
        async with serving(ScriptedPool()) as gateway:
            await gateway.submit(spec())
            await gateway.result("a")
            assert not gateway.cancel("a", "late")
            assert not gateway.cancel("ghost", "who")


class TestDeadline:
    async def test_passes_while_the_job_waits(self) -> None:
        clock, book = ManualClock(), MemoryBook()
        async with serving(ScriptedPool(**SLOW), book, clock) as gateway:  # type: ignore[arg-type]
            await gateway.submit(spec("running"))
            await gateway.submit(spec("waiting", deadline_s=30))
            clock.move(31)
            await gateway.tick()
            end = await gateway.result("waiting")
            assert isinstance(end, Failed)
            assert end.code == "deadline_exceeded"
            assert book.rows["waiting"].voids == 1

    async def test_passes_while_it_runs(self) -> None:
        clock, book = ManualClock(), MemoryBook()
        async with serving(ScriptedPool(**SLOW), book, clock) as gateway:  # type: ignore[arg-type]
            await gateway.submit(spec(deadline_s=30))
            await until_running(gateway, "a")
            clock.move(31)
            await gateway.tick()
            end = await gateway.result("a")
            assert isinstance(end, Failed)
            assert end.code == "deadline_exceeded"
            assert book.rows["a"].state == "failed"


class TestLostWorkers:
    async def test_one_loss_is_survived(self) -> None:
        book = MemoryBook()
        async with serving(ScriptedPool(workers=2, step_s=0.01, faults=[Fault("lose", step=2)]), book) as gateway:
            await gateway.submit(spec())
            events = await watch(gateway, "a")
            assert Retrying(2, "killed") in events
            assert isinstance(events[-1], Succeeded)
            assert (book.rows["a"].epoch, book.rows["a"].charges) == (2, 1)

    async def test_the_second_loss_fails_the_job_and_costs_nothing(self) -> None:
        book = MemoryBook()
        async with serving(ScriptedPool(workers=2, faults=[Fault("lose", times=2)]), book) as gateway:
            await gateway.submit(spec())
            end = await gateway.result("a")
            assert isinstance(end, Failed)
            assert end.code == "worker_lost_twice"
            assert (book.rows["a"].charges, book.rows["a"].voids) == (0, 1)

    async def test_a_retried_job_goes_first(self) -> None:
        pool = ScriptedPool(faults=[Fault("lose")], step_s=0.001)
        async with serving(pool) as gateway:
            for name in ("a", "b", "c"):
                await gateway.submit(spec(name, org=name))
            await asyncio.gather(*(gateway.result(name) for name in "abc"))
            assert pool.started == ["a", "a", "b", "c"]

    async def test_the_only_worker_comes_back(self) -> None:
        async with serving(ScriptedPool(faults=[Fault("lose")], restart_s=0.05)) as gateway:
            await gateway.submit(spec())
            assert isinstance(await gateway.result("a"), Succeeded)

    async def test_a_hanging_worker(self) -> None:
        async with serving(ScriptedPool(workers=2, faults=[Fault("hang")], lost_after_s=0.05)) as gateway:
            await gateway.submit(spec())
            events = await watch(gateway, "a")
            assert Retrying(2, "no heartbeat") in events
            assert isinstance(events[-1], Succeeded)

    async def test_a_late_result_of_an_older_epoch_changes_nothing(self) -> None:
        pool, book = ScriptedPool(**SLOW), MemoryBook()  # type: ignore[arg-type]
        async with serving(pool, book) as gateway:
            await gateway.submit(spec())
            await until_running(gateway, "a")
            late = Succeeded(image=b"late", media_type="image/png", width=1, height=1, seed=1, model="m")
            gateway._course.on_event("a", 0, late)
            assert gateway.snapshot().stale == 1
            assert book.rows["a"].result is None
            assert ("a", 0) in pool.acknowledged

    async def test_a_job_cancelled_as_its_worker_is_lost_is_not_retried(self) -> None:
        pool = ScriptedPool(workers=2, **SLOW)  # type: ignore[arg-type]
        async with serving(pool) as gateway:
            await gateway.submit(spec())
            await until_running(gateway, "a")
            gateway.cancel("a", "gone")
            pool.lose("scripted-0")
            assert await gateway.result("a") == Cancelled("gone")
            assert pool.started == ["a"]


class TestLeases:
    async def test_are_renewed_by_time(self) -> None:
        clock, book = ManualClock(), MemoryBook()
        async with serving(ScriptedPool(**SLOW), book, clock) as gateway:  # type: ignore[arg-type]
            await gateway.submit(spec())
            await until_running(gateway, "a")
            for _ in range(12):
                clock.move(1)
                await gateway.tick()
            assert book.renewals.count({"a"}) == 3

    async def test_a_lost_lease_ends_the_job_here(self) -> None:
        clock, book = ManualClock(), MemoryBook()
        async with serving(ScriptedPool(**SLOW), book, clock) as gateway:  # type: ignore[arg-type]
            await gateway.submit(spec())
            await until_running(gateway, "a")
            book.rows["a"].epoch += 1  # another node took it over
            clock.move(6)
            await gateway.tick()
            end = await gateway.result("a")
            assert isinstance(end, Failed)
            assert end.code == "superseded"
            assert book.rows["a"].state == "running"

    async def test_a_stale_result_is_not_shown(self) -> None:
        book = MemoryBook()
        async with serving(ScriptedPool(step_s=0.02), book) as gateway:
            await gateway.submit(spec())
            await until_running(gateway, "a")
            book.rows["a"].epoch += 1
            end = await gateway.result("a")
            assert isinstance(end, Failed)
            assert end.code == "superseded"
            assert book.rows["a"].charges == 0


class TestABookThatIsAway:
    @pytest.fixture(autouse=True)
    def _no_pause(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (course, scribe):
            monkeypatch.setattr(module, "BACK_OFF_S", 0.01)

    async def test_before_the_job_begins(self) -> None:
        book = MemoryBook(away=True)
        async with serving(ScriptedPool(), book) as gateway:
            await gateway.submit(spec())
            await asyncio.sleep(0.02)
            book.away = False
            assert isinstance(await gateway.result("a"), Succeeded)

    async def test_while_it_runs(self) -> None:
        pool, book = ScriptedPool(step_s=0.01), MemoryBook()
        async with serving(pool, book) as gateway:
            await gateway.submit(spec())
            await until_running(gateway, "a")
            book.away = True
            await asyncio.sleep(0.1)
            assert pool.acknowledged == []  # the worker keeps the picture
            book.away = False
            assert isinstance(await gateway.result("a"), Succeeded)
            assert book.rows["a"].charges == 1

    @pytest.mark.parametrize("disk", [DiskFull("No space."), OSError(errno.ENOSPC, "No space")])
    async def test_a_full_disk_costs_nothing(self, disk: OSError | DiskFull) -> None:
        book = MemoryBook(disk=disk)
        async with serving(ScriptedPool(), book) as gateway:
            await gateway.submit(spec())
            end = await gateway.result("a")
            assert isinstance(end, Failed)
            assert end.code == "storage_full"
            assert (book.rows["a"].charges, book.rows["a"].voids) == (0, 1)

    async def test_a_fault_of_ours_ends_the_job(self, monkeypatch: pytest.MonkeyPatch) -> None:
        book = MemoryBook()

        async def broken(job_id: str, worker: str, lease_s: float) -> int | None:
            raise KeyError(job_id)

        monkeypatch.setattr(book, "claim", broken)
        async with serving(ScriptedPool(), book) as gateway:
            await gateway.submit(spec())
            end = await gateway.result("a")
            assert isinstance(end, Failed)
            assert end.code == "internal_error"


class TestDrain:
    async def test_running_jobs_finish_and_waiting_ones_are_told(self) -> None:
        book = MemoryBook()
        gateway = Gateway(ScriptedPool(step_s=0.02, steps=4), book)
        await gateway.start()
        await gateway.submit(spec("running"))
        await until_running(gateway, "running")
        await gateway.submit(spec("waiting"))
        await gateway.drain(5)
        waiting = await gateway.result("waiting")
        assert isinstance(waiting, Failed)
        assert waiting.code == "service_unavailable"
        assert isinstance(await gateway.result("running"), Succeeded)
        assert (book.rows["waiting"].voids, book.rows["running"].charges) == (1, 1)

    async def test_what_takes_too_long_is_cancelled_and_not_charged(self) -> None:
        book = MemoryBook()
        gateway = Gateway(ScriptedPool(**SLOW), book)  # type: ignore[arg-type]
        await gateway.start()
        await gateway.submit(spec())
        await until_running(gateway, "a")
        await gateway.drain(0.02)
        assert isinstance(await gateway.result("a"), Failed)
        assert (book.rows["a"].state, book.rows["a"].voids) == ("failed", 1)

    async def test_a_second_call_skips_the_wait(self) -> None:
        gateway = Gateway(ScriptedPool(**SLOW), MemoryBook())  # type: ignore[arg-type]
        await gateway.start()
        await gateway.submit(spec())
        await until_running(gateway, "a")
        async with asyncio.timeout(50):
            patient = asyncio.create_task(gateway.drain(60))
            await asyncio.sleep(0.01)
            await gateway.drain(0)
            await patient

    async def test_jobs_that_nobody_waits_for_are_left_to_the_next_start(self) -> None:
        book = MemoryBook()
        gateway = Gateway(ScriptedPool(**SLOW), book)  # type: ignore[arg-type]
        await gateway.start()
        await gateway.submit(spec("running"))
        await until_running(gateway, "running")
        book.row("later")
        await gateway.submit(spec("later"), sync=False)
        watcher = asyncio.create_task(watch(gateway, "later"))
        waiter = asyncio.create_task(gateway.result("later"))
        await asyncio.sleep(0.01)
        await gateway.drain(0)
        assert book.rows["later"].state == "queued"
        assert all(isinstance(event, Queued) for event in await watcher)
        with pytest.raises(Unavailable, match="next start"):
            await waiter


class TestSnapshot:
    async def test_counts_what_waits_and_runs(self) -> None:
        async with serving(ScriptedPool(**SLOW)) as gateway:  # type: ignore[arg-type]
            for i in range(4):
                await gateway.submit(spec(f"job{i}", cost_ms=8000))
            await until_running(gateway, "job0")
            snapshot = gateway.snapshot()
            assert (snapshot.queued, snapshot.running) == ({"": 3}, {"": 1})
            assert (snapshot.queue_ms, snapshot.desired_workers) == (24_000, 3)
            assert not snapshot.draining
            assert len(snapshot.workers) == 1
