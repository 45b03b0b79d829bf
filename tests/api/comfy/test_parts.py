"""Parts of the graph door by themselves: what waits for slow clients, chunks of pictures, the page's package."""

from __future__ import annotations

import asyncio
import json
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from websockets.sync.client import connect

from keelbill.api.comfy import outbox as outboxes
from keelbill.api.comfy.chunks import texts_of, with_texts
from keelbill.api.comfy.frontend import TESTED, Bundle, find_bundle, hash_of, problem_of
from keelbill.api.comfy.models import FRESH_S
from keelbill.api.comfy.outbox import Outbox, Overfull
from keelbill.api.comfy.secrets import clean_file, drawn_keys, typed_keys, without_secrets
from keelbill.graph.drawing import to_workflow
from keelbill.graph.registry import load_builtin
from support.browser import Browser, add_person, browser
from support.graphdoors import Client, GraphDoors, listen, picture, text_to_image


class TestOutbox:
    async def taken(self, outbox: Outbox) -> list[Any]:
        return [await outbox.take() for _ in range(len(outbox))]

    async def test_only_the_latest_progress_is_kept_and_nothing_else_is_lost(self) -> None:
        outbox = Outbox()
        for step in range(3):
            outbox.put(f"progress {step}", instead_of="progress")
            outbox.put(f"life {step}")
        assert await self.taken(outbox) == ["life 0", "life 1", "progress 2", "life 2"]
        assert outbox.waiting_bytes == 0

    async def test_previews_wait_for_nobody(self) -> None:
        outbox = Outbox()
        outbox.put(b"x" * outboxes.MAX_DROPPABLE_BYTES)
        outbox.put(b"preview", droppable=True)
        assert (len(outbox), outbox.dropped) == (1, 1)

    async def test_client_that_reads_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outboxes, "MAX_WAITING_FRAMES", 10)
        outbox = Outbox()
        for number in range(12):
            outbox.put(str(number))
        assert len(outbox) == 0
        with pytest.raises(Overfull):
            await outbox.take()

    async def test_waiting_for_a_frame(self) -> None:
        outbox = Outbox()
        waiting = asyncio.create_task(outbox.take())
        await asyncio.sleep(0)
        outbox.put("frame")
        assert await waiting == "frame"


class TestChunks:
    def test_texts_move_from_one_picture_to_another(self) -> None:
        info = PngInfo()
        info.add_text("workflow", "{}")
        info.add_itxt("prompt", "ü", zip=True)
        info.add_text("other", "x")
        found = texts_of(picture(pnginfo=info), ("workflow", "prompt"))
        moved = Image.open(BytesIO(with_texts(picture(4, 4), found)))
        moved.load()
        assert moved.info == {"workflow": "{}", "prompt": "ü"}
        assert with_texts(picture(4, 4), []) == picture(4, 4)

    @given(st.binary(max_size=200), st.integers(0, 60))
    def test_damaged_files_have_none_or_whole_ones(self, noise: bytes, place: int) -> None:
        info = PngInfo()
        info.add_text("workflow", "{}")
        png = picture(pnginfo=info)
        damaged = png[:place] + noise + png[place + len(noise) :]
        for chunk in texts_of(damaged, ("workflow",)):
            assert chunk in damaged
            assert chunk[4:8] == b"tEXt"


def test_secrets_are_found_by_name_and_by_value() -> None:
    prompt = {"1": {"inputs": {"api_key_override": " sk-1 ", "text": "sk-1"}}, "2": {"inputs": 7}, "3": 8}
    keys = typed_keys(prompt)
    assert keys == ["sk-1"]
    assert without_secrets(prompt, keys)["1"]["inputs"] == {"api_key_override": "", "text": ""}
    assert without_secrets({"api_key_comfy_org": "x", "a": [{"auth_token_comfy_org": 1, "b": 2}]}, []) == {
        "a": [{"b": 2}]
    }


def test_keys_that_other_nodes_hand_on() -> None:
    key = "sk-" + "a1" * 24
    prompt = {
        "1": {"inputs": {"api_key_override": ["2", 0]}},
        "2": {"inputs": {"value": "hunter2"}},
        "3": {"inputs": {"text": f" {key}"}},
        "4": {"inputs": {"api_key_override": ["9", 0], "text": f"my key is {key}"}},
        "5": {"inputs": {"api_key_override": []}},
    }
    assert typed_keys(prompt) == ["hunter2", key]
    told = str(without_secrets({name: prompt[name] for name in ("1", "2", "3")}, typed_keys(prompt)))
    assert "hunter2" not in told
    assert key not in told


