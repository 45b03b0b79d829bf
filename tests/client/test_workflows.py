"""Workflows through the SDK, against a real server with scripted workers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import pytest

from keelbill import client as sdk
from keelbill.client import AsyncClient, Client, Picture, WorkflowPrice, WorkflowRun
from support.graphdoors import picture, text_to_image
from support.server import LiveServer

LOAD = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "none.png"}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with scripted workers."""
    server = LiveServer(tmp_path_factory.mktemp("home"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(live: LiveServer) -> Iterator[Client]:
    """A client with plenty of credits."""
    live.set_balance("1000")
    with Client(live.key, live.url, timeout_s=30) as made:
        yield made


def fresh(**more: Any) -> dict[str, Any]:
    """Return a graph that nobody has run."""
    return text_to_image(seed=time.monotonic_ns(), **more)


class TestRefused:
    def test_file_that_is_not_there(self, client: Client) -> None:
        with pytest.raises(sdk.BadRequestError, match="cannot be read"):
            client.run_workflow("nowhere.json")

    def test_object_that_is_no_json(self, client: Client) -> None:
        with pytest.raises(sdk.BadRequestError, match="cannot be written as JSON"):
            client.run_workflow({"1": object()})

    def test_name_without_a_node(self, client: Client) -> None:
        with pytest.raises(sdk.BadRequestError, match=r"must be like '6\.text'"):
            client.run_workflow(fresh(), inputs={"text": "x"})

    def test_server_says_which_node_and_why(self, client: Client) -> None:
        with pytest.raises(sdk.BadRequestError) as caught:
            client.run_workflow(fresh(steps=0))
        assert any("node 3 (KSampler)" in problem for problem in caught.value.problems)

    def test_node_that_fails(self, live: LiveServer, client: Client) -> None:
        with pytest.raises(sdk.ServerError, match=r"Node 3 \(KSampler\)"):
            client.run_workflow(text_to_image(live.FAIL))

    def test_run_that_takes_too_long(self, live: LiveServer, client: Client) -> None:
        with live.slow_workers(0.5), pytest.raises(sdk.DeadlineExceededError, match="It goes on"):
            client.run_workflow(fresh(), wait_s=0.3)


class TestRuns:
    def test_object(self, client: Client) -> None:
        statuses: list[str] = []
        run = client.run_workflow(fresh(), inputs={"6.text": "an owl"}, on_status=statuses.append)
        assert_type(run, WorkflowRun)
        assert_type(run.pictures, tuple[Picture, ...])
        (output,) = run.outputs
        assert (output.node, output.is_kept) == ("9", True)
        assert output.filename.startswith("fox_")
        assert run.pictures[0].to_pil().size == (16, 16)
        assert run.charged == run.price == Decimal("0.2")
        assert statuses[-1] == "succeeded"

    def test_file_content_and_picture(self, client: Client, tmp_path: Path) -> None:
        graph = fresh()
        path = tmp_path / "fox.json"
        path.write_text(json.dumps(graph))
        for source in (path, str(path), path.read_bytes()):
            assert len(client.run_workflow(source).pictures) == 1

    def test_picture_for_a_node(self, client: Client, tmp_path: Path) -> None:
        (tmp_path / "cat.png").write_bytes(picture(40, 24))
        run = client.run_workflow(LOAD, files={"1.image": tmp_path / "cat.png"})
        assert run.charged == 0
        assert not run.outputs[0].is_kept

    def test_same_key_is_the_same_run(self, client: Client) -> None:
        graph = fresh()
        first = client.run_workflow(graph, idempotency_key="mine")
        assert client.run_workflow(graph, idempotency_key="mine").id == first.id

    def test_price(self, client: Client) -> None:
        price = client.price_workflow(fresh(), inputs={"3.steps": 28})
        assert_type(price, WorkflowPrice)
        assert price.price == Decimal("0.9")
        assert [(each.node, each.service) for each in price.nodes] == [("3", "sd3.5-medium")]
        assert price.pictures == 1


async def test_asynchronous(live: LiveServer) -> None:
    async with AsyncClient(live.key, live.url) as client:
        assert_type(await client.price_workflow(fresh()), WorkflowPrice)
        run = await client.run_workflow(fresh())
        assert len(run.pictures) == 1
