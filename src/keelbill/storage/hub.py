"""Which models are installed, where they are, and whether they are what they were. Knows no tensors."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from keelbill.core.errors import AppError, DownloadFailed, InvalidInput, UnknownModel
from keelbill.core.settings import Settings
from keelbill.models import embedded_folder
from keelbill.storage.catalogue import CATALOGUE, CatalogueEntry, T5Choice, Wanted
from keelbill.storage.remote import HuggingFace, Listing, Remote, RemoteFile, git_hash_of, sha256_of

EMBEDDED = "keelbill-mini"
BUILT_IN = (EMBEDDED, "keelbill-mini-turbo")
EMBEDDED_LICENCE = "Apache-2.0"
REGISTRY_VERSION = 1
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
TEXT_SUFFIXES = (".json", ".txt", ".model")
SPARE_BYTES = 512 * 2**20

Progress = Callable[[str, int, int], None]
"""Told a file's name, which of the files it is (from 1), and how many there are."""


class Origin(StrEnum):
    """How a model came here."""

    BUILT_IN = "built-in"
    DOWNLOADED = "downloaded"
    ADDED = "added"


class Kind(StrEnum):
    """What can be installed."""

    MODEL = "model"
    LORA = "lora"


@dataclass(frozen=True)
class StoredFile:
    """A file of a model.

    Args:
        path: Where it is.
        size: In bytes.
        sha256: Empty until it is first hashed.
    """

    path: Path
    size: int
    sha256: str = ""


