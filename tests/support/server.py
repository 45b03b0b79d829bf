"""A whole server on a real socket, with workers that follow a script. Start one with the fixture `server`."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import uvicorn

from keelbill.api.app import create_app
from keelbill.api.comfy.own_port import OwnPort
from keelbill.api.guard import guarded
from keelbill.api.platform import Platform, build_platform
from keelbill.core.principal import DEFAULT_SCOPES, Scope
from keelbill.core.settings import Settings
from keelbill.core.types import Micro, micro
from keelbill.identity.schemas import KeyOptions
from keelbill.serving.pool import WorkerPool
from keelbill.serving.scripted import Fault, ScriptedPool
from keelbill.storage.blobs import BlobStore

T = TypeVar("T")

_ALWAYS = 1_000_000


class LiveServer:
    """A server in a thread of its own.

    Args:
        home: Its data folder.
        pool: Its workers; else four scripted ones that fail and filter when the prompt contains `FAIL` or `FILTER`.
        settings: Changed settings.

    Attributes:
        url: Where it listens, without a slash at the end.
        port: The same.
        app: The application.
        graph_url: Where the graph editor has a port of its own.
        key: Of the first account.
        org_id: That account.
        client: Sends the key with every request.
        platform: Its parts; touch them with `run` and `write` only.
    """

    FAIL = "thistaskfails"
    FILTER = "thispictureisfiltered"

    def __init__(self, home: Path, *, pool: WorkerPool | None = None, **settings: object) -> None:
        chosen: dict[str, Any] = {"home": home, "rate_limit": 100_000, "free_credits": "25", "port": 0} | settings
        self.settings = Settings(**chosen)
        self.pool = pool or ScriptedPool(
            workers=4,
            faults=[Fault("fail", when=self.FAIL, times=_ALWAYS), Fault("filter", when=self.FILTER, times=_ALWAYS)],
            read=BlobStore(self.settings.blobs_folder).read,
        )
        self.platform: Platform = build_platform(self.settings, pool=self.pool, migrates=True)
        self.url = ""
        self.key = ""
        self.org_id = ""
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None
        self._listeners = [socket.create_server(("127.0.0.1", 0), backlog=2048) for _ in range(2)]
        self.port, graph_port = (listener.getsockname()[1] for listener in self._listeners)
        self.graph_url = f"http://127.0.0.1:{graph_port}"
        self.app = create_app(self.platform)
        config = uvicorn.Config(
            OwnPort(self.app, graph_port),
            http=guarded(),
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="live server", daemon=True)

    def start(self) -> None:
        """Start and wait until requests are answered."""
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self._server.started:
            if self._failure is not None:
                raise RuntimeError("the server did not start") from self._failure
            if time.monotonic() > deadline:
                raise TimeoutError("the server did not start within a minute")
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self.port}"
        owner = self.write(self.platform.accounts.bootstrap)
        self.key, self.org_id, self._user_id = owner.key_secret, owner.org_id, owner.user_id
        self.client = httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=60)

    def stop(self) -> None:
        """Stop and wait until everything has ended."""
        self.client.close()
        self._server.should_exit = True
        self._thread.join(timeout=60)
        if self._thread.is_alive():
            raise TimeoutError("the server did not stop within a minute")
        if self._failure is not None:
            raise self._failure

    def _serve(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve(self._listeners)

        try:
            asyncio.run(serve())
        except BaseException as failure:  # noqa: BLE001  carried to the thread that waits
            self._failure = failure

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the server's event loop and return what it returns."""
        if self._loop is None:
            raise RuntimeError("the server is not running")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    def write(self, operation: Callable[[Any], T]) -> T:
        """Run one transaction."""
        return self.run(self.platform.db.write(operation))

    def balance(self) -> Decimal:
        """Return the first account's credits, as its owner sees them."""
        return Decimal(str(self.client.get("/v1/user/balance").json()["credits"]))

    def set_balance(self, amount: str) -> None:
        """Give or take credits until the first account has exactly this many."""
        ledger, org_id = self.platform.ledger, self.org_id

        def adjust(connection: Any) -> None:
            difference = micro(amount) - ledger.balance(connection, org_id).available
            if difference:
                ledger.adjust(connection, org_id, Micro(difference), "test", "set by a test")

        self.write(adjust)

    def new_key(self, scopes: tuple[Scope, ...] = tuple(DEFAULT_SCOPES)) -> str:
        """Return another key of the first account."""
        options = KeyOptions(name="another", scopes=frozenset(scopes))
        keys, org_id, user_id = self.platform.keys, self.org_id, self._user_id
        _, secret = self.write(lambda connection: keys.make(connection, org_id, user_id, options))
        return secret

    @contextmanager
    def slow_workers(self, step_s: float = 0.3) -> Iterator[None]:
        """Let each of a job's four steps take some time."""
        if not isinstance(self.pool, ScriptedPool):
            raise TypeError("only scripted workers can be told to be slow")
        self.pool.step_s = step_s
        try:
            yield
        finally:
            self.pool.step_s = 0.0

    def wait_until_idle(self, timeout_s: float = 60) -> None:
        """Wait until no worker has a job and the end of each is written down."""
        deadline = time.monotonic() + timeout_s
        while any(worker.running for worker in self.pool.workers()) or self.platform.gateway.jobs():
            if time.monotonic() > deadline:
                raise TimeoutError("a job still runs")
            time.sleep(0.02)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One server for all tests that leave it as they found it but for credits and pictures."""
    live = LiveServer(tmp_path_factory.mktemp("home"))
    live.start()
    yield live
    live.stop()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., LiveServer]]:
    """Start servers of one's own: ``start_server(rate_limit=150)``; they stop after the test."""
    started: list[LiveServer] = []

    def start(*, pool: WorkerPool | None = None, **settings: object) -> LiveServer:
        live = LiveServer(tmp_path / f"home{len(started)}", pool=pool, **settings)
        live.start()
        started.append(live)
        return live

    yield start
    for live in started:
        live.stop()
