"""The graph editor's front door as clients see it: accounts, graphs, sockets that note what they hear."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from keelbill.core.principal import DEFAULT_SCOPES, Scope
from keelbill.core.types import Micro, micro
from keelbill.identity.schemas import KeyOptions
from support.server import LiveServer

FLAGS = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
TERMINAL = ("execution_success", "execution_error", "execution_interrupted")

Json = dict[str, Any]


@dataclass
class Frames:
    """What a socket heard.

    Attributes:
        texts: Frames of text, in order.
        pictures: Binary frames, in order.
    """

    texts: list[Json] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)

    def kinds(self) -> list[str]:
        """Return the types of the frames of text."""
        return [str(frame["type"]) for frame in self.texts]

    def of(self, kind: str) -> list[Json]:
        """Return the data of the frames of one type."""
        return [frame["data"] for frame in self.texts if frame["type"] == kind]


class Client:
    """One account at the door.

    Args:
        live: The server.
        key: Of the account.
    """

    def __init__(self, live: LiveServer, key: str) -> None:
        self.live = live
        self.key = key
        self.http = httpx.Client(
            base_url=f"{live.url}/comfy", headers={"authorization": f"Bearer {key}"}, timeout=60, follow_redirects=False
        )

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Ask."""
        return self.http.get(path, **more)

    def post(self, path: str, body: object = None, **more: Any) -> httpx.Response:
        """Send JSON."""
        return self.http.post(path, json=body, **more)

    @contextmanager
    def socket(self, client_id: str = "c1", *, flags: bool = False, **more: Any) -> Iterator[ClientConnection]:
        """Open a socket."""
        url = f"{self.live.url.replace('http', 'ws')}/comfy/ws?clientId={client_id}"
        headers = {"authorization": f"Bearer {self.key}"}
        with connect(url, additional_headers=headers, max_size=None, proxy=None, **more) as opened:
            if flags:
                opened.send(json.dumps(FLAGS))
            yield opened

    def submit(self, graph: Json, **more: Any) -> str:
        """Submit a graph and return its prompt id."""
        answer = self.post("/prompt", {"prompt": graph, **more})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["prompt_id"])

    def ended(self, prompt_id: str, timeout_s: float = 60) -> Json:
        """Wait until a run is in the history and return its entry."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = self.get(f"/history/{prompt_id}").json()
            if found:
                return dict(found[prompt_id])
            time.sleep(0.02)
        raise TimeoutError(f"{prompt_id} did not end")

    def run(self, graph: Json, **more: Any) -> Json:
        """Submit a graph and return its entry of the history."""
        return self.ended(self.submit(graph, **more))

    def upload(self, name: str, content: bytes, **fields: str) -> httpx.Response:
        """Upload a picture."""
        return self.http.post("/upload/image", files={"image": (name, content)}, data=fields)

    def close(self) -> None:
        """Close the connection."""
        self.http.close()


class GraphDoors:
    """A live server and accounts at its graph door."""

    def __init__(self, live: LiveServer) -> None:
        self.live = live
        self._clients: list[Client] = []

    def account(self, funds: str = "1000", *without: Scope) -> Client:
        """Open an account and return a client with its key, which has every usual scope but some."""
        platform = self.live.platform
        scopes = frozenset(DEFAULT_SCOPES.difference(without))

        def make(connection: Any) -> str:
            made = platform.accounts.add_person(connection, name="somebody")
            assert made is not None
            user_id, org_id = made
            difference = Micro(micro(funds) - platform.ledger.balance(connection, org_id).available)
            if difference:
                platform.ledger.adjust(connection, org_id, difference, "tests", "for the test")
            return platform.keys.make(connection, org_id, user_id, KeyOptions(name="k", scopes=scopes))[1]

        client = Client(self.live, self.live.write(make))
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close all clients."""
        for client in self._clients:
            client.close()


def listen(socket: ClientConnection, *, until: str = "", timeout_s: float = 60) -> Frames:
    """Hear frames until a run has ended, as clients know it: ``executing`` without a node.

    Args:
        socket: That hears.
        until: Another type of frame to end with.
        timeout_s: Longest wait.
    """
    heard = Frames()
    deadline = time.monotonic() + timeout_s
    while True:
        frame = socket.recv(timeout=max(deadline - time.monotonic(), 0.01))
        if isinstance(frame, bytes):
            heard.pictures.append(frame)
            continue
        said = json.loads(frame)
        heard.texts.append(said)
        is_end = said["type"] == "executing" and said["data"]["node"] is None
        if said["type"] == until or (not until and is_end):
            return heard


def text_to_image(prompt: str = "a red fox", seed: int = 7, **more: Any) -> Json:
    """Return the usual graph in the API format."""
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "keelbill-mini.safetensors"}},
        "5": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt, "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": more.pop("negative", ""), "clip": ["4", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": seed,
                "steps": more.pop("steps", 4),
                "cfg": 4.0,
                "sampler_name": "euler",
                "scheduler": "sgm_uniform",
                "denoise": 1.0,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {
            "class_type": more.pop("output", "SaveImage"),
            "inputs": {"images": ["8", 0], **({"filename_prefix": "fox"} | more)},
        },
    }


def picture(width: int = 8, height: int = 8, colour: Any = (200, 30, 30), kind: str = "PNG", **more: Any) -> bytes:
    """Return a file of one colour."""
    out = BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", (width, height), colour).save(out, kind, **more)
    return out.getvalue()


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphDoors]:
    """A server for the tests of one module; each opens accounts of its own."""
    live = LiveServer(tmp_path_factory.mktemp("home"))
    live.start()
    opened = GraphDoors(live)
    yield opened
    opened.close()
    live.stop()


@pytest.fixture
def ada(graphs: GraphDoors) -> Client:
    """Somebody."""
    return graphs.account()


@pytest.fixture
def bob(graphs: GraphDoors) -> Client:
    """Somebody else."""
    return graphs.account()
