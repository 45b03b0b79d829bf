"""What a node is: its name, its inputs and outputs, and what it does. Knows no graph, no file and no tensor library.

A node is one class. Its declaration makes the definition that clients read, the validation and the documentation;
its `run` does the work, in a worker. Whatever needs torch is imported inside `run`, so that the server, which only
reads declarations, stays free of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from keelbill.core.errors import InvalidInput

if TYPE_CHECKING:
    from keelbill.graph.context import Context

MAX_SEED: Final = 2**64 - 1
ANY: Final = "*"
SEEDS: Final = frozenset({"seed", "noise_seed"})
"""Inputs that editors take for seeds by their name."""

Literals = Mapping[str, Any]
"""Values of a node's inputs that are not links, by name."""


@dataclass(frozen=True)
class Input:
    """One input of a node; made by the functions below.

    Attributes:
        name: As workflows write it.
        type: ``INT``, ``FLOAT``, ``STRING``, ``BOOLEAN``, ``COMBO``, or a socket's type such as ``MODEL``; ``*`` takes
            everything, a comma-separated list takes any of its types.
        default: Value of a widget; nothing for a socket.
        low: Least number.
        high: Greatest number.
        step: Between numbers, for the editor only.
        round: To which the editor rounds; nothing leaves it to the editor.
        choices: Of a fixed ``COMBO``.
        folder: Of a ``COMBO`` of files: ``checkpoints``, ``loras`` …, or ``input`` and ``output`` for pictures of the
            account.
        is_optional: Whether the node runs without it.
        is_socket: Whether it is always a socket, although its type has a widget.
        is_lazy: Whether it is evaluated only if the node asks for it.
        is_advanced: Whether the editor hides it at first.
        is_multiline: Of a ``STRING``.
        is_dynamic: Whether choice groups and comments in a ``STRING`` are resolved.
        has_control: Whether the editor adds its "control after generate" widget.
        has_upload: Whether the editor adds a button for uploading a picture.
        display: ``number``, ``slider``, ``knob`` or ``color``; "" leaves it to the editor.
        tooltip: One sentence for people.
    """

    name: str
    type: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    step: float | None = None
    round: float | None = None
    choices: tuple[str, ...] = ()
    folder: str = ""
    is_optional: bool = False
    is_socket: bool = False
    is_lazy: bool = False
    is_advanced: bool = False
    is_multiline: bool = False
    is_dynamic: bool = False
    has_control: bool = False
    has_upload: bool = False
    display: str = ""
    tooltip: str = ""

    @property
    def is_widget(self) -> bool:
        """Whether the editor shows a field for it and saved workflows hold its value."""
        return self.type in {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"} and not self.is_socket

    @property
    def has_extra_value(self) -> bool:
        """Whether saved workflows hold a value of the editor's own after its value: seed control or upload button."""
        return self.has_upload or (self.type == "INT" and (self.has_control or self.name in SEEDS))


def socket(name: str, type: str, *, optional: bool = False, lazy: bool = False, tooltip: str = "") -> Input:  # noqa: A002
    """Return an input that only a link can fill."""
    return Input(name, type, is_optional=optional, is_socket=True, is_lazy=lazy, tooltip=tooltip)


def integer(
    name: str,
    default: int = 0,
    low: int = 0,
    high: int = 16384,
    step: int = 1,
    *,
    control: bool = False,
    display: str = "",
    optional: bool = False,
    tooltip: str = "",
) -> Input:
    """Return a field for a whole number from `low` to `high`."""
    return Input(
        name, "INT", default, low, high, step,
        is_optional=optional, has_control=control, display=display, tooltip=tooltip,
    )  # fmt: skip


def number(
    name: str,
    default: float,
    low: float,
    high: float,
    step: float = 0.01,
    *,
    round: float | None = None,  # noqa: A002
    optional: bool = False,
    tooltip: str = "",
) -> Input:
    """Return a field for a number from `low` to `high`."""
    return Input(name, "FLOAT", default, low, high, step, round, is_optional=optional, tooltip=tooltip)


def text(
    name: str,
    default: str = "",
    *,
    multiline: bool = False,
    dynamic: bool = False,
    socket_only: bool = False,
    optional: bool = False,
    tooltip: str = "",
) -> Input:
    """Return a field for text."""
    return Input(
        name, "STRING", default,
        is_optional=optional, is_socket=socket_only, is_multiline=multiline, is_dynamic=dynamic, tooltip=tooltip,
    )  # fmt: skip


def switch(name: str, default: bool = False, *, optional: bool = False, tooltip: str = "") -> Input:
    """Return a field for yes or no."""
    return Input(name, "BOOLEAN", default, is_optional=optional, tooltip=tooltip)


def choice(
    name: str,
    choices: Sequence[str],
    default: str | None = None,
    *,
    advanced: bool = False,
    optional: bool = False,
    tooltip: str = "",
) -> Input:
    """Return a field for one of some names; the first is the default if none is given."""
    kept = tuple(choices)
    return Input(
        name, "COMBO", default if default is not None else kept[0],
        choices=kept, is_advanced=advanced, is_optional=optional, tooltip=tooltip,
    )  # fmt: skip


def file(name: str, folder: str, *, upload: bool = False, tooltip: str = "") -> Input:
    """Return a field for one of the files of a folder, which are looked up when somebody asks."""
    return Input(name, "COMBO", folder=folder, has_upload=upload, tooltip=tooltip)


@dataclass(frozen=True)
class Output:
    """One output of a node.

    Attributes:
        type: Such as ``IMAGE``.
        name: For people; "" means the type.
        is_list: Whether it is a list whose elements the next node takes one by one.
        tooltip: One sentence for people.
    """

    type: str
    name: str = ""
    is_list: bool = False
    tooltip: str = ""


@dataclass(frozen=True)
class NewFile:
    """A file that a node made; whoever runs the graph gives it its final name.

    Attributes:
        content: Its bytes.
        media_type: Such as ``image/png``.
        prefix: Of its name, with folders; already free of ``%…%``.
        kind: ``output`` is kept, ``temp`` is shown and forgotten.
    """

    content: bytes
    media_type: str
    prefix: str
    kind: Literal["output", "temp"] = "output"


@dataclass(frozen=True)
class Result:
    """What a node gives when a tuple of values does not say it all.

    Attributes:
        values: One for each output.
        files: New files, in order; they are shown under `files_key` of the node's output.
        shown: What else clients are shown, such as ``{"text": ["…"]}``.
        files_key: As clients expect it.
        expand: Nodes to run in this one's place, in the API format; `values` may then hold links into them.
    """

    values: tuple[Any, ...] = ()
    files: tuple[NewFile, ...] = ()
    shown: Mapping[str, Any] = field(default_factory=dict)
    files_key: str = "images"
    expand: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Blocked:
    """A value whose receivers are left out; with a message they fail instead."""

    message: str = ""


class Node:
    """Base of all nodes.

    Class attributes:
        name: Class key in workflows.
        display_name: For people; the class key if "".
        category: Path with slashes in the editor's menu.
        description: One or two sentences for people.
        module: Python module as clients are told: ``nodes``, ``comfy_extras.nodes_sd3``, ``custom_nodes.PACK``.
        inputs: In the order of the widgets of saved workflows, required ones first.
        outputs: In order.
        hidden: Values that the executor gives by keyword: input name to ``PROMPT``, ``EXTRA_PNGINFO``, ``UNIQUE_ID``
            or ``DYNPROMPT``.
        is_output: Whether a graph may end here.
        is_deprecated: Whether the editor hides it in its menu.
        is_experimental: Whether the editor marks it.
        takes_lists: Whether it takes whole lists instead of being run for each element.
        is_idempotent: Whether equal nodes in one graph may share a result.
        aliases: Other words by which people look for it.
    """

    name: ClassVar[str]
    display_name: ClassVar[str] = ""
    category: ClassVar[str] = ""
    description: ClassVar[str] = ""
    module: ClassVar[str] = "nodes"
    inputs: ClassVar[tuple[Input, ...]] = ()
    outputs: ClassVar[tuple[Output, ...]] = ()
    hidden: ClassVar[Mapping[str, str]] = {}
    is_output: ClassVar[bool] = False
    is_deprecated: ClassVar[bool] = False
    is_experimental: ClassVar[bool] = False
    takes_lists: ClassVar[bool] = False
    is_idempotent: ClassVar[bool] = True
    aliases: ClassVar[tuple[str, ...]] = ()

    def run(self, context: Context, **values: Any) -> tuple[Any, ...] | Result:
        """Do the work; `values` has every input by its name, optional ones only if they are given.

        Raises:
            AppError: In words for people.
        """
        raise NotImplementedError

    @classmethod
    def check(cls, literals: Literals) -> str:
        """Return what is wrong with the literal inputs, beyond types and ranges; "" if nothing is."""
        return ""

    @classmethod
    def change_token(cls, literals: Literals, files: Mapping[str, str]) -> str | float:
        """Return what decides, besides the inputs, whether an earlier result still holds; NaN means it never does.

        Args:
            literals: The literal inputs.
            files: Digests of the pictures that the graph names, by their names.
        """
        return ""

    def wanted(self, **values: Any) -> Sequence[str]:
        """Return the names of lazy inputs that are needed, given those that are already there."""
        return tuple(each.name for each in self.inputs if each.is_lazy and each.name not in values)

    @classmethod
    def find(cls, name: str) -> Input:
        """Return the input of a name.

        Raises:
            InvalidInput: There is none.
        """
        for each in cls.inputs:
            if each.name == name:
                return each
        raise InvalidInput("input", name, f"one of {', '.join(each.name for each in cls.inputs)}")
