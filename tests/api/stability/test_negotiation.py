"""JSON or bytes, by the accept header."""

from __future__ import annotations

import pytest

from keelbill.api.stability.fields import Problem
from keelbill.api.stability.negotiation import wants_json


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "application/json; type=image/png",
        "APPLICATION/JSON",
        "image/*, application/json",
        "application/json,*/*;q=0.5",
    ],
)
def test_json_where_it_is_named(accept: str) -> None:
    assert wants_json(accept)


@pytest.mark.parametrize("accept", [None, "", "*/*", "*", "image/*", "image/png", "image/webp;q=0.8, text/html"])
def test_bytes_otherwise(accept: str | None) -> None:
    assert not wants_json(accept)


@pytest.mark.parametrize("accept", ["text/html", "video/*", "text/html, audio/mpeg"])
def test_neither(accept: str) -> None:
    with pytest.raises(Problem, match="must admit application/json or image"):
        wants_json(accept)
