"""What a front door asks for and what it gets back. Knows neither HTTP nor tables."""

from __future__ import annotations

from dataclasses import dataclass, field

from keelbill.core.types import Micro
from keelbill.serving.messages import ImageTask


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
