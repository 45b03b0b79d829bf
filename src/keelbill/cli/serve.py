"""``keelbill serve``: starts the platform, says where it is, and lets running work finish at the end.

Knows the order of starting and stopping; knows no route. Imports no networks, so that it answers within a second.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import ExitStack
from types import FrameType
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from keelbill import __version__
from keelbill.core.errors import AppError, InvalidInput
from keelbill.core.settings import Settings, read_settings

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

    from keelbill.api.platform import Platform
    from keelbill.identity.schemas import Bootstrap

BACKLOG = 2048
MAX_FRAME_BYTES = 2**17
"""Longest frame that a client of the graph editor's socket may send."""


class AddressTaken(AppError):
    """The server cannot listen where it should."""

    code = "address_taken"


@click.command()
@click.option("--host", help="Address to listen on. [default: setting host, 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 picks a free one. [default: setting port, 8000]")
@click.option("--scripted", is_flag=True, help="Paint flat test pictures without a model.")
@click.option("--cluster", help="Paint on a Ray cluster: auto, local, ray://… or host:port. [default: here]")
def command(host: str | None, port: int | None, scripted: bool, cluster: str | None) -> None:
    """Start the platform: API, queue and worker.

    \b
    keelbill serve
    keelbill serve --host 0.0.0.0 --port 9000

    Everything is kept in the data folder (KEELBILL_HOME). A new folder gets a first account, and its API key is
    printed once. Ctrl-C lets running pictures finish; a second Ctrl-C does not wait.
    """
    settings = read_settings()
    changed: dict[str, object] = {}
    if host is not None:
        changed["host"] = host
    if port is not None:
        changed["port"] = port
    if scripted:
        changed["scripted_engine"] = True
    if cluster is not None:
        changed["cluster"] = cluster
    with ExitStack() as stack:
        host_now = changed.get("host", settings.host)
        listener = stack.enter_context(listen(host_now, changed.get("port", settings.port)))
        changed["port"] = listener.getsockname()[1]
        listeners = [listener]
        if settings.graph_port:
            listeners.append(stack.enter_context(listen(host_now, settings.graph_port)))
        run(settings.model_copy(update=changed), listeners)


def listen(host: object, port: object) -> socket.socket:
    """Open the socket that the server listens on.

    Raises:
        AddressTaken: Another program listens there.
        InvalidInput: The address is not one of this machine.
    """
    if not isinstance(host, str) or not isinstance(port, int):
        raise TypeError("host and port come from the settings")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise InvalidInput("host", host, "an address of this machine, such as 127.0.0.1 or 0.0.0.0") from error
    except OSError as error:
        raise AddressTaken(
            f"{host}:{port} cannot be listened on ({error.strerror}).", hint="Choose another with --port."
        ) from error
    listener.set_inheritable(False)
    return listener


def run(settings: Settings, listeners: list[socket.socket]) -> None:
    """Serve until a signal ends it."""
    from keelbill.api.app import create_app
    from keelbill.api.comfy.own_port import OwnPort
    from keelbill.api.guard import guarded
    from keelbill.api.platform import build_platform
    from keelbill.telemetry import logs

    logs.configure(settings.log_format, show_prompts=settings.log_prompts)
    platform = build_platform(settings, migrates=True)
    protocol = guarded(trusts_loopback=settings.trust_proxy, on_refusal=platform.telemetry.rejected)
    app: ASGIApp = create_app(platform)
    if settings.graph_port:
        app = OwnPort(app, settings.graph_port)
    server = _server(platform, app, protocol)
    server.run(sockets=listeners)
    if not server.started:
        sys.exit(3)


def _server(platform: Platform, app: object, protocol: type[asyncio.Protocol]) -> uvicorn.Server:
    import uvicorn

    from keelbill.api.app import spare_collections

    settings = platform.settings
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # uvicorn's type for applications is wider than FastAPI's
        http=protocol,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # most of what is sent are pictures
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=10,
        proxy_headers=settings.trust_proxy,
        forwarded_allow_ips="127.0.0.1,::1",
        backlog=BACKLOG,
    )

    class Server(uvicorn.Server):
        """Says where it is once it runs, and drains before it stops."""

        _draining: asyncio.Task[None] | None = None
        _loop: asyncio.AbstractEventLoop

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Start, then print what the user needs.

            The platform starts here and not in the lifespan, so that what hinders it reaches the user as one sentence.
            """
            self._loop = asyncio.get_running_loop()
            for line in opening(platform):
                click.echo(line, err=True)
            await platform.start()
            await super().startup(sockets)
            if self.started:
                first = await platform.db.write(platform.accounts.bootstrap)
                click.echo(greeting(settings, first))
                sys.stdout.flush()
                spare_collections()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Let running work finish at the first signal; do not wait at the second."""
            self._loop.call_soon_threadsafe(self._drain)

        def _drain(self) -> None:
            if self._draining is None:
                self._draining = asyncio.create_task(self._leave(None))
            else:
                self._hurry = asyncio.create_task(self._leave(0))

        async def _leave(self, seconds: float | None) -> None:
            if platform.is_started:
                await platform.drain(seconds)
            self.should_exit = True

    return Server(config)


def opening(platform: Platform) -> list[str]:
    """Return what the server says before it starts: that it does, and what will keep it from taking work."""
    settings = platform.settings
    lines = [f"Keelbill {__version__} is starting; its workers take some seconds to load."]
    if not platform.blobs.has_space():
        free, least = platform.blobs.free_bytes(), settings.min_free_disk_bytes
        lines.append(
            f"No pictures will be made: {free / 1e9:.1f} GB of the disk of {platform.blobs.folder} are free, and the "
            f"setting min_free_disk_bytes asks for {least / 1e9:.1f} GB. Free some, or set "
            "KEELBILL_MIN_FREE_DISK_BYTES."
        )
    return lines


def greeting(settings: Settings, first: Bootstrap) -> str:
    """Return what the server prints when it runs: its address, and on a new home the key, once."""
    base = address(settings)
    lines = [f"Keelbill {__version__} is running at {base}"]
    if first.key_secret:
        lines += [
            "",
            "Your API key, shown only this once:",
            "",
            f"  {first.key_secret}",
            "",
            "Make a picture:",
            "",
            f"  curl --fail-with-body {base}/v2beta/stable-image/generate/sd3 \\",
            f'    --header "authorization: Bearer {first.key_secret}" \\',
            '    --header "accept: image/*" \\',
            '    --form prompt="a red apple on a wooden table" \\',
            "    --output picture.png",
        ]
    if first.setup_token:
        lines += [
            "",
            "Claim the first account within an hour, on this machine:",
            "",
            f"  {base}/set-up#token={quote(first.setup_token)}",
        ]
    return "\n".join(lines)


def address(settings: Settings) -> str:
    """Return the address under which the server is reached, without a slash at the end."""
    from keelbill.identity.wiring import base_url

    return base_url(settings)
