"""Remembers what nodes gave, for each account by itself. Knows no graph and no node, only keys and sizes.

A key is made of content, never of node ids, so that equal work in two graphs of one account is done once.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from keelbill.core.errors import InvalidInput

if TYPE_CHECKING:
    from keelbill.graph.node import NewFile, Node

TENANT_BYTES: Final = 512 * 2**20
TOTAL_BYTES: Final = 4 * 2**30
KEPT_INSTANCES: Final = 512
_SMALL_BYTES: Final = 64


@dataclass(frozen=True)
class NodeOutput:
    """What clients are shown of a node.

    Attributes:
        shown: Such as ``{"text": ["…"]}``.
        files: New files, in order.
        files_key: Under which clients are shown the files.
        key: Of the node's result; the same content has the same key.
    """

    shown: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[NewFile, ...] = ()
    files_key: str = "images"
    key: str = ""


@dataclass(frozen=True)
class Done:
    """What a node gave.

    Attributes:
        values: For each output the elements of its list; mostly just one.
        output: What clients are shown; nothing for a node without.
    """

    values: tuple[tuple[Any, ...], ...]
    output: NodeOutput | None = None

    @property
    def size_bytes(self) -> int:
        """What it holds in memory."""
        output = self.output
        return size_of(self.values) + (size_of(output.files) + size_of(output.shown) if output else 0)


class Cache:
    """The results of one account; the least recently used are forgotten first. Safe to share between threads.

    Args:
        limit_bytes: Memory that the results may hold.

    Raises:
        InvalidInput: `limit_bytes` is negative.
    """

    def __init__(self, limit_bytes: int = TENANT_BYTES) -> None:
        if limit_bytes < 0:
            raise InvalidInput("limit_bytes", limit_bytes, "0 or more")
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._known: OrderedDict[str, tuple[Done, int]] = OrderedDict()
        self._nodes: OrderedDict[tuple[str, type[Node]], Node] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many results are known."""
        return len(self._known)

    def get(self, key: str) -> Done | None:
        """Return what is known under a key."""
        with self._lock:
            if key not in self._known:
                return None
            self._known.move_to_end(key)
            return self._known[key][0]

    def put(self, key: str, done: Done) -> None:
        """Remember a result, unless it is larger than all that may be remembered."""
        size_bytes = done.size_bytes
        with self._lock:
            if key in self._known:
                self.size_bytes -= self._known.pop(key)[1]
            if size_bytes <= self.limit_bytes:
                self._known[key] = done, size_bytes
                self.size_bytes += size_bytes
            self._shrink(self.limit_bytes)

    def shrink(self, limit_bytes: int) -> None:
        """Forget the oldest results until the rest holds no more than `limit_bytes`."""
        with self._lock:
            self._shrink(limit_bytes)

    def forget(self) -> None:
        """Forget everything."""
        with self._lock:
            self._known.clear()
            self._nodes.clear()
            self.size_bytes = 0

    def instance(self, node_id: str, kind: type[Node]) -> Node:
        """Return the node object of a place in the graph: the same one as in earlier runs, if there were any."""
        with self._lock:
            node = self._nodes.get((node_id, kind))
            if node is None:
                node = self._nodes[node_id, kind] = kind()
            self._nodes.move_to_end((node_id, kind))
            while len(self._nodes) > KEPT_INSTANCES:
                self._nodes.popitem(last=False)
            return node

    def _shrink(self, limit_bytes: int) -> None:
        while self.size_bytes > limit_bytes and self._known:
            self.size_bytes -= self._known.popitem(last=False)[1][1]


class Caches:
    """One cache for each account, and a bound for all of them together.

    Args:
        tenant_bytes: What one account's results may hold.
        total_bytes: What all may hold; accounts that have not come for longest lose theirs first.
    """

    def __init__(self, tenant_bytes: int = TENANT_BYTES, total_bytes: int = TOTAL_BYTES) -> None:
        self._tenant_bytes = tenant_bytes
        self._total_bytes = total_bytes
        self._caches: OrderedDict[str, Cache] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, tenant: str) -> Cache:
        """Return an account's cache."""
        with self._lock:
            cache = self._caches.setdefault(tenant, Cache(self._tenant_bytes))
            self._caches.move_to_end(tenant)
            # The newcomer may fill its own share before anyone looks again.
            excess = self._others_bytes(cache) + self._tenant_bytes - self._total_bytes
            for other in [each for each in self._caches if each != tenant]:
                if excess <= 0:
                    break
                excess -= self._caches.pop(other).size_bytes
            return cache

    def free(self) -> None:
        """Forget everything of everybody."""
        with self._lock:
            for cache in self._caches.values():
                cache.forget()

    def _others_bytes(self, cache: Cache) -> int:
        return sum(each.size_bytes for each in self._caches.values() if each is not cache)


def key_of(parts: Mapping[str, Any]) -> str:
    """Return the digest of what decides a result; the order of names does not matter.

    Returns:
        64 hexadecimal digits (SHA-256).
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def size_of(value: Any) -> int:
    """Estimate the memory that a value holds: tensors, bytes and text in full, other things by what they say."""
    if isinstance(value, str | bytes | bytearray):
        return _SMALL_BYTES + len(value)
    if isinstance(value, Mapping):
        return _SMALL_BYTES + sum(size_of(each) for each in value.values())
    if isinstance(value, Sequence | set | frozenset):
        return _SMALL_BYTES + sum(size_of(each) for each in value)
    for name in ("nbytes", "size_bytes"):
        size_bytes = getattr(value, name, None)
        if isinstance(size_bytes, int):
            return _SMALL_BYTES + size_bytes
    content = getattr(value, "content", None)
    return _SMALL_BYTES + (len(content) if isinstance(content, bytes) else 0)
