"""People who are put out while their pictures wait: those end and cost nothing; what runs may finish."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from keelbill.core.ids import new_id
from keelbill.core.principal import DEFAULT_SCOPES
from keelbill.core.types import micro
from keelbill.identity import repository
from keelbill.identity.audit import SYSTEM
from keelbill.identity.models import api_key
from keelbill.identity.schemas import KeyOptions
from keelbill.serving.scripted import ScriptedPool
from support.browser import Browser, add_person, browser
from support.server import LiveServer

GRACE_S = 60


@pytest.fixture
def busy(start_server: Callable[..., LiveServer]) -> LiveServer:
    """A server with one worker that takes a second for a picture."""
    return start_server(pool=ScriptedPool(workers=1, step_s=0.3))


@pytest.fixture
def ada(busy: LiveServer) -> Iterator[Browser]:
    """The owner of a team with credits, whose session acts for it."""
    add_person(busy, "ada@example.org")
    with browser(busy) as page:
        page.sign_in("ada@example.org")
        page.org_id = str(page.post("/api/orgs", {"name": "Team"}).json()["id"])  # type: ignore[attr-defined]
        page.post(f"/api/orgs/switch/{page.org_id}")  # type: ignore[attr-defined]
        busy.write(lambda c: busy.platform.ledger.adjust(c, org_of(page), micro(1000), "tests", "for the test"))
        yield page


def org_of(page: Browser) -> str:
    return str(page.org_id)  # type: ignore[attr-defined]


Join = Callable[[], "Member"]


class Member:
    """A member of the team with a key of their own."""

    def __init__(self, ada: Browser) -> None:
        server, org_id = ada.server, org_of(ada)
        self.user_id = add_person(server, f"{new_id()}@example.org")

        def join(connection: Any) -> str:
            repository.add_member(connection, org_id, self.user_id, "member", 1)
            options = KeyOptions(name="k", scopes=DEFAULT_SCOPES)
            made = server.platform.keys.make(connection, org_id, self.user_id, options)
            self.key_id = made[0].id
            return made[1]

        key = server.write(join)
        self.client = httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {key}"}, timeout=60)

    def ask(self, count: int, *, waits: bool = False) -> list[str]:
        """Ask for pictures; returns when the first runs, unless all of them wait."""
        body = {"prompt": "a fox", "width": 64, "height": 64}
        answers = [self.client.post("/api/jobs", json=body) for _ in range(count)]
        assert {answer.status_code for answer in answers} == {202}
        jobs = [str(answer.json()["id"]) for answer in answers]
        end = time.monotonic() + GRACE_S
        while not waits and self.client.get(f"/api/jobs/{jobs[0]}").json()["state"] == "queued":
            assert time.monotonic() < end
            time.sleep(0.02)
        return jobs


@pytest.fixture
def join(ada: Browser) -> Iterator[Join]:
    """Let people become members of the team."""
    joined: list[Member] = []

    def add() -> Member:
        joined.append(Member(ada))
        return joined[-1]

    yield add
    for member in joined:
        member.client.close()


def states(ada: Browser) -> dict[str, str]:
    found = ada.get("/api/jobs").json()["jobs"]
    return {job["id"]: job["state"] for job in found}


def wait_until_over(ada: Browser, jobs: list[str]) -> list[str]:
    end = time.monotonic() + GRACE_S
    while any(states(ada)[job] in ("queued", "running") for job in jobs):
        assert time.monotonic() < end, states(ada)
        time.sleep(0.05)
    return [states(ada)[job] for job in jobs]


def assert_one_ran(ada: Browser, jobs: list[str]) -> None:
    """Check that nothing but the running picture came about, and that it alone was paid."""
    ended = wait_until_over(ada, jobs)
    assert ended == ["succeeded"] + ["cancelled"] * (len(jobs) - 1)
    balance = ada.get("/api/credits").json()
    assert (balance["reserved"], balance["available"]) == ("0", "993.5")


def test_a_member_who_is_put_out(ada: Browser, join: Join) -> None:
    bob = join()
    jobs = bob.ask(4)
    assert ada.send("DELETE", f"/api/orgs/current/members/{bob.user_id}").status_code == 204
    assert_one_ran(ada, jobs)
    assert bob.client.get("/api/jobs").status_code == 401


def test_others_keep_waiting(ada: Browser, join: Join) -> None:
    bob, eve = join(), join()
    jobs, kept = bob.ask(2), eve.ask(2, waits=True)
    ada.send("DELETE", f"/api/orgs/current/members/{bob.user_id}")
    assert wait_until_over(ada, kept) == ["succeeded", "succeeded"]
    assert wait_until_over(ada, jobs) == ["succeeded", "cancelled"]


def test_an_account_that_is_disabled_on_the_command_line(ada: Browser, join: Join) -> None:
    bob = join()
    jobs = bob.ask(20)
    accounts = ada.server.platform.accounts
    ada.server.write(lambda c: accounts.disable(c, bob.user_id, actor=SYSTEM))
    ended = wait_until_over(ada, jobs)
    assert "cancelled" in ended
    assert ada.get("/api/credits").json()["reserved"] == "0"


def test_a_key_that_another_process_revoked(ada: Browser, join: Join) -> None:
    bob = join()
    jobs = bob.ask(3)
    ada.server.write(
        lambda c: c.execute(update(api_key).values(revoked_ms=1).where(api_key.c.id == bob.key_id)).rowcount
    )
    assert ada.server.run(ada.server.platform.departures.settle()) >= 1
    assert_one_ran(ada, jobs)


def test_a_team_that_is_closed(ada: Browser, join: Join, busy: LiveServer) -> None:
    bob = join()
    bob.ask(4)
    ledger, org_id = busy.platform.ledger, org_of(ada)
    assert ada.send("DELETE", "/api/orgs/current").status_code == 204
    busy.wait_until_idle()
    time.sleep(0.2)
    balance = busy.write(lambda c: ledger.balance(c, org_id))
    assert balance.held == 0
    assert balance.posted >= micro("993.5")


def test_nobody_has_gone(ada: Browser, join: Join) -> None:
    jobs = join().ask(3)
    assert ada.server.run(ada.server.platform.departures.settle()) == 0
    assert wait_until_over(ada, jobs) == ["succeeded"] * 3
