"""A database that is away for a while: PostgreSQL that crashes and comes back, and a SQLite file that another holds."""

from __future__ import annotations

import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from support.databases import Postgres
from support.site import Site, Sites, own_postgres, site, sites

__all__ = ["own_postgres", "site", "sites"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]


def test_postgresql_is_gone_while_nobody_paints(sites: Sites, own_postgres: Postgres) -> None:
    site = sites()
    site.start(billing="credits")
    assert site.ask().status_code == 200
    own_postgres.halt()
    asked_s = time.monotonic()
    refused = site.ask()
    assert refused.status_code == 503, refused.text
    assert int(refused.headers["retry-after"]) >= 1
    assert time.monotonic() - asked_s < 15
    assert "database" in site.get("/readyz").json()["failing"]
    own_postgres.resume()
    site.wait_until_it_takes_work()
    assert site.ask().status_code == 200
    assert site.get("/v1/user/balance").json() == {"credits": 19}
    assert site.verify() == "the books agree"
    assert site.check_charges() == 2


def test_postgresql_is_gone_while_a_picture_is_made(sites: Sites, own_postgres: Postgres) -> None:
    """The picture is kept by the server and stored when the database is back; the client just waits longer."""
    site = sites()
    site.start(script={"step_s": 0.4}, billing="credits")
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(site.ask, "patient")
        site.wait_for(1)
        own_postgres.halt()
        time.sleep(3.0)  # the picture is done by now
        assert not asked.done()
        own_postgres.resume()
        answer = asked.result(60)
    assert answer.status_code in {200, 503}, answer.text
    again = site.ask("patient")
    assert again.status_code == 200
    if answer.status_code == 200:
        assert again.content == answer.content
        assert again.headers["idempotent-replayed"] == "true"
    assert site.get("/v1/user/balance").json() == {"credits": 22}
    assert site.verify() == "the books agree"
    assert site.check_charges() == 1


def test_postgresql_crashes_again_and_again_under_load(sites: Sites, own_postgres: Postgres) -> None:
    site = sites()
    site.start()
    names = [f"order-{number}" for number in range(12)]

    def insist(name: str) -> bytes:
        until_s = time.monotonic() + 240
        while time.monotonic() < until_s:
            try:
                answer = site.ask(name)
            except httpx.ReadTimeout:  # a job that was lost with the database begins anew when its lease has run out
                continue
            if answer.status_code == 200:
                return answer.content
            assert answer.status_code in {409, 500, 503}, answer.text
            time.sleep(0.2)
        raise TimeoutError(name)

    with ThreadPoolExecutor(len(names)) as clients:
        waiting = [clients.submit(insist, name) for name in names]
        for _ in range(3):
            time.sleep(0.3)
            own_postgres.halt()
            time.sleep(0.5)
            own_postgres.resume()
        pictures = [each.result() for each in waiting]
    assert [site.ask(name).content for name in names] == pictures
    site.until("SELECT count(*) FROM hold WHERE state = 'held'", [(0,)], 30)
    assert site.verify() == "the books agree"
    assert site.check_charges() == len(names)


def test_a_sqlite_file_that_another_program_holds(site: Site) -> None:
    site.start(billing="credits")
    assert site.ask().status_code == 200
    other = sqlite3.connect(site.home / "keelbill.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        asked_s = time.monotonic()
        refused = site.ask()
        waited_s = time.monotonic() - asked_s
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["retry-after"]) >= 1
        assert waited_s > 4.0  # it tries for five seconds first
        assert site.get("/v1/user/balance").json() == {"credits": 22}
        assert site.get("/api/jobs").status_code == 200
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert site.ask().status_code == 200
    assert site.get("/v1/user/balance").json() == {"credits": 19}
    assert site.verify() == "the books agree"


def test_a_sqlite_file_that_is_held_while_a_picture_is_made(site: Site) -> None:
    site.start(script={"step_s": 0.4}, billing="credits")
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(site.ask, "patient")
        site.wait_for(1)
        other = sqlite3.connect(site.home / "keelbill.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        time.sleep(8.0)  # longer than a write is tried for
        assert not asked.done()
        other.execute("ROLLBACK")
        other.close()
        answer = asked.result(60)
    assert answer.status_code == 200, answer.text
    assert site.get("/v1/user/balance").json() == {"credits": 22}
    assert site.verify() == "the books agree"
    assert site.check_charges() == 1
