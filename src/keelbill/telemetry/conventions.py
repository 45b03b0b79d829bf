"""Every name that traces and their metric carry. Knows no request, no job and no library.

The conventions for generative models are still in development: when they change, this is the file to change.

References:
    | OpenTelemetry semantic conventions for generative AI, metrics of servers and spans
    | OpenTelemetry semantic conventions for HTTP spans
"""

from __future__ import annotations

from typing import Final

SERVICE: Final = "keelbill"

METHOD: Final = "http.request.method"
ROUTE: Final = "http.route"
STATUS: Final = "http.response.status_code"
OTHER_METHOD: Final = "_OTHER"
ERROR_TYPE: Final = "error.type"

OPERATION: Final = "gen_ai.operation.name"
OUTPUT: Final = "gen_ai.output.type"
PROVIDER: Final = "gen_ai.provider.name"
MODEL: Final = "gen_ai.request.model"
GENERATE: Final = "generate_content"
IMAGE: Final = "image"
STABILITY: Final = "stability_ai"
"""Not among the conventions' own providers; the interface is theirs, whoever runs it."""

REQUEST_ID: Final = "keelbill.request.id"
JOB_ID: Final = "keelbill.job.id"
JOB_KIND: Final = "keelbill.job.kind"
WORKER: Final = "keelbill.worker"
ATTEMPT: Final = "keelbill.attempt"
IS_FILTERED: Final = "keelbill.filtered"

ADMISSION: Final = "admission"
QUEUE: Final = "queue"
PAINT: Final = "paint"
GRAPH: Final = "graph"
STORE: Final = "store"

RETRIED: Final = "retried"
CANCELLED: Final = "cancelled"

DURATION: Final = "gen_ai.server.request.duration"
DURATION_UNIT: Final = "s"
DURATION_SAYS: Final = "From a request's head until its picture is stored, or it is known that there will be none."
DURATION_BUCKETS: Final = tuple(0.01 * 2**n for n in range(14))
"""In seconds: 0.01, 0.02, 0.04 … 81.92."""
