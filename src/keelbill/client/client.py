"""The blocking client. Sends what the services ask for, in time and with safe retries; knows no service's fields."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

import httpx

from keelbill.client import (
    accounts,
    editing,
    forms,
    generating,
    guiding,
    repeat,
    streaming,
    upscaling,
    wire,
    workflows,
)
from keelbill.client._methods import looks_like
from keelbill.client.errors import KeelbillError
from keelbill.client.events import Done, Event, EventReader, Finished
from keelbill.client.retries import Retries
from keelbill.client.target import find_target, stub
from keelbill.client.wire import Exchange, Reply, Request

P = ParamSpec("P")
T = TypeVar("T")


def _method(service: Callable[P, Exchange[T]]) -> Callable[Concatenate[Client, P], T]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(service(*args, **kwargs))

    return looks_like(service, method)


class Client:
    """A server that makes pictures.

    Args:
        key: API key; nothing means ``KEELBILL_API_KEY``, else ``STABILITY_API_KEY``.
        base_url: Address of the server; nothing means ``KEELBILL_BASE_URL``, else ``STABILITY_API_HOST``, else
            ``STABILITY_HOST``, else this machine's port 8000.
        timeout_s: Seconds that one call may take, with all its tries and waits. Connecting takes at most 10 of them.
        retries: How often a try is repeated; only such failures are that cannot charge twice.
        check_key: Whether a mistyped key is found before it is sent.

    Raises:
        AuthenticationError: There is no key, or it has a typo.
        BadRequestError: The address is not one.

    A client is safe to share between threads. Close it, or use it in a ``with`` statement.
    """

    def __init__(
        self,
        key: str | None = None,
        base_url: str | None = None,
        *,
        timeout_s: float = 180.0,
        retries: Retries | None = None,
        check_key: bool = True,
    ) -> None:
        self._target = find_target(key, base_url, check_key=check_key)
        self._timeout_s = timeout_s
        self._retries = retries or Retries()
        self._http = httpx.Client(base_url=self._target.base_url, trust_env=wire.uses_environment(self._target))

    def __repr__(self) -> str:
        return f"Client({stub(self._target.key)!r}, {self._target.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def base_url(self) -> str:
        """Address of the server."""
        return self._target.base_url

    generate = _method(generating.generate)
    ultra = _method(generating.ultra)
    core = _method(generating.core)
    inpaint = _method(editing.inpaint)
    erase = _method(editing.erase)
    outpaint = _method(editing.outpaint)
    search_and_replace = _method(editing.search_and_replace)
    search_and_recolor = _method(editing.search_and_recolor)
    remove_background = _method(editing.remove_background)
    replace_background = _method(editing.replace_background)
    sketch = _method(guiding.sketch)
    structure = _method(guiding.structure)
    style = _method(guiding.style)
    style_transfer = _method(guiding.style_transfer)
    upscale_fast = _method(upscaling.upscale_fast)
    upscale_conservative = _method(upscaling.upscale_conservative)
    upscale_creative = _method(upscaling.upscale_creative)
    result = _method(forms.result)
    repeat = _method(repeat.repeat)
    balance = _method(accounts.balance)
    account = _method(accounts.account)
    engines = _method(accounts.engines)
    run_workflow = _method(workflows.run_workflow)
    price_workflow = _method(workflows.price_workflow)

    def stream(
        self,
        prompt: str,
        *,
        model: forms.Model | str = "sd3.5-large",
        aspect_ratio: forms.Ratio | None = None,
        seed: int | None = None,
        negative_prompt: str | None = None,
        cfg_scale: float | None = None,
        style_preset: forms.StylePreset | None = None,
        output_format: forms.OutputFormat | None = None,
        previews: bool = False,
    ) -> Generator[Event, None, None]:
        """Make a picture and tell what happens; the last event is `Done` with the picture. Keelbill servers only.

        Leaving the loop early cancels the job, which is then not charged. `previews` asks for small pictures on the
        way; the other arguments are those of `generate`. Between two signs of life may pass `timeout_s` seconds.

        Raises:
            NotFoundError: The server has no such interface.
            KeelbillError: The job failed.
        """
        request = streaming.submission(
            prompt,
            model=model,
            aspect_ratio=aspect_ratio,
            seed=seed,
            negative_prompt=negative_prompt,
            cfg_scale=cfg_scale,
            style_preset=style_preset,
            output_format=output_format,
            previews=previews,
        )
        job_id, reader = self.run(streaming.submit(request)), EventReader()
        try:
            with closing(self._events(job_id, reader)) as events:
                for event in events:
                    if isinstance(event, Finished):
                        yield Done(self.run(streaming.fetch(job_id, request)))
                        return
                    yield event
        finally:
            if not reader.is_over:
                self._cancel(job_id)

    def run(self, exchange: Exchange[T]) -> T:
        """Drive a service to its result: send each request that it yields and hand it the reply."""
        try:
            request = next(exchange)
            while True:
                if request.wait_s:
                    time.sleep(request.wait_s)
                request = exchange.send(self._ask(request))
        except StopIteration as end:
            return cast("T", end.value)

    def _ask(self, request: Request) -> Reply:
        deadline_s = time.monotonic() + self._timeout_s
        return self._retries.sync(self._timeout_s)(self._try, request, wire.new_idempotency_key(), deadline_s)

    def _try(self, request: Request, idempotency_key: str, deadline_s: float) -> Reply:
        try:
            with self._http.stream(
                **self._arguments(request, idempotency_key, deadline_s - time.monotonic())
            ) as response:
                answer = wire.Answer(response, request, self._target, self._timeout_s)
                for chunk in response.iter_bytes():
                    answer.take(chunk, deadline_s - time.monotonic())
                return answer.reply()
        except httpx.HTTPError as error:
            raise wire.failure_of(error, request, self._target, self._timeout_s) from error

    def _arguments(self, request: Request, idempotency_key: str, left_s: float) -> dict[str, Any]:
        if left_s <= 0:
            raise wire.too_late(self._timeout_s, request, self._target)
        return wire.arguments_of(request, self._target, idempotency_key, left_s)

    def _events(self, job_id: str, reader: EventReader) -> Generator[Event | Finished, None, None]:
        """Read a job's events; a connection that breaks is made again, from the event after the last one."""
        failures = 0
        while True:
            request = streaming.watch(job_id, reader.last_id)
            try:
                with self._http.stream(**self._arguments(request, "", self._timeout_s)) as response:
                    if not response.is_success:
                        raise wire.refused(response, response.read(), request, self._target)
                    for chunk in response.iter_bytes():
                        for event in reader.feed(chunk):
                            failures = 0
                            yield event
                error: httpx.HTTPError = httpx.RemoteProtocolError("the stream ended before the job")
            except httpx.HTTPError as broken:
                error = broken
            failures += 1
            if failures >= self._retries.attempts:
                raise wire.failure_of(error, request, self._target, self._timeout_s) from error
            reader.reconnect()
            time.sleep(self._retries.pause_s(failures))

    def _cancel(self, job_id: str) -> None:
        try:
            self.run(streaming.cancel(job_id))
        except KeelbillError:
            return  # the server voids it by itself when nobody watches and its deadline passes
