"""Workflows over HTTP for programs: every form of a request, prices before, pictures after, and only one's own."""

from __future__ import annotations

import base64
import json
import time
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from keelbill.graph.drawing import to_workflow
from keelbill.graph.registry import load_builtin
from support.doors import Doors
from support.graphdoors import picture, text_to_image

URL = "/v1/workflows/run"
Json = dict[str, Any]


def run(client: httpx.Client, graph: object = None, **more: Any) -> httpx.Response:
    body = {"workflow": graph if graph is not None else text_to_image(seed=time.monotonic_ns()), **more}
    return client.post(URL, json=body)


def saved(graph: Json) -> Json:
    """Return a graph as the editor saves it."""
    return to_workflow(graph, load_builtin())


def carried(**texts: Any) -> bytes:
    """Return a PNG that carries texts."""
    info, out = PngInfo(), BytesIO()
    for name, value in texts.items():
        info.add_text(name, json.dumps(value))
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def balance(client: httpx.Client) -> float:
    return float(client.get("/api/credits").json()["available"])


def events_of(answer: httpx.Response) -> list[tuple[str, Json]]:
    """Return the events of a stream."""
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


class TestForms:
    def test_graph_in_json(self, doors: Doors) -> None:
        ann = doors.account()
        answer = run(ann)
        assert answer.status_code == 200, answer.text
        made = answer.json()
        assert made["status"] == "succeeded"
        (shown,) = made["pictures"]
        assert (shown["node"], shown["filename"], shown["type"]) == ("9", "fox_00001_.png", "output")
        assert shown["media_type"] == "image/png"
        with Image.open(BytesIO(base64.b64decode(shown["image"]))) as image:
            assert image.format == "PNG"

    def test_graph_is_the_whole_body(self, doors: Doors) -> None:
        assert doors.account().post(URL, json=text_to_image()).json()["status"] == "succeeded"

    def test_saved_workflow(self, doors: Doors) -> None:
        answer = run(doors.account(), saved(text_to_image()))
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["pictures"]) == 1

    def test_saved_workflow_is_the_whole_body(self, doors: Doors) -> None:
        answer = doors.account().post(f"{URL}?dry_run=true", json=saved(text_to_image()))
        assert "price" in answer.json(), answer.text

    @pytest.mark.parametrize("name", ["prompt", "workflow"])
    def test_picture_that_carries_one(self, doors: Doors, name: str) -> None:
        graph = text_to_image() if name == "prompt" else saved(text_to_image())
        content = carried(**{name: graph})
        ann = doors.account()
        raw = ann.post(URL, content=content, headers={"content-type": "image/png"})
        form = ann.post(URL, files={"workflow": ("fox.png", content)})
        in_json = ann.post(URL, json={"picture": base64.b64encode(content).decode()})
        for answer in (raw, form, in_json):
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["pictures"]) == 1

    def test_form_with_a_file_and_values(self, doors: Doors) -> None:
        answer = doors.account().post(
            URL,
            files={"workflow": ("fox.json", json.dumps(text_to_image()))},
            data={"6.text": "an owl", "KSampler.steps": "2", "inputs": '{"3.seed": 77}', "dry_run": "true"},
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["lines"][0]["why"] == "512x512 pixels in 2 steps"

    def test_picture_for_an_input(self, doors: Doors) -> None:
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": "none.png"}},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }
        ann = doors.account("0")
        content = picture(40, 24)
        form = ann.post(
            URL, files={"workflow": ("g.json", json.dumps(graph)), "1.image": ("cat.png", content, "image/png")}
        )
        assert form.status_code == 200, form.text
        in_json = run(ann, graph, files={"LoadImage.image": base64.b64encode(content).decode()})
        assert in_json.status_code == 200, in_json.text
        assert in_json.json()["price"] == "0"

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({}, "workflow: required"),
            ({"workflow": []}, "workflow: required"),
            ({"workflow": {"1": {"class_type": "Nothing", "inputs": {}}}}, "not installed here"),
            ({"workflow": text_to_image(), "mode": "soon"}, "mode: must be one of sync, async, stream"),
            ({"workflow": text_to_image(), "dry_run": 3}, "dry_run: must be true or false"),
            ({"workflow": text_to_image(), "inputs": []}, "inputs: must be an object"),
            ({"workflow": text_to_image(), "inputs": {"99.text": "x"}}, "there is no node 99"),
            ({"workflow": text_to_image(), "inputs": {"3.steps": 0}}, "node 3 (KSampler): The value is too small"),
            ({"workflow": text_to_image(), "inputs": {"3.steps": "many"}}, "The value has another type"),
            ({"workflow": text_to_image(), "files": {"6.text": "§"}}, "files.6.text: must be base64"),
            ({"workflow": text_to_image(), "seed": -1}, "seed: must be a whole number"),
            ({"workflow": text_to_image(), "prompt": "x"}, "prompt: unknown field"),
            ({"picture": base64.b64encode(picture()).decode()}, "carries no graph"),
            ({"picture": base64.b64encode(b"no picture").decode()}, "workflow is not a PNG"),
        ],
    )
    def test_what_cannot_be_read_is_explained(self, doors: Doors, body: Json, said: str) -> None:
        answer = doors.account("0").post(URL, json=body)
        assert answer.status_code == 400
        assert any(said in problem for problem in answer.json()["errors"]), answer.text


