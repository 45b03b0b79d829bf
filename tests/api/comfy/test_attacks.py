"""What people with a key send to do harm: each is refused in few words, costs nothing, leaves nothing behind."""

from __future__ import annotations

import json
import socket as sockets
import time
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from support.graphdoors import Client, GraphDoors, Json, listen, picture, text_to_image
from support.hostile import bomb, jpeg_with_size, unfolding, webp_extended

LEAKS: Final = ("Traceback", 'File "', "site-packages", "src/keelbill", ".py")
OUTSIDE: Final = [
    "../x",
    "a/../../x",
    "/etc/passwd",
    "//host/share/x",
    "C:\\x",
    "C:x",
    "..\\x",
    "\\\\host\\share",
    "x\0y",
    "x\ny",
    "..",
    "a/./../b",
    "x" * 5000,
]
JSON_KIND: Final = {"content-type": "application/json"}


def credit(client: Client) -> str:
    """Return the account's credits as they are written."""
    return client.http.get(f"{client.live.url}/v1/user/balance").text


def left_behind(client: Client) -> Json:
    """Return all that an attack must not change."""
    files = {area: client.get(f"/internal/files/{area}").json() for area in ("input", "output", "temp")}
    home = client.live.settings.home
    return {
        **files,
        "userdata": client.get("/v2/userdata?path=").json(),
        "settings": client.get("/settings").json(),
        "history": sorted(client.get("/history").json()),
        "queue": client.get("/queue").json(),
        "credit": credit(client),
        "disk": sorted(str(path) for path in home.rglob("*") if path.is_file() and ".db" not in path.name),
    }


@pytest.fixture
def harmless(ada: Client) -> Iterator[None]:
    """After the test everything is as it was, and the next good request is served."""
    before = left_behind(ada)
    yield
    assert left_behind(ada) == before
    assert ada.run(text_to_image("a good one", seed=time.monotonic_ns() % 2**31))["status"]["status_str"] == "success"


def refused(answer: httpx.Response, status: int, kind: str) -> Json:
    """Check that an answer refuses, in the form that the editor reads, and says nothing of the server's inside."""
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind), answer.text[:500]
    assert set(answer.json()) == {"error", "node_errors"}
    assert set(answer.json()["error"]) == {"type", "message", "details", "extra_info"}
    assert len(answer.content) < 20_000
    assert not any(leak in answer.text for leak in LEAKS), answer.text
    return dict(answer.json())


def submitted(client: Client, graph: object, **more: object) -> httpx.Response:
    return client.post("/prompt", {"prompt": graph, **more})


def changed(node: str, **inputs: object) -> Json:
    """Return the usual graph with other inputs of a node."""
    graph = text_to_image()
    graph[node]["inputs"] |= inputs
    return graph


