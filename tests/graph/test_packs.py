"""Packs of nodes: nothing is imported that is not enabled, nothing is loaded that was changed."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keelbill.core.errors import InvalidInput
from keelbill.graph import pack_index, packs
from keelbill.graph.drawing import to_workflow
from keelbill.graph.packs import PackRefused
from keelbill.graph.registry import nodes
from support.graphbench import Workbench, evaluate, node
from support.packs import EXAMPLE, EXAMPLE_NAME, EXAMPLE_NODES, install

LOUD = "raise RuntimeError('this must not be imported')\n"
GOOD = """
from keelbill.graph.node import Node, Output, text
class Good(Node):
    name = "Good"
    inputs = (text("text"),)
    outputs = (Output("STRING"),)
    def run(self, context, **values):
        return (values["text"].upper(),)
"""


def enabled(name: str) -> str:
    """Return the setting that enables a pack as it is installed."""
    return packs.with_pack("", packs.find(packs.installed(), name))


class TestDiscovery:
    def test_nothing_is_imported(self, site: Path) -> None:
        install(site, "loud-pack", "1.0", {"Loud": "loud_module:Loud"}, loud_module=LOUD)
        (pack,) = [each for each in packs.installed() if each.name == "loud-pack"]
        assert (pack.version, pack.classes, pack.state) == ("1.0", ("Loud",), "off")
        assert len(pack.digest) == 64
        assert "loud_module" not in sys.modules

    def test_nothing_is_loaded_without_the_setting(self, example: Path) -> None:
        assert "Example Vignette" not in packs.load_enabled("")
        assert "keelbill_example_nodes" not in sys.modules

    def test_editable_pack_has_no_digest_and_cannot_be_enabled(self, site: Path) -> None:
        install(site, "elsewhere", "1.0", {"Far": "far_away:Far"})
        pack = packs.find(packs.installed(), "elsewhere")
        assert pack.digest == ""
        with pytest.raises(PackRefused, match="wheel"):
            packs.with_pack("", pack)

    def test_unknown_name(self) -> None:
        with pytest.raises(InvalidInput, match="nowhere"):
            packs.find(packs.installed(), "nowhere")


class TestLoading:
    def test_enabled_pack_runs(self, example: Path) -> None:
        there = packs.load_enabled(enabled(EXAMPLE_NAME))
        assert there["Example Vignette"].module == "custom_nodes.keelbill-example-nodes"
        graph = {"1": node("Example Word Count", text="one two")}
        assert evaluate(graph, "1", Workbench()) == 2

    def test_loading_twice_is_loading_once(self, example: Path) -> None:
        setting = enabled(EXAMPLE_NAME)
        packs.load_enabled(setting)
        assert set(EXAMPLE_NODES) <= packs.load_enabled(setting).keys()

    @pytest.mark.parametrize("change", ["edit", "add", "remove"])
    def test_changed_files_are_refused(self, example: Path, change: str) -> None:
        setting = enabled(EXAMPLE_NAME)
        words = example / "keelbill_example_nodes" / "words.py"
        if change == "edit":
            words.write_text(LOUD)
        elif change == "add":
            record = next(example.glob("*.dist-info")) / "RECORD"
            (example / "more.py").write_text(LOUD)
            record.write_text(record.read_text() + "more.py,,\n")
        else:
            words.unlink()
        assert packs.find(packs.installed(setting), EXAMPLE_NAME).state == "changed"
        with pytest.raises(PackRefused, match="other files"):
            packs.load_enabled(setting)
        assert "keelbill_example_nodes" not in sys.modules

    def test_missing_pack_stops_the_start(self) -> None:
        with pytest.raises(PackRefused, match="not installed"):
            packs.load_enabled(f"gone-pack==1.0#{'0' * 64}")

    def test_other_version(self, example: Path) -> None:
        with pytest.raises(PackRefused, match=r"version 0\.1\.0, which is installed"):
            packs.load_enabled(enabled(EXAMPLE_NAME).replace("0.1.0", "0.2.0"))

    @pytest.mark.parametrize(
        ("nodes", "source", "said"),
        [
            ({"Good": "bad_module:Missing"}, GOOD, "cannot be imported: AttributeError"),
            ({"Loud": "bad_module:Loud"}, LOUD, "cannot be imported: RuntimeError"),
            ({"Better": "bad_module:Good"}, GOOD, "is no node with the name 'Better'"),
            ({"Text": "bad_module:Text"}, "Text = str\n", "is no node"),
            ({"KSampler": "bad_module:Good"}, GOOD.replace('"Good"', '"KSampler"'), "registered twice"),
        ],
        ids=["no such class", "error", "other name", "no node", "name of a built-in node"],
    )
    def test_pack_that_cannot_be_used(self, site: Path, nodes: dict[str, str], source: str, said: str) -> None:
        install(site, "bad-pack", "1.0", nodes, bad_module=source)
        with pytest.raises(PackRefused, match=said):
            packs.load_enabled(enabled("bad-pack"))


class TestSetting:
    def test_round_trip(self, example: Path) -> None:
        setting = enabled(EXAMPLE_NAME)
        assert packs.with_pack(setting, packs.find(packs.installed(), "Keelbill_Example.Nodes")) == setting
        assert packs.without_pack(setting, EXAMPLE_NAME) == ""

    @pytest.mark.parametrize("entry", ["name", "name==1.0", "name==1.0#abc", f"==1.0#{'0' * 64}", f"a#{'0' * 64}"])
    def test_what_is_no_entry(self, entry: str) -> None:
        with pytest.raises(InvalidInput, match="NAME==VERSION#SHA256"):
            packs.parse(entry)

    def test_one_pack_twice(self) -> None:
        with pytest.raises(InvalidInput, match="one entry"):
            packs.parse(f"a-b==1#{'0' * 64},A_b==2#{'1' * 64}")


class TestMissing:
    def test_known_pack_comes_with_its_command(self) -> None:
        graph = {"1": node("Example Vignette"), "2": node("Nobody Knows"), "3": node("KSampler")}
        found = pack_index.missing(pack_index.used_classes(graph), nodes(), [], pack_index.known())
        assert [(each.class_type, each.nodes, each.pack) for each in found] == [
            ("Example Vignette", ("1",), EXAMPLE_NAME),
            ("Nobody Knows", ("2",), ""),
        ]
        assert found[0].command == f"pip install ./examples/node-pack && keelbill nodes enable {EXAMPLE_NAME}"

    def test_pack_that_is_only_off(self, example: Path) -> None:
        used = {"Example Vignette": ["1"]}
        (found,) = pack_index.missing(used, nodes(), packs.installed(), pack_index.known())
        assert found.command == f"keelbill nodes enable {EXAMPLE_NAME}"

    def test_saved_workflow_with_subgraphs(self) -> None:
        saved = to_workflow({"1": node("EmptyImage", width=8, height=8, batch_size=1, color=0)}, nodes())
        saved["nodes"] += [{"id": 9, "type": "sub-1"}, {"id": 10, "type": "Note"}]
        saved["definitions"] = {"subgraphs": [{"id": "sub-1", "nodes": [{"id": 3, "type": "Deep"}], "links": []}]}
        assert pack_index.used_classes(saved) == {"EmptyImage": ["1"], "Deep": ["3"]}

    def test_operators_own_index(self, tmp_path: Path) -> None:
        (tmp_path / "packs.toml").write_text('[[pack]]\nname = "own"\nversion = "3"\nclasses = ["Own Node"]\n')
        (own,) = [each for each in pack_index.known(tmp_path) if each.name == "own"]
        assert own.command == "pip install own==3 && keelbill nodes enable own"

    def test_index_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "packs.toml").write_text('[[pack]]\nname = "own"\n')
        with pytest.raises(InvalidInput, match="an index"):
            pack_index.known(tmp_path)


class TestSignedIndex:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("packs.toml", "packs.toml.sig"):
            shutil.copy(Path(pack_index.__file__).with_name(name), tmp_path)
        return tmp_path

    def test_as_it_was_signed(self, folder: Path) -> None:
        assert EXAMPLE_NAME in pack_index.signed_index(folder)

    def test_line_ends_of_another_system(self, folder: Path) -> None:
        text = (folder / "packs.toml").read_bytes()
        (folder / "packs.toml").write_bytes(text.replace(b"\n", b"\r\n"))
        assert EXAMPLE_NAME in pack_index.signed_index(folder)

    @pytest.mark.parametrize("harm", ["another source", "no signature", "half a signature", "signed by another"])
    def test_otherwise_it_is_refused(self, folder: Path, harm: str) -> None:
        index, signature = folder / "packs.toml", folder / "packs.toml.sig"
        if harm == "another source":
            index.write_text(index.read_text().replace("./examples/node-pack", "keelbill-exampel-nodes"))
        elif harm == "no signature":
            signature.unlink()
        elif harm == "half a signature":
            signature.write_text(signature.read_text()[:40])
        else:
            signed = Ed25519PrivateKey.generate().sign(index.read_bytes())
            signature.write_text(base64.b64encode(signed).decode())
        with pytest.raises(packs.PackRefused, match="not as it was signed"):
            pack_index.signed_index(folder)


def test_example_says_what_its_files_have() -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    (listed,) = [each for each in pack_index.known() if each.name == project["name"]]
    assert project["entry-points"]["keelbill.nodes"] == EXAMPLE_NODES
    assert listed.version == project["version"]
    assert set(listed.classes) == set(EXAMPLE_NODES)


def test_tests_of_the_example_pass(example: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(EXAMPLE / "tests"),
        "-c",
        "/dev/null",
    ]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={"PYTHONPATH": str(example)}, cwd=example, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_worker_with_packs_is_kept_off_the_network() -> None:
    script = """
import socket
from keelbill.serving.offline import Offline, keep_offline, network_allowed
listener = socket.create_server(("127.0.0.1", 0))
keep_offline()
one, two = socket.socketpair()
one.sendall(b"local")
for attempt in (
    lambda: socket.create_connection(("127.0.0.1", listener.getsockname()[1])),
    lambda: socket.getaddrinfo("example.org", 80),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
):
    try:
        attempt()
    except Offline:
        continue
    raise SystemExit("the network was there")
with network_allowed():
    socket.create_connection(listener.getsockname()).close()
print("kept off", two.recv(5))
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout == "kept off b'local'\n", done.stderr
    assert socket.getdefaulttimeout() is None
