"""``keelbill run`` against a real server with scripted workers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from support.commandline import Run
from support.graphdoors import picture, text_to_image
from support.server import LiveServer

pytestmark = pytest.mark.usefixtures("unloadable")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with scripted workers."""
    server = LiveServer(tmp_path_factory.mktemp("home"))
    server.start()
    server.set_balance("1000")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def here(live: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, with the server in the environment and a workflow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEELBILL_API_KEY", live.key)
    monkeypatch.setenv("KEELBILL_BASE_URL", live.url)
    (tmp_path / "fox.json").write_text(json.dumps(text_to_image(seed=time.monotonic_ns())))
    (tmp_path / "cat.png").write_bytes(picture(40, 24))
    return tmp_path


def said(out: str) -> str:
    """Return what the command said, without the log of the server beside it."""
    return "".join(line for line in out.splitlines(keepends=True) if "[info " not in line)


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ("none.json", "workflow 'none.json'"),
            ("cat.png", "the picture carries no graph"),
            ("fox.json --set text", "set 'text' is not allowed"),
            ("fox.json --set 6=x", "like 6.text=VALUE"),
            ("fox.json --set 1.image=@none.png", "an existing picture"),
            ("fox.json --set 99.text=x", "there is no node 99"),
            ("fox.json --set 3.steps=0", "node 3 (KSampler)"),
            ("fox.json -o none/fox.png", "in a folder that exists"),
        ],
    )
    def test_one_sentence(self, run: Run, arguments: str, sentence: str) -> None:
        done = run("run", *arguments.split())
        assert done.code == 2
        assert sentence in done.err
        assert "Traceback" not in done.err

    def test_node_that_fails(self, run: Run, live: LiveServer) -> None:
        done = run("run", "fox.json", "--set", f"6.text={live.FAIL}")
        assert done.code == 2
        assert "Node 3 (KSampler)" in done.err
        assert "Nothing was charged" in done.err


class TestRuns:
    def test_pictures_are_written_here(self, run: Run, here: Path) -> None:
        done = run("run", "fox.json")
        assert done.code == 0, done.err
        name, _, node = said(done.out).splitlines()[0].partition("  ")
        assert node == "node 9"
        with Image.open(here / name) as image:
            assert image.format == "PNG"
        assert said(done.out).splitlines()[-1] == "0.2 credits"

    def test_no_file_is_replaced_unless_it_was_named(self, run: Run, here: Path) -> None:
        run("run", "fox.json", "-o", "owl")
        first = (here / "owl.png").read_bytes()
        run("run", "fox.json", "--set", "3.seed=5", "-o", "owl.png")
        assert (here / "owl.png").read_bytes() != first
        before = set(here.glob("*.png"))
        run("run", "fox.json", "--set", "3.seed=6")
        run("run", "fox.json", "--set", "3.seed=6")
        assert len(set(here.glob("*.png")) - before) == 2

    def test_picture_for_a_node(self, run: Run, here: Path) -> None:
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": "none.png"}},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }
        (here / "load.json").write_text(json.dumps(graph))
        done = run("run", "load.json", "--set", "LoadImage.image=@cat.png", "-o", "seen.png")
        assert said(done.out) == "seen.png  node 2\n0 credits\n", done.err

    def test_price(self, run: Run, here: Path) -> None:
        done = run("run", "fox.json", "--set", "3.steps=28", "--price")
        assert said(done.out) == (
            "     0.9  node 3 (KSampler), sd3.5-medium: 512x512 pixels in 28 steps\n     0.9  credits in all\n"
        )
        assert list(here.glob("*.png")) == [here / "cat.png"]

    def test_server_that_is_named(self, run: Run, live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEELBILL_BASE_URL", "http://127.0.0.1:9")
        assert run("run", "fox.json", "--price", "--server", live.url).code == 0
