"""Requests that keep coming, painted together between steps, or in fixed lists by diffusers' pipeline.

    python benchmarks/static_batching.py [--requests 24] [--rate 3]

A pipeline takes a list of prompts of one size and one number of steps and cannot be joined before its end. So the
static server takes, whenever it is free, all waiting requests that are like the oldest; ours takes anything between two
steps. Both have the same random weights of the embedded model's size, the same guidance and the same arrivals, with
prompts already encoded and nothing decoded. Ratios above 1 mean that ours is better.
"""

from __future__ import annotations

import argparse
import importlib
import random
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from keelbill.engine.batch import Batch, Finished, Sampling
from keelbill.engine.guidance import Branch, ClassifierFree
from keelbill.engine.mmdit import MMDiT
from keelbill.engine.samplers import SAMPLERS
from keelbill.engine.schedules import sigmas

twin: Any = importlib.import_module("engine")
"""The script beside this one, which makes both networks."""

SHAPES = (((256, 256), 8), ((192, 256), 8), ((256, 256), 12), ((128, 128), 4))
SMALL = 3
"""Which of the shapes is the small one that should not wait for the others."""

MOST = 8
TEXT = 40


@dataclass(frozen=True)
class Request:
    """One picture that is asked for.

    Args:
        at_s: When, from the start.
        shape: Its place in `SHAPES`.
        inputs: Its noise and prompts.
    """

    at_s: float
    shape: int
    inputs: Any

    @property
    def steps(self) -> int:
        """Of its sampling."""
        return SHAPES[self.shape][1]


def requests_of(count: int, rate: float, seed: int) -> list[Request]:
    """Draw requests that come at random, so many in a second."""
    chance, at_s, made = random.Random(seed), 0.0, []
    for _ in range(count):
        shape = chance.randrange(len(SHAPES))
        sides, steps = SHAPES[shape]
        (inputs,) = twin.inputs_of(twin.Case("", (sides,), steps, TEXT), twin.EMBEDDED, torch.float32, "cpu")
        made.append(Request(at_s, shape, inputs))
        at_s += chance.expovariate(rate)
    return made


class Arrivals:
    """Requests as they come, by the real clock."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._coming = list(requests)
        self._begun_s = time.perf_counter()

    def now_s(self) -> float:
        """Return seconds since the start."""
        return time.perf_counter() - self._begun_s

    def come(self, *, wait: bool) -> list[Request]:
        """Return those that have come since the last call; wait for the next one if asked to."""
        if wait and self._coming:
            time.sleep(max(0.0, self._coming[0].at_s - self.now_s()))
        now_s = self.now_s()
        come = [request for request in self._coming if request.at_s <= now_s]
        del self._coming[: len(come)]
        return come

    def __bool__(self) -> bool:
        return bool(self._coming)


def serve_together(network: MMDiT, requests: Sequence[Request]) -> list[tuple[Request, float]]:
    """Admit requests between steps; return each with the seconds from its arrival to its end."""
    batch, arrivals, ended = Batch(network, token_budget=10**9), Arrivals(requests), []
    waiting: list[Request] = []
    running: dict[int, Request] = {}
    while arrivals or waiting or running:
        waiting += arrivals.come(wait=not (waiting or running))
        while waiting and len(running) < MOST:
            request = waiting.pop(0)
            levels = sigmas("reference", request.steps, 3.0).tolist()
            given = request.inputs
            sampling = Sampling(
                given.noise, levels, SAMPLERS.get("euler"), ClassifierFree(twin.CFG), given.prompts, _no_noise
            )
            running[batch.admit(sampling)] = request
        for event in batch.step():
            if isinstance(event, Finished):
                request = running.pop(event.ticket)
                ended.append((request, arrivals.now_s() - request.at_s))
    return ended


def serve_static(pipeline: Any, requests: Sequence[Request]) -> list[tuple[Request, float]]:
    """Call a pipeline with lists of waiting requests of one kind, to their end."""
    arrivals, ended = Arrivals(requests), []
    waiting: list[Request] = []
    while arrivals or waiting:
        waiting += arrivals.come(wait=not waiting)
        group = [request for request in waiting if request.shape == waiting[0].shape][:MOST]
        waiting = [request for request in waiting if request not in group]
        call(pipeline, group)
        ended += [(request, arrivals.now_s() - request.at_s) for request in group]
    return ended


def call(pipeline: Any, group: Sequence[Request]) -> None:
    """Paint a list of requests of one kind."""

    def stack(branch: Branch) -> tuple[Any, Any]:
        given = [request.inputs.prompts[branch] for request in group]
        return torch.stack([each.context for each in given]), torch.stack([each.pooled for each in given])

    (context, pooled), (empty, empty_pooled) = stack(Branch.POSITIVE), stack(Branch.NEGATIVE)
    (width, height), steps = SHAPES[group[0].shape]
    pipeline(
        prompt_embeds=context,
        pooled_prompt_embeds=pooled,
        negative_prompt_embeds=empty,
        negative_pooled_prompt_embeds=empty_pooled,
        latents=torch.stack([request.inputs.noise for request in group]),
        width=width,
        height=height,
        num_inference_steps=steps,
        guidance_scale=twin.CFG,
        output_type="latent",
    )


def pipeline_of(network: MMDiT) -> Any:
    """Make diffusers' pipeline with our weights, without text encoders and decoder."""
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    parts = dict.fromkeys(
        ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    made = StableDiffusion3Pipeline(transformer=twin.peer_transformer(network), scheduler=scheduler, **parts)
    made.set_progress_bar_config(disable=True)
    return made


def show(name: str, ended: Sequence[tuple[Request, float]]) -> tuple[float, float]:
    """Print one row; return the pictures per second, and how long 95 of 100 small ones took at most."""
    took_s = sorted(seconds for _, seconds in ended)
    small_s = sorted(seconds for request, seconds in ended if request.shape == SMALL)
    rate = len(ended) / max(request.at_s + seconds for request, seconds in ended)
    small = small_s[int(0.95 * (len(small_s) - 1))] if small_s else 0.0
    most = took_s[int(0.95 * (len(took_s) - 1))]
    print(
        f"{name:32} {rate:6.2f} pictures/s   p50 {median(took_s):6.2f} s   p95 {most:6.2f} s"
        f"   small ones p95 {small:6.2f} s",
        flush=True,
    )
    return rate, small


def _no_noise() -> Any:
    raise RuntimeError("Euler draws no noise")


def main(count: int, rate: float, seed: int) -> None:
    """Measure both in turns and print."""
    warnings.simplefilter("ignore")
    network = twin.random_transformer(twin.EMBEDDED, torch.float32, "cpu", strict=False)
    pipeline = pipeline_of(network)
    call(pipeline, requests_of(1, rate, seed))
    rows: list[tuple[str, Callable[[Sequence[Request]], list[tuple[Request, float]]]]] = [
        ("together, between steps", lambda requests: serve_together(network, requests)),
        ("diffusers, lists of one kind", lambda requests: serve_static(pipeline, requests)),
    ]
    print(f"{count} requests, {rate:g} a second, {len(SHAPES)} kinds, at most {MOST} at a time")
    with torch.inference_mode():
        (ours, our_small), (theirs, their_small) = [
            show(name, serve(requests_of(count, rate, seed))) for name, serve in rows
        ]
    print(f"ratio: pictures per second {ours / theirs:.2f}, small ones sooner {their_small / (our_small or 1.0):.2f}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--requests", type=int, default=24)
    arguments.add_argument("--rate", type=float, default=3.0, help="per second")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    main(given.requests, given.rate, given.seed)
