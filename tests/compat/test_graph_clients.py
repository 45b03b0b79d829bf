"""Other people's clients of graph servers, at a port of its own: they know no mount point."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import urllib.request
import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from comfy_api_simplified import ComfyApiWrapper, ComfyWorkflowWrapper
from comfy_toolkit import ComfyClient, ComfyConnectionError, ComfySubmitError
from comfykit import ComfyKit
from comfyuiclient import ComfyUIClient, ComfyUIClientAsync
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from support.graphdoors import Client, GraphDoors, Json, ada, bob, graphs, listen, text_to_image

__all__ = ["ada", "bob", "graphs"]

SIZE = (16, 16)


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    """The usual graph in a file, with titles as clients look for them."""
    titles = {"4": "Load", "5": "Size", "6": "positive", "7": "negative", "3": "KSampler", "8": "Decode", "9": "Save"}
    graph = {name: {**node, "_meta": {"title": titles[name]}} for name, node in text_to_image().items()}
    path = tmp_path / "workflow_api.json"
    path.write_text(json.dumps(graph))
    return path


@pytest.fixture
def address(graphs: GraphDoors, ada: Client) -> str:
    """Host and port, with the key as a password."""
    return graphs.live.graph_url.replace("http://", f"user:{ada.key}@")


class TestComfyApiSimplified:
    @pytest.fixture
    def api(self, graphs: GraphDoors, ada: Client) -> Iterator[ComfyApiWrapper]:
        # Some calls of the client make an event loop of their own on this thread.
        asyncio.set_event_loop(loop := asyncio.new_event_loop())
        yield ComfyApiWrapper(graphs.live.graph_url + "/", user="user", password=ada.key)
        asyncio.set_event_loop(None)
        loop.close()

    def test_picture_that_was_saved(self, api: ComfyApiWrapper, workflow: Path) -> None:
        wrapper = ComfyWorkflowWrapper(str(workflow))
        wrapper.set_node_param("positive", "text", "a blue boat")
        results = api.queue_and_wait_images(wrapper, "Save")
        assert [Image.open(BytesIO(content)).size for content in results.values()] == [SIZE]
        assert next(iter(results)) == "fox_00001_.png"

    def test_upload_and_queue(self, api: ComfyApiWrapper, tmp_path: Path) -> None:
        Image.new("RGB", (4, 4)).save(tmp_path / "cat.png")
        assert api.upload_image(str(tmp_path / "cat.png"))["name"] == "cat.png"
        assert api.get_queue() == {"queue_running": [], "queue_pending": []}


class TestWorkflowClient:
    def test_sync(self, address: str, workflow: Path) -> None:
        client = ComfyUIClient(address, str(workflow))
        client.connect()
        client.set_data(key="KSampler", seed=5)
        pictures = client.generate(["Save"])
        client.close()
        assert [picture.size for picture in pictures.values()] == [SIZE]

    async def test_async(self, address: str, workflow: Path) -> None:
        client = ComfyUIClientAsync(address, str(workflow))
        await client.connect()
        await client.set_data(key="positive", text="a green boat")
        pictures = await client.generate(["Save"])
        await client.close()
        assert [picture.size for picture in pictures.values()] == [SIZE]


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_comfykit(address: str, workflow: Path, kind: str) -> None:
    kit = ComfyKit(comfyui_url=f"http://{address}", executor_type=kind)
    result = await kit.execute(str(workflow), {})
    assert result.status == "completed", result.msg
    assert len(result.images) == 1


class TestComfyToolkit:
    """It takes no key and calls by `urllib`, so its users give the key to that, for all requests of the program."""

    @pytest.fixture(autouse=True)
    def usual_opener(self) -> Iterator[None]:
        yield
        urllib.request.install_opener(urllib.request.build_opener())

    @staticmethod
    def use(key: str) -> None:
        opener = urllib.request.build_opener()
        opener.addheaders = [("Authorization", f"Bearer {key}")]
        urllib.request.install_opener(opener)

    def test_submit_wait_save(self, graphs: GraphDoors, ada: Client, workflow: Path, tmp_path: Path) -> None:
        self.use(ada.key)
        client = ComfyClient(graphs.live.graph_url)
        assert client.is_online()
        result = client.wait(client.submit(client.load_workflow(workflow)), poll_interval=0.05, expect="images")
        assert result["status"] == "completed"
        with Image.open(client.save(result["images"][0], tmp_path)) as saved:
            assert saved.size == SIZE
        assert client.queue_status() == {"running": 0, "pending": 0}
        assert client.vram_stats()["name"]
        client.interrupt()

    def test_graph_that_is_refused(self, graphs: GraphDoors, ada: Client) -> None:
        self.use(ada.key)
        with pytest.raises(ComfySubmitError, match="prompt_no_outputs"):
            ComfyClient(graphs.live.graph_url).submit({"4": text_to_image()["4"]})

    def test_another_account(self, graphs: GraphDoors, ada: Client, bob: Client, workflow: Path) -> None:
        self.use(ada.key)
        client = ComfyClient(graphs.live.graph_url)
        prompt_id = client.submit(client.load_workflow(workflow))
        (image,) = client.wait_for_images(prompt_id, poll_interval=0.05)
        self.use(bob.key)
        assert client.history(prompt_id) is None
        with pytest.raises(ComfyConnectionError, match="404"):
            client.download(image)

    def test_without_a_key(self, graphs: GraphDoors) -> None:
        assert not ComfyClient(graphs.live.graph_url).is_online()


class JobsClient:
    """What proxies and scripts do that use nothing but the versioned routes: submit, list, poll, fetch, cancel.

    Args:
        base: Address of the server.
        key: Sent as a bearer.
    """

    OPEN = ("pending", "in_progress")
    REQUIRED: Final[dict[str, type]] = {"id": str, "status": str, "create_time": int}

    def __init__(self, base: str, key: str) -> None:
        self.http = httpx.Client(base_url=f"{base}/api", headers={"authorization": f"Bearer {key}"}, timeout=60)

    def submit(self, graph: Json, **more: Any) -> str:
        answer = self.http.post("/prompt", json={"prompt": graph, **more})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["prompt_id"])

    def job(self, job_id: str) -> Json:
        found: Json = self.http.get(f"/jobs/{job_id}").raise_for_status().json()
        assert all(isinstance(found[name], kind) for name, kind in self.REQUIRED.items())
        return found

    def pages(self, limit: int, **asked: str) -> Iterator[Json]:
        """List everything, a page at a time."""
        offset, has_more = 0, True
        while has_more:
            page = self.http.get("/jobs", params={"limit": limit, "offset": offset, **asked}).json()
            told = page["pagination"]
            assert all(type(told[name]) is int for name in ("offset", "limit", "total"))
            assert len(page["jobs"]) <= limit
            yield from page["jobs"]
            offset, has_more = offset + limit, told["has_more"]

    def wait(self, job_id: str) -> Json:
        deadline = time.monotonic() + 60
        while (found := self.job(job_id))["status"] in self.OPEN:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return found

    def cancel(self, job_id: str) -> Json:
        answer: Json = self.http.post(f"/jobs/{job_id}/cancel").raise_for_status().json()
        return answer


class TestVersionedJobs:
    @pytest.fixture
    def client(self, graphs: GraphDoors, ada: Client) -> Iterator[JobsClient]:
        client = JobsClient(graphs.live.graph_url, ada.key)
        yield client
        client.http.close()

    def test_submit_poll_fetch(self, client: JobsClient) -> None:
        done = client.wait(client.submit(text_to_image("a boat", seed=21)))
        assert done["status"] == "completed"
        assert done["create_time"] <= done["execution_start_time"] <= done["execution_end_time"]
        place = {name: done["preview_output"][name] for name in ("filename", "subfolder", "type")}
        assert done["outputs"][done["preview_output"]["nodeId"]]["images"] == [place]
        assert Image.open(BytesIO(client.http.get("/view", params=place).content)).size == SIZE

    def test_graph_of_a_job_runs_again(self, client: JobsClient) -> None:
        first = client.wait(client.submit(text_to_image("a kite", seed=22)))
        again = client.wait(client.submit(first["workflow"]["prompt"], extra_data=first["workflow"]["extra_data"]))
        assert (again["status"], again["outputs_count"]) == ("completed", 1)

    def test_pages_and_order(self, client: JobsClient) -> None:
        ids = [client.submit(text_to_image(seed=30 + place)) for place in range(5)]
        for job_id in ids:
            client.wait(job_id)
        oldest_first = [job["id"] for job in client.pages(2, status="completed", sort_order="asc")]
        assert oldest_first == ids
        assert [job["id"] for job in client.pages(2)] == ids[::-1]
        assert list(client.pages(2, status="pending,in_progress")) == []
        assert len(list(client.pages(3, sort_by="execution_duration"))) == 5

    def test_cancelled_is_not_failed(self, graphs: GraphDoors, client: JobsClient) -> None:
        with graphs.live.slow_workers(0.2):
            job_id = client.submit(text_to_image(seed=41, steps=50))
            assert client.cancel(job_id) == {"id": job_id, "cancelled": True}
            assert client.wait(job_id)["status"] == "cancelled"
        assert client.cancel(job_id)["cancelled"] is False
        assert list(client.pages(5, status="failed")) == []

    def test_failure_says_which_node(self, graphs: GraphDoors, client: JobsClient) -> None:
        failed = client.wait(client.submit(text_to_image(graphs.live.FAIL)))
        assert failed["status"] == "failed"
        error = failed["execution_error"]
        assert (error["node_id"], error["node_type"], error["traceback"]) == ("3", "KSampler", [])

    def test_jobs_of_others(self, graphs: GraphDoors, client: JobsClient, bob: Client) -> None:
        job_id = client.submit(text_to_image(seed=51))
        client.wait(job_id)
        stranger = JobsClient(graphs.live.graph_url, bob.key)
        assert stranger.http.get(f"/jobs/{job_id}").status_code == 404
        assert stranger.http.post(f"/jobs/{job_id}/cancel").status_code == 404
        assert stranger.http.post("/jobs/cancel", json={"job_ids": [job_id]}).json() == {"cancelled": []}
        assert list(stranger.pages(5)) == []
        stranger.http.close()


def test_password_in_the_address_of_the_socket(graphs: GraphDoors, ada: Client, bob: Client) -> None:
    """As in ``ws://user:key@host``; the calls beside it use basic authentication too. Nobody else hears of it."""
    base, client_id = graphs.live.graph_url, str(uuid.uuid4())
    basic = {"authorization": "Basic " + base64.b64encode(f"user:{ada.key}".encode()).decode()}

    def socket_of(key: str) -> ClientConnection:
        return connect(f"{base.replace('http://', f'ws://user:{key}@')}/ws?clientId={client_id}", proxy=None)

    with socket_of(ada.key) as hers, socket_of(bob.key) as his, httpx.Client(base_url=base, headers=basic) as http:
        listen(his, until="status")
        graph = {"prompt": text_to_image("a lighthouse", seed=11), "client_id": client_id}
        prompt_id = http.post("/prompt", json=graph).json()["prompt_id"]
        listen(hers)
        (file,) = http.get(f"/history/{prompt_id}").json()[prompt_id]["outputs"]["9"]["images"]
        assert Image.open(BytesIO(http.get("/view", params=file).content)).size == SIZE
        with pytest.raises(TimeoutError):
            his.recv(timeout=0.3)
    assert bob.get(f"/history/{prompt_id}").json() == {}
    assert bob.get("/view", params=file).status_code == 404


def test_calls_with_a_key_and_nothing_but_the_standard_library(graphs: GraphDoors, ada: Client) -> None:
    """Socket first, then the graph, then the history, as the usual script has it."""
    base, client_id = graphs.live.graph_url, str(uuid.uuid4())

    def call(path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(base + path, data, {"authorization": f"Bearer {ada.key}"})  # noqa: S310
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return bytes(answer.read())

    headers = {"authorization": f"Bearer {ada.key}"}
    url = f"{base.replace('http', 'ws')}/ws?clientId={client_id}"
    with connect(url, additional_headers=headers, proxy=None) as socket:
        prompt_id = json.loads(call("/prompt", {"prompt": text_to_image(), "client_id": client_id}))["prompt_id"]
        listen(socket)
    (output,) = json.loads(call(f"/history/{prompt_id}"))[prompt_id]["outputs"].values()
    (file,) = output["images"]
    content = call(f"/view?filename={file['filename']}&subfolder={file['subfolder']}&type={file['type']}")
    assert Image.open(BytesIO(content)).size == SIZE
