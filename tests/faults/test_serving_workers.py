"""Real worker processes that are killed, stopped and asked to hurry, behind a real gateway."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keelbill.serving.gateway import Gateway
from keelbill.serving.local import LocalPool
from keelbill.serving.member import Patience
from keelbill.serving.messages import Cancelled, Event, Failed, Progress, Retrying, Setup, Started, Succeeded
from keelbill.serving.wire import pack
from support.jobbook import MemoryBook
from support.pools import mini_pool, small_job, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and socket pairs of POSIX"),
]


class Site:
    """A gateway with real workers and a book in memory."""

    def __init__(self, pool: LocalPool) -> None:
        self.pool = pool
        self.book = MemoryBook()
        self.gateway = Gateway(pool, self.book)
        self.said: list[Event] = []

    async def watch(self, job_id: str) -> None:
        async for event in self.gateway.events(job_id):
            self.said.append(event)

    async def begun(self, attempt: int = 1, steps: int = 2) -> None:
        """Wait until some steps of a try are done."""

        def is_under_way() -> bool:
            starts = [i for i, e in enumerate(self.said) if isinstance(e, Started) and e.attempt == attempt]
            return bool(starts) and sum(isinstance(e, Progress) for e in self.said[starts[0] :]) >= steps

        await until(is_under_way)

    def worker_of(self, job_id: str) -> str:
        return next(worker.name for worker in self.pool.workers() if job_id in worker.running)

    def signal(self, worker: str, number: signal.Signals) -> int:
        pid = self.pool.pid(worker)
        assert pid is not None
        os.kill(pid, number)
        return pid


@asynccontextmanager
async def site(
    home: Path, workers: int = 2, patience: Patience | None = None, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Site]:
    made = Site(mini_pool(home, workers, patience=patience, environment=environment))
    await made.gateway.start()
    try:
        await until(lambda: all(worker.ready and worker.slots for worker in made.pool.workers()), 240)
        async with asyncio.timeout(240):
            yield made
    finally:
        await made.gateway.stop()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_worker_killed_in_the_middle(tmp_path: Path) -> None:
    async with site(tmp_path) as at:
        await at.gateway.submit(small_job(steps=20))
        watching = asyncio.create_task(at.watch("a"))
        await at.begun()
        first = at.worker_of("a")
        at.signal(first, signal.SIGKILL)
        await until(lambda: Retrying(2, "killed") in at.said)  # by its connection, not by its silence
        end = await at.gateway.result("a")
        await watching
        assert isinstance(end, Succeeded)
        assert (at.book.rows["a"].charges, at.book.rows["a"].epoch, at.book.rows["a"].attempt) == (1, 2, 2)
        starts = [event for event in at.said if isinstance(event, Started)]
        assert [start.attempt for start in starts][-1] == 2
        assert starts[-1].worker != first
        await until(lambda: all(worker.ready for worker in at.pool.workers()))


async def test_killed_again_on_the_second_try(tmp_path: Path) -> None:
    async with site(tmp_path) as at:
        await at.gateway.submit(small_job(steps=400))
        watching = asyncio.create_task(at.watch("a"))
        await at.begun()
        at.signal(at.worker_of("a"), signal.SIGKILL)
        await at.begun(attempt=2)
        at.signal(at.worker_of("a"), signal.SIGKILL)
        end = await at.gateway.result("a")
        await watching
        assert isinstance(end, Failed)
        assert end.code == "worker_lost_twice"
        assert (at.book.rows["a"].state, at.book.rows["a"].charges, at.book.rows["a"].voids) == ("failed", 0, 1)


async def test_the_neighbours_of_a_killed_job_are_made_again(tmp_path: Path) -> None:
    async with site(tmp_path, workers=1) as at:
        for name in ("a", "b", "c"):
            await at.gateway.submit(small_job(name, steps=20))
        watching = asyncio.create_task(at.watch("a"))
        await at.begun()
        at.signal("worker-0", signal.SIGKILL)
        ends = [await at.gateway.result(name) for name in ("a", "b", "c")]
        await watching
        assert all(isinstance(end, Succeeded) for end in ends)
        assert {at.book.rows[name].charges for name in ("a", "b", "c")} == {1}


async def test_a_stopped_worker_is_replaced(tmp_path: Path) -> None:
    async with site(tmp_path, patience=Patience(beat_s=2.0)) as at:
        await at.gateway.submit(small_job(steps=20))
        watching = asyncio.create_task(at.watch("a"))
        await at.begun()
        pid = at.signal(at.worker_of("a"), signal.SIGSTOP)
        await until(lambda: Retrying(2, "no heartbeat") in at.said)
        assert isinstance(await at.gateway.result("a"), Succeeded)
        await watching
        assert at.book.rows["a"].charges == 1
        assert not is_alive(pid)


SHORT = """
import keelbill.engine.batch as batch

