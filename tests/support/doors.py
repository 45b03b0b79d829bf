"""Our own routes as several accounts see them: a server with webhooks at home, and callers with different rights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from keelbill.core.principal import DEFAULT_SCOPES, Scope
from keelbill.core.types import Micro, micro
from keelbill.identity.schemas import KeyOptions
from support.server import LiveServer


class Doors:
    """A live server and ways to knock.

    Args:
        live: The server.
    """

    def __init__(self, live: LiveServer) -> None:
        self.live = live
        self._clients: list[httpx.Client] = []

    def account(self, funds: str = "100", *without: Scope) -> httpx.Client:
        """Open an account and return a client with its key, which has every usual scope but some."""
        platform = self.live.platform
        usual: set[Scope] = {*DEFAULT_SCOPES, "keys:write"}
        scopes = frozenset(usual.difference(without))

        def make(connection: Any) -> str:
            made = platform.accounts.add_person(connection, name="somebody")
            assert made is not None
            user_id, org_id = made
            available = platform.ledger.balance(connection, org_id).available
            difference = Micro(micro(funds) - available)
            if difference:
                platform.ledger.adjust(connection, org_id, difference, "tests", "for the test")
            return platform.keys.make(connection, org_id, user_id, KeyOptions(name="k", scopes=scopes))[1]

        key = self.live.write(make)
        client = httpx.Client(base_url=self.live.url, headers={"authorization": f"Bearer {key}"}, timeout=60)
        self._clients.append(client)
        return client

    def picture(self, client: httpx.Client, prompt: str = "a red fox", **more: Any) -> str:
        """Make a picture and return its job."""
        answer = client.post("/api/jobs", json={"prompt": prompt, "width": 64, "height": 64, **more})
        assert answer.status_code == 202, answer.text
        job_id = str(answer.json()["id"])
        with client.stream("GET", f"/api/jobs/{job_id}/events") as events:
            events.read()
        return job_id

    def close(self) -> None:
        """Close all clients."""
        for client in self._clients:
            client.close()


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A server with webhooks to this machine allowed, for the tests of one module; each opens accounts of its own."""
    live = LiveServer(tmp_path_factory.mktemp("home"), webhooks=True, webhook_private_targets=True)
    live.start()
    opened = Doors(live)
    yield opened
    opened.close()
    live.stop()
