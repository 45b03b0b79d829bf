"""Runs: taken in, heard in order, written down as their jobs end; on both databases."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from keelbill.core.ids import new_id
from keelbill.db.base import Database, DatabaseAway
from keelbill.serving.messages import (
    Cancelled,
    Event,
    Failed,
    GraphFile,
    GraphNews,
    GraphTask,
    ImageTask,
    JobSpec,
    Progress,
    Retrying,
    Started,
    Succeeded,
)
from keelbill.storage.blobs import DiskFull
from keelbill.workspace.errors import NoSuchRun, RunExists
from keelbill.workspace.live import Live
from keelbill.workspace.runs import Runs, Said
from keelbill.workspace.schemas import Account, NewRun, Run
from keelbill.workspace.service import Workspace
from support.identities import HandClock

GRAPH = {"1": {"class_type": "KSampler", "inputs": {}}, "2": {"class_type": "SaveImage", "inputs": {}}}
DONE = Succeeded(image=b"", media_type="", width=1, height=1, seed=1, model="m")


def new(account: Account, prompt_id: str = "p1", **more: Any) -> NewRun:
    return NewRun(prompt_id, account, "c1", json.dumps(GRAPH), "{}", ("2",), **more)


async def take(database: Database, runs: Runs, asked: NewRun) -> str:
    job_id = new_id()
    await database.write(lambda c: runs.take(c, job_id, asked))
    return job_id


def spec(job_id: str, kind: Any = "graph") -> JobSpec:
    graph = GraphTask(prompt="{}", outputs=("2",)) if kind == "graph" else None
    return JobSpec(job_id=job_id, org_id="o", task=ImageTask(kind=kind, graph=graph))


def output(node: str = "2", content: bytes = b"png", **more: Any) -> GraphNews:
    file = GraphFile(content=content, media_type="image/png", prefix="fox", width=1, height=1, key=f"k{content!r}")
    return GraphNews(kind="output", node=node, display=node, files=(file,), **more)


async def end(database: Database, runs: Runs, job_id: str, state: Any, *more: str) -> None:
    """Do what the book of jobs does at the end."""
    await runs.settled(job_id)
    code, message, detail = (*more, "", "", "")[:3]
    await database.write(lambda c: runs.ended(c, job_id, state, code, message, detail))


async def hear(runs: Runs, job_id: str, *events: Event) -> None:
    for event in events:
        runs.listen(spec(job_id), event)
    await runs.settled(job_id)


class TestTaking:
    async def test_numbers_count_on_and_front_ones_come_first(
        self, database: Database, runs: Runs, ada: Account, bob: Account
    ) -> None:
        for prompt_id, more in (("a", {}), ("b", {}), ("c", {"in_front": True}), ("d", {"number": 0.5})):
            await take(database, runs, new(ada, prompt_id, **more))
        await take(database, runs, new(bob, "e"))
        assert [(run.prompt_id, run.number) for run in await runs.open_runs(ada)] == [
            ("c", -3),
            ("d", 0.5),
            ("a", 1),
            ("b", 2),
        ]
        assert [run.number for run in await runs.open_runs(bob)] == [1]
        assert await runs.count_open(ada) == 4

    async def test_id_that_was_used(self, database: Database, runs: Runs, ada: Account, bob: Account) -> None:
        await take(database, runs, new(ada))
        for account in (ada, bob):
            with pytest.raises(RunExists):
                await take(database, runs, new(account))
            with pytest.raises(RunExists):
                await runs.require_new("p1")
        await runs.require_new("p2")

    async def test_others_do_not_find_it(self, database: Database, runs: Runs, ada: Account, bob: Account) -> None:
        job_id = await take(database, runs, new(ada))
        await end(database, runs, job_id, "succeeded")
        with pytest.raises(NoSuchRun):
            await runs.find(bob, "p1")
        assert await runs.history(bob) == []
        assert await runs.forget(bob) == 0
        assert await runs.is_new(bob)
        assert not await runs.is_new(ada)

    async def test_what_it_reads_is_kept_until_it_ends(self, database: Database, runs: Runs, ada: Account) -> None:
        job_id = await take(database, runs, new(ada, input_refs=("a" * 64, "b" * 64)))
        assert await database.read(runs.input_refs) == {"a" * 64, "b" * 64}
        await end(database, runs, job_id, "succeeded")
        assert await database.read(runs.input_refs) == set()

    async def test_old_runs_make_room(
        self, database: Database, open_workspace: Any, clock: HandClock, ada: Account
    ) -> None:
        runs = Runs(database, open_workspace(runs=2), clock)
        for number in range(5):
            job_id = await take(database, runs, new(ada, f"p{number}"))
            await end(database, runs, job_id, "succeeded")
        await take(database, runs, new(ada, "last"))
        assert [run.prompt_id for run in await runs.history(ada)] == ["p3", "p4"]
        assert await runs.count_open(ada) == 1


class TestHistory:
    async def test_pages(self, database: Database, runs: Runs, ada: Account) -> None:
        for number in range(5):
            await end(database, runs, await take(database, runs, new(ada, f"p{number}")), "succeeded")

        async def ids(*asked: Any) -> list[str]:
            return [run.prompt_id for run in await runs.history(ada, *asked)]

        assert await ids() == ["p0", "p1", "p2", "p3", "p4"]
        assert await ids(2) == ["p3", "p4"]
        assert await ids(2, 1) == ["p1", "p2"]
        assert await ids(None, 3) == ["p3", "p4"]
        assert await runs.forget(ada, ["p0", "unknown"]) == 1
        assert await runs.forget(ada) == 4

    async def test_open_runs_are_not_forgotten(self, database: Database, runs: Runs, ada: Account) -> None:
        await take(database, runs, new(ada))
        assert await runs.forget(ada) == 0
        assert await runs.count_open(ada) == 1

    async def test_states(self, database: Database, runs: Runs, ada: Account) -> None:
        for state in ("succeeded", "failed", "cancelled"):
            asked = new(ada, state, workflow_id=f"w-{state}")
            await end(database, runs, await take(database, runs, asked), state, "x", "It went wrong.")
        assert [run.prompt_id for run in await runs.listed(ada, "", ["failed", "cancelled"])] == ["cancelled", "failed"]
        assert [run.prompt_id for run in await runs.listed(ada, "w-failed", ["failed", "succeeded"])] == ["failed"]


class TestHearing:
    async def test_tellers_hear_after_it_is_stored(
        self, database: Database, runs: Runs, workspace: Workspace, ada: Account
    ) -> None:
        told: list[tuple[str, int]] = []

        async def tell(said: Said) -> None:
            stored = len(await workspace.newest(ada, "output"))
            kind = said.event.kind if isinstance(said.event, GraphNews) else type(said.event).__name__
            told.append((kind, stored))
            if isinstance(said.event, Succeeded):
                run = await runs.find(ada, "p1")
                assert run.state == "succeeded"
                assert said.message == run.last_message

        runs.tellers.append(tell)
        job_id = await take(database, runs, new(ada))
        await hear(runs, job_id, Started("w", 1), GraphNews(kind="cached"), output(), output(content=b"2"))
        await end(database, runs, job_id, "succeeded")
        runs.listen(spec(job_id), DONE)
        async with asyncio.timeout(60):
            while len(told) < 5:
                await asyncio.sleep(0.01)
        assert told == [("Started", 0), ("cached", 0), ("output", 1), ("output", 2), ("Succeeded", 2)]
        async with asyncio.timeout(60):
            while runs.live(job_id) is not None:
                await asyncio.sleep(0.01)

    async def test_what_is_written_down(self, database: Database, runs: Runs, ada: Account, clock: HandClock) -> None:
        job_id = await take(database, runs, new(ada))
        node = GraphNews(kind="node", node="1", display="1")
        await hear(runs, job_id, Started("w", 1), GraphNews(kind="cached", nodes=("7",)), node, output())
        clock.advance(2)
        await end(database, runs, job_id, "succeeded")
        run = await runs.find(ada, "p1")
        assert [name for name, _ in run.messages] == ["execution_start", "execution_cached", "execution_success"]
        assert run.messages[1][1]["nodes"] == ["7"]
        assert run.messages[2][1]["timestamp"] - run.messages[0][1]["timestamp"] == 2000
        assert run.results == {"2": {"images": [{"filename": "fox_00001_.png", "subfolder": "", "type": "output"}]}}
        kept = await database.read(lambda c: runs.kept(c, job_id))
        assert [(file.width, file.size_bytes) for file in kept] == [(1, 3)]

    async def test_lost_worker(self, database: Database, runs: Runs, workspace: Workspace, ada: Account) -> None:
        job_id = await take(database, runs, new(ada))
        await hear(runs, job_id, Started("w", 1), output(), Retrying(2, "killed"), Started("w", 2), output())
        await end(database, runs, job_id, "succeeded")
        run = await runs.find(ada, "p1")
        assert [name for name, _ in run.messages] == ["execution_start", "execution_success"]
        assert len(await workspace.newest(ada, "output")) == 1

    async def test_failed_node(self, database: Database, runs: Runs, ada: Account) -> None:
        job_id = await take(database, runs, new(ada))
        await hear(runs, job_id, Started("w", 1), output())
        detail = {
            "node_id": "1",
            "node_type": "KSampler",
            "exception_type": "InsufficientFundsError",
            "executed": ["9"],
        }
        await end(database, runs, job_id, "failed", "x", "Payment Required: buy more.", json.dumps(detail))
        name, data = (await runs.find(ada, "p1")).messages[-1]
        assert name == "execution_error"
        assert (data["node_id"], data["executed"], data["traceback"]) == ("1", ["9"], [])
        assert data["exception_type"] == "GraphError"
        assert data["exception_message"] == "The server says: Payment Required: buy more."
        assert "2" in (await runs.find(ada, "p1")).results

    async def test_interrupted_node(self, database: Database, runs: Runs, ada: Account) -> None:
        job_id = await take(database, runs, new(ada))
        await hear(runs, job_id, Started("w", 1), GraphNews(kind="node", node="1", display="1"))
        await end(database, runs, job_id, "cancelled", "cancelled", "stopped")
        name, data = (await runs.find(ada, "p1")).messages[-1]
        assert (name, data["node_id"], data["node_type"]) == ("execution_interrupted", "1", "KSampler")

    async def test_run_of_an_earlier_process(self, database: Database, runs: Runs, ada: Account) -> None:
        job_id = await take(database, runs, new(ada))
        await end(database, runs, job_id, "failed", "worker_lost", "The server was lost.")
        run = await runs.find(ada, "p1")
        assert (run.state, run.messages[0][1]["exception_type"]) == ("failed", "worker_lost")

    async def test_jobs_that_are_no_graphs(self, runs: Runs) -> None:
        runs.listen(spec("j", "generate"), Started("w", 1))
        runs.listen(spec("j"), Progress(1, 2))
        assert runs.live("j") is None
        await runs.settled("j")

    async def test_job_without_a_run(self, runs: Runs) -> None:
        await hear(runs, "j" * 32, Started("w", 1), output())
        runs.listen(spec("j" * 32), Cancelled("x"))
        await until_gone(runs, "j" * 32)

    async def test_ending_is_written_once(self, database: Database, runs: Runs, ada: Account) -> None:
        job_id = await take(database, runs, new(ada))
        await end(database, runs, job_id, "succeeded")
        await end(database, runs, job_id, "failed", "x", "late")
        assert (await runs.find(ada, "p1")).state == "succeeded"


async def until_gone(runs: Runs, job_id: str) -> None:
    """Wait until a run has ended and nothing of it is kept."""
    async with asyncio.timeout(60):
        while runs.live(job_id) is not None:
            await asyncio.sleep(0.01)


class TestTrouble:
    async def test_full_disk(
        self, database: Database, runs: Runs, workspace: Workspace, ada: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def full(*_: Any, **__: Any) -> Any:
            raise DiskFull("storage: the disk is full.")

        monkeypatch.setattr(workspace, "keep_outputs", full)
        job_id = await take(database, runs, new(ada))
        runs.listen(spec(job_id), Started("w", 1))
        runs.listen(spec(job_id), output())
        with pytest.raises(DiskFull):
            await runs.settled(job_id)
        await database.write(lambda c: runs.ended(c, job_id, "failed", "storage_full", "Full.", ""))
        runs.listen(spec(job_id), Failed("storage_full", "Full."))
        await until_gone(runs, job_id)

    async def test_database_that_is_away_for_a_moment(
        self, database: Database, runs: Runs, workspace: Workspace, ada: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, tries = workspace.keep_outputs, 0

        async def away_once(*asked: Any, **more: Any) -> Any:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise DatabaseAway("away")
            return await store(*asked, **more)

        monkeypatch.setattr(workspace, "keep_outputs", away_once)
        monkeypatch.setattr("keelbill.workspace.runs.AGAIN_S", 0.01)
        job_id = await take(database, runs, new(ada))
        await hear(runs, job_id, Started("w", 1), output())
        assert len(await workspace.newest(ada, "output")) == 1
        await runs.close()

    async def test_closing(self, database: Database, runs: Runs, ada: Account) -> None:
        job_id = await take(database, runs, new(ada))
        await hear(runs, job_id, Started("w", 1))
        await runs.close()
        assert runs.live(job_id) is None


def test_nodes_that_are_still_on_their_way_are_not_executed() -> None:
    account = Account("o", "u")
    live = Live(Run("j", "p", account, 1, "", "", json.dumps(GRAPH), "{}", (), False, "open"))
    live.enter("1", "1")
    live.leave("1")
    live.enter("2", "")
    live.advance("2", 3, 0)
    assert live.executed() == ["1"]
    assert (live.current, live.nodes["2"].display, live.nodes["2"].total) == ("2", "2", 1)
