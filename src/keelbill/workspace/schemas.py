"""What the workspace takes and gives. Knows neither tables nor HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from keelbill.workspace.names import Area, Place

RunState = Literal["open", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class Account:
    """Whose workspace: one member of one organisation.

    Attributes:
        org_id: The organisation.
        user_id: The member.
    """

    org_id: str
    user_id: str

    @property
    def tenant(self) -> str:
        """A name for whatever must not be shared with other accounts."""
        return f"{self.org_id}:{self.user_id}"


@dataclass(frozen=True)
class Limits:
    """How much one account may keep.

    Attributes:
        files: In all areas.
        size_bytes: Of all files but temporary ones.
        temp_files: Of which the oldest go when there are more.
        temp_ms: After which a temporary file goes.
        settings: Of the editor.
        setting_bytes: Of one setting as JSON.
        runs: That have ended, of which the oldest go when there are more.
    """

    files: int = 20_000
    size_bytes: int = 5 * 2**30
    temp_files: int = 500
    temp_ms: int = 24 * 3_600_000
    settings: int = 1000
    setting_bytes: int = 256 * 1024
    runs: int = 1000


@dataclass(frozen=True)
class StoredFile:
    """A file as its row has it.

    Attributes:
        id: 32 hex digits.
        area: Which tree.
        folder: "" for the top.
        name: The file's own.
        blob_ref: Of its bytes.
        media_type: Such as ``image/png``.
        size_bytes: Of the file.
        width: In pixels, 0 if it is no picture.
        height: Likewise.
        made_by: Names the content by what made it, or "".
        job_id: That made it, or "".
        created_ms: Milliseconds since 1970.
        modified_ms: Likewise.
    """

    id: str
    area: Area
    folder: str
    name: str
    blob_ref: str
    media_type: str
    size_bytes: int
    width: int = 0
    height: int = 0
    made_by: str = ""
    job_id: str = ""
    created_ms: int = 0
    modified_ms: int = 0

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.area, self.folder, self.name)

    @property
    def path(self) -> str:
        """Folder and name."""
        return self.place.path


@dataclass(frozen=True)
class Content:
    """Bytes that are kept already and wait for a name.

    Attributes:
        blob_ref: Of the bytes.
        media_type: Such as ``image/png``.
        size_bytes: Of the file.
        width: In pixels, 0 if it is no picture.
        height: Likewise.
        made_by: Names the content by what made it, or "".
    """

    blob_ref: str
    media_type: str
    size_bytes: int
    width: int = 0
    height: int = 0
    made_by: str = ""


@dataclass(frozen=True)
class NewRun:
    """A graph that was submitted.

    Attributes:
        prompt_id: By which clients know it.
        account: Whose.
        client_id: Of the socket that is told, "" for none.
        prompt: JSON of the graph, with no secret in it.
        extra: JSON of what came with it, likewise.
        targets: Ids of the output nodes that run.
        workflow_id: Of the workflow in the editor, or "".
        number: Its place as clients see it; nothing counts on from the account's last.
        in_front: Whether it goes before all that wait.
        wants_previews: Whether the request itself asked for previews.
        input_refs: Blobs that it reads.
    """

    prompt_id: str
    account: Account
    client_id: str
    prompt: str
    extra: str
    targets: tuple[str, ...]
    workflow_id: str = ""
    number: float | None = None
    in_front: bool = False
    wants_previews: bool = False
    input_refs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run as its row has it.

    Attributes:
        job_id: Of the job that runs it.
        prompt_id: By which clients know it.
        account: Whose.
        number: Its place as clients see it.
        client_id: Of the socket that is told, "" for none.
        workflow_id: Of the workflow in the editor, or "".
        prompt: JSON of the graph.
        extra: JSON of what came with it.
        targets: Ids of the output nodes that run.
        wants_previews: Whether the request itself asked for previews.
        state: Where it is in its life.
        messages: What was said of it, as pairs of a name and data.
        results: What each output node showed, by its id.
        created_ms: Milliseconds since 1970.
        started_ms: Likewise, 0 before.
        finished_ms: Likewise, 0 before.
        is_running: Whether a worker has it; only looked up for open runs.
    """

    job_id: str
    prompt_id: str
    account: Account
    number: float
    client_id: str
    workflow_id: str
    prompt: str
    extra: str
    targets: tuple[str, ...]
    wants_previews: bool
    state: RunState
    messages: tuple[tuple[str, dict[str, Any]], ...] = ()
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    created_ms: int = 0
    started_ms: int = 0
    finished_ms: int = 0
    is_running: bool = False

    @property
    def graph(self) -> dict[str, Any]:
        """The graph in the API format."""
        found: dict[str, Any] = json.loads(self.prompt)
        return found

    @property
    def last_message(self) -> tuple[str, dict[str, Any]] | None:
        """How it ended, as clients are told."""
        return self.messages[-1] if self.messages else None

    def class_of(self, node_id: str) -> str:
        """Return the class of a node, "" if the graph has none of this id."""
        node = self.graph.get(node_id)
        return str(node.get("class_type", "")) if isinstance(node, dict) else ""