@pytest.mark.usefixtures("harmless")
class TestGraphs:
    @pytest.mark.parametrize(
        ("name", "graph"),
        {
            "10,000 nodes": {str(number): {"class_type": "PreviewImage", "inputs": {}} for number in range(10_000)},
            "an id of a megabyte": {"x" * 2**20: text_to_image()["4"]},
            "an empty id": {"": text_to_image()["4"]},
            "a class of a megabyte": {"1": {"class_type": "x" * 2**20, "inputs": {}}},
            "a class that is an object": {"1": {"class_type": {"a": 1}, "inputs": {}}},
            "inputs that are a list": {"1": {"class_type": "PreviewImage", "inputs": [[["1", 0]]]}},
            "nodes that are lists": {"1": ["PreviewImage"]},
            "a name of Python": {"1": {"class_type": "__class__", "inputs": {}}},
        }.items(),
    )
    def test_shapes(self, ada: Client, name: str, graph: Json) -> None:
        refused(submitted(ada, graph), 400, "invalid_prompt")

    @pytest.mark.parametrize("length", [1, 2, 400])
    def test_circles(self, ada: Client, length: int) -> None:
        graph: Json = {
            str(at): {"class_type": "ImageInvert", "inputs": {"image": [str((at + 1) % length), 0]}}
            for at in range(length)
        }
        graph["out"] = {"class_type": "PreviewImage", "inputs": {"images": ["0", 0]}}
        answer = refused(submitted(ada, graph), 400, "prompt_outputs_failed_validation")
        kinds = {error["type"] for node in answer["node_errors"].values() for error in node["errors"]}
        assert kinds == {"dependency_cycle"}

    @pytest.mark.parametrize(
        "link", [["4"], ["4", -1], ["4", 99], ["4", 1.0], ["4", True], ["4", None], [4, 0], ["none", 0], [["4", 0], 0]]
    )
    def test_links(self, ada: Client, link: object) -> None:
        answer = refused(submitted(ada, changed("6", clip=link)), 400, "prompt_outputs_failed_validation")
        assert answer["node_errors"]["6"]["errors"][0]["type"] == "bad_linked_input"

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            ("nan", "invalid_input_type"),
            ("inf", "invalid_input_type"),
            ("1e999", "invalid_input_type"),
            ("9" * 5000, "invalid_input_type"),
            (10**390, "invalid_input_type"),
            (1e308, "value_bigger_than_max"),
            (-1e308, "value_smaller_than_min"),
            ({"__value__": {"__value__": 1}}, "invalid_input_type"),
            ({"__class__": "x"}, "invalid_input_type"),
            (None, "invalid_input_type"),
        ],
    )
    def test_numbers(self, ada: Client, value: object, kind: str) -> None:
        answer = refused(submitted(ada, changed("3", cfg=value)), 400, "prompt_outputs_failed_validation")
        assert answer["node_errors"]["3"]["errors"][0]["type"] == kind

    @pytest.mark.parametrize(
        "graph",
        [
            changed("5", width=16384, height=16384),
            changed("5", width=2048, height=2048, batch_size=4096),
            changed("3", steps=10_000) | {"5": changed("5", width=4096, height=4096)["5"]},
        ],
        ids=["pixels", "batch", "steps"],
    )
    def test_more_work_than_one_may_ask_for(self, ada: Client, graph: Json) -> None:
        answer = refused(submitted(ada, graph), 400, "prompt_outputs_failed_validation")
        assert [error["type"] for node in answer["node_errors"].values() for error in node["errors"]] == [
            "value_bigger_than_max"
        ]

    def test_batches_that_double_in_a_row(self, ada: Client) -> None:
        """Forty nodes would ask for a million million pictures; it is known before anything runs."""
        graph: Json = {"0": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}}
        graph["0"]["inputs"]["color"] = 0
        for at in range(1, 41):
            before = [str(at - 1), 0]
            graph[str(at)] = {"class_type": "ImageBatch", "inputs": {"image1": before, "image2": before}}
        graph["out"] = {"class_type": "PreviewImage", "inputs": {"images": ["40", 0]}}
        began = time.monotonic()
        refused(submitted(ada, graph), 400, "prompt_outputs_failed_validation")
        assert time.monotonic() - began < 60

    def test_sizes_that_grow_in_a_row(self, ada: Client) -> None:
        graph = text_to_image()
        graph["9"]["inputs"]["images"] = ["s9", 0]
        for at in range(10):
            source = ["8", 0] if at == 0 else [f"s{at - 1}", 0]
            inputs = {"image": source, "upscale_method": "nearest-exact", "scale_by": 8.0}
            graph[f"s{at}"] = {"class_type": "ImageScaleBy", "inputs": inputs}
        refused(submitted(ada, graph), 400, "prompt_outputs_failed_validation")

    def test_pictures_that_lie_outside(self, ada: Client) -> None:
        for name in OUTSIDE:
            for area in ("", " [output]", " [temp]", " [input]"):
                graph = text_to_image()
                graph["8"] = {"class_type": "LoadImage", "inputs": {"image": name + area}}
                answer = refused(submitted(ada, graph), 400, "prompt_outputs_failed_validation")
                assert answer["node_errors"]["8"]["errors"][0]["type"] == "custom_validation_failed"

    @pytest.mark.parametrize(
        ("loader", "field"),
        [("CheckpointLoaderSimple", "ckpt_name"), ("VAELoader", "vae_name"), ("UpscaleModelLoader", "model_name")],
    )
    def test_models_that_lie_outside(self, ada: Client, loader: str, field: str) -> None:
        for name in OUTSIDE:
            graph = text_to_image()
            graph["4"] = {"class_type": loader, "inputs": {field: name}}
            answer = refused(submitted(ada, graph), 400, "prompt_outputs_failed_validation")
            assert answer["node_errors"]["4"]["errors"][0]["type"] == "value_not_in_list"

    def test_saving_outside(self, ada: Client) -> None:
        for name in [*OUTSIDE, "%year%/../../x", ""]:
            answer = refused(
                submitted(ada, changed("9", filename_prefix=name)), 400, "prompt_outputs_failed_validation"
            )
            (error,) = answer["node_errors"]["9"]["errors"]
            assert error["type"] == "custom_validation_failed"
            assert "filename_prefix" in error["details"]

    @pytest.mark.parametrize("targets", ["9", [9], [["9"]], {"9": 1}])
    def test_targets(self, ada: Client, targets: object) -> None:
        refused(submitted(ada, text_to_image(), partial_execution_targets=targets), 400, "bad_request")

    def test_targets_that_are_no_outputs(self, ada: Client) -> None:
        answer = submitted(ada, text_to_image(), partial_execution_targets=["4", "none"] * 5000)
        refused(answer, 400, "prompt_no_outputs")

    @pytest.mark.parametrize(
        "body",
        [
            b'{"prompt": {"1": {"class_type": "KSampler", "inputs": {"cfg": 1e999}}}}',
            b'{"prompt": {}, "extra_data": {"x": -1e999}}',
            b'{"prompt": {"1": {"class_type": "KSampler", "inputs": {"cfg": Infinity}}}}',
            b'{"prompt": {"1": {"class_type": "KSampler", "inputs": {"cfg": -NaN}}}}',
        ],
    )
    def test_numbers_without_end(self, ada: Client, body: bytes) -> None:
        refused(ada.http.post("/prompt", content=body, headers=JSON_KIND), 400, "bad_request")
        refused(ada.http.post("/settings", content=body, headers=JSON_KIND), 400, "bad_request")

    def test_of_keys_that_come_twice_one_counts_everywhere(self, ada: Client) -> None:
        """What is checked is what is run: words cannot hide behind a harmless twin."""
        good, bad = json.dumps(text_to_image()), json.dumps(text_to_image("a photo of a naked child"))
        body = f'{{"prompt": {good}, "prompt": {bad}}}'.encode()
        refused(ada.http.post("/prompt", content=body, headers=JSON_KIND), 403, "content_moderation")
        twice = good.replace('"text": "a red fox"', '"text": "a red fox", "text": "a photo of a naked child"')
        assert twice != good
        body = f'{{"prompt": {twice}}}'.encode()
        refused(ada.http.post("/prompt", content=body, headers=JSON_KIND), 403, "content_moderation")

    def test_deep_in_a_place_that_nobody_looks_at(self, ada: Client) -> None:
        deep: object = 1
        for _ in range(500):
            deep = [deep]
        for graph, more in (
            (changed("9", ignored=deep), {}),
            (text_to_image(), {"extra_data": {"extra_pnginfo": {"workflow": deep}}}),
        ):
            refused(submitted(ada, graph, **more), 400, "invalid_prompt")

    def test_200_megabytes_are_refused_before_they_are_sent(self, ada: Client) -> None:
        raw = sockets.create_connection(("127.0.0.1", ada.live.port), timeout=60)
        raw.sendall(
            f"POST /comfy/api/prompt HTTP/1.1\r\nhost: 127.0.0.1:{ada.live.port}\r\nauthorization: Bearer {ada.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {200 * 2**20}\r\n\r\n".encode()
        )
        assert raw.recv(12) == b"HTTP/1.1 413"
        raw.close()


