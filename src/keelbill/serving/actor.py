"""A worker as an actor of a cluster: takes orders, and hands its reports to whoever asks. Knows no cluster library.

Reports are numbered. Whoever asks names the last number it has, and gets all later ones; so a report, and with it a
finished picture, is kept until its number was named, and an answer that is lost on the way is given again.
"""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from keelbill.serving.messages import (
    Beat,
    Cancelled,
    Failed,
    FromWorker,
    Run,
    Said,
    Setup,
    Stop,
    Succeeded,
    ToWorker,
)

WAIT_S: Final = 1.0
"""How long a question for reports may stay open; an empty answer shows that the way is open too."""


class Inbox(Protocol):
    """Takes orders, from any thread."""

    def put(self, order: ToWorker, /) -> None:
        """Add an order."""
        ...


class Labourer(Protocol):
    """Whoever does the work, in a thread of its own."""

    @property
    def inbox(self) -> Inbox:
        """Where orders go."""
        ...

    def run(self) -> None:
        """Work until told to stop."""
        ...

    def beat(self) -> Beat:
        """Return a sign of life."""
        ...


Build = Callable[[Setup, Callable[[FromWorker], None], Callable[[str], bytes]], Labourer]
"""Makes the labourer from its set-up, where its reports go, and who reads an input picture by its reference."""


class Actor:
    """The door of one worker; every method runs on the event loop of its process.

    Args:
        setup: Who it is, as MessagePack.
        build: Makes the one who works; it is called in this process, so only here are networks imported.
    """

    def __init__(self, setup: bytes, build: Build) -> None:
        self._setup: Setup = msgspec.msgpack.decode(setup, type=Setup)
        self._build = build
        self._labourer: Labourer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reports: deque[tuple[int, bytes]] = deque()
        self._count = 0
        self._news = asyncio.Event()
        self._pictures: dict[str, dict[str, bytes]] = {}
        self._stop = threading.Event()

    async def begin(self) -> int:
        """Bring the worker up and return its process id; networks are imported and loaded behind this."""
        self._loop = asyncio.get_running_loop()
        self._labourer = await asyncio.to_thread(self._build, self._setup, self._tell, self._read)
        for work in (self._work, self._live):
            threading.Thread(target=work, daemon=True).start()
        return os.getpid()

    async def order(self, message: bytes, pictures: Mapping[str, bytes]) -> None:
        """Take an order.

        Args:
            message: The order, as MessagePack.
            pictures: The job's input pictures by reference; this machine shares no folder with the sender.
        """
        if self._labourer is None:
            raise RuntimeError("the worker has not begun")
        order: ToWorker = msgspec.msgpack.decode(message, type=ToWorker)
        if isinstance(order, Run):
            self._pictures[order.job.job_id] = dict(pictures)
        elif isinstance(order, Stop):
            self._stop.set()
        self._labourer.inbox.put(order)

    async def reports(self, seen: int) -> list[tuple[int, bytes]]:
        """Return all reports after number `seen`, waiting up to a second for one."""
        while self._reports and self._reports[0][0] <= seen:
            self._reports.popleft()
        if not self._reports:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), WAIT_S)
            except TimeoutError:
                return []
        return list(self._reports)

    def _read(self, ref: str) -> bytes:
        for pictures in list(self._pictures.values()):
            if ref in pictures:
                return pictures[ref]
        raise FileNotFoundError(f"no running job brought the picture {ref}")

    def _tell(self, report: FromWorker) -> None:
        """Pass a report on, from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._note, report, msgspec.msgpack.encode(report))

    def _note(self, report: FromWorker, encoded: bytes) -> None:
        if isinstance(report, Said) and isinstance(report.event, Succeeded | Failed | Cancelled):
            self._pictures.pop(report.job_id, None)
        self._count += 1
        self._reports.append((self._count, encoded))
        self._news.set()

    def _work(self) -> None:
        status = 1
        try:
            if self._labourer is not None:
                self._labourer.run()
            status = 0
        finally:
            if status:
                traceback.print_exc()
                os._exit(1)  # signs of life would go on; the cluster notices the end at once

    def _live(self) -> None:
        while self._labourer is not None:
            self._tell(self._labourer.beat())
            if self._stop.wait(self._setup.beat_s):
                return
