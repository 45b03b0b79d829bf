"""The JSON of jobs: what may be asked for, and how a job is shown. Knows no rules beyond the shape."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from keelbill.api.native.bodies import Body, View
from keelbill.api.native.engine_names import SAMPLERS, SCHEDULES
from keelbill.core.types import MAX_SEED, AspectRatio, credits_of
from keelbill.jobs.schemas import Job, State
from keelbill.prompting.presets import PRESETS
from keelbill.serving.messages import Queued

MAX_PIXELS = 2 * 2**20
MAX_SIDE = 2048
MAX_STEPS = 150


def credits_text(amount: int) -> str:
    """Write micro-credits as credits, such as ``6.5``."""
    return f"{credits_of(amount):f}"


class NewJob(Body):
    """A picture to be made. What is left out is chosen by the model."""

    prompt: str = Field(min_length=1, max_length=10_000, examples=["a lighthouse at dusk"])
    negative_prompt: str = Field(default="", max_length=10_000, description="What to avoid.")
    model: str = Field(
        default="sd3.5-large",
        min_length=1,
        max_length=128,
        description="A published name, or the name of an installed model.",
    )
    aspect_ratio: Literal["21:9", "16:9", "3:2", "5:4", "1:1", "4:5", "2:3", "9:16", "9:21"] | None = Field(
        default=None,
        description="Chooses a published size; not together with width and height. Without any of the three it is 1:1, "
        "or the shape of the picture to start from.",
    )
    width: int | None = Field(default=None, ge=64, le=MAX_SIDE, multiple_of=16, description="In pixels.")
    height: int | None = Field(default=None, ge=64, le=MAX_SIDE, multiple_of=16, description="In pixels.")
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="Decides the noise; 0 picks one at random.")
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    cfg_scale: float | None = Field(default=None, ge=0, le=30, description="How closely the prompt is followed.")
    sampler: str | None = Field(default=None, json_schema_extra={"enum": [*SAMPLERS, None]})
    schedule: str | None = Field(default=None, json_schema_extra={"enum": [*SCHEDULES, None]})
    style_preset: str | None = Field(default=None, json_schema_extra={"enum": [*PRESETS, None]})
    output_format: Literal["png", "jpeg", "webp"] = "png"
    previews: bool = Field(default=False, description="Whether progress carries small pictures.")
    image_id: str | None = Field(
        default=None, pattern="^[0-9a-f]{32}$", description="A picture of the own gallery, or an upload, to start from."
    )
    strength: float = Field(default=0.75, ge=0, le=1, description="How much of it is painted anew.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, value, allowed in (
            ("sampler", self.sampler, SAMPLERS),
            ("schedule", self.schedule, SCHEDULES),
            ("style_preset", self.style_preset, PRESETS),
        ):
            if value is not None and value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}")
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together")
        if self.width is not None and self.aspect_ratio is not None:
            raise ValueError("aspect_ratio chooses the size, so width and height must be left out")
        if self.width is not None and self.height is not None and self.width * self.height > MAX_PIXELS:
            raise ValueError(f"width times height must be at most {MAX_PIXELS:,} pixels")
        return self

    def size(self) -> tuple[int, int]:
        """Return width and height of the picture."""
        if self.width is not None and self.height is not None:
            return self.width, self.height
        published = AspectRatio(self.aspect_ratio or "1:1").size
        return published.width, published.height


class SubmittedJob(View):
    """A job that was taken in."""

    id: str = Field(examples=["01a204ec7c0b70e3ab1290cd8a4b04b3"])


class JobProblem(View):
    """Why a job ended without a picture."""

    name: str
    message: str


class JobView(View):
    """A job."""

    id: str
    state: State
    kind: str
    service: str
    model: str = Field(description="As the request named it.")
    attempt: int = Field(description="Counts tries from 1; a second one means that a worker was lost.")
    position: int | None = Field(description="Place in the queue from 1, while it waits.")
    wait_estimate_ms: int | None = Field(description="Until it begins, while it waits.")
    price: str = Field(description="Reserved credits.", examples=["6.5"])
    charged: str = Field(description="Credits that were taken.", examples=["6.5"])
    filtered: bool
    media_type: str
    width: int
    height: int
    seed: int | None
    error: JobProblem | None
    created_ms: int
    started_ms: int
    finished_ms: int

    @classmethod
    def of(cls, job: Job, place: Queued | None = None) -> JobView:
        """Return a job as JSON."""
        ended_badly = job.state in ("failed", "cancelled")
        return cls(
            id=job.id,
            state=job.state,
            kind=job.kind,
            service=job.service,
            model=job.requested_model or job.model,
            attempt=job.attempt,
            position=place.position if place else None,
            wait_estimate_ms=round(place.estimate_ms) if place else None,
            price=credits_text(job.price_micro),
            charged=credits_text(job.charged_micro),
            filtered=job.is_filtered,
            media_type=job.media_type,
            width=job.width,
            height=job.height,
            seed=int(job.seed) if job.seed else None,
            error=JobProblem(name=job.error_code, message=job.error_message) if ended_badly else None,
            created_ms=job.created_ms,
            started_ms=job.started_ms,
            finished_ms=job.finished_ms,
        )


class JobPage(View):
    """Some jobs, newest first."""

    jobs: list[JobView]
    next_before: str = Field(description="Continues the list as `before`; empty at its end.")


class CancelledJob(View):
    """Whether a job could be cancelled."""

    cancelled: bool = Field(description="False if it had ended.")
