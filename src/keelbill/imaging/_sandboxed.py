"""The child process that decodes strangers' pictures, one after another, under the limits that it sets itself.

It talks to its parent over the socket that it finds as standard input, and knows no other file, setting or secret.
"""

from __future__ import annotations

import json
import math
import signal
import socket
import struct
import sys
from typing import Any

from PIL import PngImagePlugin, TiffImagePlugin

from keelbill.core.errors import AppError, InvalidRequest
from keelbill.imaging.clean import Limits, clean

HEAD = struct.Struct(">II")
"""Lengths of the JSON part and of the bytes that follow it; the same in both directions."""

TEXT_BYTES = 8 * 2**20

_ = TiffImagePlugin  # reads EXIF; imported now, because no file may be opened later


def serve(channel: socket.socket, cpu_s: int) -> None:
    """Answer requests until the parent goes away.

    Args:
        channel: To the parent.
        cpu_s: Seconds of processor time that one picture may take.
    """
    channel.sendall(HEAD.pack(0, 0))
    while True:
        head = receive(channel, HEAD.size)
        if not head:
            return
        json_length, data_length = HEAD.unpack(head)
        limits = Limits(**json.loads(receive(channel, json_length)))
        data = receive(channel, data_length)
        _allow_cpu(cpu_s)
        reply, picture = _answer(data, limits)
        text = json.dumps(reply).encode()
        channel.sendall(HEAD.pack(len(text), len(picture)) + text)
        channel.sendall(picture)


def receive(channel: socket.socket, length: int) -> bytes:
    """Read exactly `length` bytes.

    Returns:
        The bytes, or none if the other side closed before the first.

    Raises:
        EOFError: The other side closed in the middle.
    """
    buffer = bytearray(length)
    view, got = memoryview(buffer), 0
    while got < length:
        count = channel.recv_into(view[got:])
        if count == 0:
            if got == 0:
                return b""
            raise EOFError(f"{got} of {length} bytes")
        got += count
    return bytes(buffer)


def _answer(data: bytes, limits: Limits) -> tuple[dict[str, Any], bytes]:
    try:
        image = clean(data, limits)
    except InvalidRequest as error:
        return {"refused": "limits", "problems": error.problems}, b""
    except AppError as error:
        return {"refused": "picture", "problems": error.problems}, b""
    facts = {name: getattr(image, name) for name in ("width", "height", "has_alpha")}
    return {"image": facts}, image.png


def _confine(memory_bytes: int) -> None:
    """Give up memory, files and core dumps that decoding does not need."""
    if sys.platform == "win32":
        return
    import resource

    limits = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, 16)]
    if sys.platform == "linux":  # elsewhere the limit exists and is not kept
        limits.append((resource.RLIMIT_AS, memory_bytes))
    for which, most in limits:
        resource.setrlimit(which, (most, most))


def _allow_cpu(seconds: int) -> None:
    """Let the system end this process when one picture takes longer; the limit counts from the start of the process."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def main(memory_bytes: int, cpu_s: int) -> None:
    """Confine this process, then decode.

    Args:
        memory_bytes: Address space that it keeps.
        cpu_s: Seconds of processor time that one picture may take.
    """
    if sys.platform != "win32":
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    PngImagePlugin.MAX_TEXT_MEMORY = TEXT_BYTES
    _confine(memory_bytes)
    with socket.socket(fileno=0) as channel:
        serve(channel, cpu_s)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