class TestFilesOfTheEditor:
    KEY = "sk-" + "Zz9" * 16

    def workflow(self, key: str) -> dict[str, Any]:
        graph = {"1": {"class_type": "Stability Image Core", "inputs": {"prompt": "a", "api_key_override": key}}}
        return to_workflow(graph, load_builtin())

    def test_typed_key_is_blanked_and_nothing_else(self) -> None:
        kept = json.loads(clean_file(json.dumps(self.workflow("hunter2")).encode(), load_builtin()))
        assert kept | {"id": ""} == self.workflow("") | {"id": ""}

    def test_fields_of_a_subgraph_shown_outside(self) -> None:
        workflow = {"nodes": [{"type": "0a1b", "widgets_values": [self.KEY]}], "definitions": {"subgraphs": []}}
        assert self.KEY.encode() not in clean_file(json.dumps(workflow).encode(), load_builtin())

    @pytest.mark.parametrize("content", [b'{ "a":  [1.50, "sk-short"] }', b"no JSON", b"\xff\xfe", b""])
    def test_files_without_keys_stay_as_they_are(self, content: bytes) -> None:
        assert clean_file(content, load_builtin()) == content

    def test_saved_over_the_route(self, ada: Client) -> None:
        content = json.dumps(self.workflow(self.KEY) | {"extra": {"ö": 1}}).encode()
        assert ada.http.post("/api/userdata/workflows%2Fkeyed.json", content=content).status_code == 200
        back = ada.get("/userdata/workflows%2Fkeyed.json")
        assert self.KEY not in back.text
        assert back.json()["extra"] == {"ö": 1}
        assert back.json()["nodes"][0]["type"] == "Stability Image Core"

    def test_nested_too_deeply(self, ada: Client) -> None:
        deep = b"[" * 500 + b"]" * 500
        assert ada.http.post("/userdata/workflows%2Fdeep.json", content=deep).status_code == 400


def test_keys_are_found_in_drawn_workflows_too() -> None:
    graph = {"1": {"class_type": "Stability Image Core", "inputs": {"prompt": "a", "api_key_override": "sk-1"}}}
    workflow = to_workflow(graph, load_builtin())
    workflow["nodes"][0]["mode"] = 4
    extra = {"extra_pnginfo": {"workflow": {"nodes": [], "definitions": {"subgraphs": [workflow]}}}}
    keys = drawn_keys(extra, load_builtin())
    assert keys == ["sk-1"]
    assert "sk-1" not in str(without_secrets(extra, keys))
    workflow["nodes"][0]["widgets_values"] = []
    assert drawn_keys(extra, load_builtin()) == []
    assert drawn_keys({"type": ["x"], "widgets_values": ["png"]}, load_builtin()) == []


