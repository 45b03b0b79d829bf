"""Decodes strangers' pictures in child processes that may crash, run out of memory or hang without harm.

Knows neither HTTP nor what a picture is for. What the children do is in `clean`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Final

from keelbill.core.errors import AppError, BadImage, InvalidRequest, Unavailable
from keelbill.imaging._sandboxed import HEAD, receive
from keelbill.imaging.clean import MAX_PIXELS, CleanImage, Limits, check_length_and_kind
from keelbill.imaging.decode import MAX_BYTES

MAX_CLEAN_BYTES: Final = 4 * MAX_PIXELS + 2**20
"""No clean picture is longer; what reads one back must allow as much."""

START_S: Final = 30.0
WALL_FACTOR: Final = 2
"""A child that says nothing for so many times its processor time is stopped or starved; it is replaced."""

_MAX_REPLY_BYTES = 2**16
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


class _Lost(Exception):
    """The child is gone, or silent, or talks nonsense."""


class _Child:
    """One decoding process; used by one thread at a time."""

    def __init__(self, memory_bytes: int, cpu_s: int) -> None:
        ours, theirs = socket.socketpair()
        # None of this server's secrets is in the child's environment.
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "keelbill.imaging._sandboxed", str(memory_bytes), str(cpu_s)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        self.channel = ours
        self.channel.settimeout(START_S)
        try:
            started = receive(ours, HEAD.size)
        except (OSError, EOFError):
            started = b""
        if not started:
            self.end()
            raise Unavailable("image: pictures cannot be read now; the decoder does not start.", retry_after_s=10)
        self.channel.settimeout(WALL_FACTOR * cpu_s)

    def ask(self, data: bytes, limits: Limits) -> CleanImage:
        """Have one picture rebuilt.

        Raises:
            BadImage: The child refuses the bytes.
            InvalidRequest: The child refuses the size.
            _Lost: The child must be replaced.
        """
        order = json.dumps(asdict(limits)).encode()
        try:
            self.channel.sendall(HEAD.pack(len(order), len(data)) + order)
            self.channel.sendall(data)
            head = receive(self.channel, HEAD.size)
            if not head:
                raise _Lost
            json_length, png_length = HEAD.unpack(head)
            if json_length > _MAX_REPLY_BYTES or png_length > MAX_CLEAN_BYTES:
                raise _Lost
            reply = json.loads(receive(self.channel, json_length))
            png = receive(self.channel, png_length)
        except (OSError, EOFError, ValueError) as error:
            raise _Lost from error
        if "image" in reply:
            return CleanImage(**{**reply["image"], "png": png})
        if reply["refused"] == "limits":
            raise InvalidRequest(*reply["problems"])
        raise BadImage(reply["problems"][0])

    def end(self) -> None:
        """Kill the process and reap it."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


class DecodeService:
    """Rebuilds pictures in a few long-lived child processes.

    Each child has bounded memory and a bounded time for a picture, writes no files and sees none of the server's
    environment. A child that dies is replaced; the picture that killed it is refused.

    Args:
        workers: Child processes, and with them pictures at a time.
        max_waiting: Pictures that may wait for a child before more are turned away.
        max_bytes: Longest file.
        memory_bytes: Address space of a child; it needs about 120 MiB for itself.
        cpu_s: Seconds of processor time that one picture may take.

    Attributes:
        replaced: Children that were lost so far.
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        max_waiting: int = 64,
        max_bytes: int = MAX_BYTES,
        memory_bytes: int = 512 * 2**20,
        cpu_s: int = 5,
    ) -> None:
        self.workers = workers
        self.memory_bytes = memory_bytes
        self.cpu_s = cpu_s
        self.max_waiting = max_waiting
        self.max_bytes = max_bytes
        self.replaced = 0
        self._in_hand = 0
        self._closed = False
        self._lock = threading.Lock()
        self._children: set[_Child] = set()
        self._idle: list[_Child] = []
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    async def start(self) -> None:
        """Start the children now, so that the first picture does not wait for one.

        Raises:
            Unavailable: They do not start.
        """
        loop = asyncio.get_running_loop()
        started = [await loop.run_in_executor(self._threads, self._new_child) for _ in range(self.workers)]
        with self._lock:
            self._idle.extend(started)

    async def close(self) -> None:
        """Stop the children; pictures in hand are refused."""
        with self._lock:
            self._closed = True
            children = list(self._children)
        for child in children:
            child.process.kill()  # wakes the thread that waits for it
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        for child in children:
            child.end()
        self._children.clear()
        self._idle.clear()

    async def decode(
        self,
        data: bytes,
        *,
        field: str = "image",
        min_side: int = 1,
        max_side: int | None = None,
        min_pixels: int = 1,
        max_pixels: int = MAX_PIXELS,
        max_aspect: float | None = None,
    ) -> CleanImage:
        """Rebuild one picture from its pixels.

        Args:
            data: The whole file.
            field: What the picture is called in errors, such as ``image``.
            min_side: Least width and height in pixels.
            max_side: Greatest width and height in pixels, or no bound but that on pixels.
            min_pixels: Least width times height.
            max_pixels: Greatest width times height, at most 9,437,184.
            max_aspect: Greatest ratio of the longer to the shorter side, or no bound.

        Raises:
            BadImage: The bytes are no whole, still PNG, JPEG or WebP picture, or cost too much to decode.
            InvalidRequest: The picture is too small, too large or too narrow.
            Unavailable: Too many pictures wait, or the service is closed.
        """
        limits = Limits(field, min_side, max_side, min_pixels, min(max_pixels, MAX_PIXELS), max_aspect, self.max_bytes)
        check_length_and_kind(data, field, self.max_bytes)
        with self._lock:
            if self._closed or self._in_hand >= self.workers + self.max_waiting:
                raise Unavailable(f"{field}: too many pictures wait to be read.", retry_after_s=1)
            self._in_hand += 1
            future = self._threads.submit(self._decode, data, limits)
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _done(self, _: Future[CleanImage]) -> None:
        with self._lock:
            self._in_hand -= 1

    def _decode(self, data: bytes, limits: Limits) -> CleanImage:
        child = self._take_child()
        try:
            image = child.ask(data, limits)
        except _Lost as error:
            self._drop(child)
            raise BadImage(
                f"{limits.field}: could not be decoded within {self.cpu_s} s and {self.memory_bytes >> 20} MiB"
            ) from error
        except AppError:
            self._put_back(child)
            raise
        self._put_back(child)
        return image

    def _take_child(self) -> _Child:
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                return self._new_child()
            if child.process.poll() is None:
                return child
            self._drop(child)  # died while it was idle: no picture's fault

    def _new_child(self) -> _Child:
        child = _Child(self.memory_bytes, self.cpu_s)
        with self._lock:
            if not self._closed:
                self._children.add(child)
                return child
        child.end()
        raise Unavailable("The server is closing.", retry_after_s=10)

    def _put_back(self, child: _Child) -> None:
        with self._lock:
            self._idle.append(child)

    def _drop(self, child: _Child) -> None:
        with self._lock:
            self._children.discard(child)
            self.replaced += 1
        child.end()
