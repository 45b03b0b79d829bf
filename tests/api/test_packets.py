"""What is written in one turn leaves together, in order, and nothing stays behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

import pytest

from keelbill.api.packets import MOST_HELD_BYTES, Packets


class Wire(asyncio.Transport):
    """Remembers what it was given in one call."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.sent: list[bytes] = []
        self.closed_after: int | None = None

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        assert self.closed_after is None
        self.sent.append(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed_after is not None

    def close(self) -> None:
        self.closed_after = len(self.sent)


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def packets(wire: Wire) -> Packets:
    return Packets(wire, asyncio.get_running_loop())


async def test_head_and_body_leave_together(wire: Wire, packets: Packets) -> None:
    packets.write(b"head ")
    packets.write(b"body")
    assert wire.sent == []
    await asyncio.sleep(0)
    assert wire.sent == [b"head body"]


async def test_each_turn_sends_what_it_wrote(wire: Wire, packets: Packets) -> None:
    for number in range(3):
        packets.write(b"%d" % number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert wire.sent == [b"0", b"1", b"2"]


async def test_much_is_sent_at_once(wire: Wire, packets: Packets) -> None:
    packets.write(b"head")
    packets.write(bytes(MOST_HELD_BYTES))
    assert [len(sent) for sent in wire.sent] == [4 + MOST_HELD_BYTES]
    packets.write(b"tail")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert wire.sent[1:] == [b"tail"]


async def test_what_was_written_leaves_before_the_end(wire: Wire, packets: Packets) -> None:
    packets.write(b"last words")
    packets.close()
    await asyncio.sleep(0)
    assert (wire.sent, wire.closed_after) == ([b"last words"], 1)
    assert packets.is_closing()


async def test_nothing_is_sent_after_the_end(wire: Wire, packets: Packets) -> None:
    packets.write(b"too late")
    wire.close()
    await asyncio.sleep(0)
    packets.write(b"later still")
    await asyncio.sleep(0)
    assert wire.sent == []


async def test_everything_else_is_the_transports(wire: Wire, packets: Packets) -> None:
    assert packets.get_extra_info("peername") == ("192.0.2.1", 1)
    assert packets.transport is wire


async def test_a_reader_who_does_not_read_stops_the_writer() -> None:
    """However much is written in one turn, the transport is asked to say when it has enough."""
    paused = asyncio.Event()

    class Sender(asyncio.Protocol):
        def pause_writing(self) -> None:
            paused.set()

    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_unix_connection(Sender, sock=ours)
    packets = Packets(transport, loop)
    written = 0
    while not paused.is_set():
        assert written < 2**26
        packets.write(bytes(2**14))
        written += 2**14
    transport.abort()
    theirs.close()
