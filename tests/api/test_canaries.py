"""Canaries: secrets and prompts go through every front door, in good and in bad requests, and are then looked for.

A canary is a text that occurs nowhere else. Once all were sent, the logs, the error bodies, the headers, the metrics,
other people's answers, the pictures and the files of the server are searched for them.
"""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pytest
import structlog
from PIL import Image

from keelbill.graph.drawing import to_workflow
from keelbill.graph.registry import load_builtin
from keelbill.telemetry import logs
from support.browser import PASSWORD, Browser, add_person
from support.doors import Doors
from support.forms import cutout, form, png
from support.graphdoors import text_to_image
from support.server import LiveServer
from support.stripedouble import SECRET as STRIPE_SECRET
from support.stripedouble import running_double

PROMPT: Final = "canaryprompt of a heron"
NEGATIVE: Final = "canarynegative of a crow"
STORED_KEY: Final = "canary-stored-key-of-a-service"
TYPED_KEY: Final = "canary-typed-key-of-a-service"
WRONG_PASSWORD: Final = "canary password that is wrong"
WRONG_KEY: Final = "sk-CanaryWrongKey0123456789abcdefghijklmnopqrstuvwx"
STRIPE_KEY: Final = "sk_test_canarystripekey"
FAILING: Final = f"{PROMPT} {LiveServer.FAIL}"
MAX_BODY_BYTES: Final = 400_000
PICTURE_TEXTS: Final = {"parameters", "prompt", "workflow", "keelbill"}
V1: Final = "/v1/generation/stable-diffusion-xl-1024-v1-0/"

Json = dict[str, Any]
Sent = tuple[str, str, Json]


@dataclass
class Evidence:
    """What is left once every canary was sent.

    Attributes:
        own: Answers to whoever sent the canaries, but for those that make a secret and show it once.
        others: Answers to another account.
        secrets: Canaries by name that nobody may see again.
        logged: Everything that was logged.
        metrics: What a monitor reads.
        files: Content of each file in the data folder, by its path there.
    """

    own: list[httpx.Response] = field(default_factory=list)
    others: list[httpx.Response] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    logged: str = ""
    metrics: str = ""
    files: dict[str, bytes] = field(default_factory=dict)


def api_graph(prompt: str = PROMPT, key: str = TYPED_KEY) -> Json:
    """Return a graph that paints on this server and asks the image service with a typed key."""
    asked = {"prompt": prompt, "negative_prompt": NEGATIVE, "api_key_override": key}
    return {
        **text_to_image(prompt, negative=NEGATIVE),
        "20": {"class_type": "Stability Image Core", "inputs": asked},
        "21": {"class_type": "SaveImage", "inputs": {"images": ["20", 0], "filename_prefix": "asked"}},
    }


def saved(graph: Json, mode: int = 0) -> Json:
    """Return a graph as the editor saves it, with the asking node switched off if the mode says so."""
    workflow = to_workflow(graph, load_builtin())
    for node in workflow["nodes"]:
        if node["type"] == "Stability Image Core":
            node["mode"] = mode
    return workflow


def submitted(graph: Json, workflow: Json | None = None) -> Json:
    return {"json": {"prompt": graph, "client_id": "c", "extra_data": {"extra_pnginfo": {"workflow": workflow or {}}}}}


def requests_of(prompt: str, **more: Any) -> list[Sent]:
    """Return a request to each route that makes pictures; other values may make each a bad one."""
    words = {"prompt": prompt, "negative_prompt": NEGATIVE} | more
    weighed = [{"text": prompt}, {"text": NEGATIVE, "weight": -1}]
    texts: Json = {"text_prompts[0][text]": prompt, "text_prompts[1][text]": NEGATIVE, "text_prompts[1][weight]": -1}
    stable = "/v2beta/stable-image/"
    graph = api_graph(prompt)
    return [
        ("POST", stable + "generate/core", form(**words)),
        ("POST", stable + "generate/sd3", form(**words)),
        ("POST", stable + "generate/ultra", form(**words)),
        ("POST", stable + "edit/inpaint", form(image=cutout(), **words)),
        ("POST", V1 + "text-to-image", {"json": {"text_prompts": weighed, **more}}),
        ("POST", V1 + "image-to-image", form(init_image=png(), **texts, **more)),
        (
            "POST",
            V1 + "image-to-image/masking",
            form(init_image=cutout(), mask_source="INIT_IMAGE_ALPHA", **texts, **more),
        ),
        ("POST", "/v1/images/generations", {"json": {"prompt": prompt, **more}}),
        ("POST", "/v1/images/edits", form(prompt=prompt, image=cutout(), **more)),
        ("POST", "/api/jobs", {"json": {"width": 64, "height": 64, **words}}),
        ("POST", "/comfy/prompt", submitted(graph, saved(graph))),
        ("POST", "/v1/workflows/run", {"json": {"workflow": graph}}),
        ("POST", "/v1/workflows/run", {"json": {"workflow": saved(graph)}}),
    ]


