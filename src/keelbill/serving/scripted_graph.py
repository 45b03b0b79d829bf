"""Plays a graph without a model: every node begins and ends, and those that save give flat pictures.

Knows how the news of a graph follow each other, so that everything above a worker can be tried without one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from keelbill.imaging.decode import ImageFormat
from keelbill.imaging.encode import encode
from keelbill.serving.messages import GraphFile, GraphNews, GraphTask

SIDE: Final = 16
SAVES: Final[Mapping[str, str]] = {"SaveImage": "output", "PreviewImage": "temp"}
SENDS: Final = "SaveImageWebsocket"
SERVED: Final = ("Stability", "SD3_Zho")
SAMPLERS: Final = frozenset({"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"})


class ScriptedGraphs:
    """What played graphs leave behind: nothing but what was known already, by tenant."""

    def __init__(self) -> None:
        self._known: dict[str, set[str]] = {}

    def play(self, task: GraphTask, *, previews: bool, default_steps: int) -> Iterator[GraphNews]:
        """Yield the news of a graph, in the order in which a worker gives them."""
        graph: dict[str, Any] = json.loads(task.prompt)
        known = self._known.setdefault(task.tenant, set())
        order = _order(graph, task.outputs)
        keys = {node: _key(graph, node, task) for node in order}
        cached = tuple(node for node in order if keys[node] in known and graph[node]["class_type"] != SENDS)
        yield GraphNews(kind="cached", nodes=cached)
        for node in order:
            kind = graph[node]["class_type"]
            if node in cached:
                if kind in SAVES:
                    yield _output(graph, node, keys[node], is_cached=True)
                continue
            yield GraphNews(kind="node", node=node, display=node)
            if kind in SAMPLERS:
                yield from _steps(graph, node, previews=previews, default_steps=default_steps)
            if kind in SAVES:
                yield _output(graph, node, keys[node], is_cached=False)
            if kind == SENDS:
                image = encode(_pixels(keys[node]), ImageFormat.PNG)
                yield GraphNews(kind="progress", node=node, display=node, value=1, total=1, image=image)
            yield GraphNews(kind="done", node=node, display=node)
            known.add(keys[node])


def painters(task: GraphTask) -> frozenset[str]:
    """Return the nodes of a graph that paint, so that a run of them is paid for."""
    graph: dict[str, Any] = json.loads(task.prompt)
    kinds = {node: str(facts["class_type"]) for node, facts in graph.items()}
    return frozenset(node for node, kind in kinds.items() if kind in SAMPLERS or kind.startswith(SERVED))


def _steps(graph: dict[str, Any], node: str, *, previews: bool, default_steps: int) -> Iterator[GraphNews]:
    given = graph[node]["inputs"].get("steps")
    total = given if isinstance(given, int) else default_steps
    image = encode(_pixels(node), ImageFormat.JPEG) if previews else None
    for step in range(1, total + 1):
        yield GraphNews(kind="progress", node=node, display=node, value=step, total=total, image=image)


def _output(graph: dict[str, Any], node: str, key: str, *, is_cached: bool) -> GraphNews:
    kind = graph[node]["class_type"]
    prefix = graph[node]["inputs"].get("filename_prefix") or "keelbill_temp"
    area: Any = SAVES[kind]
    content = encode(_pixels(key), ImageFormat.PNG)
    file = GraphFile(
        content=content,
        media_type="image/png",
        prefix=prefix,
        kind=area,
        key=f"{key}.0",
        width=SIDE,
        height=SIDE,
    )
    return GraphNews(kind="output", node=node, display=node, files=(file,), is_cached=is_cached)


def _order(graph: dict[str, Any], outputs: tuple[str, ...]) -> list[str]:
    found: dict[str, None] = {}
    todo = [(node, False) for node in reversed(outputs)]
    while todo:
        node, is_left = todo.pop()
        if is_left:
            found[node] = None
        elif node not in found:
            todo.append((node, True))
            todo += [(source, False) for source in reversed(_sources(graph, node))]
    return list(found)


def _sources(graph: dict[str, Any], node: str) -> list[str]:
    values = graph[node]["inputs"].values()
    return [value[0] for value in values if isinstance(value, list) and len(value) == 2 and value[0] in graph]


def _key(graph: dict[str, Any], node: str, task: GraphTask) -> str:
    inputs = graph[node]["inputs"]
    parts = {
        name: _key(graph, value[0], task)
        if isinstance(value, list)
        else task.files.get(value, value)
        if isinstance(value, str)
        else value
        for name, value in sorted(inputs.items())
    }
    text = json.dumps([graph[node]["class_type"], parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _pixels(seed: str) -> Any:
    digest = hashlib.sha256(seed.encode()).digest()
    return np.full((SIDE, SIDE, 3), list(digest[:3]), dtype=np.uint8)
