"""Finds the parts of a model in a file or a folder, in every layout that people have. Knows no network, only names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from keelbill.core.errors import BadWeights
from keelbill.engine.naming import FOLDERS, PREFIXES, Part, Source, check_vae, find_parts, guess_family
from keelbill.engine.weights import (
    INDEX_SUFFIX,
    PICKLE_SUFFIXES,
    WeightFile,
    check_names,
    open_weights,
)

Shape = tuple[int, ...]
NETWORK_PREFIX = PREFIXES[Part.TRANSFORMER][0]
WEIGHT_SUFFIXES = (".safetensors", ".gguf")


@dataclass(frozen=True)
class Component:
    """One network of a model, still on disk.

    Args:
        part: Which one.
        file: Where its tensors are.
        sources: Official name to how the tensor is made of the file's.
    """

    part: Part
    file: WeightFile
    sources: Mapping[str, Source]

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shapes by official name; reads no tensor."""
        return {name: source.shape(self.file.shapes) for name, source in self.sources.items()}

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says about itself."""
        return self.file.metadata

    @property
    def path(self) -> Path:
        """The file, or the index of its shards."""
        return self.file.path

    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """Return one tensor by its official name."""
        return self.sources[name].build(lambda stored: self.file.read(stored, dtype))

    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Return all tensors by official name.

        Args:
            dtype: What floating-point tensors become. Without it they stay as stored; 8-bit floats become bfloat16.
        """
        return {name: self.read(name, dtype) for name in self.sources}

    def check(self, expected: Mapping[str, Shape]) -> None:
        """Compare names and shapes before anything is read.

        Raises:
            BadWeights: They differ; the message names the nearest name.
        """
        check_names(expected, self.shapes, self.part.value)


@dataclass(frozen=True)
class Components:
    """The parts that were found.

    Args:
        path: Where was looked.
        parts: What was found.
    """

    path: Path
    parts: Mapping[Part, Component] = field(default_factory=dict)

    @property
    def transformer(self) -> Component | None:
        """The diffusion transformer."""
        return self.parts.get(Part.TRANSFORMER)

    @property
    def vae(self) -> Component | None:
        """The autoencoder."""
        return self.parts.get(Part.VAE)

    @property
    def clip_l(self) -> Component | None:
        """The CLIP-L text encoder."""
        return self.parts.get(Part.CLIP_L)

    @property
    def clip_g(self) -> Component | None:
        """The OpenCLIP bigG text encoder."""
        return self.parts.get(Part.CLIP_G)

    @property
    def t5(self) -> Component | None:
        """The T5-XXL text encoder."""
        return self.parts.get(Part.T5)

    @property
    def minilm(self) -> Component | None:
        """The small text encoder of the embedded model."""
        return self.parts.get(Part.MINILM)

    def require(self, part: Part) -> Component:
        """Return a part.

        Raises:
            BadWeights: It was not found.
        """
        if part not in self.parts:
            found = ", ".join(self.parts) or "nothing"
            raise BadWeights(
                f"{self.path.name} has no {part.value}; it has {found}.",
                hint="Add the missing part as a file of its own.",
            )
        return self.parts[part]

    def tokenizer_folder(self, part: Part) -> Path | None:
        """Return the folder of a text encoder's tokenizer files, if the model's folder has one."""
        root = self.path if self.path.is_dir() else self.path.parent
        name = {Part.CLIP_L: "tokenizer", Part.CLIP_G: "tokenizer_2", Part.T5: "tokenizer_3"}.get(part, "")
        folder = root / name
        return folder if name and folder.is_dir() else None


def find_components(path: Path, extras: Sequence[Path] = ()) -> Components:
    """Find the parts of a model.

    Understands a single file with any of the parts, with or without prefixes; one part alone; a folder with one
    subfolder for each part, whole or in shards; and a folder of separate files.

    Args:
        path: A weight file, the index of a sharded one, or a folder.
        extras: More files or folders, asked in turn for what `path` lacks.

    Raises:
        BadWeights: A file is malformed, nothing of the SD3 family is in it, or a part is there twice.
        UnsafeFile: The only weights there are pickles.
    """
    parts: dict[Part, Component] = {}
    for place in (path, *extras):
        if not place.exists():
            raise BadWeights(f"There is no file or folder {place}.")
        found = _in_folder(place) if place.is_dir() else _in_file(place)
        parts = {**found, **parts}
    return Components(path, parts)


