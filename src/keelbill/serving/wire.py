"""Frames of MessagePack between two processes: four bytes of length, then one message. Knows no message's meaning."""

from __future__ import annotations

import asyncio
import struct
from typing import BinaryIO, Final

import msgspec

from keelbill.serving.messages import FromWorker, ToWorker

MAX_FRAME_BYTES: Final = 2**28
_LENGTH: Final = struct.Struct("!I")


class BrokenFrame(ValueError):
    """The other side sent what is no message."""


def pack(message: FromWorker | ToWorker) -> bytes:
    """Turn a message into a frame."""
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body


def read_order(stream: BinaryIO) -> ToWorker | None:
    """Read one message to a worker, blocking; nothing at the end of the stream.

    Raises:
        BrokenFrame: It is no such message.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    body = stream.read(_length(head))
    try:
        order: ToWorker = msgspec.msgpack.decode(body, type=ToWorker)
    except msgspec.DecodeError as error:
        raise BrokenFrame(str(error)) from error
    return order


async def read_report(stream: asyncio.StreamReader) -> FromWorker | None:
    """Read one message of a worker; nothing at the end of the stream, be it in the middle of a message.

    Raises:
        BrokenFrame: It is no such message.
    """
    try:
        body = await stream.readexactly(_length(await stream.readexactly(_LENGTH.size)))
        report: FromWorker = msgspec.msgpack.decode(body, type=FromWorker)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except msgspec.DecodeError as error:
        raise BrokenFrame(str(error)) from error
    return report


def _length(head: bytes) -> int:
    (length,) = _LENGTH.unpack(head)
    if length > MAX_FRAME_BYTES:
        raise BrokenFrame(f"a message of {length:,} bytes; at most {MAX_FRAME_BYTES:,} are allowed")
    return int(length)
