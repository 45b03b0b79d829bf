"""Measures what a graph costs over the same picture through the image API: per run, and when every result is known.

    python benchmarks/graph.py                    # scripted workers: the server's share alone
    python benchmarks/graph.py --embedded --runs 10  # the model that ships with the program: the executor's share too

Both ways make the same picture of 1024x1024 pixels with the same seed, in turns over one connection. A
cached run is the same graph again: nothing is painted, and the finished file is told again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from keelbill.core.settings import Settings
from keelbill.serving.local import local_pool
from keelbill.serving.pool import WorkerPool
from keelbill.serving.scripted import ScriptedPool
from support.graphdoors import text_to_image
from support.server import LiveServer

STEPS: Final = 24
WARM: Final = 2


def graph(seed: int) -> dict[str, Any]:
    """Return the graph of the picture that the image API makes by default."""
    made = text_to_image("a red apple on a white background", seed, steps=STEPS)
    made["5"]["inputs"] |= {"width": 1024, "height": 1024}
    made["3"]["inputs"] |= {"cfg": 3.5, "scheduler": "simple"}
    return made


def timed(runs: int, *ways: Callable[[int], httpx.Response]) -> list[list[float]]:
    """Return the milliseconds of each call, by way; the ways take turns, after some calls to warm up."""
    took: list[list[float]] = [[] for _ in ways]
    for number in range(WARM + runs):
        for way, ask in enumerate(ways):
            begun_s = time.perf_counter()
            answer = ask(number)
            took[way].append((time.perf_counter() - begun_s) * 1000)
            if answer.status_code != 200:
                raise SystemExit(f"{answer.status_code}: {answer.text[:500]}")
    return [each[WARM:] for each in took]


def report(name: str, took: list[float], base: float | None = None) -> float:
    """Print the median and the slowest, and how much more it is than another way."""
    median = statistics.median(took)
    more = "" if base is None else f"  {median - base:+9.1f} ms"
    print(f"{name:28} {median:9.1f} ms  {max(took):9.1f} ms{more}")
    return median


def measure(server: LiveServer, runs: int) -> None:
    """Make pictures both ways."""
    server.set_balance("100000")
    first = 1 + time.time_ns() % 2**30
    headers = {"authorization": f"Bearer {server.key}", "accept": "image/*"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=600) as client:

        def through_the_api(number: int) -> httpx.Response:
            form = {"prompt": "a red apple on a white background", "seed": str(first + number)}
            return client.post("/v2beta/stable-image/generate/sd3", files={name: (None, v) for name, v in form.items()})

        def through_a_graph(number: int) -> httpx.Response:
            return client.post("/v1/workflows/run", json=graph(first + number))

        def known_already(number: int) -> httpx.Response:
            del number
            return client.post("/v1/workflows/run", json=graph(first))

        def price_alone(number: int) -> httpx.Response:
            return client.post("/v1/workflows/run?dry_run=true", json=graph(first + number))

        print(f"{'':28} {'median':>9}     {'slowest':>9}     {'over the API':>12}")
        api, nodes, known, price = timed(runs, through_the_api, through_a_graph, known_already, price_alone)
        base = report("image API", api)
        report("graph", nodes, base)
        report("graph, all known", known, base)
        report("graph, price alone", price)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--embedded", action="store_true", help="with the embedded model in a worker of its own")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["KEELBILL_HOME"] = home
        pool: WorkerPool = ScriptedPool(picture_bytes=20_000)
        if chosen.embedded:
            pool = local_pool(Settings(home=Path(home)))
        server = LiveServer(Path(home), pool=pool)
        server.start()
        try:
            measure(server, chosen.runs)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