class TestBundle:
    @pytest.fixture
    def bundle(self, tmp_path: Path) -> Bundle:
        (tmp_path / "index.html").write_text("page")
        return Bundle("1.2.3", tmp_path, frozenset({"index.html"}))

    def test_the_installed_one(self) -> None:
        found = find_bundle()
        assert found.version in TESTED
        assert problem_of(found) == ""
        assert not any(name.endswith(".map") for name in found.files)

    def test_changed_files(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(TESTED, "1.2.3", hash_of(bundle))
        assert problem_of(bundle) == ""
        (bundle.root / "index.html").write_text("another page")
        assert "published" in problem_of(bundle)

    def test_untested_version(self, bundle: Bundle) -> None:
        assert "1.2.3 is installed" in problem_of(bundle)

    def test_absence_is_explained(self, graphs: GraphDoors, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keelbill.api.comfy.frontend.PACKAGE", "no-such-package")
        assert problem_of(find_bundle()) == "It is not installed."


class TestOwnPort:
    def test_all_of_it_is_at_the_root(self, graphs: GraphDoors, ada: Client) -> None:
        headers = {"authorization": f"Bearer {ada.key}"}
        with httpx.Client(base_url=graphs.live.graph_url, headers=headers) as client:
            assert client.get("/users").json()["storage"] == "server"
            assert client.get("/api/users").json()["storage"] == "server"
            client.post("/userdata/a%2Fb.json", content=b"1")
            assert client.get("/api/userdata/a%2Fb.json").text == "1"
            assert client.get("/?x=1").headers["content-type"].startswith("text/html")
            assert client.get("/v2beta/engines").status_code == 404
            assert client.get("/nonsense").json()["error"]["type"] == "not_found"
        url = graphs.live.graph_url.replace("http", "ws") + "/ws?clientId=own"
        with connect(url, additional_headers=headers, proxy=None) as socket:
            ada.submit(text_to_image(), client_id="own")
            assert listen(socket).of("execution_success")

    def test_strangers_sign_in_at_the_main_port(self, graphs: GraphDoors) -> None:
        answer = httpx.get(graphs.live.graph_url + "/")
        base = graphs.live.platform.accounts.rules.base_url
        assert answer.headers["location"] == f"{base}/sign-in?next=%2Fcomfy%2F"

    def test_pages_of_this_port_may_write(self, graphs: GraphDoors) -> None:
        with browser(graphs.live) as person:
            add_person(graphs.live, "own-port@example.org")
            assert person.sign_in("own-port@example.org").status_code == 200
            assert self.write(person, graphs.live.graph_url) == 200
            assert self.write(person, "https://evil.example") == 403

    def write(self, person: Browser, origin: str) -> int:
        """Write at the editor's port as a page of some origin would."""
        url = f"{person.server.graph_url}/api/settings"
        return person.client.post(url, json={"a": 1}, headers={"origin": origin}).status_code


class TestSmallRoutes:
    def test_machine(self, ada: Client) -> None:
        found = ada.get("/system_stats").json()
        assert "--disable-api-nodes" in found["system"]["argv"]
        assert found["system"]["required_frontend_version"] in TESTED
        assert found["devices"][0]["name"] == "script"
        assert all(isinstance(found["devices"][0][name], int) for name in ("vram_total", "vram_free", "index"))

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("/extensions", ["/extensions/keelbill/main.js"]),
            ("/i18n", {}),
            ("/global_subgraphs", {}),
            ("/workflow_templates", {}),
            ("/object_info/Nonsense", {}),
            ("/embeddings", []),
            ("/users", {"storage": "server", "migrated": True}),
        ],
    )
    def test_empty_ones(self, ada: Client, path: str, expected: object) -> None:
        assert ada.get(path).json() == expected
        assert ada.get(f"/api{path}").json() == expected

    def test_models(self, ada: Client) -> None:
        assert "checkpoints" in ada.get("/models").json()
        assert "keelbill-mini.safetensors" in ada.get("/models/checkpoints").json()
        assert ada.get("/models/nonsense").status_code == 404
        assert {"name": "loras", "folders": ["loras"]} in ada.get("/experiment/models").json()
        facts = ada.get("/experiment/models/checkpoints").json()
        assert facts[0].keys() == {"name", "pathIndex", "modified", "created", "size"}
        assert ada.get("/experiment/models/preview/checkpoints/0/x.safetensors").status_code == 404

    def test_what_a_model_says_of_itself(self, graphs: GraphDoors, ada: Client) -> None:
        folder = graphs.live.settings.models_folder / "vae"
        folder.mkdir(parents=True)
        header = json.dumps({"__metadata__": {"author": "somebody"}}).encode()
        (folder / "my.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        (folder / "short.safetensors").write_bytes(b"\xff" * 9)
        time.sleep(FRESH_S + 0.2)
        assert ada.get("/view_metadata/vae?filename=my.safetensors").json() == {"author": "somebody"}
        assert ada.get("/view_metadata/vae?filename=short.safetensors").status_code == 404
        assert ada.get("/view_metadata/vae?filename=../my.safetensors").status_code == 404
        assert ada.get("/view_metadata/nonsense?filename=x").status_code == 404

    def test_definitions(self, ada: Client) -> None:
        found = ada.get("/api/object_info").json()
        assert len(found) > 80
        assert not any(node["api_node"] for node in found.values())
        assert found["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0][0].endswith(".safetensors")
        assert ada.get("/object_info/KSampler").json() == {"KSampler": found["KSampler"]}

    def test_what_only_operators_see(self, ada: Client) -> None:
        assert ada.get("/internal/logs/raw").status_code == 403
        assert ada.get("/internal/folder_paths").status_code == 403
        assert ada.post("/free", {"unload_models": True}).content == b""
