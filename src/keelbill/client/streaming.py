"""Jobs of Keelbill's own interface: submit, watch, fetch, cancel. Knows what is asked, not how it is sent."""

from __future__ import annotations

from typing import Final

from keelbill.client.forms import BASE, Model, OutputFormat, Ratio, StylePreset, job_id_of, picture_of, text_of
from keelbill.client.pictures import Picture
from keelbill.client.wire import PICTURES, Exchange, Request

JOBS: Final = "/api/jobs"
EVENTS: Final = "text/event-stream"


def submission(
    prompt: str,
    *,
    model: Model | str = "sd3.5-large",
    aspect_ratio: Ratio | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    cfg_scale: float | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    previews: bool = False,
) -> Request:
    """Return the request that starts a job."""
    wishes = {
        "prompt": prompt,
        "model": model,
        "aspect_ratio": aspect_ratio,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "cfg_scale": cfg_scale,
        "style_preset": style_preset,
        "output_format": output_format,
        "previews": previews or None,
    }
    return Request("POST", JOBS, body={name: value for name, value in wishes.items() if value is not None})


def submit(request: Request) -> Exchange[str]:
    """Start a job and return its id."""
    reply = yield request
    return job_id_of(reply)


def watch(job_id: str, last_id: str) -> Request:
    """Return the request for a job's events, from the one after `last_id` on."""
    headers = {"last-event-id": last_id} if last_id else {}
    return Request("GET", f"{JOBS}/{job_id}/events", accept=EVENTS, headers=headers)


def fetch(job_id: str, submitted: Request) -> Exchange[Picture]:
    """Return the picture of a finished job; it remembers the same wishes as a `generate` would have sent."""
    reply = yield Request("GET", f"{JOBS}/{job_id}/result", accept=PICTURES)
    wishes = dict(submitted.body or {})
    wishes.pop("previews", None)
    form = {name: text_of(name, value) for name, value in wishes.items() if isinstance(value, str | int | float)}
    return picture_of(reply, Request("POST", f"{BASE}/generate/sd3", form, accept=PICTURES))


def cancel(job_id: str) -> Exchange[None]:
    """Cancel a job that waits or runs; one that is finished stays as it is."""
    yield Request("DELETE", f"{JOBS}/{job_id}")
