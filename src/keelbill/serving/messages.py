"""What the API process and a worker say to each other; the only module that both import besides `core`.

Everything here is a plain record that travels as MessagePack. Pictures travel as files' bytes, never as pixels.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from keelbill.core.types import Size

Kind = Literal["generate", "inpaint", "erase", "outpaint", "upscale", "enlarge", "style", "graph"]
"""What is done: "enlarge" is the quick fixed factor of `upscale/fast`; "upscale" also paints detail anew."""


class GraphTask(msgspec.Struct, frozen=True, kw_only=True):
    """A validated graph of nodes, with no secret in it.

    Attributes:
        prompt: JSON of the graph in the API format.
        outputs: Ids of the output nodes to run.
        extra: JSON of what pictures carry besides, such as the workflow of an editor.
        files: Reference in the blob store of each picture that the graph names, by the name as the graph writes it.
        tenant: Whose earlier results may be used again.
        metadata: Whether pictures carry the graph.
        priority: Higher goes first within the account.
    """

    prompt: str
    outputs: tuple[str, ...]
    extra: str = ""
    files: dict[str, str] = msgspec.field(default_factory=dict)
    tenant: str = ""
    metadata: bool = True
    priority: int = 0


class ImageTask(msgspec.Struct, frozen=True, kw_only=True):
    """One picture that a worker makes; every value is checked before it gets here.

    Attributes:
        kind: What is done.
        model: Name of an installed model, "" for the server's default.
        prompt: What to paint, with its style preset applied; at most 10,000 characters before that.
        negative_prompt: What to avoid.
        width: Of the finished picture in pixels; 0 means the input's, or the model's own.
        height: Likewise.
        seed: 0 to 2**64 - 1; always chosen by now.
        steps: 1 to 1000; nothing means the model's own.
        cfg: Guidance scale; nothing means the model's own.
        sampler: Name, "" for the model's own.
        schedule: Name, "" for the model's own.
        image: Reference of the input picture in the blob store, "" if there is none.
        mask: Reference of a picture that is white where the image is painted anew, "" if there is none.
        strength: How much of `image` is painted anew, 0 to 1.
        grow_mask: Pixels by which the mask is widened, with a soft edge.
        left: Pixels that are added, for "outpaint".
        right: Likewise.
        up: Likewise.
        down: Likewise.
        creativity: Of "outpaint" and "upscale", 0 to 1.
        fidelity: Of "style", 0 to 1.
        output_format: Of the finished file.
        recipe_prompt: What the user wrote, for the picture's recipe; "" means `prompt`.
        previews: Whether progress carries small pictures.
        filter_above: Score of the image classifier from which a picture is blurred, 0 to 1; above 1 turns it off.
        graph: What is run, for "graph"; width, height and steps are then estimates of the whole work.
    """

    kind: Kind = "generate"
    model: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    width: int = 0
    height: int = 0
    seed: int = 0
    steps: int | None = None
    cfg: float | None = None
    sampler: str = ""
    schedule: str = ""
    image: str = ""
    mask: str = ""
    strength: float = 1.0
    grow_mask: int = 0
    left: int = 0
    right: int = 0
    up: int = 0
    down: int = 0
    creativity: float = 0.5
    fidelity: float = 0.5
    output_format: Literal["png", "jpeg", "webp"] = "png"
    recipe_prompt: str = ""
    previews: bool = False
    filter_above: float = 0.8
    graph: GraphTask | None = None

    @property
    def size(self) -> Size:
        """Width and height of the finished picture; zero where the worker decides."""
        return Size(self.width, self.height)


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A durable, paid-for job as the queue and the workers see it.

    Attributes:
        job_id: 32 hex digits.
        org_id: Whose turn it takes in the fair queue.
        task: What to make.
        epoch: Counts the claims of the job; messages of an older epoch are ignored.
        attempt: Counts tries from 1.
        weight: Of the account's plan in the fair queue, 1 to 8.
        priority: Higher goes first within one account.
        deadline_s: Seconds from submission after which nobody wants the picture any more.
        cost_ms: Estimated milliseconds on a worker.
        secret: Key for the image service that a graph's nodes call; it is nowhere else, so a job that is taken up
            again after a crash comes without.
    """

    job_id: str
    org_id: str
    task: ImageTask
    epoch: int = 0
    attempt: int = 1
    weight: int = 1
    priority: int = 0
    deadline_s: float = 120.0
    cost_ms: float = 1000.0
    secret: str = ""

    def __repr__(self) -> str:
        return f"JobSpec({self.job_id!r}, epoch={self.epoch}, attempt={self.attempt})"


class Queued(msgspec.Struct, frozen=True, tag="queued"):
    """The job waits; `position` counts from 1, `estimate_ms` is the time until it starts."""

    position: int
    estimate_ms: float


class Started(msgspec.Struct, frozen=True, tag="started"):
    """A worker has begun."""

    worker: str
    attempt: int


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Step `step` of `total` is done; `preview` is a small JPEG of at most 64 KiB, or nothing."""

    step: int
    total: int
    preview: bytes | None = None


class Retrying(msgspec.Struct, frozen=True, tag="retrying"):
    """The worker was lost or ran out of memory; the job starts again as `attempt`."""

    attempt: int
    reason: str


class Succeeded(msgspec.Struct, frozen=True, tag="succeeded", kw_only=True):
    """The finished picture.

    Attributes:
        image: The finished file, with its recipe; blurred if it was filtered.
        media_type: Such as ``image/png``.
        width: In pixels.
        height: In pixels.
        seed: That decided the noise.
        model: Name of the model that made it.
        model_hash: SHA-256 of its weights, hexadecimal.
        filtered: Whether the image classifier objected.
        score: Of the image classifier, 0 to 1; below 0 if it did not run.
        seconds: Of computing.
        phases: Milliseconds by phase: text, denoise, decode, enlarge, moderate, encode.
        thumb: A small WebP of it for lists, or nothing.
        is_billable: Whether anything that costs was done; a graph of which every result was known already is free.
    """

    image: bytes
    media_type: str
    width: int
    height: int
    seed: int
    model: str
    model_hash: str = ""
    filtered: bool = False
    score: float = -1.0
    seconds: float = 0.0
    phases: dict[str, float] = msgspec.field(default_factory=dict)
    thumb: bytes = b""
    is_billable: bool = True


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The job cannot be done.

    Attributes:
        code: An error's code from `core.errors`, such as ``out_of_memory`` or ``invalid_input``.
        message: One sentence for the user.
        retriable: Whether the same job may succeed elsewhere.
        detail: Of a graph: JSON with the node that failed; "" otherwise.
    """

    code: str
    message: str
    retriable: bool = False
    detail: str = ""


