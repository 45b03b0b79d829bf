"""How an account stands right now: limits that move with every request, and how long pictures took."""

from __future__ import annotations

from collections.abc import Callable

from support.doors import Doors
from support.server import LiveServer


def test_requests_that_are_left(start_server: Callable[..., LiveServer]) -> None:
    client = start_server(rate_limit=50).client
    first, second = (client.get("/api/usage/limits").json() for _ in range(2))
    assert (first["rate_limit"], first["rate_window_s"]) == (50, 10)
    assert second["rate_remaining"] == first["rate_remaining"] - 1
    assert 0 < second["rate_reset_s"] <= 10


def test_a_key_with_a_limit_of_its_own(doors: Doors) -> None:
    ann = doors.account()
    secret = ann.post("/api/keys", json={"name": "slow", "rate_limit": 7}).json()["secret"]
    found = ann.get("/api/usage/limits", headers={"authorization": f"Bearer {secret}"}).json()
    assert (found["rate_limit"], found["rate_remaining"]) == (7, 6)


def test_jobs_that_wait_or_run(doors: Doors) -> None:
    ann, bob = doors.account(), doors.account()
    with doors.live.slow_workers(0.2):
        job = ann.post("/api/jobs", json={"prompt": "a fox", "width": 64, "height": 64}).json()["id"]
        assert ann.get("/api/usage/limits").json()["jobs"] == 1
        assert bob.get("/api/usage/limits").json()["jobs"] == 0
        ann.delete(f"/api/jobs/{job}")
    doors.live.wait_until_idle()


def test_how_long_pictures_took(doors: Doors) -> None:
    ann = doors.account()
    assert ann.get("/api/usage/latency").json() == []
    doors.picture(ann)
    (today,) = ann.get("/api/usage/latency").json()
    assert today["jobs"] == 1
    assert 0 <= today["wait_p50_ms"] <= today["total_p50_ms"] == today["total_p99_ms"]
    assert ann.get("/api/usage/latency", params={"days": 0}).status_code == 400