def malformed(prompt: str = PROMPT) -> list[Sent]:
    """Return requests whose canaries stand where they are not taken."""
    torn = {
        "content": f'{{"prompt": "{prompt}", "value": "{STORED_KEY}',
        "headers": {"content-type": "application/json"},
    }
    long = f"{prompt} " * 30_000
    graph = api_graph(prompt)
    listed = {
        **graph,
        "20": {
            "class_type": "Stability Image Core",
            "inputs": {"prompt": prompt, "seed": "no", "api_key_override": TYPED_KEY},
        },
    }
    nameless = {**graph, "20": {"class_type": "No such class", "inputs": {"api_key_override": TYPED_KEY}}}
    wrapped = {
        **graph,
        "20": {"class_type": "Stability Image Core", "inputs": {"prompt": "a", "api_key_override": [TYPED_KEY]}},
    }
    doors = ("/api/jobs", "/v1/images/generations", V1 + "text-to-image", "/comfy/prompt", "/v1/workflows/run")
    return [
        *(("POST", door, torn) for door in (*doors, "/api/edits")),
        *(("POST", door, {"json": {"prompt": long}}) for door in doors),
        *(("POST", door, {"json": {"prompt": [prompt], "text_prompts": [[prompt]]}}) for door in doors),
        *(("POST", "/comfy/prompt", submitted(bad)) for bad in (listed, nameless, wrapped)),
        *(("POST", "/v1/workflows/run", {"json": {"workflow": bad}}) for bad in (listed, nameless, wrapped)),
        ("POST", "/v1/workflows/run", {"json": {"workflow": graph, "inputs": {"99.api_key_override": TYPED_KEY}}}),
        ("POST", "/api/edits", {"json": {"kind": "inpaint", "image_id": "0" * 32, "prompt": prompt}}),
        ("POST", "/api/uploads", {"files": {"image": (f"{prompt}.png", prompt.encode())}}),
        ("POST", "/v2beta/stable-image/nothing", form(prompt=prompt)),
        ("PUT", "/api/secrets/image_service", {"json": {"value": [STORED_KEY]}}),
        ("PUT", "/api/secrets/image_service", {"json": {"value": f"{STORED_KEY} with spaces"}}),
        ("PUT", "/api/secrets/image_service", torn),
        ("PUT", "/api/secrets/unknown", {"json": {"value": STORED_KEY}}),
    ]


def send(client: httpx.Client, requests: list[Sent], **more: Any) -> list[httpx.Response]:
    return [client.request(method, path, **(sent | more)) for method, path, sent in requests]


def graphs(client: httpx.Client) -> list[httpx.Response]:
    """Run graphs with typed keys and return what is shown of them and of their pictures."""
    graph = api_graph()
    switched_off = saved(graph, mode=4)
    bypassed = {name: node for name, node in graph.items() if name not in ("20", "21")}
    overridden = {"workflow": api_graph(key=""), "inputs": {"20.api_key_override": TYPED_KEY, "6.text": PROMPT}}
    answers = send(
        client,
        [
            ("POST", "/comfy/prompt", submitted(bypassed, switched_off)),
            ("POST", "/v1/workflows/run", {"json": {"workflow": switched_off}}),
            ("POST", "/v1/workflows/run", {"json": overridden}),
            ("POST", "/v1/workflows/run?dry_run=true", {"json": {"workflow": graph}}),
        ],
    )
    assert [answer.status_code for answer in answers] == [200] * 4, [answer.text[:300] for answer in answers]
    return answers


