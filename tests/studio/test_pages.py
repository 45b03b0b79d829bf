"""The studio over HTTP: every address, caching, the policy of the page, and the two routes that it brought along."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from keelbill.studio.pages import ADDRESSES, FOR_EVER
from support.server import LiveServer


def base_of(server: LiveServer) -> str:
    found = re.search(r"/studio/[0-9a-f]{16}", httpx.get(server.url).text)
    assert found
    return found[0]


@pytest.mark.parametrize("address", [re.sub(r"\{\w+\}", "some", address) for address in ADDRESSES])
def test_every_address_can_be_opened_and_reloaded(server: LiveServer, address: str) -> None:
    answer = httpx.get(server.url + address)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-cache"
    assert "<title>Keelbill</title>" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


def test_an_unknown_address_is_not_the_studio(server: LiveServer) -> None:
    assert httpx.get(f"{server.url}/galery").status_code == 404
    assert httpx.post(server.url).status_code == 405


def test_files_may_be_kept_for_ever(server: LiveServer) -> None:
    answer = httpx.get(f"{server.url}{base_of(server)}/js/main.js")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == FOR_EVER
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["x-content-type-options"] == "nosniff"
    plain = httpx.get(f"{server.url}{base_of(server)}/js/main.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == answer.text


def test_files_of_another_version_are_gone(server: LiveServer) -> None:
    assert httpx.get(f"{server.url}/studio/0123456789abcdef/js/main.js").status_code == 404


@pytest.mark.parametrize(
    "path", ["../pages.py", "..%2fpages.py", "js/../../pages.py", "index.html", "vendor/LICENCE.htm"]
)
def test_only_the_studios_own_files_are_served(server: LiveServer, path: str) -> None:
    assert httpx.get(f"{server.url}{base_of(server)}/{path}").status_code == 404


def test_the_head_of_a_page_can_be_asked_for(server: LiveServer) -> None:
    answer = httpx.head(server.url)
    assert answer.status_code == 200
    assert answer.content == b""


def test_browsers_find_an_icon(server: LiveServer) -> None:
    answer = httpx.get(f"{server.url}/favicon.ico", follow_redirects=True)
    assert answer.headers["content-type"] == "image/svg+xml"


def test_options_say_what_the_server_offers(server: LiveServer) -> None:
    found = httpx.get(f"{server.url}/api/options").json()
    assert found["default_model"] in {model["name"] for model in found["models"]}
    assert len(found["aspect_ratios"]) == 9
    assert len(found["style_presets"]) == 17
    large = next(model for model in found["models"] if model["name"] == "sd3.5-large")
    assert (large["price"], large["is_distilled"], large["runs_on"]) == ("6.5", False, server.settings.model)
    assert found["open_registration"] is False
    assert found["providers"] == {}


def picture_of(server: LiveServer, **values: object) -> dict[str, object]:
    job = server.client.post("/api/jobs", json={"prompt": "a boat", **values}).json()["id"]
    server.client.get(f"/api/jobs/{job}/events")  # ends when the job has ended
    pictures = server.client.get("/api/gallery?limit=5").json()["pictures"]
    found: dict[str, object] = next(picture for picture in pictures if picture["job_id"] == job)
    return found


def test_a_picture_is_enlarged_four_times(server: LiveServer) -> None:
    server.set_balance("25")
    small = picture_of(server, width=256, height=128)
    before = server.balance()
    answer = server.client.post("/api/enlargements", json={"image_id": small["id"]})
    assert answer.status_code == 202
    job = answer.json()["id"]
    assert answer.headers["location"] == f"/api/jobs/{job}"
    server.client.get(f"/api/jobs/{job}/events")
    found = server.client.get(f"/api/jobs/{job}").json()
    assert (found["state"], found["width"], found["height"], found["charged"]) == ("succeeded", 1024, 512, "2")
    assert before - server.balance() == 2


def test_a_picture_of_others_cannot_be_enlarged(server: LiveServer) -> None:
    answer = server.client.post("/api/enlargements", json={"image_id": "0" * 32})
    assert answer.status_code == 400
    assert "image_id" in answer.json()["errors"][0]


def test_a_large_picture_cannot_be_enlarged(server: LiveServer) -> None:
    server.set_balance("25")
    large = picture_of(server, width=1536, height=1024)
    answer = server.client.post("/api/enlargements", json={"image_id": large["id"]})
    assert answer.status_code == 400
    assert "1536x1024" in answer.json()["errors"][0]


def test_an_enlargement_that_is_asked_for_twice_is_made_once(server: LiveServer) -> None:
    server.set_balance("25")
    small = picture_of(server, width=128, height=128)
    send = {"json": {"image_id": small["id"]}, "headers": {"idempotency-key": "once"}}
    first, second = (server.client.post("/api/enlargements", **send) for _ in range(2))  # type: ignore[arg-type]
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"


def test_small_forms_do_not_use_up_the_rate_limit(start_server: object, tmp_path: Path) -> None:
    assert callable(start_server)
    live: LiveServer = start_server(rate_limit=20)
    found = picture_of(live)
    for _ in range(40):
        assert live.client.get(f"/api/gallery/{found['id']}/thumbnail").status_code == 200
