"""Running graphs of small nodes that count how often they work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import pytest

from keelbill.core.errors import AppError, InvalidInput, OutOfMemory
from keelbill.graph.cache import Cache, NodeOutput
from keelbill.graph.context import Context
from keelbill.graph.errors import Interrupted, NodeFailed
from keelbill.graph.execute import Executor
from keelbill.graph.node import ANY, Blocked, Input, NewFile, Node, Output, Result, integer, socket, switch, text

WORKED: list[str] = []


@pytest.fixture(autouse=True)
def _nobody_has_worked() -> None:
    WORKED.clear()


class Number(Node):
    name = "Number"
    inputs = (integer("value"),)
    outputs = (Output("INT"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        WORKED.append(context.node_id)
        return (values["value"],)


class Add(Node):
    name = "Add"
    inputs = (socket("a", "INT"), socket("b", "INT"))
    outputs = (Output("INT"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        WORKED.append(context.node_id)
        return (values["a"] + values["b"],)


class Show(Node):
    name = "Show"
    inputs = (socket("value", ANY),)
    is_output = True

    def run(self, context: Context, **values: Any) -> Result:
        WORKED.append(context.node_id)
        return Result(shown={"text": (str(values["value"]),)})


class Save(Node):
    name = "Save"
    inputs = (socket("value", ANY),)
    is_output = True

    def run(self, context: Context, **values: Any) -> Result:
        return Result(files=(NewFile(str(values["value"]).encode(), "text/plain", "n"),))


class Clock(Node):
    name = "Clock"
    outputs = (Output("INT"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        WORKED.append(context.node_id)
        return (len(WORKED),)

    @classmethod
    def change_token(cls, literals: Mapping[str, Any], files: Mapping[str, str]) -> float:
        return math.nan


class Picture(Node):
    name = "Picture"
    inputs = (text("image"),)
    outputs = (Output("IMAGE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        WORKED.append(context.node_id)
        return (values["image"],)

    @classmethod
    def change_token(cls, literals: Mapping[str, Any], files: Mapping[str, str]) -> str:
        return files[literals["image"]]


class Count(Node):
    name = "Count"
    inputs = (integer("to"),)
    outputs = (Output("INT", is_list=True),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        return (list(range(values["to"])),)


class Sum(Node):
    name = "Sum"
    inputs = (socket("values", "INT"), integer("scale"))
    outputs = (Output("INT"),)
    takes_lists = True

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        return (sum(values["values"]) * values["scale"][0],)


class Choose(Node):
    name = "Choose"
    inputs = (switch("first"), socket("a", "INT", lazy=True), socket("b", "INT", lazy=True))
    outputs = (Output("INT"),)

    def wanted(self, **values: Any) -> Sequence[str]:
        return ("a",) if values["first"] else ("b",)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        return (values["a"] if values["first"] else values["b"],)


class Gate(Node):
    name = "Gate"
    inputs = (socket("value", ANY), switch("open"), text("message"))
    outputs = (Output(ANY),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        return (values["value"] if values["open"] else Blocked(values["message"]),)


class Twice(Node):
    """Unfolds into an addition."""

    name = "Twice"
    inputs = (socket("value", "INT"),)
    outputs = (Output("INT"), Output("STRING"))

    def run(self, context: Context, **values: Any) -> Result:
        inner = {
            "n": {"class_type": "Number", "inputs": {"value": values["value"]}},
            "sum": {"class_type": "Add", "inputs": {"a": ["n", 0], "b": ["n", 0]}},
        }
        return Result((["sum", 0], "done"), expand=inner)


class Whoami(Node):
    name = "Whoami"
    outputs = (Output("STRING"),)
    hidden: ClassVar[Mapping[str, str]] = {
        "me": "UNIQUE_ID",
        "graph": "PROMPT",
        "extra": "EXTRA_PNGINFO",
        "secret": "API_KEY_COMFY_ORG",
    }

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        return (f"{values['me']} of {len(values['graph'])}, {values['extra']}, {values['secret']}",)


class OldStyle(Node):
    """Answers with dictionaries, as nodes of packs do."""

    name = "OldStyle"
    inputs = (integer("value"),)
    outputs = (Output("INT"),)
    is_output = True

    def run(self, context: Context, **values: Any) -> Any:
        return {"ui": {"text": ["shown"]}, "result": (values["value"],)}


class Wrong(Node):
    name = "Wrong"
    inputs = (socket("value", "INT"),)
    outputs = (Output("INT"),)
    failure: ClassVar[Exception] = InvalidInput("value", 3, "even")

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        raise self.failure


class Hungry(Node):
    name = "Hungry"
    outputs = (Output("INT"),)
    needs: ClassVar[int] = 1

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        WORKED.append(context.node_id)
        if len(WORKED) <= self.needs:
            raise MemoryError
        return (7,)


class Remembers(Node):
    name = "Remembers"
    inputs = (integer("value"),)
    outputs = (Output("INT"),)

    def __init__(self) -> None:
        self.seen = 0

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        self.seen += 1
        return (self.seen,)


KINDS: tuple[type[Node], ...] = (
    Number, Add, Show, Save, Clock, Picture, Count, Sum, Choose, Gate, Twice, Whoami, OldStyle, Wrong, Hungry,
    Remembers,
)  # fmt: skip
NODES = {kind.name: kind for kind in KINDS}


@dataclass
class Place:
    """All of a context that these nodes use."""

    node_id: str


@dataclass
class Diary:
    """Writes down what a run tells."""

    known: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    outputs: dict[str, NodeOutput] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    displays: dict[str, str] = field(default_factory=dict)

    def cached(self, nodes: Sequence[str]) -> None:
        self.known = list(nodes)

    def started(self, node: str, display: str) -> None:
        self.events.append(f"+{node}")
        self.displays[node] = display

    def output(self, node: str, display: str, output: NodeOutput, *, is_cached: bool) -> None:
        self.outputs[node] = output
        if is_cached:
            self.repeated.append(node)
        else:
            self.events.append(f"!{node}")

    def finished(self, node: str, display: str) -> None:
        self.events.append(f"-{node}")

    def text(self, node: str) -> str:
        return "|".join(self.outputs[node].shown["text"])


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def run(graph: Mapping[str, Any], *outputs: str, cache: Cache | None = None, **options: Any) -> Diary:
    diary = Diary()
    executor = Executor(cache or Cache(), listener=diary, nodes=NODES, free=options.pop("free", None))
    executor.run(graph, outputs, context=lambda name: cast(Context, Place(name)), **options)
    return diary


SUM = {
    "1": node("Number", value=2),
    "2": node("Number", value=3),
    "3": node("Add", a=["1", 0], b=["2", 0]),
    "4": node("Show", value=["3", 0]),
    "5": node("Number", value=99),
}


class TestOrder:
    def test_only_what_the_output_needs_runs_and_each_after_its_inputs(self) -> None:
        diary = run(SUM, "4")
        assert diary.events == ["+1", "-1", "+2", "-2", "+3", "-3", "+4", "!4", "-4"]
        assert diary.text("4") == "5"
        assert "5" not in WORKED

    def test_an_output_that_is_ready_comes_before_other_work(self) -> None:
        graph = {
            "long": node("Add", a=["1", 0], b=["2", 0]),
            "1": node("Number", value=1),
            "2": node("Number", value=2),
            "far": node("Show", value=["long", 0]),
            "near": node("Show", value=["1", 0]),
        }
        run(graph, "far", "near")
        assert WORKED == ["1", "near", "2", "long", "far"]

    def test_circle(self) -> None:
        graph = {"1": node("Add", a=["2", 0], b=["2", 0]), "2": node("Add", a=["1", 0], b=["1", 0])}
        with pytest.raises(InvalidInput, match="without circles"):
            run(graph, "1")

    def test_link_to_nowhere(self) -> None:
        with pytest.raises(InvalidInput, match="to a node of the graph"):
            run({"1": node("Show", value=["9", 0])}, "1")

    def test_link_to_an_output_that_is_not_there(self) -> None:
        with pytest.raises(NodeFailed, match="to one of 1 outputs"):
            run({"1": node("Number", value=1), "2": node("Show", value=["1", 4])}, "2")

    def test_chain_of_the_longest_graph(self) -> None:
        graph = {"0": node("Number", value=1)}
        graph |= {str(i): node("Add", a=[str(i - 1), 0], b=[str(i - 1), 0]) for i in range(1, 499)}
        graph["499"] = node("Show", value=["498", 0])
        assert run(graph, "499").text("499") == str(2**498)

    def test_inputs_that_a_class_does_not_know_are_left_out(self) -> None:
        graph = {"1": node("Number", value=1, upload="image"), "2": node("Show", value=["1", 0])}
        assert run(graph, "2").text("2") == "1"

    def test_wrapped_list_is_a_value(self) -> None:
        assert run({"2": node("Show", value={"__value__": ["1", 0]})}, "2").text("2") == "['1', 0]"


class TestCache:
    def test_second_run_does_nothing_and_shows_the_same(self) -> None:
        cache = Cache()
        first = run(SUM, "4", cache=cache)
        WORKED.clear()
        second = run(SUM, "4", cache=cache)
        assert WORKED == []
        assert set(second.known) == {"1", "2", "3", "4"}
        assert second.repeated == ["4"]
        assert second.outputs["4"] == first.outputs["4"]

    def test_other_node_ids_make_no_difference(self) -> None:
        cache = Cache()
        run(SUM, "4", cache=cache)
        renamed = {
            "x": node("Number", value=2),
            "y": node("Number", value=3),
            "z": node("Add", a=["x", 0], b=["y", 0]),
            "end": node("Show", value=["z", 0]),
        }
        assert set(run(renamed, "end", cache=cache).known) == {"x", "y", "z", "end"}

    def test_changed_value_runs_what_depends_on_it(self) -> None:
        cache = Cache()
        run(SUM, "4", cache=cache)
        WORKED.clear()
        changed = run({**SUM, "2": node("Number", value=4)}, "4", cache=cache)
        assert changed.known == ["1"]
        assert WORKED == ["2", "3", "4"]
        assert changed.text("4") == "6"

    def test_equal_nodes_of_one_graph_work_once(self) -> None:
        graph = {
            "1": node("Number", value=2),
            "2": node("Number", value=2),
            "3": node("Add", a=["1", 0], b=["2", 0]),
            "4": node("Show", value=["3", 0]),
        }
        assert run(graph, "4").text("4") == "4"
        assert WORKED == ["1", "3", "4"]

    def test_not_a_number_never_holds(self) -> None:
        cache = Cache()
        graph = {"1": node("Clock"), "2": node("Show", value=["1", 0])}
        run(graph, "2", cache=cache)
        assert run(graph, "2", cache=cache).known == []
        assert WORKED == ["1", "2", "1", "2"]

    def test_changed_file_of_the_same_name(self) -> None:
        cache = Cache()
        graph = {"1": node("Picture", image="cat.png"), "2": node("Show", value=["1", 0])}
        run(graph, "2", cache=cache, digests={"cat.png": "aa"})
        assert run(graph, "2", cache=cache, digests={"cat.png": "aa"}).known == ["1", "2"]
        assert run(graph, "2", cache=cache, digests={"cat.png": "bb"}).known == []

    def test_node_that_asks_for_its_id_is_not_shared(self) -> None:
        cache = Cache()
        run({"1": node("Whoami"), "2": node("Show", value=["1", 0])}, "2", cache=cache)
        assert run({"9": node("Whoami"), "2": node("Show", value=["9", 0])}, "2", cache=cache).known == []

    def test_new_files_are_shown_again(self) -> None:
        cache = Cache()
        graph = {"1": node("Number", value=5), "2": node("Save", value=["1", 0])}
        first, second = run(graph, "2", cache=cache), run(graph, "2", cache=cache)
        assert first.outputs["2"].files[0].content == b"5"
        assert second.outputs["2"] == first.outputs["2"]
        assert first.outputs["2"].key != ""

    def test_node_object_is_kept_between_runs(self) -> None:
        cache = Cache()
        for value, seen in ((1, "1"), (2, "2")):
            graph = {"1": node("Remembers", value=value), "2": node("Show", value=["1", 0])}
            assert run(graph, "2", cache=cache).text("2") == seen


class TestLists:
    def test_node_runs_for_each_element(self) -> None:
        graph = {
            "1": node("Count", to=3),
            "2": node("Number", value=10),
            "3": node("Add", a=["1", 0], b=["2", 0]),
            "4": node("Show", value=["3", 0]),
        }
        assert run(graph, "4").text("4") == "10|11|12"

    def test_shorter_list_repeats_its_last_element(self) -> None:
        graph = {
            "1": node("Count", to=4),
            "2": node("Count", to=2),
            "3": node("Add", a=["1", 0], b=["2", 0]),
            "4": node("Show", value=["3", 0]),
        }
        assert run(graph, "4").text("4") == "0|2|3|4"

    def test_node_that_takes_lists_runs_once(self) -> None:
        graph = {
            "1": node("Count", to=4),
            "2": node("Sum", values=["1", 0], scale=10),
            "3": node("Show", value=["2", 0]),
        }
        assert run(graph, "3").text("3") == "60"

    def test_empty_list_leaves_its_receivers_out(self) -> None:
        graph = {"1": node("Count", to=0), "2": node("Show", value=["1", 0])}
        assert run(graph, "2").outputs == {}


class TestLazy:
    @pytest.mark.parametrize(("first", "expected", "worked"), [(True, "1", ["a"]), (False, "2", ["b"])])
    def test_only_the_input_that_is_asked_for_is_evaluated(self, first: bool, expected: str, worked: list[str]) -> None:
        graph = {
            "a": node("Number", value=1),
            "b": node("Number", value=2),
            "c": node("Choose", first=first, a=["a", 0], b=["b", 0]),
            "d": node("Show", value=["c", 0]),
        }
        assert run(graph, "d").text("d") == expected
        assert [each for each in WORKED if each in "ab"] == worked


class TestBlocked:
    def gated(self, is_open: bool, message: str = "") -> dict[str, Any]:
        return {
            "1": node("Number", value=1),
            "2": node("Gate", value=["1", 0], open=is_open, message=message),
            "3": node("Add", a=["2", 0], b=["1", 0]),
            "4": node("Show", value=["3", 0]),
            "5": node("Show", value=["1", 0]),
        }

    def test_receivers_are_left_out_silently(self) -> None:
        diary = run(self.gated(is_open=False), "4", "5")
        assert set(diary.outputs) == {"5"}
        assert run(self.gated(is_open=True), "4", "5").text("4") == "2"

    def test_message_is_an_error_of_the_receiver(self) -> None:
        with pytest.raises(NodeFailed, match="not today") as failed:
            run(self.gated(is_open=False, message="not today"), "4")
        assert failed.value.node_id == "3"


class TestUnfolding:
    GRAPH: ClassVar[dict[str, Any]] = {
        "1": node("Number", value=21),
        "2": node("Twice", value=["1", 0]),
        "3": node("Show", value=["2", 0]),
        "4": node("Show", value=["2", 1]),
    }

    def test_inner_nodes_run_under_the_visible_one(self) -> None:
        diary = run(self.GRAPH, "3", "4")
        assert (diary.text("3"), diary.text("4")) == ("42", "done")
        assert diary.displays["2.0.sum"] == "2"
        assert diary.events.index("-2.0.sum") < diary.events.index("-2")

    def test_whole_is_known_the_second_time(self) -> None:
        cache = Cache()
        run(self.GRAPH, "3", cache=cache)
        assert set(run(self.GRAPH, "3", cache=cache).known) == {"1", "2", "3"}

    def test_each_element_of_a_list_unfolds(self) -> None:
        graph = {"1": node("Count", to=3), "2": node("Twice", value=["1", 0]), "3": node("Show", value=["2", 0])}
        assert run(graph, "3").text("3") == "0|2|4"


class TestResults:
    def test_hidden_values_and_no_secrets(self) -> None:
        graph = {"1": node("Whoami"), "2": node("Show", value=["1", 0])}
        assert run(graph, "2", extra={"workflow": 1}).text("2") == "1 of 2, {'workflow': 1}, None"

    def test_dictionaries_of_packs(self) -> None:
        graph = {"1": node("OldStyle", value=8), "2": node("Show", value=["1", 0])}
        diary = run(graph, "1", "2")
        assert (diary.text("1"), diary.text("2")) == ("shown", "8")

    def test_wrong_number_of_values(self) -> None:
        class Short(Node):
            name = "Short"
            outputs = (Output("INT"), Output("INT"))

            def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
                return (1,)

        executor = Executor(Cache(), nodes={**NODES, "Short": Short})
        graph = {"1": node("Short"), "2": node("Show", value=["1", 1])}
        with pytest.raises(NodeFailed, match="one value for each of 2 outputs"):
            executor.run(graph, ["2"], context=lambda name: cast(Context, Place(name)))


class TestFailures:
    GRAPH: ClassVar[dict[str, Any]] = {
        "1": node("Number", value=3),
        "2": node("Show", value=["1", 0]),
        "3": node("Wrong", value=["1", 0]),
        "4": node("Show", value=["3", 0]),
    }

    def test_first_failure_ends_the_run_and_outputs_stay(self) -> None:
        diary = Diary()
        executor = Executor(Cache(), listener=diary, nodes=NODES)
        with pytest.raises(NodeFailed) as failed:
            executor.run(self.GRAPH, ["2", "4"], context=lambda name: cast(Context, Place(name)))
        assert diary.text("2") == "3"
        assert failed.value.code == "invalid_input"
        assert failed.value.detail() == {
            "node_id": "3",
            "node_type": "Wrong",
            "exception_type": "InvalidInput",
            "executed": ["1", "2"],
            "current_inputs": {"value": ["3"]},
        }

    def test_words_of_the_unexpected_are_for_the_log_alone(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(Wrong, "failure", KeyError("/secret/path"))
        with pytest.raises(NodeFailed) as failed:
            run(self.GRAPH, "4")
        assert failed.value.code == "internal_error"
        assert "secret" not in str(failed.value) + str(failed.value.detail())
        assert "node 3 of class Wrong failed" in caplog.text

    def test_large_inputs_are_not_repeated(self) -> None:
        failed = NodeFailed("1", "X", AppError("no"), inputs={"text": "a" * 5000, "model": object(), "none": None})
        inputs = failed.detail()["current_inputs"]
        assert len(inputs["text"][0]) == 120
        assert (inputs["model"], inputs["none"]) == (["object"], ["None"])

    def test_memory_is_freed_and_the_node_tried_again(self) -> None:
        freed: list[str] = []
        graph = {"1": node("Hungry"), "2": node("Show", value=["1", 0])}
        diary = run(graph, "2", free=lambda: freed.append("models"))
        assert diary.text("2") == "7"
        assert freed == ["models"]
        assert WORKED == ["1", "1", "2"]

    def test_memory_does_not_suffice_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Hungry, "needs", 2)
        with pytest.raises(NodeFailed, match="smaller picture") as failed:
            run({"1": node("Hungry"), "2": node("Show", value=["1", 0])}, "2")
        assert failed.value.code == OutOfMemory.code


class TestInterrupt:
    def test_stop_between_nodes(self) -> None:
        def check() -> None:
            if "1" in WORKED:
                raise Interrupted

        with pytest.raises(Interrupted) as stopped:
            run(SUM, "4", check=check)
        assert WORKED == ["1"]
        assert stopped.value.code == "cancelled"
        assert stopped.value.detail() == {"node_id": "2", "node_type": "Number", "executed": ["1"]}

    def test_stop_inside_a_node(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Wrong, "failure", Interrupted())
        with pytest.raises(Interrupted) as stopped:
            run(TestFailures.GRAPH, "2", "4")
        assert (stopped.value.node_id, stopped.value.executed) == ("3", ("1", "2"))


def test_unknown_class() -> None:
    with pytest.raises(InvalidInput, match="one that this server knows"):
        run({"1": node("Nothing")}, "1")


def test_inputs_are_declared_for_every_test_node() -> None:
    assert all(isinstance(each, Input) for kind in KINDS for each in kind.inputs)