def people(live: LiveServer, evidence: Evidence) -> None:
    """Sign in, fail to, buy, and be told by Stripe."""
    add_person(live, "canary@example.org")
    page = Browser(live)
    live.platform.strangers.limit = 1_000_000
    evidence.own.append(page.sign_in("canary@example.org"))
    assert evidence.own[-1].status_code == 200
    evidence.secrets |= {f"cookie {name}": value for name, value in page.client.cookies.items()}
    for path, body in (
        ("/api/sign-in", {"email": "canary@example.org", "password": WRONG_PASSWORD}),
        ("/api/sign-in", {"email": "canary@example.org", "password": [WRONG_PASSWORD]}),
        ("/api/sign-up", {"email": "no address", "password": WRONG_PASSWORD}),
        ("/api/password/change", {"current": WRONG_PASSWORD, "new": WRONG_PASSWORD}),
        ("/api/password/prove", {"password": WRONG_PASSWORD}),
        ("/api/password/new", {"token": WRONG_KEY, "password": WRONG_PASSWORD}),
        ("/api/credits/checkout", {"credits": 1000}),
        ("/api/credits/checkout", {"credits": PROMPT}),
        ("/api/jobs", {"prompt": PROMPT, "width": 64, "height": 64}),
        ("/api/sign-out/everywhere", {}),
    ):
        evidence.own.append(page.client.post(path, json=body, headers={"x-csrf-token": page.token}))
    evidence.own.append(page.get("/api/me"))
    with httpx.Client(base_url=live.url) as stripe:
        for signature in ("t=1,v1=00", STRIPE_SECRET):
            headers = {"stripe-signature": signature}
            evidence.own.append(stripe.post("/api/payments/stripe/webhook", json={"id": PROMPT}, headers=headers))
    page.close()


