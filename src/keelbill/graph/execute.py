"""Runs a graph: what is known is not done again, what is needed is done in a good order. Knows no node and no tensor.

It is plain code that runs from start to end in one thread; whoever wants to hear of it gives a listener.
"""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from keelbill.core.errors import InvalidInput, OutOfMemory
from keelbill.graph.cache import Cache, Done, NodeOutput
from keelbill.graph.errors import Interrupted, NodeFailed
from keelbill.graph.node import Blocked, Node, Result
from keelbill.graph.places import FARTHEST, Layout, Link, Place, as_link
from keelbill.graph.registry import load_builtin

if TYPE_CHECKING:
    from keelbill.graph.context import Context

__all__ = ["Executor", "Listener", "NodeOutput"]

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Hears what happens inside a run, in the thread of the run."""

    def cached(self, nodes: Sequence[str]) -> None:
        """Results of these nodes are known from earlier; told once, first of all."""
        ...

    def started(self, node: str, display: str) -> None:
        """A node begins; `display` is the node that people see for it."""
        ...

    def output(self, node: str, display: str, output: NodeOutput, *, is_cached: bool) -> None:
        """A node has something to show, now or from earlier."""
        ...

    def finished(self, node: str, display: str) -> None:
        """A node has ended well."""
        ...


class Silence:
    """A listener that does nothing."""

    def cached(self, nodes: Sequence[str]) -> None:
        """Ignore it."""

    def started(self, node: str, display: str) -> None:
        """Ignore it."""

    def output(self, node: str, display: str, output: NodeOutput, *, is_cached: bool) -> None:
        """Ignore it."""

    def finished(self, node: str, display: str) -> None:
        """Ignore it."""


class Executor:
    """Runs graphs of one account.

    Args:
        cache: Its earlier results.
        listener: Hears what happens.
        nodes: Classes by name; nothing means the registered ones.
        free: Called to make room when memory did not suffice, before a node is tried once more.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        listener: Listener | None = None,
        nodes: Mapping[str, type[Node]] | None = None,
        free: Callable[[], None] | None = None,
    ) -> None:
        self.cache = cache
        self.listener: Listener = listener or Silence()
        self.nodes = load_builtin() if nodes is None else nodes
        self.free = free

    def run(
        self,
        graph: Mapping[str, Any],
        outputs: Sequence[str],
        *,
        context: Callable[[str], Context],
        extra: Mapping[str, Any] | None = None,
        digests: Mapping[str, str] | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        """Run what the chosen outputs need; each result is told as soon as it is there.

        Args:
            graph: In the API format, validated.
            outputs: Ids of the output nodes to run.
            context: Returns what a node may reach, by its id.
            extra: What nodes are given as ``EXTRA_PNGINFO``.
            digests: Of the pictures that the graph names, by name.
            check: Raises `Interrupted` if somebody stopped the graph; called between nodes.

        Raises:
            NodeFailed: A node could not do its work.
            Interrupted: Somebody stopped the graph.
            InvalidInput: The graph has a circle, an unknown class or a link that leads nowhere.
        """
        layout = Layout(self.nodes, digests or {})
        layout.add(graph)
        _Run(self, layout, list(outputs), context, Hidden(graph, extra), check).run()


@dataclass(frozen=True)
class Hidden:
    """Values that nodes ask for without an input."""

    graph: Mapping[str, Any]
    extra: Mapping[str, Any] | None

    def of(self, place: Place) -> dict[str, Any]:
        """Return those that a place's class asks for; what it may not have is nothing."""
        known = {
            "PROMPT": self.graph,
            "DYNPROMPT": self.graph,
            "EXTRA_PNGINFO": self.extra,
            "UNIQUE_ID": place.id,
        }
        return {name: known.get(kind) for name, kind in place.kind.hidden.items()}


Slices = list[dict[str, Any]]
Gathered = Mapping[str, Sequence[Any]]


@dataclass
class _Unfolded:
    """A node whose place other nodes have taken: what it gives once they are done."""

    needs: list[str]
    rows: list[tuple[Any, ...]]
    output: NodeOutput | None


class _Run:
    def __init__(
        self,
        executor: Executor,
        layout: Layout,
        outputs: list[str],
        context: Callable[[str], Context],
        hidden: Hidden,
        check: Callable[[], None] | None,
    ) -> None:
        self._executor = executor
        self._listener = executor.listener
        self._cache = executor.cache
        self._layout = layout
        self._outputs = outputs
        self._context = context
        self._hidden = hidden
        self._check = check or (lambda: None)
        self._known: dict[str, Done] = {}
        self._done: dict[str, Done] = {}
        self._by_key: dict[str, Done] = {}
        self._executed: list[str] = []
        self._waiting: dict[str, set[str]] = {}  # places to do, with the lazy inputs that they have asked for
        self._unfolded: dict[str, _Unfolded] = {}
        self._distances: dict[str, int] = {}

    def run(self) -> None:
        self._recall()
        self._distances = self._layout.distances(self._outputs)
        for target in self._outputs:
            self._want(target)
        while self._waiting:
            place = self._layout.places[self._next()]
            try:
                self._check()
                self._visit(place)
            except Interrupted as error:
                error.node_id, error.node_type = place.display, place.kind.name
                error.executed = tuple(self._executed)
                raise

    def _recall(self) -> None:
        """Find what is known from earlier runs, and show it."""
        for name in self._layout.order(self._outputs):
            done = self._cache.get(self._key(name))
            if done is not None:
                self._known[name] = done
        self._listener.cached(list(self._known))
        for name, done in self._known.items():
            if done.output is not None:
                self._listener.output(name, name, done.output, is_cached=True)

    def _key(self, name: str) -> str:
        place = self._layout.places[name]
        try:
            return self._layout.key(name)
        except InvalidInput:
            raise
        except Exception as error:
            raise self._failed(place, error, {}) from error

    # ------------------------------------------------------------ what comes next

    def _want(self, target: str) -> None:
        """Note that a place's result is needed, and what it needs itself."""
        todo = [target]
        while todo:
            name = todo.pop()
            if name in self._done or name in self._waiting:
                continue
            if name in self._known:
                self._done[name] = self._known[name]
                continue
            self._waiting[name] = set()
            todo += [link.node for link in reversed(self._layout.places[name].prompt_links)]

    def _needs(self, name: str) -> list[str]:
        if name in self._unfolded:
            return self._unfolded[name].needs
        place, asked = self._layout.places[name], self._waiting[name]
        return [link.node for link in place.prompt_links] + [place.links[each].node for each in asked]

    def _next(self) -> str:
        """Choose among what can be done: outputs first, then what is nearest to one, then what was wanted first."""
        ready = [name for name in self._waiting if all(need in self._done for need in self._needs(name))]
        if not ready:
            raise InvalidInput("graph", ", ".join(self._waiting), "without circles")
        return min(ready, key=lambda name: self._distances.get(name, FARTHEST))

    # ------------------------------------------------------------ one node

    def _visit(self, place: Place) -> None:
        if place.id in self._unfolded:
            unfolded = self._unfolded.pop(place.id)
            self._finish(place, _assembled(place, unfolded.rows, self._done), unfolded.output)
            return
        twin = self._by_key.get(self._key(place.id))
        if twin is not None:
            self._listener.started(place.id, place.display)
            if twin.output is not None:
                self._listener.output(place.id, place.display, twin.output, is_cached=True)
            self._settle(place, twin)
            return
        gathered = self._gather(place)
        if self._asks_for_more(place, gathered):
            return
        self._listener.started(place.id, place.display)
        try:
            results = [self._call(place, values) for values in _slices(place, gathered)]
            self._take(place, results)
        except (Interrupted, NodeFailed):
            raise
        except Exception as error:
            raise self._failed(place, error, gathered) from error

    def _gather(self, place: Place) -> dict[str, Sequence[Any]]:
        """Return the elements of each input; lazy ones that nobody asked for are left out."""
        gathered: dict[str, Sequence[Any]] = {name: [value] for name, value in place.literals.items()}
        for name, link in place.links.items():
            if link.node in self._done:
                values = self._done[link.node].values
                if not 0 <= link.slot < len(values):
                    error = InvalidInput("link", f"{link.node}:{link.slot}", f"to one of {len(values)} outputs")
                    raise self._failed(place, error, {})
                gathered[name] = values[link.slot]
        return gathered

    def _asks_for_more(self, place: Place, gathered: Gathered) -> bool:
        """Let a node with lazy inputs say which it needs; note those that are not there yet."""
        if not any(each.is_lazy for each in place.kind.inputs):
            return False
        node = self._cache.instance(place.id, place.kind)
        try:
            wanted = {name for values in _slices(place, gathered) for name in node.wanted(**values)}
        except Exception as error:
            raise self._failed(place, error, gathered) from error
        more = [name for name in wanted if name in place.links and place.links[name].node not in self._done]
        self._waiting[place.id] |= set(more)
        for name in more:
            self._want(place.links[name].node)
        return any(place.links[name].node not in self._done for name in more)

    def _call(self, place: Place, values: dict[str, Any]) -> Result:
        """Run a node once, and once more if memory did not suffice."""
        blocked = _blocked(values, place)
        if blocked is not None:
            if blocked.message:
                raise InvalidInput("input", blocked.message, "a value that was not held back")
            return Result(tuple(Blocked() for _ in place.kind.outputs))
        lazy = {each.name: None for each in place.kind.inputs if each.is_lazy and each.name in place.links}
        values = lazy | values | self._hidden.of(place)
        node, context = self._cache.instance(place.id, place.kind), self._context(place.id)
        try:
            return _result(place.kind, node.run(context, **values))
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            error.__traceback__ = None  # it holds what the node was working on
        self._make_room()
        try:
            return _result(place.kind, node.run(context, **values))
        except Exception as error:
            if not _is_out_of_memory(error) or isinstance(error, OutOfMemory):
                raise
            raise OutOfMemory(
                "The node does not fit the memory of this machine.", hint="Try a smaller picture or batch."
            ) from error

    def _make_room(self) -> None:
        self._cache.shrink(0)
        if self._executor.free is not None:
            self._executor.free()
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _take(self, place: Place, results: list[Result]) -> None:
        """Keep what a node gave, or let the nodes that it unfolds into take its place."""
        output = _joined(results, self._key(place.id))
        rows: list[tuple[Any, ...]] = []
        needs: dict[str, None] = {}
        for turn, result in enumerate(results):
            if result.expand is None:
                rows.append(result.values)
                continue
            names = self._layout.add(result.expand, inside=f"{place.id}.{turn}.", display=place.display)
            links = [_inner(value, names) for value in result.values]
            rows.append(tuple(links))
            needs |= dict.fromkeys(link.node for link in links if isinstance(link, Link))
            needs |= dict.fromkeys(name for name in names.values() if self._layout.places[name].kind.is_output)
        if output is not None:
            self._listener.output(place.id, place.display, output, is_cached=False)
        if not needs:
            self._finish(place, _assembled(place, rows, self._done), output)
            return
        self._layout.order(needs)
        self._unfolded[place.id] = _Unfolded(list(needs), rows, output)
        for name in needs:
            self._want(name)

    def _finish(self, place: Place, values: tuple[tuple[Any, ...], ...], output: NodeOutput | None) -> None:
        done = Done(values, output)
        self._cache.put(self._key(place.id), done)
        self._settle(place, done)

    def _settle(self, place: Place, done: Done) -> None:
        self._done[place.id] = self._by_key[self._key(place.id)] = done
        del self._waiting[place.id]
        self._executed.append(place.id)
        self._listener.finished(place.id, place.display)

    def _failed(self, place: Place, error: Exception, gathered: Gathered) -> NodeFailed:
        failed = NodeFailed(
            place.display,
            place.kind.name,
            error,
            executed=self._executed,
            inputs={name: values[0] if len(values) == 1 else list(values) for name, values in gathered.items()},
        )
        if failed.code == "internal_error":
            log.error("node %s of class %s failed", place.id, place.kind.name, exc_info=error)
        return failed


# ------------------------------------------------------------ lists


def _slices(place: Place, gathered: Gathered) -> Slices:
    """Return the inputs of each time that a node is run: shorter lists repeat their last element."""
    if place.kind.takes_lists:
        return [{name: list(values) for name, values in gathered.items()}]
    if any(not values for values in gathered.values()):
        return []
    longest = max((len(values) for values in gathered.values()), default=1)
    return [{name: values[min(turn, len(values) - 1)] for name, values in gathered.items()} for turn in range(longest)]


def _assembled(place: Place, rows: Sequence[Sequence[Any]], done: Mapping[str, Done]) -> tuple[tuple[Any, ...], ...]:
    """Put what the runs of a node gave side by side, output by output."""
    columns: list[tuple[Any, ...]] = []
    for slot, output in enumerate(place.kind.outputs):
        elements: list[Any] = []
        for row in rows:
            value = row[slot]
            if isinstance(value, Link):
                elements += done[value.node].values[value.slot]
            elif output.is_list and isinstance(value, list | tuple):
                elements += value
            else:
                elements.append(value)
        columns.append(tuple(elements))
    return tuple(columns)


# ------------------------------------------------------------ results


def _result(kind: type[Node], given: Any) -> Result:
    """Bring what a node returned into one form.

    Raises:
        InvalidInput: It has more or fewer values than the class has outputs.
    """
    if isinstance(given, Blocked):
        return Result(tuple(given for _ in kind.outputs))
    if isinstance(given, Mapping):
        result = Result(tuple(given.get("result", ())), shown=given.get("ui", {}), expand=given.get("expand"))
    elif isinstance(given, Result):
        result = given
    else:
        result = Result(() if given is None else tuple(given))
    if len(result.values) != len(kind.outputs) and not (kind.is_output and not result.values):
        raise InvalidInput("result", len(result.values), f"one value for each of {len(kind.outputs)} outputs")
    if len(result.values) != len(kind.outputs):
        return replace(result, values=tuple(Blocked() for _ in kind.outputs))
    return result


def _joined(results: Sequence[Result], key: str) -> NodeOutput | None:
    """Put what the runs of a node show one after the other; nothing if it shows nothing."""
    files = tuple(file for result in results for file in result.files)
    shown: dict[str, Any] = {}
    for result in results:
        for name, value in result.shown.items():
            both = isinstance(value, list | tuple) and isinstance(shown.get(name), list)
            shown[name] = [*shown[name], *value] if both else list(value) if isinstance(value, tuple) else value
    if not files and not shown:
        return None
    return NodeOutput(shown, files, next((r.files_key for r in results if r.files), "images"), key)


def _inner(value: Any, names: Mapping[str, str]) -> Any:
    link = as_link(value)
    return Link(names[link.node], link.slot) if link is not None and link.node in names else value


def _blocked(values: Mapping[str, Any], place: Place) -> Blocked | None:
    for value in values.values():
        for each in value if place.kind.takes_lists and isinstance(value, list) else [value]:
            if isinstance(each, Blocked):
                return each
    return None


def _is_out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError | OutOfMemory) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    )
