"""A disk on which nothing more can be written: no file of the server may grow beyond a size that the test moves.

A limit on the size of files makes writes fail as a full disk does, in the system and not in our code.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.site import Site, site

__all__ = ["site"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits of another process's files are Linux's"),
]

PICTURE_BYTES = 12_000_000
ROOM_BYTES = 9_000_000
"""Less than a picture, more than the database and its log need."""


def largest_file(folder: Path) -> int:
    return max(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_picture_that_cannot_be_written(site: Site) -> None:
    site.start(script={"picture_bytes": PICTURE_BYTES}, billing="credits")
    assert largest_file(site.home) < ROOM_BYTES
    site.limit_files(ROOM_BYTES)
    lost = site.ask()
    assert lost.status_code == 503, lost.text
    assert int(lost.headers["retry-after"]) >= 1
    assert lost.json()["name"] == "service_unavailable"
    assert site.holds() == {"voided": 1}
    ready = site.get("/readyz")
    assert (ready.status_code, ready.json()["failing"]) == (503, ["disk"])
    refused = site.ask()
    assert refused.status_code == 503
    assert site.holds() == {"voided": 1}, "a job was taken although nothing can be stored"
    assert site.get("/v1/user/balance").json() == {"credits": 25}
    assert site.get("/api/jobs").status_code == 200
    assert list((site.home / "blobs").rglob(".new-*")) == []

    site.limit_files(None)
    site.wait_until_it_takes_work()
    assert site.ask().status_code == 200
    assert site.get("/v1/user/balance").json() == {"credits": 22}
    assert site.verify() == "the books agree"
    assert site.check_charges() == 1


def test_a_database_that_cannot_be_written(site: Site) -> None:
    site.start(billing="credits")
    assert site.ask().status_code == 200
    site.limit_files(1)
    refused = [site.ask() for _ in range(3)]
    assert [answer.status_code for answer in refused] == [503] * 3
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert site.get("/v1/user/balance").json() == {"credits": 22}
    assert site.get("/api/jobs").status_code == 200
    assert site.get("/readyz").status_code == 503

    site.limit_files(None)
    assert site.ask().status_code == 200
    assert site.get("/v1/user/balance").json() == {"credits": 19}
    assert site.verify() == "the books agree"
    assert site.check_charges() == 2


def test_the_disk_fills_while_a_picture_is_made(site: Site) -> None:
    """Neither picture nor database can be written; what the job ends with is written once there is room."""
    site.start(script={"step_s": 0.3}, billing="credits")
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(site.ask, "patient")
        site.wait_for(1)
        site.limit_files(1)
        time.sleep(2.0)
        assert not asked.done()
        assert site.holds() == {"held": 1}
        site.limit_files(None)
        assert asked.result(60).status_code == 503
    assert site.holds() == {"voided": 1}
    site.wait_until_it_takes_work()
    assert site.ask("patient").status_code == 200
    assert site.get("/v1/user/balance").json() == {"credits": 22}
    assert site.verify() == "the books agree"
    assert site.check_charges() == 1
