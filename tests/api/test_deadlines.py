"""Requests that take too long: what each front door answers, in the queue and on a worker, and that nobody pays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from keelbill.serving.scripted import ScriptedPool
from support.forms import form, png
from support.server import LiveServer

DEADLINE_S = 1.0
SD3 = "/v2beta/stable-image/generate/sd3"


@dataclass(frozen=True)
class Door:
    """A front door.

    Attributes:
        path: Where a picture is asked for.
        sent: The request.
        failed: What it calls a failure of ours.
        result: Where the result is fetched, for those who do not wait.
    """

    path: str
    sent: Callable[[], dict[str, Any]]
    failed: str
    result: str = ""

    def ask(self, client: httpx.Client) -> httpx.Response:
        """Ask for a picture, and fetch it if that is another request."""
        answer = client.post(self.path, **self.sent())
        if not self.result:
            return answer
        assert answer.status_code in (200, 202), answer.text
        end = time.monotonic() + 60
        while True:
            found = client.get(self.result.format(id=answer.json()["id"]))
            if found.status_code != 202:
                return found
            assert time.monotonic() < end
            time.sleep(0.05)


DOORS = {
    "v2beta": Door(SD3, lambda: form(prompt="a"), "internal_error"),
    "proxy": Door(f"/proxy/stability{SD3}", lambda: form(prompt="a"), "internal_error"),
    "v1": Door(
        "/v1/generation/stable-diffusion-v1-6/text-to-image",
        lambda: {"json": {"text_prompts": [{"text": "a"}]}},
        "server_error",
    ),
    "openai": Door("/v1/images/generations", lambda: {"json": {"prompt": "a"}}, "internal_error"),
    "openai edits": Door("/v1/images/edits", lambda: form(prompt="a", image=png()), "internal_error"),
    "jobs": Door(
        "/api/jobs",
        lambda: {"json": {"prompt": "a", "width": 64, "height": 64}},
        "internal_error",
        "/api/jobs/{id}/result",
    ),
    "creative": Door(
        "/v2beta/stable-image/upscale/creative",
        lambda: form(prompt="a", image=png()),
        "internal_error",
        "/v2beta/results/{id}",
    ),
}


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with one worker that takes four seconds for a picture, and nobody who waits that long."""
    live = LiveServer(
        tmp_path_factory.mktemp("home"),
        pool=ScriptedPool(workers=1, step_s=1.0),
        billing="credits",
        request_deadline_s=DEADLINE_S,
    )
    live.start()
    yield live
    live.stop()


@pytest.fixture
def client(slow: LiveServer, monkeypatch: pytest.MonkeyPatch) -> httpx.Client:
    """Somebody with credits."""
    monkeypatch.setattr("keelbill.api.stability.door._ASYNC_DEADLINE_S", DEADLINE_S)
    slow.wait_until_idle()
    slow.set_balance("1000")
    return slow.client


def name_and_text(answer: httpx.Response) -> tuple[str, str]:
    """Return an error's name and sentences, in whichever family of clients."""
    body = answer.json()
    if "error" in body:
        return body["error"]["code"], body["error"]["message"]
    return body["name"], " ".join(body.get("errors", [body.get("message", "")]))


def held(client: httpx.Client) -> tuple[str, str]:
    balance = client.get("/api/credits").json()
    return balance["available"], balance["reserved"]


@pytest.mark.parametrize("door", DOORS)
def test_running_too_long(slow: LiveServer, client: httpx.Client, door: str) -> None:
    answer = DOORS[door].ask(client)
    name, text = name_and_text(answer)
    assert (answer.status_code, name) == (500, DOORS[door].failed)
    assert "You were not charged." in text
    slow.wait_until_idle()
    assert held(client) == ("1000", "0")


@pytest.mark.parametrize("door", DOORS)
def test_queued_too_long(slow: LiveServer, client: httpx.Client, door: str) -> None:
    settings = slow.platform.settings
    settings.request_deadline_s = 60.0
    try:
        before = DOORS["jobs"]
        blocker = client.post(before.path, **before.sent()).json()["id"]
    finally:
        settings.request_deadline_s = DEADLINE_S
    while client.get(f"/api/jobs/{blocker}").json()["state"] == "queued":
        time.sleep(0.02)
    answer = DOORS[door].ask(client)
    client.delete(f"/api/jobs/{blocker}")
    name, text = name_and_text(answer)
    assert (answer.status_code, name) == (503, "service_unavailable"), text
    assert 1 <= int(answer.headers["retry-after"]) <= 300
    slow.wait_until_idle()
    assert held(client) == ("1000", "0")