whole, left = batch.Batch.step, [1]


def step(self):
    if len(self) > 1 and left[0]:
        left[0] -= 1
        raise MemoryError
    return whole(self)


batch.Batch.step = step
"""
"""What a worker's interpreter runs first: the first step that two pictures share finds no memory."""


async def test_a_worker_that_runs_out_of_memory_makes_its_pictures_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SHORT)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    async with site(tmp_path, workers=1, environment=environment) as at:
        first = at.pool.pid("worker-0")
        for name in ("a", "b"):
            await at.gateway.submit(small_job(name, steps=20))
        watching = asyncio.create_task(at.watch("a"))
        ends = [await at.gateway.result(name) for name in ("a", "b")]
        await watching
        assert all(isinstance(end, Succeeded) for end in ends)
        assert Retrying(1, "out of memory") in at.said
        assert {(at.book.rows[name].charges, at.book.rows[name].attempt) for name in ("a", "b")} == {(1, 1)}
        assert at.pool.pid("worker-0") == first


async def test_cancel_while_it_runs(tmp_path: Path) -> None:
    async with site(tmp_path, workers=1) as at:
        await at.gateway.submit(small_job(steps=900))
        watching = asyncio.create_task(at.watch("a"))
        await at.begun()
        assert at.gateway.cancel("a", "the user left")
        assert await at.gateway.result("a") == Cancelled("the user left")
        await watching
        assert (at.book.rows["a"].state, at.book.rows["a"].charges, at.book.rows["a"].voids) == ("cancelled", 0, 1)


async def test_a_worker_that_ignores_cancelling_is_ended(tmp_path: Path) -> None:
    async with site(tmp_path, workers=1, patience=Patience(beat_s=60, step_s=60, cancel_s=0.5)) as at:
        await at.gateway.submit(small_job(steps=900))
        watching = asyncio.create_task(at.watch("a"))
        await at.begun()
        pid = at.signal("worker-0", signal.SIGSTOP)
        at.gateway.cancel("a", "the user left")
        assert await at.gateway.result("a") == Cancelled("the user left")
        await watching
        assert at.book.rows["a"].voids == 1
        await until(lambda: not is_alive(pid))


async def test_workers_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from support.pools import Audience, mini_pool, until\n"
        "async def main():\n"
        "    pool, a = mini_pool(Path(sys.argv[1])), Audience()\n"
        "    await pool.start(a.on_event, a.on_lost, a.on_capacity)\n"
        "    sys.stdout.write(f'{pool.pid(\"worker-0\")}\\n'); sys.stdout.flush()\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    tests = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": tests},
    ) as server:
        assert server.stdout is not None
        worker = int(await asyncio.to_thread(server.stdout.readline))
        server.kill()
    await until(lambda: not is_alive(worker), 5)


async def test_workers_do_not_keep_the_listening_socket(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        async with site(tmp_path, workers=1):
            listening.close()
            with socket.create_server(("127.0.0.1", port)):
                pass  # the port is free although the worker lives


async def test_a_worker_that_cannot_start_is_not_waited_for(tmp_path: Path) -> None:
    pool = LocalPool(
        [setup for child in mini_pool(tmp_path)._children.values() for setup in [child.setup]],
        environment={"PATH": os.environ["PATH"], "PYTHONHOME": str(tmp_path)},
    )
    gateway = Gateway(pool, MemoryBook())
    async with asyncio.timeout(240):
        await gateway.start()
    assert not pool.workers()[0].ready
    await gateway.stop()


def test_a_worker_that_is_told_nonsense_ends_instead_of_looking_alive(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "keelbill.serving.child", str(theirs.fileno())]
        setup = Setup(name="w", home=str(tmp_path), blobs=str(tmp_path), model="keelbill-mini", device="cpu", threads=1)
        with subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL) as process:
            ours.sendall(pack(setup))
            ours.recv(4)  # its first sign of life
            ours.sendall(b"\x00\x00\x00\x02\xff\xff")
            try:
                assert process.wait(timeout=60) in {0, 1}
            finally:
                process.kill()
