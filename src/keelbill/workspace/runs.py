"""Keeps runs of graphs: takes them in, hears how they go on, writes down how they end. Knows no HTTP, no sockets.

The recorder hears every event of every job in order. For each graph it works through them one after the other: files
are stored before anybody is told of them, and the end comes after everything before it. Whoever wants to tell clients
gives it a `Teller`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog
from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import AppError
from keelbill.db.base import Database, DatabaseAway
from keelbill.jobs import repository as job_repository
from keelbill.jobs.graphs import KeptFile
from keelbill.jobs.schemas import State
from keelbill.serving.messages import Cancelled, Event, Failed, GraphNews, JobSpec, Retrying, Started, Succeeded
from keelbill.workspace import repository, run_repository
from keelbill.workspace.errors import NoSuchRun, RunExists
from keelbill.workspace.live import Live, Message, files_shown
from keelbill.workspace.schemas import Account, NewRun, Run, RunState, StoredFile
from keelbill.workspace.service import Workspace

_log = structlog.get_logger(__name__)

QUEUE_AREA: Final = "queue"
SETTLE_S: Final = 120.0
"""Longest wait for outputs to be stored before a job ends without them."""

AGAIN_S: Final = 1.0

Heard = Started | GraphNews | Retrying | Succeeded | Failed | Cancelled


@dataclass(frozen=True)
class Said:
    """Something that clients may be told.

    Attributes:
        live: The run as it stands now.
        event: What happened.
        message: The same as a message of the run's history, if it is one.
        shown: What an output node shows, for news of an output.
    """

    live: Live
    event: Heard
    message: Message | None = None
    shown: dict[str, object] | None = None


Teller = Callable[[Said], Awaitable[None]]
"""Told on the event loop, in order; what it waits for, the run's next news wait for too."""


@dataclass
class _Line:
    """The events of one job that wait to be worked through."""

    waiting: asyncio.Queue[Heard] = field(default_factory=asyncio.Queue)
    task: asyncio.Task[None] | None = None
    live: Live | None = None
    is_settled: asyncio.Event = field(default_factory=asyncio.Event)
    behind: int = 0
    failure: AppError | None = None


