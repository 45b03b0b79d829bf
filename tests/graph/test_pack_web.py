"""Files that packs bring to the graph editor: only of enabled packs, only their own, never too many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from keelbill.graph import packs
from keelbill.graph.pack_web import MAX_BYTES, web_files
from keelbill.graph.packs import PackRefused
from support.packs import EXAMPLE_NAME, install
from support.server import LiveServer

SCRIPT = f"/extensions/{EXAMPLE_NAME}/colours.js"
GOOD = """
from keelbill.graph.node import Node, Output
class Good(Node):
    name = "Good"
    inputs = ()
    outputs = (Output("STRING"),)
"""


def enabled(name: str) -> str:
    return packs.with_pack("", packs.find(packs.installed(), name))


def brought(site: Path, name: str, content: bytes) -> str:
    """Install and enable a pack with one file in its folder for the editor."""
    source = site.parent / "source" / "with_web"
    (source / "web").mkdir(parents=True)
    (source / "__init__.py").write_text(GOOD)
    (source / "web" / name).write_bytes(content)
    install(site, "with-web", "1.0", {"Good": "with_web:Good"}, source, "with_web.web")
    return enabled("with-web")


def test_only_those_of_enabled_packs(example: Path) -> None:
    assert web_files("") == {}
    found = web_files(enabled(EXAMPLE_NAME))
    assert list(found) == [f"{EXAMPLE_NAME}/colours.js"]
    assert b"registerExtension" in found[f"{EXAMPLE_NAME}/colours.js"]
    assert (example / "keelbill_example_nodes" / "web" / "colours.js").is_file()


def test_a_changed_script_is_not_sent(example: Path) -> None:
    setting = enabled(EXAMPLE_NAME)
    (example / "keelbill_example_nodes" / "web" / "colours.js").write_text("alert(1)")
    with pytest.raises(PackRefused, match="other files"):
        web_files(setting)


@pytest.mark.parametrize("name", ["page.html", "tool.exe", "noending", "x.wasm"])
def test_files_that_editors_do_not_load(site: Path, name: str) -> None:
    with pytest.raises(PackRefused, match="which loads"):
        web_files(brought(site, name, b"x"))


def test_too_much(site: Path) -> None:
    with pytest.raises(PackRefused, match="exceed 16 MiB"):
        web_files(brought(site, "big.json", b" " * (MAX_BYTES + 1)))


@pytest.mark.usefixtures("example")
def test_over_http(start_server: Callable[..., LiveServer]) -> None:
    live = start_server(node_packs=enabled(EXAMPLE_NAME))
    assert live.client.get("/comfy/extensions").json() == ["/extensions/keelbill/main.js", SCRIPT]
    script = live.client.get(f"/comfy{SCRIPT}")
    assert (script.status_code, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert "registerExtension" in script.text
    for path in ("nothing.js", "../vignette.py", "..%2fvignette.py", "__init__.py", "//etc/passwd"):
        assert live.client.get(f"/comfy/extensions/{EXAMPLE_NAME}/{path}").status_code == 404
    assert httpx.get(f"{live.url}/comfy{SCRIPT}").status_code == 401


def test_off_means_off(example: Path, server: LiveServer) -> None:
    assert example.is_dir()
    assert server.client.get("/comfy/extensions").json() == ["/extensions/keelbill/main.js"]
    assert server.client.get(f"/comfy{SCRIPT}").status_code == 404
