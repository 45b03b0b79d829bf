"""A server double on a real socket, and clients that wait only a little between tries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keelbill.client import Client
from keelbill.client.target import HOST_VARIABLES, KEY_VARIABLES
from support.apidouble import KEY, QUICK, ApiDouble, api_double


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEY_VARIABLES, *HOST_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def double() -> Iterator[ApiDouble]:
    """A server that behaves unless it is told otherwise."""
    with api_double(ApiDouble()) as running:
        yield running


@pytest.fixture
def client(double: ApiDouble) -> Iterator[Client]:
    """A client of the double."""
    with Client(KEY, double.base_url, retries=QUICK, timeout_s=60) as made:
        yield made


@pytest.fixture
def picture(double: ApiDouble) -> bytes:
    """A picture to send, with a recipe."""
    return double.paint({"prompt": "a cat", "seed": "7"}, {})[0]
