"""What a front door asks for and what it gets back. Knows neither HTTP nor tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from keelbill.core.types import Micro
from keelbill.serving.messages import ImageTask, JobSpec


@dataclass(frozen=True)
class ImageRequest:
    """One picture that somebody wants and pays for.

    Attributes:
        service: Item of the price list, such as ``sd3.5-large`` or ``upscale-fast``.
        task: What to make, with every value checked and the seed chosen.
        front: Which front door it came through: ``stability``, ``v1``, ``openai``, ``native`` or ``graph``.
        route: Path of the request, for usage.
        requested_model: The model's name as the client gave it, for history and usage.
        request_id: Of the HTTP request.
        price: In micro-credits, where the front door computes it itself (v1); else the price list's.
        deadline_s: Seconds after which nobody wants the picture any more.
        is_async: Whether the client polls for the result.
        client: What the client says about itself (``stability-client-id`` and the like).
        secret: Key for another image service, which only the worker sees.
    """

    service: str
    task: ImageTask
    front: str = "stability"
    route: str = ""
    requested_model: str = ""
    request_id: str = ""
    price: Micro | None = None
    deadline_s: float = 120.0
    is_async: bool = False
    client: dict[str, str] = field(default_factory=dict)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class Idempotency:
    """The client's own name for a request, so that a retry is not a second request.

    Attributes:
        key: 1 to 255 visible ASCII characters.
        fingerprint: SHA-256 over method, path and canonical parameters, hexadecimal.
    """

    key: str
    fingerprint: str


@dataclass(frozen=True)
class Outcome:
    """A finished job.

    Attributes:
        job_id: 32 hex digits.
        image: The file's bytes.
        media_type: Such as ``image/png``.
        width: In pixels.
        height: In pixels.
        seed: That decided the noise.
        model: Name of the model that made it.
        filtered: Whether the picture was blurred.
        charged: Micro-credits that were taken.
        queue_ms: Waited.
        run_ms: Computed.
        replayed: Whether this is the answer of an earlier request with the same idempotency key.
    """

    job_id: str
    image: bytes
    media_type: str
    width: int
    height: int
    seed: int
    model: str
    filtered: bool
    charged: Micro
    queue_ms: float = 0.0
    run_ms: float = 0.0
    replayed: bool = False


State = Literal["queued", "running", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class Ticket:
    """What a front door holds while its jobs run.

    Attributes:
        job_ids: One for each picture, in the order of the requests.
        replayed: Whether these are the jobs of an earlier request with the same idempotency key.
        is_keyed: Whether the request has an idempotency key.
        deadline_s: Seconds from now until nobody wants the pictures any more.
    """

    job_ids: tuple[str, ...]
    replayed: bool = False
    is_keyed: bool = False
    deadline_s: float = 120.0

    @property
    def job_id(self) -> str:
        """The first job, for those who asked for one picture."""
        return self.job_ids[0]


@dataclass(frozen=True)
class Job:
    """A job as its row has it.

    Attributes:
        id: 32 hex digits.
        org_id: Who pays.
        user_id: The member who asked.
        key_id: The API key, "" for a session.
        kind: What is done, such as ``generate``.
        service: Item of the price list.
        front: Which front door it came through.
        route: Path of the request.
        requested_model: As the client named it.
        request_id: Of the HTTP request.
        client: JSON of what the client says about itself.
        task: JSON of the `ImageTask`, "" once nobody may ask for the result any more.
        image_ref: Blob of the input picture, "" if there is none.
        mask_ref: Blob of the mask, "" if there is none.
        state: Where it is in its life.
        attempt: Counts tries from 1.
        epoch: Counts claims; what an older claim reports is passed over.
        owner: The server process that queues or runs it.
        worker: That runs or ran it last.
        lease_ms: Until when its worker is believed to be alive, by the clock of leases.
        deadline_s: Seconds from submission.
        weight: Of the account in the fair queue.
        cost_ms: Estimated milliseconds on a worker.
        is_async: Whether its client polls.
        is_keyed: Whether an idempotency key waits for its result.
        price_micro: Reserved micro-credits.
        charged_micro: Captured micro-credits.
        error_code: Why there is no picture, "" if there is or may be one.
        error_message: The same for people.
        result_ref: Blob of the picture, "" if there is none or it is no longer kept.
        media_type: Of the picture.
        width: Of the picture in pixels.
        height: Likewise.
        seed: That decided the noise, in decimal digits.
        model: That made it.
        is_filtered: Whether it was blurred.
        run_ms: Milliseconds on a worker.
        created_ms: Milliseconds since 1970.
        started_ms: Likewise, of the last try; 0 before the first.
        finished_ms: Likewise; 0 until it ends.
    """

    id: str
    org_id: str
    user_id: str
    key_id: str
    kind: str
    service: str
    front: str
    route: str
    requested_model: str
    request_id: str
    client: str
    task: str
    image_ref: str
    mask_ref: str
    state: State
    attempt: int
    epoch: int
    owner: str
    worker: str
    lease_ms: int
    deadline_s: float
    weight: int
    cost_ms: float
    is_async: bool
    is_keyed: bool
    price_micro: int
    charged_micro: int
    error_code: str
    error_message: str
    result_ref: str
    media_type: str
    width: int
    height: int
    seed: str
    model: str
    is_filtered: bool
    run_ms: float
    created_ms: int
    started_ms: int
    finished_ms: int

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.state in ("succeeded", "failed", "cancelled")

    @property
    def queue_ms(self) -> int:
        """Milliseconds that it waited for its last try."""
        return max(0, self.started_ms - self.created_ms) if self.started_ms else 0

    def image_task(self) -> ImageTask:
        """Return what a worker is asked to do."""
        return msgspec.json.decode(self.task, type=ImageTask)

    def spec(self, task: ImageTask | None = None) -> JobSpec:
        """Return the job as the queue sees it; whoever has its task at hand spares reading it."""
        task = task or self.image_task()
        return JobSpec(
            job_id=self.id,
            org_id=self.org_id,
            task=task,
            priority=task.graph.priority if task.graph else 0,
            epoch=self.epoch,
            attempt=self.attempt,
            weight=self.weight,
            deadline_s=self.deadline_s,
            cost_ms=self.cost_ms,
        )
