"""Usage over HTTP: the account's own totals, as JSON and as CSV."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from io import StringIO

import pytest

from support.doors import Doors


def test_totals(doors: Doors) -> None:
    ann, bob = doors.account(), doors.account()
    doors.picture(ann)
    doors.picture(ann, model="sd3.5-medium")
    doors.picture(ann, doors.live.FAIL)
    doors.picture(bob)
    today = datetime.now(UTC).date().isoformat()
    report = ann.get("/api/usage").json()
    assert report["by"] == "day"
    (line,) = report["lines"]
    assert (line["group"], line["requests"], line["pictures"], line["failed"]) == (today, 3, 2, 1)
    assert line["credits"] == "10"
    services = ann.get("/api/usage", params={"by": "service"}).json()["lines"]
    assert [(line["group"], line["credits"]) for line in services] == [("sd3.5-large", "6.5"), ("sd3.5-medium", "3.5")]


def test_csv(doors: Doors) -> None:
    ann = doors.account()
    doors.picture(ann)
    answer = ann.get("/api/usage.csv", params={"by": "model"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="usage-by-model.csv"'
    header, row = csv.reader(StringIO(answer.text))
    assert header[0] == "model"
    assert row[0] == "sd3.5-large"
    assert row[5] == "6.5"


@pytest.mark.parametrize(
    "params",
    [
        {"by": "moon"},
        {"from": "yesterday"},
        {"from": "2026-02-01", "to": "2026-01-01"},
        {"from": "2001-01-01"},
        {"to": "0"},
        {"to": "2026-01-01T00:00:00"},
        {"from": "1e9"},
    ],
)
def test_questions_that_are_refused(doors: Doors, params: dict[str, str]) -> None:
    ann = doors.account()
    assert ann.get("/api/usage", params=params).status_code == 400
    assert ann.get("/api/usage.csv", params=params).status_code == 400


@pytest.mark.parametrize("last", ["0001-01-01", "0001-02-01", "9999-12-31"])
def test_ends_of_the_calendar(doors: Doors, last: str) -> None:
    assert doors.account().get("/api/usage", params={"to": last}).json()["lines"] == []


def test_scope(doors: Doors) -> None:
    assert doors.account("0", "account:read").get("/api/usage").status_code == 403