@dataclass(frozen=True)
class Installed:
    """An installed model or adapter.

    Args:
        name: What people type.
        path: File or folder to load.
        extras: Files with the parts that `path` lacks.
        kind: Model or adapter.
        origin: How it came here.
        family: Member of the family, if known.
        licence: Short name of its licence, if known.
        repo: Where it was fetched from.
        revision: Of `repo`.
        files: With sizes and hashes, so that it can be verified.
    """

    name: str
    path: Path
    extras: tuple[Path, ...] = ()
    kind: Kind = Kind.MODEL
    origin: Origin = Origin.ADDED
    family: str = ""
    licence: str = ""
    repo: str = ""
    revision: str = ""
    files: tuple[StoredFile, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What its files need on disk."""
        return sum(file.size for file in self.files)

    @property
    def is_there(self) -> bool:
        """Whether its files are where they should be."""
        return self.path.exists() and all(extra.exists() for extra in self.extras)


@dataclass(frozen=True)
class Finding:
    """What verifying one file gave: ``ok``, ``learnt`` (hashed for the first time), ``changed`` or ``missing``."""

    path: Path
    result: str


class Hub:
    """The models of one data folder.

    Args:
        home: Data folder; the list is ``models.json`` in it, downloads are in ``models/``.
        remote: Where models are fetched from.
    """

    def __init__(self, home: Path, remote: Remote | None = None) -> None:
        self.home = home
        self.models_folder = home / "models"
        self._registry = home / "models.json"
        self._remote = remote or HuggingFace()

    @classmethod
    def from_settings(cls, settings: Settings) -> Hub:
        """Open the hub that the settings describe."""
        return cls(settings.home, HuggingFace(settings.hf_token))

    def list(self, kind: Kind | None = None) -> tuple[Installed, ...]:
        """Return what is installed, the built-in model first."""
        installed = (*_built_in(), *self._read().values())
        return tuple(item for item in installed if kind in (None, item.kind))

    def get(self, name: str, kind: Kind = Kind.MODEL) -> Installed:
        """Return an installed model or adapter.

        Raises:
            UnknownModel: There is none of that name; the message says how to fetch it, if it can be.
        """
        known = {item.name: item for item in self.list(kind)}
        if name in known:
            return known[name]
        error = UnknownModel(kind.value, name, known)
        if name in CATALOGUE and kind is Kind.MODEL:
            error.hint = f"It is not installed yet; `keelbill models pull {name}` fetches it."
        raise error

    def resolve(self, name: str, kind: Kind = Kind.MODEL) -> Path:
        """Return the file or folder of an installed model.

        Names only, never paths, so that it is safe to ask with what a stranger typed.

        Raises:
            UnknownModel: There is none of that name.
        """
        return self.get(name, kind).path

    def add(
        self, name: str, path: Path, *, kind: Kind = Kind.MODEL, family: str = "", extras: Sequence[Path] = ()
    ) -> Installed:
        """List a model that stays where it is.

        Args:
            name: New name: small letters, digits, dots, dashes and underscores.
            path: File or folder.
            kind: Model or adapter.
            family: Member of the family, if known.
            extras: Files with the parts that `path` lacks.

        Raises:
            InvalidInput: The name is taken or not allowed, or there is no such file.
        """
        if not NAME.fullmatch(name):
            raise InvalidInput(
                "name", name, "1 to 64 small letters, digits, '.', '-' and '_', and start with one of the first"
            )
        known = self._read()
        if name in BUILT_IN or name in CATALOGUE or name in known:
            raise InvalidInput("name", name, "one that is not in use", hint="Give another one with --name.")
        if not path.exists():
            raise InvalidInput("path", str(path), "an existing file or folder")
        # Not resolved: in download caches the link has the name, and the file only a hash.
        places = (path.absolute(), *(extra.absolute() for extra in extras))
        files = tuple(StoredFile(file, file.stat().st_size) for place in places for file in _weight_files(place))
        item = Installed(name, places[0], places[1:], kind, Origin.ADDED, family, files=files)
        self._write({**known, name: item})
        return item

    def pull(self, name: str, *, t5: T5Choice = "fp16", on_file: Progress | None = None) -> Installed:
        """Fetch an official model; what has arrived before is not fetched again.

        The files are put into a hidden folder, checked against the hashes that the source publishes, and moved to
        their place all at once.

        Args:
            name: Of the catalogue.
            t5: Which copy of the T5 text encoder.
            on_file: Told about each file before it is fetched.

        Raises:
            UnknownModel: The catalogue does not have it.
            DownloadFailed: It cannot be fetched, does not fit the disk, or a hash differs.
        """
        if name not in CATALOGUE:
            raise UnknownModel("model", name, CATALOGUE)
        entry = CATALOGUE.get(name)
        plan = [(listing, file) for wanted in entry.wanted(t5) for listing, file in self._plan(wanted)]
        staging = self.models_folder / ".partial" / name
        final = self.models_folder / name
        if final.exists() and not staging.exists():
            self._forget(name)
            staging.parent.mkdir(parents=True, exist_ok=True)
            final.rename(staging)
        staging.mkdir(parents=True, exist_ok=True)
        _require_space(staging, [file for _, file in plan])
        stored = []
        for i, (listing, file) in enumerate(plan):
            if on_file is not None:
                on_file(file.path, i + 1, len(plan))
            path = self._remote.download(listing, file, staging)
            stored.append(StoredFile(final / file.path, file.size, _checked_hash(path, file)))
        if final.exists():
            shutil.rmtree(final)
        staging.rename(final)
        item = _downloaded(entry, plan[0][0].revision, final, tuple(stored))
        self._write({**self._read(), name: item})
        return item

    def verify(self, name: str, kind: Kind = Kind.MODEL) -> tuple[Finding, ...]:
        """Hash a model's files again and compare; files without a known hash are hashed for the first time.

        Raises:
            UnknownModel: There is none of that name.
        """
        item = self.get(name, kind)
        findings, stored = [], []
        for file in item.files:
            if not file.path.is_file():
                findings.append(Finding(file.path, "missing"))
                stored.append(file)
                continue
            digest = sha256_of(file.path)
            result = "ok" if digest == file.sha256 else "changed" if file.sha256 else "learnt"
            findings.append(Finding(file.path, result))
            stored.append(replace(file, sha256=file.sha256 or digest))
        if item.origin is not Origin.BUILT_IN:
            self._write({**self._read(), item.name: replace(item, files=tuple(stored))})
        return tuple(findings)

    def remove(self, name: str) -> tuple[Path, ...]:
        """Forget a model; delete its files only if they were downloaded here.

        Returns:
            What was deleted.

        Raises:
            UnknownModel: There is none of that name.
            InvalidInput: It is the built-in model.
        """
        if name in BUILT_IN:
            raise InvalidInput("model", name, "one that was pulled or added", hint="It is part of the program.")
        known = self._read()
        if name not in known:
            raise UnknownModel("model", name, known)
        item = known[name]
        deleted = _delete(item, self.models_folder / name) if item.origin is Origin.DOWNLOADED else ()
        self._forget(name)
        return deleted

    def _plan(self, wanted: Wanted) -> Iterator[tuple[Listing, RemoteFile]]:
        listing = self._remote.listing(wanted.repo)
        by_path = {file.path: file for file in listing.files}
        for path in wanted.files:
            if path not in by_path:
                raise DownloadFailed(f"{wanted.repo} has no file {path!r} any more.")
            yield listing, by_path[path]
        for folder in wanted.folders:
            small = [
                file
                for path, file in by_path.items()
                if PurePosixPath(path).parent.as_posix() == folder and path.endswith(TEXT_SUFFIXES)
            ]
            if not small:
                raise DownloadFailed(f"{wanted.repo} has no folder {folder!r} any more.")
            for file in small:
                yield listing, file

    def _forget(self, name: str) -> None:
        known = self._read()
        if known.pop(name, None) is not None:
            self._write(known)

    def _read(self) -> dict[str, Installed]:
        if not self._registry.exists():
            return {}
        try:
            content = json.loads(self._registry.read_text(encoding="utf-8"))
            version, models = content["version"], content["models"]
            if version != REGISTRY_VERSION:
                raise AppError(f"{self._registry} was written by a newer Keelbill (format {version}).")
            return {name: _installed(name, value) for name, value in models.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AppError(
                f"{self._registry} is damaged: {error}.",
                hint="Move it away and add your models again; no model is lost.",
            ) from error

    def _write(self, models: Mapping[str, Installed]) -> None:
        value = {
            "version": REGISTRY_VERSION,
            "models": {n: _json(models[n]) for n in sorted(models) if n not in BUILT_IN},
        }
        self.home.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.home, prefix=".models-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(value, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._registry)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise


def locate(name: str, settings: Settings) -> Installed:
    """Find a model for someone at this machine: by name, or by the path of a file or folder.

    Args:
        name: Name or path. A path has a separator in it, or ends like a weight file.
        settings: Where the data folder is.

    Raises:
        UnknownModel: There is neither.
    """
    path = Path(name).expanduser()
    looks_like_a_path = len(path.parts) > 1 or path.suffix in (".safetensors", ".gguf")
    if looks_like_a_path and path.exists():
        return Installed(path.stem if path.is_file() else path.resolve().name, path)
    return Hub.from_settings(settings).get(name)


def _built_in() -> Iterator[Installed]:
    """The models of the program; a checkout may lack all but the first."""
    for name in BUILT_IN:
        folder = embedded_folder(name)
        files = (
            tuple(StoredFile(path, path.stat().st_size) for path in _weight_files(folder)) if folder.is_dir() else ()
        )
        if files or name == EMBEDDED:
            yield Installed(
                name, folder, origin=Origin.BUILT_IN, family="small MMDiT", licence=EMBEDDED_LICENCE, files=files
            )


def _downloaded(entry: CatalogueEntry, revision: str, path: Path, files: tuple[StoredFile, ...]) -> Installed:
    return Installed(
        name=entry.name,
        path=path,
        origin=Origin.DOWNLOADED,
        family=entry.title,
        licence=entry.licence,
        repo=entry.repo,
        revision=revision,
        files=files,
    )


def _weight_files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return sorted(p for p in place.rglob("*") if p.is_file() and p.suffix in (".safetensors", ".gguf", ".json"))


def _require_space(folder: Path, files: Sequence[RemoteFile]) -> None:
    there = sum(file.size for file in files if (folder / file.path).is_file())
    needed = sum(file.size for file in files) - there
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise DownloadFailed(
            f"The download needs {needed / 1e9:.1f} GB and {folder.parent.parent} has {free / 1e9:.1f} GB free.",
            hint="Make room, set KEELBILL_HOME to a larger disk, or pull with --t5 fp8.",
        )


def _checked_hash(path: Path, file: RemoteFile) -> str:
    digest = sha256_of(path)
    wrong = path.stat().st_size != file.size or (file.sha256 and digest != file.sha256)
    if wrong or (file.git_hash and git_hash_of(path) != file.git_hash):
        path.unlink()
        raise DownloadFailed(
            f"{file.path} did not arrive whole: its hash differs.", hint="Pull again to fetch it anew."
        )
    return digest


def _delete(item: Installed, folder: Path) -> tuple[Path, ...]:
    """Delete the files that were downloaded, the download's own records, and folders that are then empty."""
    deleted = []
    for file in item.files:
        if file.path.is_relative_to(folder) and file.path.is_file():
            file.path.unlink()
            deleted.append(file.path)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    for place in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        if not any(place.iterdir()):
            place.rmdir()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return tuple(deleted)


def _json(item: Installed) -> dict[str, Any]:
    value = asdict(item)
    value.pop("name")
    return {
        **value,
        "path": str(item.path),
        "extras": [str(path) for path in item.extras],
        "files": [{"path": str(f.path), "size": f.size, "sha256": f.sha256} for f in item.files],
    }


def _installed(name: str, value: Mapping[str, Any]) -> Installed:
    return Installed(
        name=name,
        path=Path(value["path"]),
        extras=tuple(Path(path) for path in value["extras"]),
        kind=Kind(value["kind"]),
        origin=Origin(value["origin"]),
        family=str(value["family"]),
        licence=str(value["licence"]),
        repo=str(value["repo"]),
        revision=str(value["revision"]),
        files=tuple(StoredFile(Path(f["path"]), int(f["size"]), str(f["sha256"])) for f in value["files"]),
    )