def _in_file(path: Path, expect: Part | None = None) -> dict[Part, Component]:
    if path.name.endswith(".json") and not path.name.endswith(INDEX_SUFFIX):
        raise BadWeights(f"{path.name} is not a weight file; give the .safetensors file or the model's folder.")
    file = open_weights(path)
    parts = find_parts(file.shapes, expect=expect, file_name=path.name)
    has_other_network = Part.TRANSFORMER not in parts and any(n.startswith(NETWORK_PREFIX) for n in file.shapes)
    if not parts or has_other_network:
        family = guess_family(file.shapes)
        seems = f"it seems to be {family}" if family else "none of its tensors have known names"
        raise BadWeights(f"{path.name} is not an SD3-family model: {seems}.")
    found = {part: Component(part, file, sources) for part, sources in parts.items()}
    if Part.VAE in found:
        check_vae(found[Part.VAE].shapes)
    return found


def _in_folder(folder: Path) -> dict[Part, Component]:
    if (folder / "model_index.json").is_file() or (folder / "transformer").is_dir():
        return _in_subfolders(folder)
    parts: dict[Part, Component] = {}
    for path in _weight_files(folder):
        for part, component in _try_file(path).items():
            if part in parts:
                raise BadWeights(
                    f"{folder.name} has the {part.value} twice, in {parts[part].path.name} and in {path.name}.",
                    hint="Keep one of them, or name the file instead of the folder.",
                )
            parts[part] = component
    if not parts:
        _explain_empty(folder)
    return parts


def _in_subfolders(folder: Path) -> dict[Part, Component]:
    parts: dict[Part, Component] = {}
    for name, part in FOLDERS.items():
        sub = folder / name
        files = _plain_variant(list(_weight_files(sub))) if sub.is_dir() else []
        if not files:
            if sub.is_dir() and any(p.suffix in PICKLE_SUFFIXES for p in sub.iterdir()):
                _explain_empty(sub)
            continue
        found = _in_file(files[0], expect=part)
        if part not in found:
            raise BadWeights(f"{folder.name}/{name} should hold the {part.value} and holds {', '.join(found)}.")
        parts[part] = found[part]
    if not parts:
        _explain_empty(folder)
    return parts


def _weight_files(folder: Path) -> Iterator[Path]:
    """Yield the weight files of a folder and of its subfolders; of a sharded model only the index."""
    for place in (folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))):
        files = sorted(p for p in place.iterdir() if p.is_file())
        stems = {p.name.removesuffix(INDEX_SUFFIX) for p in files if p.name.endswith(INDEX_SUFFIX)}
        for path in files:
            is_shard = any(path.name.startswith(f"{stem}-0") for stem in stems)
            if path.name.endswith(INDEX_SUFFIX) or (path.suffix in WEIGHT_SUFFIXES and not is_shard):
                yield path


def _plain_variant(files: Iterable[Path]) -> list[Path]:
    """Order files so that ``model.safetensors`` comes before ``model.fp16.safetensors``."""
    return sorted(
        files, key=lambda p: (p.name.removesuffix(INDEX_SUFFIX).removesuffix(".safetensors").count("."), p.name)
    )


def _try_file(path: Path) -> dict[Part, Component]:
    """Return the parts in a file of a mixed folder; a LoRA beside a model is not part of it."""
    file = open_weights(path)
    parts = find_parts(file.shapes, file_name=path.name)
    found = {part: Component(part, file, sources) for part, sources in parts.items()}
    if Part.VAE in found:
        check_vae(found[Part.VAE].shapes)
    return found


def _explain_empty(folder: Path) -> None:
    """Raise the error that fits a folder in which nothing was found."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    for path in files:
        if path.suffix.lower() in PICKLE_SUFFIXES:
            open_weights(path)  # raises UnsafeFile
    for path in files:
        if path.suffix in WEIGHT_SUFFIXES:
            _in_file(path)  # raises with the family
    raise BadWeights(f"{folder} has no weight files; there must be at least one .safetensors file.")