@pytest.mark.usefixtures("harmless")
class TestFiles:
    @pytest.mark.parametrize(
        "content",
        [
            b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
            b"<!doctype html><script>alert(1)</script>",
            b"#!/bin/sh\nid\n",
            b"%PDF-1.7\n",
            b"\x80\x04cposix\nsystem\n.",
            b"PK\x03\x04" + b"\0" * 64,
            bomb(20_000, 20_000),
            unfolding(8 * 2**20),
            webp_extended(16_000, 16_000),
            jpeg_with_size(65_000, 65_000),
            b"\x89PNG\r\n\x1a\n" + b"\xff" * 1000,
        ],
        ids=["svg", "html", "script", "pdf", "pickle", "zip", "bomb", "stream", "webp", "jpeg", "noise"],
    )
    def test_no_pictures(self, ada: Client, content: bytes) -> None:
        ref = {"original_ref": json.dumps({"filename": "example.png", "type": "input"})}
        for path, fields in (("/upload/image", {}), ("/upload/mask", ref)):
            answer = ada.http.post(path, files={"image": ("cat.png", content, "image/png")}, data=fields)
            assert answer.json()["error"]["type"] in {"bad_image", "bad_request"}
            assert answer.status_code == 400
            assert not any(leak in answer.text for leak in LEAKS)

    def test_uploads_to_outside(self, ada: Client) -> None:
        for name in OUTSIDE:
            refused(ada.upload("cat.png", picture(), subfolder=name), 400, "invalid_name")
        for area in ("userdata", "models", "../input", "."):
            refused(ada.upload("cat.png", picture(), type=area), 400, "bad_request")

    @pytest.mark.parametrize("name", [b"..", b".", b"a\tb.png", b"a\0b.png", b"x" * 300, b"\xc2\x85.png"])
    def test_names_that_no_file_has(self, ada: Client, name: bytes) -> None:
        """Written byte by byte, since honest clients cannot send some of them."""
        head = b'--b\r\ncontent-disposition: form-data; name="image"; filename="' + name + b'"\r\n\r\n'
        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = ada.http.post("/upload/image", content=head + picture() + b"\r\n--b--\r\n", headers=headers)
        assert answer.json()["error"]["type"] in {"invalid_name", "bad_request"}
        assert answer.status_code == 400

    def test_looking_outside(self, ada: Client) -> None:
        for name in OUTSIDE:
            for query in (
                {"filename": name},
                {"filename": name, "type": "input"},
                {"filename": "x.png", "subfolder": name, "type": "temp"},
                {"filename": f"{name} [input]"},
            ):
                refused(ada.get("/view", params=query), 400, "invalid_name")
            ref = json.dumps({"filename": name, "type": "input"})
            answer = ada.http.post("/upload/mask", files={"image": ("m.png", picture())}, data={"original_ref": ref})
            refused(answer, 400, "invalid_name")

    @pytest.mark.parametrize(
        "path",
        [
            "/userdata/..%2f..%2fkeelbill.toml",
            "/userdata/%2e%2e/%2e%2e/keelbill.toml",
            "/userdata/a/move/..%2fb",
            "/userdata/..%2fa/move/b",
            "/userdata/a%00b",
            "/userdata/a%5c..%5cb",
            "/userdata/C:%5Cb",
            "/userdata/%252e%252e%2fx/move/..%2fy",
            "/api/userdata//etc/passwd",
        ],
    )
    def test_writing_outside(self, ada: Client, path: str) -> None:
        for method in ("POST", "DELETE"):
            answer = ada.http.request(method, path, content=b"x")
            assert answer.status_code in {400, 404, 405}
            assert not any(leak in answer.text for leak in LEAKS)

    @pytest.mark.parametrize(
        "path",
        [
            "/interrupt",
            "/free",
            "/upload/image",
            "/upload/mask",
            "/jobs/cancel",
            "/jobs/x/cancel",
            "/queue?clear=true",
            "/history?clear=true&delete=x",
            "/settings?a=1",
            "/prompt?prompt={}",
            "/userdata/a/move/b",
            "/userdata/a?overwrite=true&_method=DELETE",
        ],
    )
    def test_asking_changes_nothing(self, graphs: GraphDoors, ada: Client, path: str) -> None:
        spoofed = {"x-http-method-override": "POST", "x-http-method": "DELETE", "x-original-url": "/comfy/interrupt"}
        for method in ("GET", "HEAD", "OPTIONS"):
            for prefix in ("", "/api"):
                assert ada.http.request(method, prefix + path, headers=spoofed).status_code in {200, 204, 400, 404, 405}

    @pytest.mark.parametrize("path", ["/extensions", "/manager/install", "/internal/logs/subscribe", "/models/x"])
    def test_nothing_installs_or_configures(self, ada: Client, path: str) -> None:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert ada.http.request(method, path, json={"url": "https://evil.example"}).status_code in {403, 404, 405}


