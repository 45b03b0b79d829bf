"""Ids: their form, their order, and that no two are the same."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
import uuid

from keelbill.core import ids
from keelbill.core.ids import new_id, request_id


def test_an_id_is_a_uuid_of_version_7_of_now() -> None:
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert abs((made.int >> 80) - time.time_ns() // 1_000_000) < 1000


def test_ids_come_in_order_even_within_a_millisecond() -> None:
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_the_next_id_cannot_be_counted_up_to() -> None:
    made = [int(new_id(), 16) for _ in range(1000)]
    gaps = {later - earlier for earlier, later in itertools.pairwise(made)}
    assert len(gaps) > 990
    assert min(gaps) > 2**32


def test_a_clock_that_goes_back_breaks_no_order() -> None:
    chance = ids._Chance()
    assert chance.stamp(1000) < chance.stamp(999) < chance.stamp(1001)


def test_threads_share_without_doubles() -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(new_id() for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8000


FORKS = """
import multiprocessing
from keelbill.core.ids import request_id

def make(count):
    return [request_id() for _ in range(count)]

if __name__ == "__main__":
    request_id()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        first, second = pool.map(make, [100, 100], chunksize=1)
    assert not set(first) & set(second)
    assert not set(first) & set(make(100))
"""


def test_a_forked_process_draws_its_own() -> None:
    # In a process of its own: this one has threads, and forking among threads may hang.
    subprocess.run([sys.executable, "-c", FORKS], check=True, timeout=120)


def test_request_ids_are_32_hex_digits() -> None:
    made = request_id()
    assert len(made) == 32
    assert int(made, 16) >= 0
