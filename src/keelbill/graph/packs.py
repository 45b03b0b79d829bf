"""Packs of nodes: Python distributions that an administrator enabled by name, version and hash. Knows no server.

A pack names each of its nodes as an entry point of the group ``keelbill.nodes``: the name is the class key of
workflows, the value is where the class is. So what a pack has is known without importing anything of it, and nothing
of a pack is imported unless its name, version and hash are in the settings. The hash is that of all files that the
distribution installed, so a pack that was changed afterwards is not loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from keelbill.core.errors import AppError, InvalidInput
from keelbill.graph.node import Node
from keelbill.graph.registry import load_builtin, nodes, register

GROUP: Final = "keelbill.nodes"
MODULE: Final = "custom_nodes"
_UNSTABLE: Final = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})
"""Files beside a distribution that say how it came here, not what it is."""

State = Literal["enabled", "changed", "off"]


class PackRefused(AppError):
    """An enabled pack cannot be loaded; the server does not start without it."""

    code = "pack_refused"
    status = 500


@dataclass(frozen=True)
class Enabled:
    """An entry of the setting: ``NAME==VERSION#SHA256``.

    Attributes:
        name: Of the distribution.
        version: Exactly.
        digest: Of its files, hexadecimal.
    """

    name: str
    version: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}#{self.digest}"


@dataclass(frozen=True)
class Pack:
    """A distribution with nodes, installed here.

    Attributes:
        name: Of the distribution.
        version: That is installed.
        digest: Of its files; "" if they are not all known, as of an editable install.
        classes: Class keys of its nodes, in alphabetical order.
        summary: One line of its author's.
        state: Whether it is enabled, was changed since, or is off.
    """

    name: str
    version: str
    digest: str
    classes: tuple[str, ...]
    summary: str = ""
    state: State = "off"


def parse(setting: str) -> tuple[Enabled, ...]:
    """Read the setting ``node_packs``.

    Raises:
        InvalidInput: An entry is not of the form ``NAME==VERSION#SHA256``, or a name comes twice.
    """
    found: dict[str, Enabled] = {}
    for entry in (part.strip() for part in setting.split(",")):
        if not entry:
            continue
        name, equals, rest = entry.partition("==")
        version, mark, digest = rest.partition("#")
        if not (name and equals and version and mark and len(digest) == 64 and _is_hex(digest)):
            raise InvalidInput("node_packs", entry, "NAME==VERSION#SHA256, as `keelbill nodes packs` prints it")
        if plain(name) in found:
            raise InvalidInput("node_packs", entry, "one entry for each pack")
        found[plain(name)] = Enabled(name, version, digest.lower())
    return tuple(found.values())


def installed(setting: str = "") -> list[Pack]:
    """Return the packs that are installed, by name; nothing of them is imported.

    Args:
        setting: Which of them are enabled.
    """
    wanted = {plain(each.name): each for each in parse(setting)}
    found: dict[str, Pack] = {}
    for distribution in metadata.distributions():
        classes = _classes(distribution)
        if not classes:
            continue
        name = distribution.metadata["Name"]
        digest = digest_of(distribution)
        entry = wanted.get(plain(name))
        state: State = "off"
        if entry is not None:
            state = "enabled" if (entry.version, entry.digest) == (distribution.version, digest) else "changed"
        summary = (distribution.metadata.get_all("Summary") or [""])[0]
        found.setdefault(plain(name), Pack(name, distribution.version, digest, classes, summary, state))
    return [found[name] for name in sorted(found)]


def digest_of(distribution: metadata.Distribution) -> str:
    """Return the SHA-256 of a distribution's files and their names; "" if its nodes lie elsewhere."""
    files = sorted(
        (file for file in distribution.files or () if file.suffix != ".pyc" and file.name not in _UNSTABLE),
        key=lambda file: file.as_posix(),
    )
    sources = {file.as_posix() for file in files}
    for point in distribution.entry_points.select(group=GROUP):
        path = point.module.replace(".", "/")
        if not sources & {f"{path}.py", f"{path}/__init__.py"}:
            return ""
    whole = sha256()
    for file in files:
        place = Path(str(distribution.locate_file(file)))
        content = sha256(place.read_bytes()).hexdigest() if place.is_file() else "missing"
        whole.update(f"{file.as_posix()}\0{content}\n".encode())
    return whole.hexdigest()