class TestPrice:
    def test_dry_run_costs_nothing_and_leaves_nothing(self, doors: Doors) -> None:
        ann = doors.account("0")
        answer = run(ann, dry_run=True)
        assert answer.status_code == 200
        assert answer.json() == {
            "price": "0.2",  # 3.5 credits for a quarter of the published size and 4 of 28 steps: 0.125
            "lines": [
                {
                    "node": "3",
                    "class_type": "KSampler",
                    "service": "sd3.5-medium",
                    "price": "0.2",
                    "why": "512x512 pixels in 4 steps",
                }
            ],
            "pictures": 1,
            "pixel_steps": 512 * 512 * 4,
            "left_out": [],
        }
        assert ann.get("/api/jobs").json()["jobs"] == []

    def test_run_takes_the_quoted_price(self, doors: Doors) -> None:
        ann = doors.account("10")
        answer = run(ann, inputs={"3.steps": 28, "5.width": 1024, "5.height": 1024})
        assert (answer.json()["price"], answer.json()["charged"]) == ("3.5", "3.5")
        assert answer.headers["x-credits-charged"] == "3.5"
        assert balance(ann) == 6.5

    def test_known_results_are_free(self, doors: Doors) -> None:
        ann = doors.account("10")
        graph = text_to_image("the same owl", seed=5)
        first, second = run(ann, graph), run(ann, graph)
        assert (first.json()["charged"], second.json()["charged"]) == ("0.2", "0")
        assert second.json()["pictures"][0]["image"] == first.json()["pictures"][0]["image"]
        assert balance(ann) == pytest.approx(9.8)

    def test_failure_is_free_and_names_the_node(self, doors: Doors) -> None:
        ann = doors.account("10")
        answer = run(ann, text_to_image(doors.live.FAIL))
        assert answer.status_code == 500
        assert answer.json()["errors"][0].startswith("Node 3 (KSampler): ")
        assert "Nothing was charged" in answer.json()["errors"][0]
        assert balance(ann) == 10

    def test_too_few_credits(self, doors: Doors) -> None:
        answer = run(doors.account("0.1"))
        assert answer.status_code == 402
        assert answer.json()["name"] == "payment_required"

    def test_too_much_work(self, doors: Doors) -> None:
        answer = run(doors.account("0"), inputs={"5.width": 16384, "5.height": 4096}, dry_run=True)
        assert answer.status_code == 400
        assert "node 3 (KSampler): The picture to paint is too large" in answer.json()["errors"][1]

    def test_output_that_cannot_be_made_is_told(self, doors: Doors) -> None:
        graph = text_to_image() | {"20": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}
        answer = run(doors.account(), graph)
        assert answer.status_code == 200
        assert "node 20 (SaveImage)" in answer.json()["left_out"][0]


