"""Several server processes over the same data: two on PostgreSQL work together, a second one on SQLite is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from support.site import COMMAND, Site, Sites, own_postgres, site, sites

__all__ = ["own_postgres", "site", "sites"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]

JOB = {"prompt": "a red kite", "width": 64, "height": 64}


QUICK = """
from keelbill.jobs import janitor
janitor.SEEN_EVERY_S, janitor.SWEEP_EVERY_S = 1.0, 2.0
"""
"""A server that looks around more often than every ten seconds."""
IMPATIENT = f"""{QUICK}
from keelbill.jobs import leases
leases.DEAD_AFTER_MS = 9_000
"""
"""One that also takes another for gone after nine seconds of silence instead of 45."""


def pair(sites: Sites, prelude: str = "", **script: Any) -> tuple[Site, Site]:
    """Start two servers over one database and one folder of pictures."""
    here = sites()
    here.start(script=script, prelude=prelude)
    there = sites()
    there.start(script=script, prelude=prelude, wants_key=False)
    return here, there


def test_a_job_of_one_is_answered_by_the_other(sites: Sites) -> None:
    here, there = pair(sites, step_s=0.2)
    job = here.post("/api/jobs", json=JOB).json()
    assert there.get(f"/api/jobs/{job['id']}").json()["state"] in {"queued", "running"}
    until_s = time.monotonic() + 60
    while (seen := there.get(f"/api/jobs/{job['id']}").json())["state"] != "succeeded":
        assert time.monotonic() < until_s, seen
        time.sleep(0.05)
    image = there.get(f"/api/jobs/{job['id']}/image")
    assert (image.status_code, image.content[:4]) == (200, b"\x89PNG")


def test_one_key_asked_of_both_makes_one_picture(sites: Sites) -> None:
    here, there = pair(sites, step_s=0.2)
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(each.ask, "one-order") for each in (here, there) * 3]
        answers = [each.result() for each in asked]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum(answer.headers.get("idempotent-replayed") == "true" for answer in answers) == 5
    assert here.check_charges() == 1
    assert here.rows("SELECT max(epoch) FROM job") == [(1,)]


def test_cancelled_from_the_other(sites: Sites) -> None:
    here, there = pair(sites, step_s=60.0)
    job = here.post("/api/jobs", json=JOB).json()
    here.wait_for(1)
    asked_s = time.monotonic()
    assert there.delete(f"/api/jobs/{job['id']}").status_code in {200, 202, 204}
    here.wait_for(0)
    assert time.monotonic() - asked_s < 50.0, "within the step, not after it"
    assert here.get(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"
    assert here.holds() == {"voided": 1}
    assert here.verify() == "the books agree"


def test_the_other_takes_up_what_a_killed_one_left(sites: Sites) -> None:
    here, there = pair(sites, IMPATIENT, step_s=0.6)
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(here.ask, "patient")
        here.wait_for(1)
        here.close()
        assert isinstance(asked.exception(30), httpx.TransportError)
    # It counts as gone some time after its last word; by then its job's lease of 15 seconds runs out too.
    there.until("SELECT state, attempt FROM job", [("succeeded", 2)], 110)
    answer = there.ask("patient")
    assert answer.status_code == 200
    assert answer.headers["idempotent-replayed"] == "true"
    assert there.check_charges() == 1
    assert there.verify() == "the books agree"


def test_the_rate_limit_is_split(sites: Sites) -> None:
    here = sites()
    here.start(prelude=QUICK, rate_limit=30, rate_window_s=600)
    there = sites()
    there.start(prelude=QUICK, wants_key=False, rate_limit=30, rate_window_s=600)
    until_s = time.monotonic() + 60
    while here.get("/v1/user/balance").headers["ratelimit-policy"] != '"requests";q=15;w=600':
        assert time.monotonic() < until_s, "the first one never noticed the second"
        time.sleep(0.5)
    answers = [each.get("/v1/user/balance").status_code for each in (here, there) * 31]
    assert 429 in answers
    assert sum(status == 200 for status in answers) <= 30


def test_a_second_server_on_sqlite_is_refused(site: Site) -> None:
    site.start()
    second = subprocess.run(
        [sys.executable, "-c", COMMAND, "serve", "--port", "0", "--scripted"],
        env=os.environ | site.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode not in {0, None}
    assert "Another server has the database" in second.stderr
    assert "use PostgreSQL: KEELBILL_DATABASE_URL=postgresql://" in second.stderr
    assert "Traceback" not in second.stderr
    assert site.ask().status_code == 200