class Cancelled(msgspec.Struct, frozen=True, tag="cancelled"):
    """Somebody no longer wanted it."""

    reason: str


class GraphFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a node made.

    Attributes:
        content: Its bytes.
        media_type: Such as ``image/png``.
        prefix: Of its name, with folders.
        kind: ``output`` is kept, ``temp`` is shown and forgotten.
        key: Names the content by what made it: the same again is the same file.
        width: In pixels, 0 if it is no picture.
        height: Likewise.
    """

    content: bytes
    media_type: str
    prefix: str
    kind: Literal["output", "temp"] = "output"
    key: str = ""
    width: int = 0
    height: int = 0


class GraphNews(msgspec.Struct, frozen=True, tag="graph", kw_only=True):
    """Something happened inside a graph.

    Attributes:
        kind: ``cached``: the results of `nodes` are known already; ``node``: `node` begins; ``progress``: it has come
            to `value` of `total`, perhaps with a preview; ``done``: it has ended; ``output``: clients are shown
            something of it.
        node: Id in the graph.
        display: Id of the node that stands for it in the editor.
        nodes: Ids, for ``cached``.
        value: Steps done.
        total: Steps in all.
        image: A small JPEG, or nothing.
        shown: JSON of what clients are shown besides files.
        files: New files, shown under `files_key`.
        files_key: As clients expect it.
        is_cached: Whether an ``output`` is that of an earlier run.
    """

    kind: Literal["cached", "node", "progress", "done", "output"]
    node: str = ""
    display: str = ""
    nodes: tuple[str, ...] = ()
    value: int = 0
    total: int = 0
    image: bytes | None = None
    shown: str = ""
    files: tuple[GraphFile, ...] = ()
    files_key: str = "images"
    is_cached: bool = False


Event = Queued | Started | Progress | Retrying | GraphNews | Succeeded | Failed | Cancelled
Terminal = Succeeded | Failed | Cancelled


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One worker as the queue and the operator see it.

    Attributes:
        name: Unique among workers of this run.
        device: Such as ``cpu`` or ``NVIDIA H200``.
        models: Names of models in memory.
        running: Ids of its jobs.
        slots: Jobs that it would take now.
        ready: Whether it takes jobs.
        memory_bytes: Used by the worker's process, 0 if unknown.
        accelerator_bytes: Reserved by it on its accelerator, 0 if it has none.
        capacity_bytes: Of its accelerator's memory, or of the host's if it has none; 0 if unknown.
    """

    name: str
    device: str
    models: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    slots: int = 1
    ready: bool = True
    memory_bytes: int = 0
    accelerator_bytes: int = 0
    capacity_bytes: int = 0


class Setup(msgspec.Struct, frozen=True, tag="setup", kw_only=True):
    """The first message to a worker.

    Attributes:
        name: Of the worker.
        home: Data folder with the installed models.
        blobs: Folder of the input pictures.
        model: That "" means, and that is loaded at once.
        device: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:1``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        threads: Of the processor; 0 means one per core.
        jobs: Most jobs at a time.
        moderate: Whether the image classifier looks at finished pictures.
        beat_s: Seconds between signs of life.
        service: Address of the image service that nodes of graphs call; "" means this worker.
        packs: Packs of nodes that are enabled, as the setting has them.
    """

    name: str
    home: str
    blobs: str
    model: str
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    jobs: int = 4
    moderate: bool = False
    beat_s: float = 2.0
    service: str = ""
    packs: str = ""


class Run(msgspec.Struct, frozen=True, tag="run"):
    """Make this picture."""

    job: JobSpec


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Make it no longer."""

    job_id: str
    reason: str


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End yourself."""


ToWorker = Setup | Run | Cancel | Stop


class Said(msgspec.Struct, frozen=True, tag="said"):
    """Something happened to a job; messages of older epochs are ignored."""

    job_id: str
    epoch: int
    event: Event


class Beat(msgspec.Struct, frozen=True, tag="beat", kw_only=True):
    """A sign of life.

    Attributes:
        device: As in `WorkerInfo`.
        models: As in `WorkerInfo`.
        slots: Jobs that the worker would take now.
        memory_bytes: As in `WorkerInfo`.
        accelerator_bytes: As in `WorkerInfo`.
        capacity_bytes: As in `WorkerInfo`.
        activity: What it is doing; a load may take minutes, a step may not.
        steps: Counts passes of the network since the start.
        step_s: Seconds that a pass should take, 0 if unknown.
    """

    device: str
    models: tuple[str, ...] = ()
    slots: int = 0
    memory_bytes: int = 0
    accelerator_bytes: int = 0
    capacity_bytes: int = 0
    activity: Literal["idle", "loading", "painting"] = "idle"
    steps: int = 0
    step_s: float = 0.0


FromWorker = Said | Beat