class TestScripts:
    """Files that a browser would run, were they sent as what they are."""

    @pytest.mark.parametrize("name", ["x.html", "x.svg", "x.js", "x.xhtml", "x.png.html"])
    def test_picture_with_another_ending(self, ada: Client, name: str) -> None:
        kept = ada.upload(name, picture()).json()["name"]
        answer = ada.get("/view", params={"filename": kept, "type": "input"})
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.content.startswith(b"\x89PNG")

    @pytest.mark.parametrize("name", ["x.svg", "x.js", "x.xhtml", "x.mjs", "x", "x.json.html"])
    def test_saved_files(self, ada: Client, name: str) -> None:
        assert ada.http.post(f"/userdata/{name}", content=b"<script>alert(1)</script>").status_code == 200
        answer = ada.get(f"/userdata/{name}")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == "attachment"
        assert ada.get("/view", params={"filename": name}).status_code == 404


class TestOthers:
    """Two accounts, one of which would like to be the other."""

    def test_whoever_a_header_names(self, ada: Client, bob: Client) -> None:
        prompt_id = ada.submit(text_to_image("hers"))
        ada.ended(prompt_id)
        ada.upload("hers.png", picture())
        owner = ada.live.run(ada.live.platform.authenticator.authenticate(ada.key, "127.0.0.1"))
        for name in (owner.user_id, owner.org_id, "default", "../" + str(owner.org_id)):
            claims = {"comfy-user": str(name), "x-user-id": str(name), "x-forwarded-user": str(name)}
            for path in (
                "/history",
                f"/history/{prompt_id}",
                "/queue",
                "/jobs",
                "/internal/files/input",
                "/userdata?dir=.",
            ):
                assert prompt_id not in bob.get(path, headers=claims).text
                assert "hers.png" not in bob.get(path, headers=claims).text
            assert bob.get("/view?filename=hers.png&type=input", headers=claims).status_code == 404

    def test_each_stops_only_its_own(self, graphs: GraphDoors, ada: Client, bob: Client) -> None:
        with graphs.live.slow_workers(0.1):
            hers = ada.submit(text_to_image(seed=71, steps=25))
            his = bob.submit(text_to_image(seed=72, steps=25))
            deadline = time.monotonic() + 60
            while not (bob.get("/queue").json()["queue_running"] and ada.get("/queue").json()["queue_running"]):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert bob.post("/interrupt", {"prompt_id": hers}).status_code == 200
            assert bob.post("/interrupt").status_code == 200
            assert bob.ended(his)["status"]["messages"][-1][0] == "execution_interrupted"
            assert ada.ended(hers)["status"]["status_str"] == "success"

    def test_prompt_id_of_another_tells_nothing(self, ada: Client, bob: Client) -> None:
        hers = ada.submit(text_to_image("hers", seed=73), prompt_id="same-id")
        ada.ended(hers)
        before = credit(bob)
        answer = bob.post("/prompt", {"prompt": text_to_image(), "prompt_id": "same-id"})
        assert answer.status_code == 409
        assert "hers" not in answer.text
        assert credit(bob) == before
        assert bob.get("/history/same-id").json() == {}

    def test_prompt_ids_that_look_like_paths(self, ada: Client) -> None:
        prompt_id = ada.submit(text_to_image(seed=74), prompt_id="../../etc/x")
        assert prompt_id == "../../etc/x"
        deadline = time.monotonic() + 60
        while prompt_id not in ada.get("/history").json():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert ada.get("/history/../../etc/x").status_code == 404


