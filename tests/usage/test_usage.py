"""Totals add up by day, key, member, service, model and outcome, on both databases."""

from __future__ import annotations

import asyncio
import csv
from datetime import date
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from keelbill.core.errors import InvalidRequest
from keelbill.core.types import Micro, micro
from keelbill.db.base import Database
from keelbill.usage.schemas import Ending, Line, Use
from keelbill.usage.service import Usage, as_csv
from support.jobbook import ManualClock

ANN, BOB = "a" * 32, "b" * 32
PRICE = micro("6.5")


def use(ending: Ending = "succeeded", org_id: str = ANN, charged: Micro = PRICE, **more: str) -> Use:
    values = {"key_id": "k", "user_id": "u", "service": "sd3", "model": "sd3.5-large", **more}
    return Use(org_id=org_id, ending=ending, charged=charged, compute_ms=1500.4, **values)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()  # 2026-01-01


@pytest.fixture
def usage(database: Database, clock: ManualClock) -> Usage:
    return Usage(database, clock)


def record(database: Database, usage: Usage, *uses: Use) -> None:
    def all_of_them(connection: Connection) -> None:
        for each in uses:
            usage.record(connection, each)

    database.write_now(all_of_them)


async def test_every_kind_of_ending(database: Database, usage: Usage) -> None:
    nothing = Micro(0)
    record(database, usage, use(), use(), use("filtered", charged=nothing))
    record(database, usage, use("failed", charged=nothing), use("cancelled", charged=nothing))
    (line,) = await usage.report(ANN)
    assert line == Line("2026-01-01", 5, 3, 2, 1, micro(13), 7500)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("key", ["k", "k2"]),
        ("service", ["sd3", "ultra"]),
        ("model", ["sd3.5-large", "sd3.5-medium"]),
        ("member", ["u", "v"]),
    ],
)
async def test_groups(database: Database, usage: Usage, by: str, groups: list[str]) -> None:
    record(database, usage, use(), use(key_id="k2", service="ultra", model="sd3.5-medium", user_id="v"))
    lines = await usage.report(ANN, by)  # type: ignore[arg-type]
    assert [(line.group, line.requests) for line in lines] == [(group, 1) for group in groups]


async def test_days(database: Database, usage: Usage, clock: ManualClock) -> None:
    record(database, usage, use())
    clock.move(86_400)
    record(database, usage, use(), use())
    assert [(line.group, line.requests) for line in await usage.report(ANN)] == [("2026-01-01", 1), ("2026-01-02", 2)]
    only = await usage.report(ANN, first_day=date(2026, 1, 2), last_day=date(2026, 1, 2))
    assert [line.requests for line in only] == [2]
    clock.move(40 * 86_400)
    assert await usage.report(ANN) == [], "30 days unless asked"


async def test_other_accounts_are_not_counted(database: Database, usage: Usage) -> None:
    record(database, usage, use(), use(org_id=BOB))
    assert [line.requests for line in await usage.report(BOB)] == [1]


async def test_many_at_once(database: Database, usage: Usage) -> None:
    await asyncio.gather(*(database.write(lambda connection: usage.record(connection, use())) for _ in range(50)))
    (line,) = await usage.report(ANN)
    assert (line.requests, line.charged) == (50, micro(325))


@pytest.mark.parametrize(
    ("first", "last"), [(date(2026, 1, 2), date(2026, 1, 1)), (date(2020, 1, 1), date(2026, 1, 1))]
)
async def test_periods_that_are_refused(usage: Usage, first: date, last: date) -> None:
    with pytest.raises(InvalidRequest, match="from"):
        await usage.report(ANN, first_day=first, last_day=last)


class TestCsv:
    def test_one_line_a_group(self) -> None:
        text = as_csv("day", [Line("2026-01-01", 3, 2, 1, 0, micro("8.5"), 1234)])
        assert text.splitlines() == [
            "day,requests,pictures,failed,filtered,credits,compute_seconds",
            "2026-01-01,3,2,1,0,8.5,1.234",
        ]

    def test_large_amounts_are_written_out(self) -> None:
        assert ",100000," in as_csv("key", [Line("k", 1, 1, 0, 0, micro(100_000), 0)])

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
    def test_no_name_is_a_formula_or_breaks_a_line(self, name: str) -> None:
        (_, row) = csv.reader(StringIO(as_csv("model", [Line(name, 1, 1, 0, 0, micro(1), 0)])))
        assert row[0].lstrip("'") == name.lstrip("'")
        assert row[0][0] not in "=+-@"
        assert len(row) == 7