def load_enabled(setting: str) -> Mapping[str, type[Node]]:
    """Import and register the nodes of all enabled packs, after the built-in ones.

    Returns:
        All registered classes.

    Raises:
        InvalidInput: The setting cannot be read.
        PackRefused: A pack is missing, was changed, or has nodes that cannot be used.
    """
    load_builtin()
    for entry in parse(setting):
        _load(entry)
    return nodes()


def enabled_distribution(entry: Enabled) -> metadata.Distribution:
    """Return the distribution of an entry, which is as it was when it was enabled.

    Raises:
        PackRefused: It is missing, or was changed.
    """
    try:
        distribution = metadata.distribution(entry.name)
    except metadata.PackageNotFoundError as error:
        raise PackRefused(
            f"The pack {entry.name} {entry.version} is enabled and not installed.",
            hint=f"Install it, or `keelbill nodes disable {entry.name}`.",
        ) from error
    digest = digest_of(distribution)
    if (distribution.version, digest) != (entry.version, entry.digest):
        raise PackRefused(
            f"The pack {entry.name} is enabled as version {entry.version} with other files than version "
            f"{distribution.version}, which is installed.",
            hint=f"Look at what has changed, then `keelbill nodes enable {entry.name}`.",
        )
    return distribution


def _load(entry: Enabled) -> None:
    points = enabled_distribution(entry).entry_points.select(group=GROUP)
    for point in sorted(points, key=lambda each: each.name):
        _register(entry, point)


def _register(entry: Enabled, point: metadata.EntryPoint) -> None:
    try:
        node: Any = point.load()
    except Exception as error:
        raise PackRefused(
            f"The node {point.name} of the pack {entry.name} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(node, type) and issubclass(node, Node)) or getattr(node, "name", "") != point.name:
        raise PackRefused(f"{point.value} of the pack {entry.name} is no node with the name {point.name!r}.")
    node.module = f"{MODULE}.{plain(entry.name)}"
    try:
        register(node)
    except ValueError as error:
        raise PackRefused(f"The pack {entry.name} cannot be used: {error}.") from error


def with_pack(setting: str, pack: Pack) -> str:
    """Return the setting with a pack enabled as it is installed now.

    Raises:
        PackRefused: Its files are not known.
    """
    if not pack.digest:
        raise PackRefused(
            f"The files of {pack.name} are not all known.", hint="Install it as a wheel, not as an editable folder."
        )
    kept = [entry for entry in parse(setting) if plain(entry.name) != plain(pack.name)]
    return ",".join(str(entry) for entry in [*kept, Enabled(pack.name, pack.version, pack.digest)])


def without_pack(setting: str, name: str) -> str:
    """Return the setting with a pack off."""
    return ",".join(str(entry) for entry in parse(setting) if plain(entry.name) != plain(name))


def find(packs: Iterable[Pack], name: str) -> Pack:
    """Return the installed pack of a name.

    Raises:
        InvalidInput: There is none.
    """
    there = list(packs)
    for pack in there:
        if plain(pack.name) == plain(name):
            return pack
    raise InvalidInput("pack", name, f"one of {', '.join(each.name for each in there) or 'the installed ones: none'}")


def _classes(distribution: metadata.Distribution) -> tuple[str, ...]:
    return tuple(sorted(point.name for point in distribution.entry_points.select(group=GROUP)))


def plain(name: str) -> str:
    """Return a distribution's name in its normal form (PEP 503)."""
    return name.lower().replace("_", "-").replace(".", "-")


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)
