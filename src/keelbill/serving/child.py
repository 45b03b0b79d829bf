"""The worker's process: a connected local socket in, a painting loop in the middle, reports out. Knows no job.

Run as ``python -m keelbill.serving.child FD``. It ends when the other side is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Final

from keelbill.serving.messages import FromWorker, Setup
from keelbill.serving.wire import pack, read_order
from keelbill.serving.worker import build

_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of prctl(2)


def main(fd: int) -> None:
    """Serve the other end of a socket until it is gone or says stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when its workers end
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    with socket.socket(fileno=fd) as connection, connection.makefile("rb") as stream:
        setup = read_order(stream)
        if not isinstance(setup, Setup):
            return
        lock = threading.Lock()

        def send(message: FromWorker) -> None:
            frame = pack(message)
            try:
                with lock:
                    connection.sendall(frame)
            except OSError:
                os._exit(1)  # nobody is left to work for

        worker = build(setup, send)

        def listen() -> None:
            try:
                while (order := read_order(stream)) is not None:
                    worker.inbox.put(order)
            finally:
                os._exit(0)  # gone, or talking nonsense: nobody is left to work for

        def live() -> None:
            while True:
                time.sleep(setup.beat_s)
                send(worker.beat())

        for work in (listen, live):
            threading.Thread(target=work, daemon=True, name=work.__name__).start()
        status = 1
        try:
            worker.run()
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            status = 0
        finally:
            # At once, whatever happened: closing the stream would wait for the thread that reads it, and signs of life
            # would go on; nor do threads of libraries always end by themselves.
            if status:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]))
