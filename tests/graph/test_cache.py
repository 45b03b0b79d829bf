"""What is remembered, for whom, and what is forgotten first."""

from __future__ import annotations

import pytest
import torch

from keelbill.core.errors import InvalidInput
from keelbill.graph.cache import Cache, Caches, Done, NodeOutput, key_of, size_of
from keelbill.graph.node import NewFile


def done(size_bytes: int) -> Done:
    return Done(((torch.zeros(size_bytes, dtype=torch.uint8),),))


def test_least_recently_used_is_forgotten_first() -> None:
    cache = Cache(limit_bytes=3000)
    for key in "ab":
        cache.put(key, done(1000))
    assert cache.get("a") is not None
    cache.put("c", done(1000))
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.size_bytes <= 3000


def test_result_larger_than_the_bound_is_not_kept() -> None:
    cache = Cache(limit_bytes=1000)
    cache.put("small", done(100))
    cache.put("large", done(2000))
    assert cache.get("large") is None
    assert cache.get("small") is not None


def test_replaced_result_counts_once() -> None:
    cache = Cache()
    cache.put("a", done(1000))
    before = cache.size_bytes
    cache.put("a", done(1000))
    assert cache.size_bytes == before
    assert cache.count == 1


def test_forget() -> None:
    cache = Cache()
    cache.put("a", done(10))
    cache.forget()
    assert (cache.count, cache.size_bytes, cache.get("a")) == (0, 0, None)


def test_bound_below_nothing() -> None:
    with pytest.raises(InvalidInput, match="limit_bytes -1"):
        Cache(-1)


def test_accounts_share_nothing() -> None:
    caches = Caches()
    caches.of("ann").put("a", done(10))
    assert caches.of("bob").get("a") is None
    assert caches.of("ann").get("a") is not None


def test_all_together_are_bounded() -> None:
    caches = Caches(tenant_bytes=2000, total_bytes=5000)
    for name in ("ann", "bob", "cem"):
        caches.of(name).put("a", done(1500))
    assert caches.of("ann").get("a") is None  # came first and not since
    assert caches.of("cem").get("a") is not None


def test_free_forgets_everybody() -> None:
    caches = Caches()
    caches.of("ann").put("a", done(10))
    caches.free()
    assert caches.of("ann").get("a") is None


def test_order_of_names_does_not_change_a_key() -> None:
    assert key_of({"a": 1, "b": [2, "x"]}) == key_of({"b": [2, "x"], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": "1"})
    assert len(key_of({"a": "\ud800"})) == 64


def test_sizes() -> None:
    assert size_of(torch.zeros(10, 10)) >= 400
    assert size_of({"samples": torch.zeros(100)}) >= 400
    assert size_of([b"x" * 500, "y" * 500]) >= 1000
    assert size_of(3) < 200
    shown = NodeOutput(files=(NewFile(b"z" * 900, "image/png", "p"),))
    assert Done((), shown).size_bytes >= 900
