"""``keelbill generate --server``: the same options, made by a server. Loads no network and imports no torch."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from keelbill.cli import _orders
from keelbill.cli._files import write_named, write_new
from keelbill.cli._progress import Bar, progress_bar
from keelbill.core.errors import InvalidInput, UnknownName
from keelbill.imaging.decode import ImageFormat, open_header, read_bounded

if TYPE_CHECKING:
    from keelbill.client import Client, Picture
    from keelbill.client.forms import Model, Ratio, StylePreset

MAX_SEED: Final = 4_294_967_294
MAX_PICTURE_BYTES: Final = 10 * 2**20
_SERVER_DECIDES: Final = "left out with --server, because the server decides it"


@dataclass(frozen=True)
class RemoteOrder:
    """What a person wants from a server; checked as far as that is possible here."""

    prompt: str
    negative: str
    model: str | None
    ratio: str | None
    style: str | None
    seed: int | None
    cfg: float | None
    count: int
    image: Path | None
    strength: float | None
    mask: Path | None
    kind: ImageFormat
    output: Path | None


def generate(order: RemoteOrder, server: str, key: str | None) -> None:
    """Let a server make the pictures of an order; tell of each and write it.

    Raises:
        AppError: The order cannot be sent, or the server refuses it; the message says why.
    """
    check(order)
    with opened(server, key) as client, progress_bar() as bar:
        for place in range(order.count):
            start = time.perf_counter()
            made = _make(client, order, None if order.seed is None else order.seed + place, bar)
            path = _write(made, order, place)
            bar.print(_line(path, made, time.perf_counter() - start))
            if made.is_filtered:
                click.echo("The server's rules blurred this picture.", err=True)


def check(order: RemoteOrder) -> None:
    """Check what can be checked without the server.

    Raises:
        InvalidInput: A value that no server of this interface takes.
    """
    _orders.check_text("prompt", order.prompt)
    _orders.check_text("negative", order.negative, empty=True)
    _orders.check_shape(None, order.ratio)
    if not 1 <= order.count <= _orders.MAX_COUNT:
        raise InvalidInput("n", order.count, f"from 1 to {_orders.MAX_COUNT} pictures")
    if order.cfg is not None and not 1 <= order.cfg <= 10:
        raise InvalidInput("cfg", order.cfg, "from 1 to 10 with --server")
    last = MAX_SEED - order.count + 1
    if order.seed is not None and not 1 <= order.seed <= last:
        raise InvalidInput("seed", order.seed, f"from 1 to {last} with --server and {order.count} pictures")
    if order.strength is not None and not 0 <= order.strength <= 1:
        raise InvalidInput("strength", order.strength, "from 0 to 1")
    if order.image is None and (order.mask or order.strength is not None):
        field = "mask" if order.mask else "strength"
        raise InvalidInput(field, str(order.mask or order.strength), "given together with image")
    for field, path in (("image", order.image), ("mask", order.mask)):
        if path is not None:
            open_header(read_bounded(path, field=field, max_bytes=MAX_PICTURE_BYTES), field=field)
    if order.mask:
        for field, value in (("model", order.model), ("cfg", order.cfg), ("strength", order.strength)):
            if value is not None:
                raise InvalidInput(field, value, "left out with --server and a mask, because inpainting has none")
    _check_style(order.style)


def refuse_local(**given: object) -> None:
    """Check that options which only this machine's engine takes are left out.

    Raises:
        InvalidInput: One is given.
    """
    for field, value in given.items():
        if value is not None:
            raise InvalidInput(field, value, _SERVER_DECIDES)


@contextmanager
def opened(server: str | None, key: str | None) -> Iterator[Client]:
    """Open a client; what was forgiven about the key is said on standard error.

    Args:
        server: Address; nothing for the environment's, else this machine.
        key: The key, ``-`` to ask for it, or nothing for the environment's.
    """
    from keelbill.client import Client

    with warnings.catch_warnings(record=True) as forgiven:
        warnings.simplefilter("always")
        client = Client(read_key(key), server, timeout_s=300)
    for warning in forgiven:
        click.echo(f"keelbill: {warning.message}", err=True)
    with client:
        yield client


def read_key(key: str | None) -> str | None:
    """Return the key that was given; ``-`` asks for it, hidden, or reads a line of standard input."""
    if key != "-":
        return key
    if sys.stdin.isatty():
        return click.prompt("API key", hide_input=True, err=True)
    return sys.stdin.readline()


def _make(client: Client, order: RemoteOrder, seed: int | None, bar: Bar) -> Picture:
    if order.image is None:
        return _watched(client, order, seed, bar)
    bar.status("waiting for the server")
    if order.mask is not None:
        return client.inpaint(
            order.image,
            order.prompt,
            mask=order.mask,
            seed=seed,
            negative_prompt=order.negative or None,
            style_preset=cast("StylePreset | None", order.style),
            output_format=order.kind.value,
        )
    return _plain(client, order, seed, bar)


def _watched(client: Client, order: RemoteOrder, seed: int | None, bar: Bar) -> Picture:
    """Make a picture and show each step; on a server that tells nothing on the way, just wait."""
    from keelbill.client import Done, KeelbillError, Progress, Queued, Retrying

    events = client.stream(
        order.prompt,
        model=_model(order),
        aspect_ratio=cast("Ratio | None", order.ratio),
        seed=seed,
        negative_prompt=order.negative or None,
        cfg_scale=order.cfg,
        style_preset=cast("StylePreset | None", order.style),
        output_format=order.kind.value,
    )
    has_begun = False
    try:
        for event in events:
            has_begun = True
            if isinstance(event, Queued):
                bar.status(f"number {event.position} in the queue")
            elif isinstance(event, Progress):
                bar.step(event.step, event.total)
            elif isinstance(event, Retrying):
                bar.status(f"starting again: {event.reason}")
            elif isinstance(event, Done):
                return event.picture
    except KeelbillError as error:
        if has_begun or error.status not in (404, 405):
            raise
    return _plain(client, order, seed, bar)


def _plain(client: Client, order: RemoteOrder, seed: int | None, bar: Bar) -> Picture:
    bar.status("waiting for the server")
    strength = _orders.DEFAULT_STRENGTH if order.strength is None else order.strength
    return client.generate(
        order.prompt,
        model=_model(order),
        aspect_ratio=cast("Ratio | None", order.ratio),
        seed=seed,
        negative_prompt=order.negative or None,
        cfg_scale=order.cfg,
        style_preset=cast("StylePreset | None", order.style),
        output_format=order.kind.value,
        image=order.image,
        strength=strength if order.image else None,
    )


def _model(order: RemoteOrder) -> Model | str:
    return order.model or "sd3.5-large"


def _write(made: Picture, order: RemoteOrder, place: int) -> Path:
    """Write a picture by the rules of the local command: a file that was named is replaced, no other one."""
    if order.output is None or order.output.is_dir():
        stem = _orders.slug(order.prompt) + (f"-{made.seed}" if made.seed is not None else "")
        return write_new(order.output or Path(), stem, order.kind.suffix, made.data)
    path = order.output if order.output.suffix else order.output.with_suffix(order.kind.suffix)
    return write_named(path if order.count == 1 else path.with_stem(f"{path.stem}-{place + 1}"), made.data)


def _line(path: Path, made: Picture, seconds: float) -> str:
    price = "" if made.credits_charged is None else f"  {made.credits_charged.normalize():f} credits"
    return f"{path}  seed {made.seed}  {seconds:.1f} s{price}"


def _check_style(style: str | None) -> None:
    from typing import get_args

    from keelbill.client.forms import StylePreset

    if style is not None and style not in get_args(StylePreset):
        raise UnknownName("style", style, get_args(StylePreset))
