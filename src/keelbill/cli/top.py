"""The ``top`` command: a live view of a running server in the terminal. Reads its metrics; knows no database."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import click
import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from keelbill.core.errors import PermissionDenied, Unavailable
from keelbill.core.types import Micro, credits_of

TIMEOUT_S = 10.0

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Frame:
    """What a server said at one moment.

    Args:
        at_s: Monotonic time.
        status: ``ok``, ``degraded`` or ``failing``.
        troubles: Parts that fail or need a look.
        samples: Values of the metrics by name and labels.
    """

    at_s: float
    status: str
    troubles: tuple[str, ...] = ()
    samples: dict[str, dict[Labels, float]] = field(default_factory=dict)

    def total(self, name: str, **labels: str) -> float:
        """Sum a metric over everything that carries these labels."""
        wanted = set(labels.items())
        return sum(value for have, value in self.samples.get(name, {}).items() if wanted <= set(have))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Sum a metric by the values of one label."""
        sums: dict[str, float] = defaultdict(float)
        wanted = set(labels.items())
        for have, value in self.samples.get(name, {}).items():
            if wanted <= set(have):
                sums[dict(have).get(label, "")] += value
        return dict(sums)


@click.command(name="top")
@click.option("--server", default="http://127.0.0.1:8000", show_default=True, help="Address of the server.")
@click.option("--token", envvar="KEELBILL_OPERATOR_TOKEN", default="", help="Operator's token, from other machines.")
@click.option("--every", default=1.0, type=click.FloatRange(0.2, 60), show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Print what is now, and end.")
def command(server: str, token: str, every: float, once: bool) -> None:
    """Watch queue, workers, speed and credits of a running server.

    \b
    keelbill top
    keelbill top --server https://pictures.example --token …
    """
    headers = {"authorization": f"Bearer {token}"} if token else {}
    console = Console()
    with httpx.Client(base_url=server, headers=headers, timeout=TIMEOUT_S) as client:
        before = look(client)
        if once:
            console.print(view(before, None, server))
            return
        try:
            watch(console, lambda: look(client), before, server, every)
        except KeyboardInterrupt:
            return


def watch(console: Console, look_again: Callable[[], Frame], first: Frame, server: str, every_s: float) -> None:
    """Draw a frame every few seconds until interrupted."""
    before = first
    with Live(view(first, None, server), console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            time.sleep(every_s)
            try:
                now = look_again()
            except Unavailable as error:
                live.update(Text(str(error), style="red"), refresh=True)
                continue
            live.update(view(now, before, server), refresh=True)
            before = now


def look(client: httpx.Client) -> Frame:
    """Ask a server once.

    Raises:
        PermissionDenied: It does not show its metrics to us.
        Unavailable: It does not answer.
    """
    try:
        ready, metrics = client.get("/readyz"), client.get("/metrics")
    except httpx.HTTPError as error:
        raise Unavailable(f"{client.base_url} does not answer ({error or type(error).__name__}).") from error
    if metrics.status_code != httpx.codes.OK:
        raise PermissionDenied(
            f"{client.base_url} does not show its metrics.",
            hint="Run it on the server's machine, or give the setting operator_token with --token.",
        )
    facts = ready.json()
    troubles = (*facts.get("failing", ()), *facts.get("degraded", ()))
    return Frame(time.monotonic(), str(facts.get("status", "unknown")), troubles, parse(metrics.text))


def parse(text: str) -> dict[str, dict[Labels, float]]:
    """Read the text format of Prometheus."""
    samples: dict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name][tuple(sorted(sample.labels.items()))] = float(sample.value)
    return dict(samples)


def view(now: Frame, before: Frame | None, server: str) -> Group:
    """Draw what is now; rates need an earlier frame, and show a dash without one."""
    return Group(_head(now, server), _queue(now, before), _workers(now), _money(now, before))


def _head(now: Frame, server: str) -> Text:
    style = {"ok": "green", "degraded": "yellow"}.get(now.status, "red")
    return Text.assemble(f"Keelbill at {server}: ", (now.status, style), " " + ", ".join(now.troubles))


def _queue(now: Frame, before: Frame | None) -> Group:
    table = Table("model", "waiting", "running", "finished", "per minute", "steps/s a picture", title="Queue")
    waiting = now.by("keelbill_queue_jobs", "model", state="queued")
    running = now.by("keelbill_queue_jobs", "model", state="running")
    ended = now.by("keelbill_jobs_total", "model")
    for model in sorted({*waiting, *running, *ended}):
        rate = _rate(now, before, "keelbill_jobs_total", model=model)
        steps = now.total("keelbill_step_duration_seconds_count", model=model)
        step_s = now.total("keelbill_step_duration_seconds_sum", model=model)
        table.add_row(
            model or "(default)",
            f"{waiting.get(model, 0):.0f}",
            f"{running.get(model, 0):.0f}",
            f"{ended.get(model, 0):.0f}",
            "–" if rate is None else f"{rate * 60:.1f}",
            f"{steps / step_s:.1f}" if step_s else "–",
        )
    return Group(
        table,
        Text(
            f"{now.total('keelbill_queue_gpu_seconds'):.1f} s of work wait; "
            f"{now.total('keelbill_desired_workers'):.0f} workers would keep the wait at its target"
        ),
    )


def _workers(now: Frame) -> Group:
    table = Table("worker", "state", "memory", title="Workers")
    memory = now.by("keelbill_gpu_memory_bytes", "worker")
    up = now.by("keelbill_worker_up", "worker")
    for worker in sorted(up, key=lambda name: (len(name), name)):
        table.add_row(worker, "ready" if up[worker] else "away", f"{memory.get(worker, 0) / 2**20:.0f} MiB")
    busy = sum(now.by("keelbill_queue_jobs", "model", state="running").values())
    ready = sum(1 for value in up.values() if value)
    return Group(table, Text(f"{busy / ready:.1f} pictures at a time on each" if ready else "no worker is ready"))


def _money(now: Frame, before: Frame | None) -> Group:
    table = Table("credits", "in all", "per minute", title="Money")
    for kind, amount in sorted(now.by("keelbill_credits_micro_total", "kind").items()):
        rate = _rate(now, before, "keelbill_credits_micro_total", kind=kind)
        per_minute = "–" if rate is None else f"{credits_of(Micro(round(rate * 60))):.2f}"
        table.add_row(kind, f"{credits_of(Micro(round(amount))):.2f}", per_minute)
    return Group(
        table,
        Text(
            f"{now.total('keelbill_holds_open'):.0f} holds open; "
            f"{now.total('keelbill_ledger_mismatch'):.0f} differences at the last check"
        ),
    )


def _rate(now: Frame, before: Frame | None, name: str, **labels: str) -> float | None:
    """Return growth per second, or nothing without an earlier frame or after a restart of the server."""
    if before is None or now.at_s <= before.at_s:
        return None
    grown = now.total(name, **labels) - before.total(name, **labels)
    return grown / (now.at_s - before.at_s) if grown >= 0 else None