def looked_at(other: httpx.Client, evidence: Evidence) -> None:
    """Let somebody else ask for all that the first account made."""
    lists = ("/api/jobs", "/api/gallery", "/api/gallery/facets", "/api/gallery/tags", "/api/webhooks", "/api/secrets")
    paths = [*lists, "/api/usage", "/api/keys", "/comfy/history", "/comfy/queue", "/comfy/userdata?dir=", "/v1/models"]
    for answer in list(evidence.own):
        if "json" in answer.headers.get("content-type", "") and answer.status_code < 300 and answer.content:
            found = answer.json()
            name = found.get("prompt_id") or found.get("id") if isinstance(found, dict) else None
            if name:
                paths += [f"/api/jobs/{name}", f"/api/jobs/{name}/image", f"/comfy/history/{name}"]
                paths += [f"/v1/workflows/runs/{name}", f"/v1/workflows/runs/{name}/pictures/0"]
    evidence.others += [other.get(path) for path in paths]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """Send every canary once."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream, found = io.StringIO(), Evidence()
    logs.configure("json", stream=stream)
    home = tmp_path_factory.mktemp("home")
    with running_double() as stripe:
        live = LiveServer(
            home,
            webhooks=True,
            webhook_private_targets=True,
            image_service="http://127.0.0.1:9",
            max_body_bytes=MAX_BODY_BYTES,
            stripe_secret_key=STRIPE_KEY,
            stripe_webhook_secret=STRIPE_SECRET,
            stripe_api_base=stripe.url,
        )
        live.start()
        doors = Doors(live)
        try:
            collect(live, doors, found)
        finally:
            doors.close()
            live.stop()
    found.logged = stream.getvalue()
    found.files = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    yield found
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def collect(live: LiveServer, doors: Doors, found: Evidence) -> None:
    """Send good and bad requests as several callers, and keep what they are answered."""
    rich, poor, narrow = (
        doors.account("100000"),
        doors.account("0"),
        doors.account("100", "generate", "edit", "upscale"),
    )
    stranger = httpx.Client(base_url=live.url, headers={"authorization": f"Bearer {WRONG_KEY}"}, timeout=30)
    live.platform.strangers.limit = 1_000_000
    clients = {"rich": rich, "poor": poor, "narrow": narrow, "stranger": stranger}
    found.secrets = {
        f"key of {name}": client.headers["authorization"].removeprefix("Bearer ") for name, client in clients.items()
    }
    found.secrets |= {"stored key": STORED_KEY, "typed key": TYPED_KEY, "wrong password": WRONG_PASSWORD}
    found.secrets |= {"password": PASSWORD, "Stripe's key": STRIPE_KEY, "Stripe's secret": STRIPE_SECRET}
    hook = rich.post("/api/webhooks", json={"url": "http://127.0.0.1:9/hook", "events": ["job.succeeded"]})
    assert hook.status_code in (200, 201), hook.text
    found.secrets["webhook secret"] = hook.json()["secret"]
    found.own += send(rich, [("PUT", "/api/secrets/image_service", {"json": {"value": STORED_KEY}})])
    good = send(rich, requests_of(PROMPT))
    assert [f"{where(answer)} {answer.text[:200]}" for answer in good if answer.status_code not in (200, 202)] == []
    found.own += good + graphs(rich)
    found.own += send(rich, requests_of(FAILING)) + send(rich, requests_of(PROMPT, seed=-5)) + send(rich, malformed())
    found.own += [answer for client in (poor, narrow, stranger) for answer in send(client, requests_of(PROMPT))]
    found.own += send(rich, [("POST", f"/api/jobs?key={WRONG_KEY}&prompt={PROMPT}", {"json": {}})])
    people(live, found)
    live.wait_until_idle()
    found.own += [rich.get(path) for path in ("/api/secrets", "/api/webhooks", "/api/keys", "/comfy/history")]
    found.own += [rich.get(f"/comfy/view?filename={name}_00001_.png&type=output") for name in ("fox", "asked")]
    looked_at(doors.account(), found)
    found.metrics = httpx.get(f"{live.url}/metrics").text
    stranger.close()


def seen(evidence: Evidence, text: str) -> list[str]:
    """Return the names of the canaries in a text."""
    canaries = evidence.secrets | {"prompt": PROMPT, "negative prompt": NEGATIVE}
    return [name for name, canary in canaries.items() if canary in text or json.dumps(canary)[1:-1] in text]


def where(answer: httpx.Response) -> str:
    return f"{answer.request.method} {answer.request.url.path} {answer.status_code}"


def pictures_in(answer: httpx.Response) -> list[bytes]:
    """Return the pictures of an answer, bare or in JSON."""
    kind = answer.headers.get("content-type", "")
    if answer.status_code >= 300:
        return []
    if kind.startswith("image/"):
        return [answer.content]
    texts: list[Any] = [answer.json()] if "json" in kind and answer.content else []
    found = []
    while texts:
        value = texts.pop()
        if isinstance(value, dict | list):
            texts += value.values() if isinstance(value, dict) else value
        elif isinstance(value, str) and value.startswith("iVBOR"):
            found.append(base64.b64decode(value))
    return found


def test_every_kind_of_answer_was_given(evidence: Evidence) -> None:
    assert {200, 400, 401, 402, 403, 404, 413, 429, 500} <= {answer.status_code for answer in evidence.own}


def test_logs(evidence: Evidence) -> None:
    assert '"request_id"' in evidence.logged
    assert seen(evidence, evidence.logged) == []


def test_metrics(evidence: Evidence) -> None:
    assert "keelbill_" in evidence.metrics
    assert seen(evidence, evidence.metrics) == []


def test_error_bodies(evidence: Evidence) -> None:
    bad = [answer for answer in evidence.own if answer.status_code >= 400]
    assert {where(answer): names for answer in bad if (names := seen(evidence, answer.text))} == {}


def test_headers(evidence: Evidence) -> None:
    wrong = {}
    for answer in evidence.own + evidence.others:
        told = "\n".join(value for name, value in answer.headers.multi_items() if name != "set-cookie")
        if names := seen(evidence, told):
            wrong[where(answer)] = names
    assert wrong == {}


def test_secrets_are_never_told_again(evidence: Evidence) -> None:
    wrong = {}
    for answer in evidence.own:
        if names := [name for name, canary in evidence.secrets.items() if canary.encode() in answer.content]:
            wrong[where(answer)] = names
    assert wrong == {}


def test_other_accounts(evidence: Evidence) -> None:
    assert len(evidence.others) > 40
    assert {where(answer): names for answer in evidence.others if (names := seen(evidence, answer.text))} == {}


def test_files_hold_secrets_hashed_or_sealed(evidence: Evidence) -> None:
    assert any(PROMPT.encode() in content for content in evidence.files.values()), "jobs keep their prompts"
    wrong = {}
    for path, content in evidence.files.items():
        if names := [name for name, canary in evidence.secrets.items() if canary.encode() in content]:
            wrong[path] = names
    assert wrong == {}


def test_pictures_tell_prompts_in_their_recipe_only(evidence: Evidence) -> None:
    pictures = [picture for answer in evidence.own for picture in pictures_in(answer)]
    assert len(pictures) > 10
    for picture in pictures:
        assert [name for name, canary in evidence.secrets.items() if canary.encode() in picture] == []
        with Image.open(io.BytesIO(picture)) as image:
            image.load()
            telling = {str(name) for name, value in image.info.items() if PROMPT in str(value)}
        assert telling <= PICTURE_TEXTS
