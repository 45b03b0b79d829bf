"""Reads GGUF files with simple block quantisation and widens their weights. Knows no model and no names.

The layout is that of the GGUF specification (versions 2 and 3); the blocks of 32 weights are those of the ggml library.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from keelbill.core.errors import BadWeights

MAX_STRING = 2**20
MAX_ITEMS = 100_000
MAX_ARRAY = 10_000_000
BLOCK = 32
ORIGINAL_SHAPE = "comfy.gguf.orig_shape."

PLAIN = {0: torch.float32, 1: torch.float16, 30: torch.bfloat16}
# ggml type: name, bytes of a block of 32 weights.
BLOCKED = {2: ("Q4_0", 18), 3: ("Q4_1", 20), 6: ("Q5_0", 22), 7: ("Q5_1", 24), 8: ("Q8_0", 34)}
# Value type of a metadata entry: struct code.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9

Shape = tuple[int, ...]
Value = int | float | bool | str | list["int | float | bool | str"]


@dataclass(frozen=True)
class _Entry:
    kind: int
    shape: Shape
    elements: int
    start: int
    end: int


class _Cursor:
    """Reads little-endian values one after the other and refuses to run past the end."""

    def __init__(self, name: str, data: mmap.mmap) -> None:
        self.name = name
        self.data = data
        self.at = 0

    def take(self, code: str) -> int | float | bool:
        """Return one number."""
        size = struct.calcsize("<" + code)
        if self.at + size > len(self.data):
            raise BadWeights(f"{self.name} is truncated inside its header.")
        value: int | float | bool = struct.unpack_from("<" + code, self.data, self.at)[0]
        self.at += size
        return value

    def count(self, limit: int, what: str) -> int:
        """Return a count that is at most `limit`."""
        value = int(self.take("Q"))
        if value > limit:
            raise BadWeights(f"{self.name} is malformed: it claims {value} {what}, and at most {limit} are read.")
        return value

    def text(self) -> str:
        """Return one string."""
        length = self.count(MAX_STRING, "bytes of text")
        raw = self.data[self.at : self.at + length]
        if len(raw) != length:
            raise BadWeights(f"{self.name} is truncated inside its header.")
        self.at += length
        return raw.decode("utf-8", errors="replace")

    def value(self) -> Value:
        """Return one metadata value; nested arrays do not occur in weight files and are refused."""
        kind = int(self.take("I"))
        if kind != ARRAY:
            return self._item(kind)
        inner = int(self.take("I"))
        return [self._item(inner) for _ in range(self.count(MAX_ARRAY, "items"))]

    def _item(self, kind: int) -> int | float | bool | str:
        if kind == STRING:
            return self.text()
        if kind not in SCALARS:
            raise BadWeights(f"{self.name} is malformed: metadata of the unknown type {kind}.")
        return self.take(SCALARS[kind])


class Gguf:
    """One GGUF file, mapped into memory.

    Args:
        path: The file.

    Raises:
        BadWeights: The file is truncated or malformed, or a tensor has a type that is not supported.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        cursor = _Cursor(path.name, self._map)
        cursor.at = 4
        version = cursor.take("I")
        if version not in (2, 3):
            raise BadWeights(f"{path.name} is a GGUF file of version {version}; versions 2 and 3 are read.")
        tensors = cursor.count(MAX_ITEMS, "tensors")
        values = {cursor.text(): cursor.value() for _ in range(cursor.count(MAX_ITEMS, "metadata entries"))}
        self.metadata: Mapping[str, str] = {k: str(v) for k, v in values.items() if not isinstance(v, list)}
        self._entries = self._read_entries(cursor, tensors, values)
        self.shapes: Mapping[str, Shape] = {name: entry.shape for name, entry in self._entries.items()}

    def _read_entries(self, cursor: _Cursor, tensors: int, values: Mapping[str, Value]) -> dict[str, _Entry]:
        infos: list[tuple[str, Shape, int, int]] = []
        for _ in range(tensors):
            name = cursor.text()
            axes = int(cursor.take("I"))
            if axes > 8:
                raise BadWeights(f"{self.path.name} is malformed: {name!r} has {axes} axes.")
            shape = tuple(reversed([int(cursor.take("Q")) for _ in range(axes)]))
            infos.append((name, shape, int(cursor.take("I")), int(cursor.take("Q"))))
        alignment = values.get("general.alignment", 32)
        step = alignment if isinstance(alignment, int) and 0 < alignment <= 2**20 else 32
        start = -(-cursor.at // step) * step
        return {info[0]: self._entry(*info, values.get(ORIGINAL_SHAPE + info[0]), start) for info in infos}

    def _entry(self, name: str, shape: Shape, kind: int, offset: int, original: Value | None, start: int) -> _Entry:
        elements = 1
        for side in shape:
            elements *= side
        if kind in PLAIN:
            size = elements * PLAIN[kind].itemsize
        elif kind in BLOCKED and elements % BLOCK == 0:
            size = elements // BLOCK * BLOCKED[kind][1]
        else:
            known = ", ".join(["F32", "F16", "BF16", *(name for name, _ in BLOCKED.values())])
            raise BadWeights(f"{self.path.name}: {name!r} has the GGUF type {kind}; supported are {known}.")
        begin = start + offset
        if begin + size > len(self._map):
            raise BadWeights(f"{self.path.name} is truncated: {name!r} ends after the end of the file.")
        if isinstance(original, list):
            sides = tuple(int(side) for side in original)
            product = 1
            for side in sides:
                product *= side
            if product != elements:
                raise BadWeights(f"{self.path.name} is malformed: the original shape of {name!r} does not fit it.")
            shape = sides
        return _Entry(kind, shape, elements, begin, begin + size)

    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """Return one tensor, widened.

        Args:
            name: A key of `shapes`.
            dtype: What it becomes; blocks become bfloat16 if it is not given.

        Raises:
            BadWeights: There is no tensor of that name.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise BadWeights(f"{self.path.name} has no tensor {name!r}.")
        if entry.elements == 0:
            return torch.empty(entry.shape, dtype=dtype or torch.float32)
        stored = torch.frombuffer(self._map, dtype=torch.uint8, count=entry.end - entry.start, offset=entry.start)
        if entry.kind in PLAIN:
            plain = stored.view(PLAIN[entry.kind]).view(entry.shape)
            return plain if dtype is None else plain.to(dtype)
        code, block_bytes = BLOCKED[entry.kind]
        wide = _widen(code, stored.view(-1, block_bytes))
        return wide.view(entry.shape).to(dtype or torch.bfloat16)


def _half(blocks: Tensor, start: int) -> Tensor:
    return blocks[:, start : start + 2].contiguous().view(torch.float16).float()


def _widen(code: str, blocks: Tensor) -> Tensor:
    """Turn blocks with shape ``(n, bytes)`` into weights with shape ``(n, 32)`` in float32."""
    scale = _half(blocks, 0)
    if code == "Q8_0":
        return scale * blocks[:, 2:].contiguous().view(torch.int8).float()
    has_minimum = code.endswith("_1")
    at = 4 if has_minimum else 2
    high: Tensor | None = None
    if code.startswith("Q5"):
        bits = torch.arange(8, dtype=torch.uint8)
        high = ((blocks[:, at : at + 4, None] >> bits) & 1).reshape(len(blocks), BLOCK)
        at += 4
    nibbles = blocks[:, at : at + 16]
    q = torch.cat([nibbles & 15, nibbles >> 4], dim=1)
    if high is not None:
        q = q | (high << 4)
    if has_minimum:
        return scale * q.float() + _half(blocks, 2)
    return scale * (q.float() - (8 if high is None else 16))
