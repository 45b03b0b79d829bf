"""Every metric, in one place, in a registry of its own. Knows no HTTP, no queue and no money: others report here.

Names carry the prefix ``keelbill_`` and base units. Labels come from short closed lists and never hold an id.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

REJECTIONS = (
    "rate",
    "account_queue",
    "global_queue",
    "size",
    "header",
    "slow",
    "auth",
    "moderation",
    "credits",
    "disk",
    "db",
    "draining",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PHASES = ("text", "denoise", "decode", "enlarge", "moderate", "encode")
OUTCOMES = ("succeeded", "filtered", "failed", "cancelled")
RETRIES = ("worker_lost", "out_of_memory", "lease", "hung")
CREDIT_KINDS = ("grant", "promo", "topup", "capture", "refund", "expiry", "adjust")
LOADS = ("start", "job")
"""A worker loads one model when it starts and others when a job asks for them."""

PROVIDERS = ("stripe", "outgoing")
WEBHOOK_OUTCOMES = ("received", "duplicate", "refused", "processed", "failed", "delivered", "postponed", "given_up")
"""The first five are of events that a payment provider sends; the others of messages that go out to users."""

OTHER = "other"
TURNED_AWAY = "turned_away"
"""Stands for the route of requests that were refused before anything looked at their path."""

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SLOW = tuple(0.01 * 2**n for n in range(14))


class Metrics:
    """The metrics of one server.

    Args:
        models: Names of models that get a label of their own; all others share ``other``.
        default_model: The model that stands behind an empty name.
    """

    def __init__(self, models: frozenset[str] = frozenset(), *, default_model: str = "") -> None:
        self._models = models | {default_model} - {""}
        self._default_model = default_model
        self.registry = registry = CollectorRegistry()

        self.http_requests = Counter(
            "keelbill_http_requests_total", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self.http_duration = Histogram(
            "keelbill_http_request_duration_seconds",
            "Time from the request's head to the last byte of the answer.",
            ("route",),
            buckets=(*_FAST, 5.0, 10.0, 25.0, 60.0, 120.0),
            registry=registry,
        )
        self.http_inflight = Gauge("keelbill_http_inflight_requests", "Requests being answered.", registry=registry)
        self.http_rejected = Counter(
            "keelbill_http_rejected_total", "Requests that were refused.", ("reason",), registry=registry
        )
        self.loop_lag = Gauge(
            "keelbill_event_loop_lag_seconds", "How late the event loop woke up last.", registry=registry
        )

        self.gateway_overhead = Histogram(
            "keelbill_gateway_overhead_seconds",
            "Total time of a generation less its queue wait and its time on a worker.",
            ("route",),
            buckets=_FAST,
            registry=registry,
        )

        self.queue_jobs = Gauge("keelbill_queue_jobs", "Jobs by state.", ("state", "model"), registry=registry)
        self.queue_wait = Histogram(
            "keelbill_queue_wait_seconds",
            "Time from submission to start.",
            ("model",),
            buckets=_SLOW,
            registry=registry,
        )
        self.queue_gpu = Gauge(
            "keelbill_queue_gpu_seconds", "Estimated worker time of all that waits.", registry=registry
        )
        self.jobs = Counter("keelbill_jobs_total", "Jobs that ended.", ("model", "outcome"), registry=registry)
        self.job_retries = Counter(
            "keelbill_job_retries_total", "Jobs that started again.", ("reason",), registry=registry
        )
        self.desired_workers = Gauge(
            "keelbill_desired_workers", "Workers that would keep the wait at its target.", registry=registry
        )

        self.generation_duration = Histogram(
            "keelbill_generation_duration_seconds",
            "Time on a worker by phase.",
            ("model", "phase"),
            buckets=_SLOW,
            registry=registry,
        )
        self.step_duration = Histogram(
            "keelbill_step_duration_seconds",
            "Mean time of a job's denoising steps.",
            ("model",),
            buckets=(*_FAST, 5.0, 10.0),
            registry=registry,
        )
        self.worker_up = Gauge("keelbill_worker_up", "Whether a worker takes jobs.", ("worker",), registry=registry)
        self.gpu_memory = Gauge(
            "keelbill_gpu_memory_bytes",
            "Memory of a worker, on the host and on its accelerator.",
            ("worker", "kind"),
            registry=registry,
        )
        self.model_loads = Counter(
            "keelbill_model_loads_total", "Models loaded by a worker.", ("model", "reason"), registry=registry
        )

        self.credits = Counter(
            "keelbill_credits_micro_total", "Micro-credits moved, by kind.", ("kind",), registry=registry
        )
        self.holds_open = Gauge("keelbill_holds_open", "Holds that are neither captured nor void.", registry=registry)
        self.hold_age = Gauge("keelbill_hold_age_seconds", "Age of the oldest open hold.", registry=registry)
        self.ledger_mismatch = Gauge(
            "keelbill_ledger_mismatch", "Differences that the last check of the ledger found.", registry=registry
        )
        self.orphan_holds = Counter(
            "keelbill_orphan_holds_swept_total", "Holds that a sweep had to void.", registry=registry
        )
        self.replays = Counter(
            "keelbill_idempotent_replays_total", "Answers given again for an idempotency key.", registry=registry
        )
        self.webhook_events = Counter(
            "keelbill_webhook_events_total",
            "Events of payment providers and deliveries to users.",
            ("provider", "outcome"),
            registry=registry,
        )

        self.db_commit = Histogram("keelbill_db_commit_seconds", "Time of a commit.", buckets=_FAST, registry=registry)
        self.db_batch = Histogram(
            "keelbill_db_batch_size",
            "Operations in a commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        self.db_queue = Gauge("keelbill_db_writer_queue", "Operations that wait for a commit.", registry=registry)

        for reason in REJECTIONS:
            self.http_rejected.labels(reason)
        for kind in CREDIT_KINDS:
            self.credits.labels(kind)
        self._flooded = self.http_requests.labels(TURNED_AWAY, OTHER, "429")
        self._rate = self.http_rejected.labels("rate")
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def model(self, name: str) -> str:
        """Return the label of a model."""
        name = name or self._default_model
        return name if name in self._models else OTHER

    def rejected(self, reason: str) -> None:
        """Count a refusal; a reason outside `REJECTIONS` is a mistake of the caller.

        Raises:
            ValueError: The reason is unknown.
        """
        if reason not in REJECTIONS:
            raise ValueError(f"reason {reason!r} is not one of {', '.join(REJECTIONS)}")
        self.http_rejected.labels(reason).inc()

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is the route's pattern, not the path."""
        name = (route, method, status)
        found = self._answered.get(name)
        if found is None:
            count = self.http_requests.labels(route, method if method in METHODS else OTHER, str(status))
            found = (count, self.http_duration.labels(route))
            if method in METHODS:
                self._answered[name] = found
        found[0].inc()
        found[1].observe(seconds)

    def turned_away(self) -> None:
        """Count a request of a caller who is over the limit, as cheaply as can be."""
        self._flooded.inc()
        self._rate.inc()

    def committed(self, seconds: float, operations: int) -> None:
        """Take note of one commit."""
        self.db_commit.observe(seconds)
        self.db_batch.observe(operations)

    def waited(self, model: str, seconds: float) -> None:
        """Take note that a job has begun after waiting."""
        self.queue_wait.labels(self.model(model)).observe(seconds)

    def ended(self, model: str, outcome: str, phases_ms: Mapping[str, float], steps: int = 0) -> None:
        """Take note that a job has ended; milliseconds by phase, and of how many steps denoising consisted."""
        label = self.model(model)
        self.jobs.labels(label, outcome if outcome in OUTCOMES else OTHER).inc()
        for phase, milliseconds in phases_ms.items():
            if phase in PHASES:
                self.generation_duration.labels(label, phase).observe(milliseconds / 1000)
        if steps and "denoise" in phases_ms:
            self.step_duration.labels(label).observe(phases_ms["denoise"] / 1000 / steps)

    def retried(self, reason: str) -> None:
        """Take note that a job starts again."""
        self.job_retries.labels(reason if reason in RETRIES else OTHER).inc()

    def refused(self, reason: str) -> None:
        """Take note that the queue refused a job."""
        self.rejected(reason)

    def moved(self, kind: str, micro: int) -> None:
        """Take note of credits that moved."""
        self.credits.labels(kind if kind in CREDIT_KINDS else OTHER).inc(micro)

    def loaded(self, model: str, reason: str) -> None:
        """Take note that a worker has loaded a model."""
        self.model_loads.labels(self.model(model), reason if reason in LOADS else OTHER).inc()

    def heard(self, provider: str, outcome: str) -> None:
        """Take note of what became of one webhook message, from a payment provider or out to a user."""
        self.webhook_events.labels(
            provider if provider in PROVIDERS else OTHER, outcome if outcome in WEBHOOK_OUTCOMES else OTHER
        ).inc()

    def text(self) -> bytes:
        """Return everything in the text format that Prometheus scrapes."""
        return generate_latest(self.registry)


def exported_names(metrics: Metrics) -> frozenset[str]:
    """Return the names of all series, with the suffixes that histograms and counters add."""
    names: set[str] = set()
    for family in metrics.registry.collect():
        if family.type == "histogram":
            names |= {family.name + suffix for suffix in ("_bucket", "_sum", "_count")}
        elif family.type == "counter":
            names.add(family.name + "_total")
        else:
            names.add(family.name)
    return frozenset(names)
