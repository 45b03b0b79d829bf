"""Counts an organisation's pictures by what filters ask for. Knows no rules and no single picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from keelbill.gallery.models import picture
from keelbill.gallery.schemas import Source


@dataclass(frozen=True)
class Facets:
    """How many pictures there are of each kind; pairs of a value and a count, the most frequent first.

    Attributes:
        total: All of them.
        models: That made them.
        sizes: Such as ``1024x768``.
        keys: Ids of the API keys with which they were asked for.
        sources: From where.
    """

    total: int
    models: list[tuple[str, int]]
    sizes: list[tuple[str, int]]
    keys: list[tuple[str, int]]
    sources: list[tuple[str, int]]


def source_of(kind: str, key_id: str) -> Source:
    """Say from where a picture was asked for."""
    if kind == "graph":
        return "graph"
    return "api" if key_id else "studio"


def count(connection: Connection, org_id: str) -> Facets:
    """Count an organisation's pictures, in one pass over an index."""
    table = picture.c
    groups = (table.model, table.width, table.height, table.kind, table.key_id)
    query = select(*groups, func.count()).where(table.org_id == org_id, table.deleted_ms == 0).group_by(*groups)
    models, sizes, keys, sources = (Counter[str]() for _ in range(4))
    for model, width, height, kind, key_id, pictures in connection.execute(query):
        models[model] += pictures
        sizes[f"{width}x{height}"] += pictures
        sources[source_of(kind, key_id)] += pictures
        if key_id:
            keys[key_id] += pictures
    found = (_ranked(counts) for counts in (models, sizes, keys, sources))
    return Facets(sources.total(), *found)


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
