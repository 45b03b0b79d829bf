"""Whole server processes that are killed, drained and left by their clients, with clients that insist.

After every kill the books agree, and at the end every charge has its picture and every picture its charge.
`KEELBILL_TEST_KILLS` sets the number of kills, `KEELBILL_TEST_SEED` their instants.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from support.site import ROUTE, Site, Sites, own_postgres, site, sites

__all__ = ["own_postgres", "site", "sites"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]

KILLS = int(os.environ.get("KEELBILL_TEST_KILLS", "4"))
RUNNING = "SELECT count(*) FROM job WHERE state = 'running'"
QUEUED = "SELECT count(*) FROM job WHERE state = 'queued'"
SEED = int(os.environ.get("KEELBILL_TEST_SEED", "7"))


@pytest.mark.timeout(240 + 60 * KILLS)
def test_a_server_killed_at_random_instants(site: Site) -> None:
    kill_at_random(site)


@pytest.mark.timeout(240 + 60 * KILLS)
def test_a_server_with_postgresql_killed_at_random_instants(sites: Sites) -> None:
    kill_at_random(sites())


def kill_at_random(site: Site) -> None:
    """Start a server, send clients, kill it, verify the books, and so on; at the end compare charges and pictures."""
    chance = random.Random(SEED)
    asked: set[str] = set()
    acknowledged: dict[str, bytes] = {}

    def insist(name: str) -> None:
        try:
            answer = site.ask(name)
        except httpx.TransportError:
            return  # the server was killed; the name is asked for again
        if answer.status_code == 200:
            assert acknowledged.setdefault(name, answer.content) == answer.content
        else:
            assert answer.status_code in {409, 500, 503}, answer.text

    for kill in range(KILLS):
        losses = chance.choice([0, 0, 1])
        site.start(script={"faults": [{"kind": "lose", "step": 2, "times": losses}]})
        names = [f"{kill}-{place}" for place in range(4)]
        asked |= set(names)
        with ThreadPoolExecutor(8) as clients:
            waiting = [clients.submit(insist, name) for name in [*names, *sorted(asked - acknowledged.keys())[:4]]]
            time.sleep(chance.uniform(0.0, 0.6))
            site.signal(signal.SIGKILL)
            site.ends()
            for each in waiting:
                each.result()
        assert site.verify() == "the books agree", f"after kill {kill}, seed {SEED}"

    site.start()
    until_s = time.monotonic() + 60 + 5 * KILLS
    while asked - acknowledged.keys() and time.monotonic() < until_s:
        for name in sorted(asked - acknowledged.keys()):
            insist(name)
    again = {name: site.ask(name).content for name in sorted(acknowledged)[:5]}
    site.signal(signal.SIGTERM)
    assert site.ends() == 0
    assert acknowledged.keys() == asked
    assert all(acknowledged[name] == content for name, content in again.items())
    assert site.verify() == "the books agree"
    assert site.check_charges() == len(asked)
    assert site.rows("SELECT count(*) FROM hold WHERE state = 'held'") == [(0,)]


def test_drained_at_the_first_signal(site: Site) -> None:
    site.start(script={"step_s": 0.3})
    with ThreadPoolExecutor(1) as client:
        running = client.submit(site.ask, "running")
        site.wait_for(1)
        site.signal(signal.SIGTERM)
        time.sleep(0.3)
        late = site.ask("late")
        assert late.status_code == 503
        assert int(late.headers["retry-after"]) >= 1
        assert httpx.get(site.url + "/readyz").status_code == 503
        assert running.result().status_code == 200
    assert site.ends() == 0
    assert site.verify() == "the books agree"
    assert site.check_charges() == 1


def test_a_second_signal_does_not_wait(site: Site) -> None:
    site.start(script={"step_s": 5.0})
    with ThreadPoolExecutor(1) as client:
        running = client.submit(site.ask, "running")
        site.wait_for(1)
        site.signal(signal.SIGTERM)
        time.sleep(0.3)
        site.signal(signal.SIGTERM)
        assert running.result().status_code == 503
    assert site.ends() == 0
    assert site.verify() == "the books agree"
    assert site.rows("SELECT state FROM hold") == [("voided",)]


class TestTheClientIsGone:
    def test_while_its_picture_is_made(self, site: Site) -> None:
        site.start(script={"step_s": 1.0})
        hang_up(site, when=RUNNING)
        site.until("SELECT state FROM hold", [("voided",)])
        assert site.rows("SELECT state FROM job") == [("cancelled",)]
        site.signal(signal.SIGTERM)
        assert site.ends() == 0

    def test_while_it_waits_in_the_queue(self, site: Site) -> None:
        site.start(script={"workers": 1, "slots": 1, "step_s": 2.0})
        with ThreadPoolExecutor(1) as client:
            first = client.submit(site.ask, "first")
            site.wait_for(1)
            hang_up(site, when=QUEUED)
            site.until("SELECT state, started_ms FROM job WHERE is_keyed = 0", [("cancelled", 0)])
            assert first.result().status_code == 200
        assert site.holds() == {"captured": 1, "voided": 1}

    def test_its_key_waits_for_the_picture(self, site: Site) -> None:
        site.start(script={"step_s": 0.5})
        hang_up(site, when=RUNNING, key="order")
        site.until("SELECT state FROM job", [("succeeded",)])
        again = site.ask("order", prompt="nobody waits")
        assert again.status_code == 200
        assert again.headers["idempotent-replayed"] == "true"
        assert site.check_charges() == 1


def hang_up(site: Site, *, when: str, key: str = "") -> None:
    """Ask for a picture, and leave as soon as a query finds one job."""
    headers = {"authorization": f"Bearer {site.key}", "accept": "image/*"}
    request = httpx.Request(
        "POST",
        site.url + ROUTE,
        headers=headers | ({"idempotency-key": key} if key else {}),
        files={"prompt": (None, "nobody waits"), "seed": (None, "7")},
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection(("127.0.0.1", site.port)) as line:
        line.sendall(f"POST {ROUTE} HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        site.until(when, [(1,)])