class TestModes:
    def test_picture_alone(self, doors: Doors) -> None:
        answer = doors.account().post(URL, json=text_to_image(), headers={"accept": "image/*"})
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG")

    def test_async(self, doors: Doors) -> None:
        ann = doors.account()
        answer = run(ann, mode="async")
        assert answer.status_code == 202
        made = answer.json()
        assert answer.headers["location"] == f"/v1/workflows/runs/{made['id']}"
        view = ended(ann, made["id"])
        assert view["status"] == "succeeded"
        content = ann.get(view["pictures"][0]["url"])
        assert (content.status_code, content.headers["content-type"]) == (200, "image/png")
        assert ann.get(view["pictures"][0]["url"][:-1] + "7").status_code == 404

    def test_async_run_can_be_stopped(self, doors: Doors) -> None:
        ann = doors.account("10")
        with doors.live.slow_workers():
            made = run(ann, mode="async").json()
            assert ann.delete(f"/api/jobs/{made['job_id']}").json() == {"cancelled": True}
            assert ended(ann, made["id"])["status"] == "cancelled"
        assert balance(ann) == 10

    def test_stream(self, doors: Doors) -> None:
        with doors.live.slow_workers(0.1):
            answer = run(doors.account(), mode="stream")
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = events_of(answer)
        kinds = [kind for kind, _ in events]
        assert (kinds[0], kinds[-1]) == ("run", "succeeded")
        assert {"node", "progress"} <= set(kinds)
        assert events[0][1]["price"] == "0.2"
        assert ("node", {"node": "3", "class_type": "KSampler"}) in events
        last = events[-1][1]
        assert last["charged"] == "0.2"
        assert last["pictures"][0]["url"].startswith("/v1/workflows/runs/")

    def test_stream_of_a_failure(self, doors: Doors) -> None:
        events = events_of(run(doors.account(), text_to_image(doors.live.FAIL), mode="stream"))
        kind, facts = events[-1]
        assert kind == "failed"
        assert facts["message"].startswith("Node 3 (KSampler): ")

    def test_run_that_is_over_can_be_watched(self, doors: Doors) -> None:
        ann = doors.account()
        made = run(ann).json()
        events = events_of(ann.get(f"/v1/workflows/runs/{made['id']}/events"))
        assert [kind for kind, _ in events] == ["run", "succeeded"]

    def test_client_that_leaves_stops_its_run(self, doors: Doors) -> None:
        ann = doors.account("10")
        with doors.live.slow_workers(1.0):
            with pytest.raises(httpx.ReadTimeout):
                ann.post(URL, json=text_to_image(seed=4321), timeout=0.7)
            (job,) = ann.get("/api/jobs").json()["jobs"]
            deadline_s = time.monotonic() + 60
            while time.monotonic() < deadline_s and job["state"] != "cancelled":
                time.sleep(0.05)
                job = ann.get(f"/api/jobs/{job['id']}").json()
        assert job["state"] == "cancelled"
        assert balance(ann) == 10


class TestRepeated:
    def test_same_key_is_the_same_run(self, doors: Doors) -> None:
        ann = doors.account("10")
        graph, headers = text_to_image(seed=time.monotonic_ns()), {"idempotency-key": "one"}
        first = ann.post(URL, json=graph, headers=headers)
        second = ann.post(URL, json=graph, headers=headers)
        assert first.json()["id"] == second.json()["id"]
        assert second.headers["idempotent-replayed"] == "true"
        assert len(ann.get("/api/jobs").json()["jobs"]) == 1

    def test_same_key_for_another_graph(self, doors: Doors) -> None:
        ann = doors.account("10")
        headers = {"idempotency-key": "one"}
        ann.post(URL, json=text_to_image("an owl"), headers=headers)
        answer = ann.post(URL, json=text_to_image("a cat"), headers=headers)
        assert answer.status_code == 409

    def test_keys_of_accounts_do_not_meet(self, doors: Doors) -> None:
        headers = {"idempotency-key": "one"}
        made = [doors.account().post(URL, json=text_to_image(), headers=headers).json()["id"] for _ in range(2)]
        assert made[0] != made[1]


class TestOthers:
    def test_stranger(self, doors: Doors) -> None:
        answer = httpx.post(f"{doors.live.url}{URL}", json=text_to_image())
        assert answer.status_code == 401
        assert answer.json()["name"] == "unauthorized"

    def test_key_that_may_not_generate(self, doors: Doors) -> None:
        assert run(doors.account("10", "generate")).status_code == 403

    def test_run_of_somebody_else(self, doors: Doors) -> None:
        made = run(doors.account()).json()
        bob = doors.account()
        for path in ("", "/events", "/pictures/0"):
            assert bob.get(f"/v1/workflows/runs/{made['id']}{path}").status_code == 404

    def test_refused_words(self, doors: Doors) -> None:
        ann = doors.account("10")
        answer = run(ann, inputs={"6.text": "nude child"})
        assert answer.status_code == 403
        assert answer.json()["name"] == "content_moderation"
        assert balance(ann) == 10

    def test_key_typed_into_a_node_is_nowhere(self, doors: Doors) -> None:
        ann = doors.account("100")
        typed = "sk-typed-into-a-node"
        graph = {
            "1": {
                "class_type": "Stability Image Core",
                "inputs": {"prompt": "a fox", "api_key_override": typed},
            },
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "fox"}},
        }
        answer = run(ann, graph)
        assert answer.status_code == 200, answer.text
        content = base64.b64decode(answer.json()["pictures"][0]["image"])
        home = doors.live.settings.home
        everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
        assert typed.encode() not in content + everything


def ended(client: httpx.Client, run_id: str, timeout_s: float = 60) -> Json:
    """Wait until a run has ended."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        view = client.get(f"/v1/workflows/runs/{run_id}").json()
        if view["status"] not in ("queued", "running"):
            return dict(view)
        time.sleep(0.02)
    raise TimeoutError(run_id)
