"""The Python of the pages on the SDK runs as it stands there, block after block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keelbill.client import AsyncClient, Client, Picture
from support.apidouble import KEY, USUAL_EVENTS, ApiDouble, api_double

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture
def double() -> Iterator[ApiDouble]:
    """A server that tells of its jobs."""
    with api_double(ApiDouble(events=list(USUAL_EVENTS))) as running:
        yield running


def run_page(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, url: str, key: str) -> dict[str, Any]:
    """Run all Python of a page, in a folder and with server and key in the environment."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KEELBILL_BASE_URL", url)
    monkeypatch.setenv("KEELBILL_API_KEY", key)
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile("\n".join(blocks), page.name, "exec"), names)  # noqa: S102 - our own pages
    return names


def check_sdk_tutorial(names: dict[str, Any], folder: Path, out: str) -> None:
    """Check what the tutorial promises."""
    assert isinstance(names["picture"], Picture)
    assert (folder / "apple.png").read_bytes() == names["picture"].data
    assert (folder / "wide.webp").exists()
    assert names["wide"].seed == 7
    assert names["recipe"].prompt == "a red apple on a white background"
    assert names["recipe"].seed == names["picture"].seed
    assert names["green"].data != names["picture"].data
    assert names["leaf"].to_pil().size == names["picture"].to_pil().size
    assert names["streamed"].seed == 7
    assert "done 7\n" in out
    assert re.search(r"^aspect_ratio: ", out, re.MULTILINE)
    assert names["seeds"] == [1, 2, 3]


def check_first_call(names: dict[str, Any], folder: Path, out: str) -> None:
    """Check what the page on the first call promises."""
    assert (folder / "apple-too.png").read_bytes() == names["answer"].content
    assert "7 SUCCESS\n" in out
    assert "400 bad_request\n" in out
    assert re.search(r"^prompt: required", out, re.MULTILINE)
    assert re.search(r"^aspect_ratio: ", out, re.MULTILINE)


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
