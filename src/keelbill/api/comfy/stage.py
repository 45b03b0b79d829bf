"""Tells open sockets what happens to runs, in the order in which it must be told. Knows frames, runs no graph.

The recorder calls only after what is told is stored. A client that hears of the end therefore finds the history, and
one that comes late learns the state from its first frames.
"""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakValueDictionary

from keelbill.api.comfy import frames
from keelbill.api.comfy.sockets import Socket, Sockets
from keelbill.serving.messages import Cancelled, Failed, GraphNews, Retrying, Started
from keelbill.workspace.live import Live
from keelbill.workspace.runs import Runs, Said
from keelbill.workspace.schemas import Account


class Stage:
    """Between the recorder and the sockets.

    Args:
        runs: The recorder.
        sockets: Who is told.
    """

    def __init__(self, runs: Runs, sockets: Sockets) -> None:
        self._runs = runs
        self.sockets = sockets
        self._turns: WeakValueDictionary[Account, asyncio.Lock] = WeakValueDictionary()

    async def enter(self, account: Account, wanted: str) -> Socket:
        """Open a socket; its first frame says how many runs are left, its second which node of its own runs.

        Raises:
            RateLimited: The account has too many.
            Unavailable: The server has too many.
        """
        turn = self._turn(account)
        async with turn:
            remaining = await self._runs.count_open(account)
            socket = self.sockets.open(account, wanted)
            socket.outbox.put(frames.status(remaining, socket.sid))
        live = self._runs.current(account, socket.sid)
        if live is not None and live.current:
            socket.outbox.put(frames.executing(live, live.current))
        return socket

    async def status(self, account: Account) -> None:
        """Tell all sockets of an account how many of its runs have not ended; later counts are told later."""
        turn = self._turn(account)
        async with turn:
            watching = self.sockets.of(account)
            if watching:
                remaining = await self._runs.count_open(account)
                for socket in watching:
                    socket.outbox.put(frames.status(remaining))

    async def tell(self, said: Said) -> None:
        """Tell the client of a run what happened."""
        live, event = said.live, said.event
        socket = self.sockets.client(live.run.account, live.run.client_id)
        if isinstance(event, GraphNews):
            if socket is not None:
                _news(socket, said, event)
            return
        if isinstance(event, Started):
            if socket is not None and said.message:
                socket.outbox.put(frames.text(*said.message))
            return
        if isinstance(event, Retrying):
            return
        if socket is not None:
            if isinstance(event, Failed | Cancelled):
                _mark_failed(live)
                socket.outbox.put(frames.progress_state(live))
            if said.message:
                socket.outbox.put(frames.text(*said.message))
        await self.status(live.run.account)
        if socket is not None:
            socket.outbox.put(frames.executing(live, None))

    def _turn(self, account: Account) -> asyncio.Lock:
        lock = self._turns.get(account)
        if lock is None:
            lock = self._turns[account] = asyncio.Lock()
        return lock


_PROGRESS: Final = "progress"


def _news(socket: Socket, said: Said, news: GraphNews) -> None:
    live, outbox = said.live, socket.outbox
    state_name = f"state {live.run.prompt_id}"
    if news.kind == "cached":
        if said.message:
            outbox.put(frames.text(*said.message))
    elif news.kind == "node":
        outbox.put(frames.progress_state(live), instead_of=state_name)
        outbox.put(frames.executing(live, news.node))
    elif news.kind == "progress":
        life = live.nodes[news.node]
        if news.total:
            outbox.put(frames.progress(live, life), instead_of=f"{_PROGRESS} {live.run.prompt_id} {news.node}")
            outbox.put(frames.progress_state(live), instead_of=state_name)
        if news.image:
            _preview(socket, live, news)
    elif news.kind == "done":
        outbox.put(frames.progress_state(live), instead_of=state_name)
    elif said.shown is not None:
        outbox.put(frames.executed(live, news.node, news.display, said.shown))


def _preview(socket: Socket, live: Live, news: GraphNews) -> None:
    """Send a preview to clients that know one from a result, or that asked for it; a result is always sent."""
    image = news.image or b""
    if frames.is_result(image):
        socket.outbox.put(frames.picture(image))
        return
    name = f"preview {live.run.prompt_id}"
    if socket.takes_previews:
        life = live.nodes[news.node]
        socket.outbox.put(frames.picture_with_facts(live, life, image), instead_of=name, droppable=True)
    elif live.run.wants_previews:
        socket.outbox.put(frames.picture(image), instead_of=name, droppable=True)


def _mark_failed(live: Live) -> None:
    for life in live.nodes.values():
        if life.state == "running":
            life.state = "error"
