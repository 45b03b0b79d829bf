"""Keys for other services over HTTP: stored, listed by name, forgotten; never shown, and nobody else's."""

from __future__ import annotations

import pytest

from support.doors import Doors

VALUE = "sk-of-another-service-1234567890"


def test_key_is_kept_and_never_shown(doors: Doors) -> None:
    ann = doors.account()
    assert ann.put("/api/secrets/image_service", json={"value": VALUE}).status_code == 204
    (found,) = ann.get("/api/secrets").json()
    assert found["name"] == "image_service"
    assert found["created_ms"] > 0
    assert VALUE not in ann.get("/api/secrets").text


def test_key_is_forgotten(doors: Doors) -> None:
    ann = doors.account()
    ann.put("/api/secrets/image_service", json={"value": VALUE})
    assert ann.delete("/api/secrets/image_service").status_code == 204
    assert ann.get("/api/secrets").json() == []
    assert ann.delete("/api/secrets/image_service").status_code == 404


def test_key_is_its_owners(doors: Doors) -> None:
    ann, bob = doors.account(), doors.account()
    ann.put("/api/secrets/image_service", json={"value": VALUE})
    assert bob.get("/api/secrets").json() == []


@pytest.mark.parametrize(("name", "value"), [("other", VALUE), ("image_service", "with spaces"), ("image_service", "")])
def test_name_or_value_that_is_not_taken(doors: Doors, name: str, value: str) -> None:
    answer = doors.account().put(f"/api/secrets/{name}", json={"value": value})
    assert answer.status_code == 400
    assert value == "" or value not in answer.text


def test_key_without_the_right(doors: Doors) -> None:
    ann = doors.account("10", "keys:write")
    assert ann.put("/api/secrets/image_service", json={"value": VALUE}).status_code == 403
