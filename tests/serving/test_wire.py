"""Frames between the server and its workers."""

from __future__ import annotations

import asyncio
from io import BytesIO

import pytest

from keelbill.serving.messages import (
    Beat,
    Cancel,
    FromWorker,
    ImageTask,
    JobSpec,
    Progress,
    Run,
    Said,
    Setup,
    Stop,
    ToWorker,
)
from keelbill.serving.wire import BrokenFrame, pack, read_order, read_report

ORDERS: list[ToWorker] = [
    Setup(name="w", home="/h", blobs="/b", model="m"),
    Run(JobSpec(job_id="a", org_id="o", task=ImageTask(prompt="ein Drachen 🪁", seed=2**64 - 1))),
    Cancel("a", "gone"),
    Stop(),
]
REPORTS: list[FromWorker] = [Beat(device="cpu", models=("m", "")), Said("a", 3, Progress(1, 2, b"\xff\xd8"))]


def stream_of(data: bytes) -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return stream


def test_orders_arrive_as_they_were_sent() -> None:
    stream = BytesIO(b"".join(pack(order) for order in ORDERS))
    assert [read_order(stream) for _ in ORDERS] == ORDERS
    assert read_order(stream) is None


async def test_reports_arrive_as_they_were_sent() -> None:
    stream = stream_of(b"".join(pack(report) for report in REPORTS))
    assert [await read_report(stream) for _ in REPORTS] == REPORTS
    assert await read_report(stream) is None


async def test_a_worker_that_ends_in_the_middle_of_a_message() -> None:
    assert await read_report(stream_of(pack(REPORTS[1])[:-1])) is None


@pytest.mark.parametrize("data", [b"\0\0\0\1\xc1", b"\0\0\0\2{}", b"\xff\xff\xff\xff", pack(Stop())])
async def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenFrame):
        await read_report(stream_of(data))


def test_nonsense_is_refused_by_the_worker_too() -> None:
    with pytest.raises(BrokenFrame):
        read_order(BytesIO(pack(REPORTS[0])))
