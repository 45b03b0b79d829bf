"""Estimate waits and the workers that a load needs: a simulation of hours in seconds, with the server's own fair queue.

    python benchmarks/capacity.py --rate 8 --workers 40
    python benchmarks/capacity.py --rate 250 --workers 1000 --seconds large=4.0,medium=2.2,enlarge=0.6
    python benchmarks/capacity.py --rate 8 --target-wait 5

Arrivals are random and independent (Poisson) over many accounts of which a few ask for most. Time is worker time
per picture that you measured; a batch of several counts as its share of the step. Nothing here paints.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from keelbill.serving.messages import ImageTask, JobSpec
from keelbill.serving.queue import FairQueue

MOST_WORKERS = 100_000


@dataclass(frozen=True)
class Class:
    """One kind of work.

    Args:
        name: For the table.
        share: Of the arrivals, relative to the others.
        seconds: Worker time of one picture.
    """

    name: str
    share: float
    seconds: float


MIX = (Class("large", 0.25, 4.0), Class("medium", 0.6, 2.2), Class("enlarge", 0.15, 0.6))


@dataclass
class Outcome:
    """What a simulation found.

    Args:
        waits_s: Seconds between arrival and start, by class.
        busy: Share of the workers' time that was used, 0 to 1.
        left: Jobs that still waited when arrivals ended.
    """

    waits_s: dict[str, list[float]] = field(default_factory=dict)
    busy: float = 0.0
    left: int = 0

    @property
    def all_s(self) -> list[float]:
        """Waits of all classes."""
        return [wait for waits in self.waits_s.values() for wait in waits]


def simulate(
    mix: Sequence[Class], rate: float, workers: int, hours: float = 1.0, accounts: int = 500, seed: int = 1
) -> Outcome:
    """Let jobs arrive, wait and run.

    Args:
        mix: Kinds of work.
        rate: Arrivals per second.
        workers: How many run at a time.
        hours: How long jobs arrive.
        accounts: Who ask; account n asks 1/n as often as the first.
        seed: Of chance.
    """
    chance = random.Random(seed)
    ends_s = hours * 3600
    arrivals = _arrivals(chance, mix, rate, ends_s, accounts)
    queue, outcome = FairQueue(), Outcome({each.name: [] for each in mix})
    known: dict[str, tuple[float, Class]] = {}
    running: list[float] = []
    used_s = 0.0
    coming = next(arrivals, None)
    while coming is not None or len(queue):
        now_s = min([*([coming[0]] if coming else []), *running[:1]])
        if coming is not None and coming[0] <= now_s:
            at_s, job, kind = coming
            known[job.job_id] = (at_s, kind)
            queue.push(job)
            coming = next(arrivals, None)
            if coming is None:
                outcome.left = max(0, len(queue) - (workers - len(running)))
        while running and running[0] <= now_s:
            heapq.heappop(running)
        while len(running) < workers and (next_job := queue.pop(now_s)) is not None:
            at_s, kind = known.pop(next_job.job_id)
            outcome.waits_s[kind.name].append(now_s - at_s)
            took_s = kind.seconds * chance.uniform(0.9, 1.1)
            used_s += max(0.0, min(now_s + took_s, ends_s) - min(now_s, ends_s))
            heapq.heappush(running, now_s + took_s)
    outcome.busy = used_s / (workers * ends_s)
    return outcome


def _arrivals(
    chance: random.Random, mix: Sequence[Class], rate: float, ends_s: float, accounts: int
) -> Iterator[tuple[float, JobSpec, Class]]:
    shares = [kind.share for kind in mix]
    names = [f"account{number}" for number in range(accounts)]
    odds = [1 / (number + 1) for number in range(accounts)]
    totals = [sum(odds[: number + 1]) for number in range(accounts)]
    now_s, number = 0.0, 0
    while True:
        now_s += chance.expovariate(rate)
        if now_s >= ends_s:
            return
        kind = chance.choices(mix, shares)[0]
        org_id = chance.choices(names, cum_weights=totals)[0]
        number += 1
        yield now_s, JobSpec(job_id=str(number), org_id=org_id, task=ImageTask(), cost_ms=kind.seconds * 1000), kind


def needed(mix: Sequence[Class], rate: float, target_s: float, *, hours: float, accounts: int) -> int:
    """Return the fewest workers with which 95 of 100 jobs begin within the target."""
    load = rate * sum(kind.share * kind.seconds for kind in mix) / sum(kind.share for kind in mix)
    low, high = max(1, int(load)), max(2, int(load) + 1)
    while high < MOST_WORKERS and not _meets(mix, rate, high, target_s, hours, accounts):
        low, high = high, high + max(1, high // 20)
    while low + 1 < high:
        middle = (low + high) // 2
        if _meets(mix, rate, middle, target_s, hours, accounts):
            high = middle
        else:
            low = middle
    return high


def _meets(mix: Sequence[Class], rate: float, workers: int, target_s: float, hours: float, accounts: int) -> bool:
    outcome = simulate(mix, rate, workers, hours, accounts)
    return percentile(outcome.all_s, 0.95) <= target_s


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which so large a share lies; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def show(outcome: Outcome, workers: int) -> None:
    """Print one table."""
    print(f"{workers} workers, {outcome.busy:.1%} busy, {outcome.left} jobs waited when arrivals ended")
    for name, waits in [*outcome.waits_s.items(), ("all", outcome.all_s)]:
        if waits:
            print(
                f"  {name:12} {len(waits):8} jobs   wait p50 {median(waits):8.2f} s"
                f"   p95 {percentile(waits, 0.95):8.2f} s   worst {max(waits):8.2f} s"
            )


def mix_of(text: str) -> tuple[Class, ...]:
    """Read ``name=seconds:share,…``; a share that is missing is 1, or the usual mix's."""
    usual = {kind.name: kind.share for kind in MIX}
    kinds = []
    for part in text.split(","):
        name, _, rest = part.partition("=")
        seconds, _, share = rest.partition(":")
        kinds.append(Class(name, float(share) if share else usual.get(name, 1.0), float(seconds)))
    return tuple(kinds)


def main() -> None:
    """Read the arguments, simulate, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=8.0, help="pictures asked for per second")
    parser.add_argument("--workers", type=int, default=0, help="0 finds how many are needed")
    parser.add_argument("--seconds", type=mix_of, default=MIX, help="name=seconds:share,… measured per picture")
    parser.add_argument("--hours", type=float, default=0.5)
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--target-wait", type=float, default=5.0, help="seconds, for 95 of 100 jobs")
    given = parser.parse_args()
    workers = given.workers or needed(
        given.seconds, given.rate, given.target_wait, hours=given.hours, accounts=given.accounts
    )
    show(simulate(given.seconds, given.rate, workers, given.hours, given.accounts), workers)


if __name__ == "__main__":
    main()
