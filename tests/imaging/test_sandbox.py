"""The processes in which strangers' pictures are decoded: what they may do, and what happens when they die."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from keelbill.core.errors import BadImage, InvalidRequest, Unavailable
from keelbill.imaging.clean import Limits, clean
from keelbill.imaging.decode import decode
from keelbill.imaging.sandbox import MAX_CLEAN_BYTES, DecodeService
from support import hostile

GOOD = hostile.photo(120, 80)


@pytest_asyncio.fixture
async def service() -> AsyncIterator[DecodeService]:
    service = DecodeService(1)
    yield service
    await service.close()


def child_pid(service: DecodeService) -> int:
    (child,) = service._children
    return child.process.pid


async def test_the_result_is_that_of_decoding_at_home(service: DecodeService) -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        data = hostile.photo(120, 80, kind)
        assert await service.decode(data) == clean(data, Limits())


async def test_the_clean_picture_can_be_read_back(service: DecodeService) -> None:
    picture = await service.decode(GOOD)
    pixels = decode(picture.png, max_bytes=MAX_CLEAN_BYTES)
    assert np.array_equal(pixels, np.asarray(Image.open(BytesIO(GOOD))))


async def test_limits_reach_the_child(service: DecodeService) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await service.decode(GOOD, field="mask", min_side=100, max_side=110, max_pixels=9000, max_aspect=1.25)
    assert caught.value.problems == (
        "mask: each side must be at least 100 pixels, got 120x80",
        "mask: each side must be at most 110 pixels, got 120x80",
        "mask: must have from 1 to 9,000 pixels, got 9,600 (120x80)",
        "mask: must have an aspect ratio between 1:1.25 and 1.25:1, got 120x80",
    )


async def test_no_caller_can_raise_the_limit_on_pixels(service: DecodeService) -> None:
    data = hostile.png(hostile.header(4096, 4096), hostile.chunk(b"IDAT", b""))
    with pytest.raises(InvalidRequest, match="to 9,437,184 pixels, got 16,777,216"):
        await service.decode(data, max_pixels=2**40)


async def test_a_child_that_died_while_idle_is_replaced_unseen(service: DecodeService) -> None:
    await service.decode(GOOD)
    before = child_pid(service)
    os.kill(before, signal.SIGKILL)
    service_child = next(iter(service._children))
    service_child.process.wait()
    assert (await service.decode(GOOD)).width == 120
    assert child_pid(service) != before
    assert service.replaced == 1


async def test_a_child_that_dies_at_work_costs_one_picture(service: DecodeService) -> None:
    await service.decode(GOOD)
    heavy = asyncio.create_task(service.decode(hostile.jpeg_scan_bomb(3000, 3000, 40)))
    await asyncio.sleep(0.15)
    assert not heavy.done()
    os.kill(child_pid(service), signal.SIGSEGV)
    with pytest.raises(BadImage, match=r"^image: could not be decoded within 5 s and 512 MiB$"):
        await heavy
    assert (await service.decode(GOOD)).width == 120


async def test_a_picture_that_computes_for_too_long() -> None:
    service = DecodeService(1, cpu_s=1, max_bytes=2**27)
    await service.start()
    begin = time.monotonic()
    with pytest.raises(BadImage, match="could not be decoded within 1 s"):
        await service.decode(hostile.jpeg_scan_bomb(3072, 3072, 35, detail=1))
    assert time.monotonic() - begin < 8
    assert service.replaced == 1
    assert (await service.decode(GOOD)).width == 120
    await service.close()


async def test_many_small_pictures_do_not_use_up_the_time_of_one() -> None:
    service = DecodeService(1, cpu_s=1)
    data = hostile.photo(1400, 1400, "JPEG")
    spent = 0.0
    while spent < 2.5:
        await service.decode(data)
        fields = Path(f"/proc/{child_pid(service)}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    assert service.replaced == 0
    await service.close()


async def test_a_child_that_stops_is_given_up() -> None:
    service = DecodeService(1, cpu_s=1)
    await service.start()
    os.kill(child_pid(service), signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(BadImage, match="could not be decoded"):
        await service.decode(GOOD)
    assert 1 < time.monotonic() - begin < 6
    assert (await service.decode(GOOD)).width == 120
    await service.close()


async def test_memory_is_bounded() -> None:
    service = DecodeService(1, memory_bytes=176 * 2**20)
    with pytest.raises(BadImage) as caught:
        await service.decode(hostile.bomb(3072, 3072, 6))
    assert caught.value.problems[0].startswith("image: ")
    assert (await service.decode(GOOD)).width == 120
    await service.close()


async def test_a_child_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    service = DecodeService(1)
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(Unavailable, match="the decoder does not start"):
        await service.decode(GOOD)
    await service.close()


async def test_the_child_sees_no_secret_and_has_no_files(
    service: DecodeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEELBILL_STRIPE_SECRET_KEY", "canary-secret")
    await service.decode(GOOD)
    pid = child_pid(service)
    assert b"canary-secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert b"KEELBILL" not in Path(f"/proc/{pid}/environ").read_bytes()
    limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    rows = {line[:26].strip(): line[26:].split() for line in limits.splitlines()}
    assert rows["Max address space"][:2] == [str(512 * 2**20)] * 2
    assert rows["Max file size"][:2] == ["0", "0"]
    assert rows["Max core file size"][:2] == ["0", "0"]
    assert rows["Max open files"][:2] == ["16", "16"]


async def test_the_child_imports_neither_networks_nor_servers(service: DecodeService) -> None:
    await service.decode(GOOD)
    maps = Path(f"/proc/{child_pid(service)}/maps").read_text(encoding="ascii")
    assert "numpy" in maps
    for heavy in ("torch", "sqlalchemy", "psycopg", "onnxruntime", "uvloop", "_ssl"):
        assert heavy not in maps, heavy


async def test_pictures_run_side_by_side() -> None:
    service = DecodeService(2)
    await service.start()
    assert len(service._children) == 2
    results = await asyncio.gather(*(service.decode(GOOD) for _ in range(12)))
    assert len({result.sha256 for result in results}) == 1
    assert len(service._children) == 2
    await service.close()


async def test_too_many_that_wait_are_turned_away() -> None:
    service = DecodeService(1, max_waiting=2)
    await service.start()
    os.kill(child_pid(service), signal.SIGSTOP)
    waiting = [asyncio.create_task(service.decode(GOOD)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await service.decode(GOOD)
    assert caught.value.retry_after_s == 1
    os.kill(child_pid(service), signal.SIGCONT)
    assert {result.width for result in await asyncio.gather(*waiting)} == {120}
    assert (await service.decode(GOOD)).width == 120
    await service.close()


async def test_a_caller_who_leaves_frees_the_place() -> None:
    service = DecodeService(1, max_waiting=1)
    await service.start()
    os.kill(child_pid(service), signal.SIGSTOP)
    first, second = (asyncio.create_task(service.decode(GOOD)) for _ in range(2))
    await asyncio.sleep(0.05)
    second.cancel()
    await asyncio.sleep(0.05)
    third = asyncio.create_task(service.decode(GOOD))
    await asyncio.sleep(0.05)
    os.kill(child_pid(service), signal.SIGCONT)
    assert (await first).width == (await third).width == 120
    assert second.cancelled()
    await service.close()


async def test_closing_leaves_no_process() -> None:
    service = DecodeService(2)
    await service.start()
    processes = [child.process for child in service._children]
    heavy = asyncio.create_task(service.decode(hostile.jpeg_scan_bomb(2000, 2000, 40)))
    await asyncio.sleep(0.1)
    await service.close()
    with pytest.raises((BadImage, Unavailable)):
        await heavy
    assert all(process.poll() is not None for process in processes)
    with pytest.raises(Unavailable):
        await service.decode(GOOD)


async def test_a_child_ends_when_its_parent_is_gone(service: DecodeService) -> None:
    await service.decode(GOOD)
    (child,) = service._children
    child.channel.close()
    assert child.process.wait(timeout=60) == 0
