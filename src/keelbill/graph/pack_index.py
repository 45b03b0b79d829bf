"""What is known of packs of nodes that are not installed, and which of them a workflow lacks. Imports no pack."""

from __future__ import annotations

import base64
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from keelbill.core.errors import InvalidInput
from keelbill.graph.node import Node
from keelbill.graph.packs import Pack, PackRefused, plain
from keelbill.graph.workflow import UI_ONLY, is_workflow

OWN_INDEX: Final = "packs.toml"
SIGNER: Final = "b0543089137d8998166301e823a77fda750f63be7f44ec33de5738fde22b3638"
"""Public key (Ed25519, RFC 8032) of the index that comes with the program; `studio/sign_packs.py` signs it."""
MOST_DEEP: Final = 16


@dataclass(frozen=True)
class Listed:
    """A pack of an index, installed or not.

    Attributes:
        name: Of the distribution.
        title: For people.
        about: One sentence.
        version: That the index speaks of.
        classes: Class keys of its nodes.
        source: What the installer is given, such as a folder; "" for the name and version.
    """

    name: str
    title: str
    about: str
    version: str
    classes: tuple[str, ...]
    source: str = ""

    @property
    def command(self) -> str:
        """What an administrator would run to have it."""
        source = shlex.quote(self.source) if self.source else f"{self.name}=={self.version}"
        return f"pip install {source} && keelbill nodes enable {self.name}"


def signed_index(folder: Traversable | None = None) -> str:
    """Return the index that comes with the program, if its signature holds.

    Args:
        folder: Where it lies; else where it was installed.

    Raises:
        PackRefused: It is unsigned, or was changed after it was signed.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    folder = folder or resources.files(__package__)
    text = folder.joinpath("packs.toml").read_text(encoding="utf-8").replace("\r\n", "\n")
    try:
        signature = base64.b64decode(folder.joinpath("packs.toml.sig").read_text(encoding="ascii"), validate=False)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(SIGNER)).verify(signature, text.encode())
    except (OSError, ValueError, InvalidSignature) as error:
        raise PackRefused(
            "The index of node packs is not as it was signed, so it is not used.", hint="Install Keelbill again."
        ) from error
    return text


def known(home: Path | None = None) -> list[Listed]:
    """Return the packs of the index that comes with the program, and of the operator's own.

    Args:
        home: Data folder; its ``packs.toml`` adds to the index and wins.

    Raises:
        InvalidInput: An index cannot be read.
        PackRefused: The program's own is not as it was signed.
    """
    texts = [("packs.toml", signed_index())]
    if home is not None and (home / OWN_INDEX).is_file():
        texts.append((str(home / OWN_INDEX), (home / OWN_INDEX).read_text(encoding="utf-8")))
    found: dict[str, Listed] = {}
    for name, text in texts:
        try:
            for entry in tomllib.loads(text).get("pack", []):
                listed = Listed(
                    name=str(entry["name"]),
                    title=str(entry.get("title", entry["name"])),
                    about=str(entry.get("about", "")),
                    version=str(entry["version"]),
                    classes=tuple(map(str, entry["classes"])),
                    source=str(entry.get("source", "")),
                )
                found[plain(listed.name)] = listed
        except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(name, str(error), "an index: [[pack]] with name, version, classes") from error
    return list(found.values())


@dataclass(frozen=True)
class Missing:
    """A class that a workflow uses and that is not there.

    Attributes:
        class_type: Its key.
        nodes: Ids of the workflow's nodes of this class.
        pack: The pack that has it, "" if none is known.
        command: What an administrator would run, "" if no pack is known.
    """

    class_type: str
    nodes: tuple[str, ...]
    pack: str = ""
    command: str = ""


def missing(
    used: Mapping[str, Iterable[str]],
    there: Mapping[str, type[Node]],
    packs: Iterable[Pack],
    index: Iterable[Listed],
) -> list[Missing]:
    """Return which classes a workflow lacks, and how an administrator would add them.

    Args:
        used: Ids of nodes by their class.
        there: Classes by name.
        packs: That are installed.
        index: That are known.
    """
    offers: dict[str, tuple[str, str]] = {}
    for listed in index:
        offers |= dict.fromkeys(listed.classes, (listed.name, listed.command))
    for pack in packs:
        offers |= dict.fromkeys(pack.classes, (pack.name, f"keelbill nodes enable {pack.name}"))
    return [Missing(kind, tuple(ids), *offers.get(kind, ("", ""))) for kind, ids in used.items() if kind not in there]


def used_classes(workflow: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the classes of a graph or of a saved workflow, each with the ids of its nodes.

    Args:
        workflow: In the API format, or as the editor saves it; other shapes use nothing.
    """
    found: dict[str, list[str]] = {}
    if not is_workflow(workflow):
        for name, node in workflow.items():
            if isinstance(node, Mapping) and isinstance(node.get("class_type"), str):
                found.setdefault(node["class_type"], []).append(str(name))
        return found
    own: set[str] = set()
    _collect(workflow, found, own, 0)
    return {kind: ids for kind, ids in found.items() if kind not in own | UI_ONLY}


def _collect(level: Mapping[str, Any], found: dict[str, list[str]], own: set[str], depth: int) -> None:
    for node in level.get("nodes") or ():
        if isinstance(node, Mapping) and isinstance(node.get("type"), str):
            found.setdefault(node["type"], []).append(str(node.get("id", "")))
    definitions = level.get("definitions")
    inside = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
    for graph in inside if isinstance(inside, list) and depth < MOST_DEEP else ():
        if isinstance(graph, Mapping):
            own.add(str(graph.get("id", "")))
            _collect(graph, found, own, depth + 1)
