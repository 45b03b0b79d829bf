"""Percentiles by hand, and of the jobs that an account ran."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from keelbill.jobs import latency
from keelbill.jobs.models import job
from support.jobhouse import House, wish

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [([5], 50, 5), ([5], 99, 5), ([1, 2], 50, 1), ([1, 2], 51, 2), ([*range(1, 101)], 95, 95), ([1, 2, 3], 99, 3)],
)
def test_percentiles(values: list[int], percent: int, found: int) -> None:
    assert latency.percentile(values, percent) == found


async def test_days_and_what_does_not_count(house: House) -> None:
    ann, bob = house.account("100"), house.account()
    for prompt in ("one", "two", "three"):
        await house.jobs.run(ann, wish(prompt))
    await house.jobs.run(bob, wish("his"))
    ids = [found.id for found in reversed(await house.jobs.list(ann))]

    def set_times(job_id: str, created: int, waited: int, ran: int) -> None:
        times = {"created_ms": created, "started_ms": created + waited, "finished_ms": created + waited + ran}
        house.database.write_now(lambda c: c.execute(update(job).where(job.c.id == job_id).values(**times)))

    set_times(ids[0], 10 * DAY_MS, 10, 100)
    set_times(ids[1], 11 * DAY_MS, 20, 200)
    set_times(ids[2], 11 * DAY_MS + 5, 40, 300)
    found = house.database.read_now(lambda c: latency.by_day(c, ann.org_id, 0))
    assert found == [
        latency.Latency("1970-01-11", 1, 10, 10, 110, 110, 110),
        latency.Latency("1970-01-12", 2, 20, 40, 220, 340, 340),
    ]
    assert house.database.read_now(lambda c: latency.by_day(c, ann.org_id, 11 * DAY_MS)) == found[1:]
    house.database.write_now(lambda c: c.execute(update(job).values(state="failed")))
    assert house.database.read_now(lambda c: latency.by_day(c, ann.org_id, 0)) == []
