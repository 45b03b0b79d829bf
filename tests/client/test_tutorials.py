"""The Python of the pages on the SDK runs as it stands there, block after block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelbill.client import AsyncClient, Client, Picture
from support.apidouble import KEY, USUAL_EVENTS, ApiDouble, api_double
from support.pages import check_first_call, check_sdk_tutorial, run_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture
def double() -> Iterator[ApiDouble]:
    """A server that tells of its jobs."""
    with api_double(ApiDouble(events=list(USUAL_EVENTS))) as running:
        yield running


class TestAgainstTheDouble:
    def test_the_sdk_tutorial(
        self, double: ApiDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = run_page(DOCS / "tutorials" / "python-sdk.md", tmp_path, monkeypatch, double.base_url, KEY)
        check_sdk_tutorial(names, tmp_path, capsys.readouterr().out)

    def test_the_first_call(
        self, double: ApiDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = run_page(DOCS / "tutorials" / "first-api-call.md", tmp_path, monkeypatch, double.base_url, KEY)
        check_first_call(names, tmp_path, capsys.readouterr().out)

    def test_the_reference(self, double: ApiDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run_page(DOCS / "reference" / "python-sdk.md", tmp_path, monkeypatch, double.base_url, KEY)
        assert (tmp_path / "strawberry.png").exists()


class TestTheReferenceIsComplete:
    page = (DOCS / "reference" / "python-sdk.md").read_text(encoding="utf-8")

    def test_every_public_name(self) -> None:
        from keelbill import client

        internal = {"ImageSource", "Organisation", "Event"}
        assert [name for name in client.__all__ if name not in internal and f"`{name}" not in self.page] == []

    @pytest.mark.parametrize("kind", [Client, AsyncClient])
    def test_every_method_with_every_argument(self, kind: type) -> None:
        import inspect

        methods = {name: member for name, member in vars(kind).items() if not name.startswith("_") and callable(member)}
        rows = dict(re.findall(r"^\| `(\w+)\(.*?\)` \| (.*)$", self.page, re.MULTILINE))
        assert set(methods) - {"run"} <= set(rows)
        for name, member in methods.items():
            for argument in list(inspect.signature(member).parameters.values())[1:]:
                if name in ("run", "stream") or argument.default is argument.empty:
                    continue
                assert f"`{argument.name}`" in rows[name], f"{name}({argument.name})"

    def test_every_attribute_of_a_picture(self) -> None:
        public = [name for name in (*Picture.__dataclass_fields__, *vars(Picture)) if not name.startswith("_")]
        shown = [name for name in public if f"`{name}`" not in self.page and f"`{name}(" not in self.page]
        assert set(shown) == {"request"}, "which is for repeating only"
