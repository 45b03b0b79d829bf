"""Reads weight files without running them: safetensors, memory-mapped, one file or shards. Knows no layer and no model.

The format is described in the safetensors documentation: eight bytes of header length, a JSON header, then raw tensors.
"""

from __future__ import annotations

import difflib
import json
import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from keelbill.core.errors import BadWeights, UnsafeFile

MAX_HEADER_BYTES = 100 * 2**20
MAX_TENSORS = 100_000
CHUNK = 2**22

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
PICKLE_SUFFIXES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle", ".npy", ".npz"})
PICKLE_MAGIC = (b"PK\x03\x04", b"\x93NUMPY", *(bytes([0x80, version]) for version in range(2, 6)))
INDEX_SUFFIX = ".safetensors.index.json"

# Tensors that describe another tensor's scale; `read` folds them in, so nobody else has to know them.
SCALE_SUFFIXES = (".scale_weight", ".weight_scale")
COMPANION_SUFFIXES = (*SCALE_SUFFIXES, ".scale_input", ".input_scale", ".comfy_quant")
COMPANION_NAMES = ("scaled_fp8",)

Shape = tuple[int, ...]


class WeightFile(Protocol):
    """Named tensors on disk."""

    path: Path
    metadata: Mapping[str, str]
    shapes: Mapping[str, Shape]

    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """Return one tensor, in `dtype` if it is a floating-point tensor and `dtype` is given."""
        ...


@dataclass(frozen=True)
class _Entry:
    dtype: torch.dtype
    shape: Shape
    start: int
    end: int


def is_companion(name: str) -> bool:
    """Say whether a tensor only describes how another one is quantised."""
    return name.endswith(COMPANION_SUFFIXES) or name.rpartition(".")[2] in COMPANION_NAMES


def count(shape: Iterable[int]) -> int:
    """Return the number of elements of a shape."""
    total = 1
    for side in shape:
        total *= side
    return total


class Safetensors:
    """One safetensors file, mapped into memory; a tensor's bytes are read when it is used.

    Args:
        path: The file.

    Raises:
        BadWeights: The file is truncated, or its header is not valid.
        UnsafeFile: The file is a pickle, whatever its name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        header, data_start = _read_header(path)
        self.metadata: Mapping[str, str] = _metadata(path, header.pop("__metadata__", None))
        self._entries = _entries(path, header, path.stat().st_size - data_start)
        self._start = data_start
        self.shapes: Mapping[str, Shape] = {n: e.shape for n, e in self._entries.items() if not is_companion(n)}
        with path.open("rb") as file:
            # A private mapping: tensors can be changed in place without touching the file.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    def raw(self, name: str) -> Tensor:
        """Return a tensor as it is stored, without copying it.

        Raises:
            BadWeights: There is no tensor of that name.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise BadWeights(f"{self.path.name} has no tensor {name!r}{_nearest(name, self._entries)}.")
        elements = count(entry.shape)
        if elements == 0:
            return torch.empty(entry.shape, dtype=entry.dtype)
        offset = self._start + entry.start
        if offset % entry.dtype.itemsize:
            aligned = bytearray(self._map[offset : self._start + entry.end])
            return torch.frombuffer(aligned, dtype=entry.dtype).view(entry.shape)
        return torch.frombuffer(self._map, dtype=entry.dtype, count=elements, offset=offset).view(entry.shape)

    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """Return one tensor; 8-bit floats and scaled 8-bit integers are widened and multiplied by their scale.

        Args:
            name: A key of `shapes`.
            dtype: What floating-point tensors become; 8-bit ones become bfloat16 if it is not given.

        Raises:
            BadWeights: There is no tensor of that name, or its quantisation is not supported.
        """
        tensor = self.raw(name)
        scale = self._scale(name)
        if tensor.dtype in FLOAT8 or (tensor.dtype == torch.int8 and scale is not None):
            wide = tensor.to(torch.float32)
            return (wide if scale is None else wide * scale).to(dtype or torch.bfloat16)
        if scale is not None or name.removesuffix(".weight") + ".comfy_quant" in self._entries:
            raise BadWeights(
                f"{self.path.name}: {name!r} is quantised in a way that is not supported; use an fp8 file."
            )
        return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor

    def _scale(self, name: str) -> Tensor | None:
        stem, _, leaf = name.rpartition(".")
        if leaf != "weight":
            return None
        for suffix in SCALE_SUFFIXES:
            if stem + suffix in self._entries:
                scale = self.raw(stem + suffix).to(torch.float32).flatten()
                shape = self._entries[name].shape
                if len(scale) not in {1, shape[0] if shape else 1}:
                    raise BadWeights(f"{self.path.name}: {stem + suffix!r} must have one scale, or one for each row.")
                return scale.reshape(()) if len(scale) == 1 else scale.reshape(-1, *[1] * (len(shape) - 1))
        return None