class Runs:
    """The runs of all accounts; implements what the book of jobs asks for.

    Args:
        database: Where rows are kept.
        workspace: Keeps the files.
        clock: Stamps messages.

    Attributes:
        tellers: Who tells clients.
    """

    def __init__(self, database: Database, workspace: Workspace, clock: Clock) -> None:
        self._database = database
        self._workspace = workspace
        self._clock = clock
        self._lines: dict[str, _Line] = {}
        self.tellers: list[Teller] = []

    # ------------------------------------------------------------ taking in

    async def require_new(self, prompt_id: str) -> None:
        """Check that no run has this id.

        Raises:
            RunExists: One has, whoever's it is.
        """
        if await self._database.glance(lambda c: run_repository.has_prompt(c, prompt_id)):
            raise _taken(prompt_id)

    def take(self, connection: Connection, job_id: str, new: NewRun) -> float:
        """Write a run down, in the transaction that takes its job in; return its number.

        Raises:
            RunExists: Its id was used before.
        """
        count = repository.count_on(connection, new.account, QUEUE_AREA, "", "")
        number = new.number if new.number is not None else float(-count if new.in_front else count)
        if not run_repository.add(connection, job_id, new, number, self._clock.now_ms()):
            raise _taken(new.prompt_id)
        run_repository.forget_beyond(connection, new.account, self._workspace.limits.runs)
        return number

    # ------------------------------------------------------------ looking

    async def find(self, account: Account, prompt_id: str) -> Run:
        """Return a run.

        Raises:
            NoSuchRun: It does not exist or is somebody else's.
        """

        def find(connection: Connection) -> Run | None:
            found = run_repository.find(connection, account, prompt_id)
            return _with_states(connection, [found])[0] if found is not None else None

        found = await self._database.glance(find)
        if found is None:
            raise NoSuchRun("There is no such run.")
        return found

    async def open_runs(self, account: Account) -> list[Run]:
        """Return the runs of an account that have not ended, running ones first."""

        def look(connection: Connection) -> list[Run]:
            return _with_states(connection, run_repository.open_runs(connection, account))

        found = await self._database.read(look)
        return sorted(found, key=lambda run: (not run.is_running, run.number, run.job_id))

    async def count_open(self, account: Account) -> int:
        """Return how many runs of an account have not ended."""
        return await self._database.read(lambda c: run_repository.count_open(c, account))

    async def is_new(self, account: Account) -> bool:
        """Return whether an account has no run and no setting of its own."""

        def look(connection: Connection) -> bool:
            return not (run_repository.has_any(connection, account) or repository.settings(connection, account))

        return await self._database.read(look)

    async def history(self, account: Account, max_items: int | None = None, offset: int | None = None) -> list[Run]:
        """Return runs that have ended, oldest first; with a number but no offset, the newest so many."""

        def look(connection: Connection) -> list[Run]:
            if max_items is not None and offset is None:
                return run_repository.ended(connection, account, max_items, 0, newest=True)[::-1]
            return run_repository.ended(connection, account, max_items, offset or 0, newest=False)

        return await self._database.read(look)

    async def listed(self, account: Account, workflow_id: str, states: Collection[RunState]) -> list[Run]:
        """Return runs in some states without their graphs, newest first, of one workflow or of all."""

        def look(connection: Connection) -> list[Run]:
            return _with_states(connection, run_repository.listed(connection, account, workflow_id, states))

        return await self._database.read(look)

    async def forget(self, account: Account, prompt_ids: Collection[str] | None = None) -> int:
        """Remove runs that have ended from the history: some, or all. Their files stay."""
        return await self._database.write(lambda c: run_repository.forget(c, account, prompt_ids))

    def current(self, account: Account, client_id: str) -> Live | None:
        """Return the run of a client that goes on in this process, if one does."""
        for line in self._lines.values():
            live = line.live
            if live and live.started_ms and live.run.account == account and live.run.client_id == client_id:
                return live
        return None

    def live(self, job_id: str) -> Live | None:
        """Return a run that goes on in this process."""
        line = self._lines.get(job_id)
        return line.live if line else None

    # ------------------------------------------------------------ hearing

    def listen(self, spec: JobSpec, event: Event) -> None:
        """Hear an event of any job; those of graphs are worked through in order."""
        if spec.task.kind != "graph" or not isinstance(event, Heard):
            return
        line = self._lines.get(spec.job_id)
        if line is None:
            line = self._lines[spec.job_id] = _Line()
            line.task = asyncio.get_running_loop().create_task(self._work(spec.job_id, line), name="graph run")
            line.task.add_done_callback(_report)
        if not isinstance(event, Succeeded | Failed | Cancelled):
            line.behind += 1
            line.is_settled.clear()
        line.waiting.put_nowait(event)

    async def close(self) -> None:
        """Stop hearing; what waits is given up."""
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lines.clear()

    async def _work(self, job_id: str, line: _Line) -> None:
        try:
            while True:
                event = await line.waiting.get()
                try:
                    await self._hear(job_id, line, event)
                except AppError as error:
                    line.failure = line.failure or error
                    _log.warning("run_not_recorded", job=job_id, reason=error.message)
                if isinstance(event, Succeeded | Failed | Cancelled):
                    return
                line.behind -= 1
                if not line.behind:
                    line.is_settled.set()
        finally:
            self._lines.pop(job_id, None)
            line.behind = 0
            line.is_settled.set()

    async def _hear(self, job_id: str, line: _Line, event: Heard) -> None:
        if line.live is None:
            run = await self._database.glance(lambda c: run_repository.of_job(c, job_id))
            if run is None:
                return
            line.live = Live(run)
        live = line.live
        if isinstance(event, Succeeded | Failed | Cancelled):
            ended = await self._database.glance(lambda c: run_repository.of_job(c, job_id))
            live.run = ended or live.run
            await self._tell(Said(live, event, live.run.last_message))
        elif isinstance(event, GraphNews):
            await self._news(job_id, live, event)
        elif isinstance(event, Started):
            await self._tell(Said(live, event, live.begin(self._clock.now_ms())))
        else:
            await self._tell(Said(live, event))

    async def _news(self, job_id: str, live: Live, news: GraphNews) -> None:
        message, shown = None, None
        if news.kind == "cached":
            message = live.cached(news.nodes, self._clock.now_ms())
        elif news.kind == "node":
            live.enter(news.node, news.display)
        elif news.kind == "progress":
            live.advance(news.node, news.value, news.total)
        elif news.kind == "done":
            live.leave(news.node)
        elif news.files or news.shown:
            files = await self._keep(live.run.account, job_id, news)
            shown = files_shown(files, news.files_key, news.shown)
            live.show(news.node, shown)
        await self._tell(Said(live, news, message, shown))

    async def _keep(self, account: Account, job_id: str, news: GraphNews) -> list[StoredFile]:
        """Store new files, however often the database is away meanwhile."""
        until_s = self._clock.monotonic_s() + SETTLE_S
        while True:
            try:
                return await self._workspace.keep_outputs(account, job_id, news.files, is_cached=news.is_cached)
            except DatabaseAway:
                if self._clock.monotonic_s() > until_s:
                    raise
                await asyncio.sleep(AGAIN_S)

    async def _tell(self, said: Said) -> None:
        for tell in self.tellers:
            await tell(said)

    # ------------------------------------------------------------ what the book of jobs asks for

    async def settled(self, job_id: str) -> None:
        """Return when everything that was heard of a run so far is worked through, and its outputs are stored.

        Raises:
            DiskFull: It cannot be stored.
        """
        line = self._lines.get(job_id)
        if line is None:
            return
        while line.behind:
            async with asyncio.timeout(SETTLE_S):
                await line.is_settled.wait()
        if line.failure is not None:
            raise line.failure

    def kept(self, connection: Connection, job_id: str) -> Sequence[KeptFile]:
        """Return the pictures that a run saved, in order."""
        made = repository.of_job(connection, job_id)
        return [
            KeptFile(each.blob_ref, each.media_type, each.size_bytes, each.width, each.height)
            for each in made
            if each.width and each.height
        ]

    def ended(self, connection: Connection, job_id: str, state: State, code: str, message: str, detail: str) -> None:
        """Write down how a run ended, in the transaction that ends its job."""
        run = run_repository.of_job(connection, job_id)
        if run is None or run.state != "open":
            return
        live = self.live(job_id) or Live(run)
        now_ms = self._clock.now_ms()
        end: RunState = "succeeded" if state == "succeeded" else "failed"
        if state == "cancelled" or code == "cancelled":
            end = "cancelled"
        messages = [*live.messages, live.ending(end, code, message, detail, now_ms)]
        run_repository.end(connection, job_id, end, messages, live.results, live.started_ms, now_ms)

    # ------------------------------------------------------------ bytes

    def input_refs(self, connection: Connection) -> set[str]:
        """Return every blob that a run still needs."""
        return run_repository.input_refs(connection)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("run_not_recorded", exc_info=error)


def _with_states(connection: Connection, runs: Sequence[Run]) -> list[Run]:
    waiting = [run.job_id for run in runs if run.state == "open"]
    if not waiting:
        return list(runs)
    jobs = {job.id: job for job in job_repository.jobs_by_id(connection, waiting)}
    return [
        replace(run, is_running=jobs[run.job_id].state == "running", started_ms=jobs[run.job_id].started_ms)
        if run.job_id in jobs
        else run
        for run in runs
    ]


def _taken(prompt_id: str) -> RunExists:
    return RunExists(f"prompt_id: {json.dumps(prompt_id)} was submitted before.")