class TestSockets:
    def test_flood_of_flags_by_one_who_never_reads(self, ada: Client, bob: Client) -> None:
        with ada.socket("flood") as socket:
            frame = json.dumps({"type": "feature_flags", "data": {"x": "y" * 1000}})
            try:
                for _ in range(8000):
                    socket.send(frame)
            except ConnectionError:
                pass
            with bob.socket("reads") as other:
                bob.submit(text_to_image(seed=75), client_id="reads")
                assert listen(other).of("execution_success")
        with ada.socket("flood") as socket:
            assert listen(socket, until="status").of("status")[0]["sid"] == "flood"

    @pytest.mark.parametrize("client_id", ["x" * 50_000, "a%00b", "%0d%0aset-cookie:a=b", "..%2f..%2fx"])
    def test_odd_client_ids(self, ada: Client, client_id: str) -> None:
        url = f"{ada.live.url}/comfy/ws?clientId={client_id}"
        upgrade = {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "eHh4eHh4eHh4eHh4eHh4eA==",
        }
        with ada.http.stream("GET", url, headers=upgrade) as answer:
            assert answer.status_code in {101, 400, 414, 431}
            assert "set-cookie" not in answer.headers
        assert ada.run(text_to_image(seed=76), client_id=client_id[:100])["status"]["completed"]