class Shards:
    """A model that is cut into several safetensors files, held together by an index.

    Args:
        path: The index, a file that ends with ``.safetensors.index.json``.

    Raises:
        BadWeights: The index is not valid, names a file outside its folder, or does not agree with the files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        where = _weight_map(path)
        files = {shard: Safetensors(path.parent / shard) for shard in sorted(set(where.values()))}
        self._files: dict[str, Safetensors] = {}
        self.shapes: Mapping[str, Shape] = {}
        self.metadata: Mapping[str, str] = {}
        shapes: dict[str, Shape] = {}
        for name, shard in where.items():
            if is_companion(name):
                continue
            if name not in files[shard].shapes:
                raise BadWeights(f"{path.name} says that {shard} holds {name!r}, and it does not.")
            self._files[name] = files[shard]
            shapes[name] = files[shard].shapes[name]
        self.shapes = shapes
        for file in files.values():
            self.metadata = {**self.metadata, **file.metadata}

    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """Return one tensor; see `Safetensors.read`."""
        if name not in self._files:
            raise BadWeights(f"{self.path.name} has no tensor {name!r}{_nearest(name, self._files)}.")
        return self._files[name].read(name, dtype)


def open_weights(path: Path) -> WeightFile:
    """Open a weight file by what it holds; nothing in it is ever run.

    Args:
        path: A safetensors file, the index json of a sharded one, or a GGUF file.

    Raises:
        BadWeights: The file is missing, truncated or malformed.
        UnsafeFile: The file is a pickle, which can run code when it is opened.
    """
    if not path.is_file():
        raise BadWeights(f"There is no weight file {path}.")
    if path.name.endswith(INDEX_SUFFIX):
        return Shards(path)
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"GGUF":
        from keelbill.engine.gguf import Gguf

        return Gguf(path)
    return Safetensors(path)


def check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Look for NaN and infinity, in chunks, so that it costs one read and no memory.

    Raises:
        BadWeights: A tensor has one; the message names it.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.dtype in FLOAT8 or tensor.numel() == 0:
            continue
        for chunk in tensor.detach().reshape(-1).split(CHUNK):
            low, high = torch.aminmax(chunk)
            if not (torch.isfinite(low) and torch.isfinite(high)):
                raise BadWeights(f"The {what} is damaged: {name!r} holds NaN or infinite values.")


def check_names(expected: Mapping[str, Shape], found: Mapping[str, Shape], what: str) -> None:
    """Compare names and shapes.

    Raises:
        BadWeights: Something is missing, unexpected or of another shape; the message names the first of it, and
            the nearest name on the other side.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadWeights(
            f"The {what} lacks the tensor {missing[0]!r}{more}{_nearest(missing[0], unexpected or found)}."
        )
    if unexpected:
        more = f" and {len(unexpected) - 1} more" if len(unexpected) > 1 else ""
        raise BadWeights(
            f"The {what} has an unexpected tensor {unexpected[0]!r}{more}{_nearest(unexpected[0], expected)}."
        )
    for name, shape in expected.items():
        if tuple(found[name]) != tuple(shape):
            raise BadWeights(f"The {what} has {name!r} with shape {tuple(found[name])}; it must be {tuple(shape)}.")


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Fill a module with tensors, all or nothing.

    A module on the ``meta`` device takes the tensors themselves (cast to the type it declares), any other copies them.

    Args:
        module: What is filled; its own names and types count.
        tensors: All its parameters and persistent buffers.
        what: How an error should call it ("transformer").

    Raises:
        BadWeights: A name is missing or unexpected, a shape differs, or a value is not finite.
    """
    own = module.state_dict(keep_vars=True)
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    check_names(shapes, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, what)
    check_finite(tensors, what)
    ready = {name: tensors[name].to(slot.dtype) for name, slot in own.items()}
    module.load_state_dict(ready, strict=True, assign=any(slot.is_meta for slot in own.values()))


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; nearest: {near[0]!r}" if near else ""


def _refuse_pickle(path: Path, magic: bytes) -> None:
    if path.suffix.lower() in PICKLE_SUFFIXES or magic.startswith(PICKLE_MAGIC):
        raise UnsafeFile(
            f"{path.name} is a Python pickle, which can run any program when it is opened, so it is never opened here.",
            hint="Get the .safetensors version, or convert it on a machine that you can afford to lose.",
        )


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(9)
        length = int.from_bytes(start[:8], "little")
        plausible = len(start) == 9 and length <= MAX_HEADER_BYTES and start[8:] == b"{"
        _refuse_pickle(path, b"" if plausible else start)
        if len(start) < 9:
            raise BadWeights(f"{path.name} is truncated: it has {size} bytes, not even a header.")
        if length > MAX_HEADER_BYTES:
            raise BadWeights(f"{path.name} is not a safetensors file: its header would have {length} bytes.")
        if 8 + length > size:
            raise BadWeights(f"{path.name} is truncated: the header needs {8 + length} bytes and the file has {size}.")
        file.seek(8)
        return _parse_object(path, file.read(length)), 8 + length


def _parse_object(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice")
        return found

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise BadWeights(f"{path.name} has a header that is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadWeights(f"{path.name} has a header that is not a JSON object.")
    return value


def _metadata(path: Path, value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise BadWeights(f"{path.name} has metadata that is not a map of texts.")
    return {str(k): v for k, v in value.items()}


def _entries(path: Path, header: Mapping[str, Any], data_bytes: int) -> dict[str, _Entry]:
    if len(header) > MAX_TENSORS:
        raise BadWeights(f"{path.name} lists {len(header)} tensors; at most {MAX_TENSORS} are read.")
    entries = {name: _entry(path, name, value) for name, value in header.items()}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != end:
            fault = "overlaps another tensor" if entry.start < end else "leaves a gap before it"
            raise BadWeights(f"{path.name} is malformed: {name!r} {fault}.")
        end = entry.end
    if end > data_bytes:
        raise BadWeights(f"{path.name} is truncated: its tensors need {end} bytes and {data_bytes} are there.")
    if end < data_bytes:
        raise BadWeights(f"{path.name} is malformed: {data_bytes - end} bytes after the last tensor belong to none.")
    return entries


def _entry(path: Path, name: str, value: object) -> _Entry:
    match value:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [int(start), int(end)]}:
            pass
        case _:
            raise BadWeights(f"{path.name} is malformed: {name!r} needs a dtype, a shape and two offsets.")
    if code not in DTYPES:
        raise BadWeights(f"{path.name}: {name!r} has the unknown type {code!r}; known are {', '.join(DTYPES)}.")
    if not all(type(side) is int and 0 <= side < 2**48 for side in shape) or len(shape) > 8:
        raise BadWeights(f"{path.name} is malformed: {name!r} has a shape that cannot be.")
    if not 0 <= start <= end or count(shape) * DTYPES[code].itemsize != end - start:
        raise BadWeights(f"{path.name} is malformed: the offsets of {name!r} do not fit its shape.")
    return _Entry(DTYPES[code], tuple(shape), start, end)


def _weight_map(path: Path) -> dict[str, str]:
    if path.stat().st_size > MAX_HEADER_BYTES:
        raise BadWeights(f"{path.name} is too large for an index.")
    value = _parse_object(path, path.read_bytes()).get("weight_map")
    if not isinstance(value, dict) or not value or not all(isinstance(v, str) for v in value.values()):
        raise BadWeights(f"{path.name} has no weight_map of tensor names to file names.")
    for shard in sorted(set(value.values())):
        # Plain names only. Links are followed, because download caches are made of them.
        if shard != Path(shard).name or "\\" in shard or shard in {".", ".."} or not shard.endswith(".safetensors"):
            _refuse_pickle(Path(shard), b"")
            raise BadWeights(f"{path.name} names the shard {shard!r}; a shard must be a .safetensors file beside it.")
        if not (path.parent / shard).is_file():
            raise BadWeights(f"{path.name} names the shard {shard!r}, and there is no such file beside it.")
    return value
