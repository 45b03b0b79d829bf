"""A request that ends workers is tried twice, and then refused for a while."""

from __future__ import annotations

import pytest

from keelbill.core.errors import GenerationFailed
from keelbill.core.types import micro
from keelbill.jobs.errors import Suspected
from keelbill.jobs.schemas import Idempotency
from keelbill.jobs.suspects import SUSPECT_MS, fingerprint
from keelbill.serving.messages import ImageTask
from keelbill.serving.scripted import Fault
from support.jobbook import ManualClock
from support.jobhouse import PRICE, Houses, wish

POISON = Fault("lose", when="poison", times=2)


async def test_the_same_request_is_refused(houses: Houses) -> None:
    async with houses.open(POISON) as house:
        ann = house.account("25")
        with pytest.raises(GenerationFailed, match="not charged"):
            await house.jobs.run(ann, wish("poison", seed=1))
        with pytest.raises(Suspected, match=r"refused until \d\d:\d\d:\d\d UTC") as caught:
            await house.jobs.run(ann, wish("poison", seed=2))
        assert caught.value.status == 422
        assert "Change" in caught.value.hint
        assert (house.balance(ann).posted, house.balance(ann).held) == (micro(25), 0)
        assert house.pool.started.count(house.pool.started[0]) == 2


async def test_another_request_is_not(houses: Houses) -> None:
    async with houses.open(POISON) as house:
        ann = house.account("25")
        with pytest.raises(GenerationFailed):
            await house.jobs.run(ann, wish("poison"))
        assert (await house.jobs.run(ann, wish("poison", width=128))).charged == PRICE
        assert (await house.jobs.run(ann, wish("honey"))).charged == PRICE


async def test_nor_is_that_of_another_account(houses: Houses) -> None:
    async with houses.open(POISON) as house:
        with pytest.raises(GenerationFailed):
            await house.jobs.run(house.account("25"), wish("poison"))
        assert (await house.jobs.run(house.account("25"), wish("poison"))).charged == PRICE


async def test_after_a_while_it_may_be_tried_again(houses: Houses) -> None:
    clock = ManualClock()
    async with houses.open(POISON, clock=clock) as house:
        ann = house.account("25")
        with pytest.raises(GenerationFailed):
            await house.jobs.run(ann, wish("poison"))
        clock.move(SUSPECT_MS / 1000 - 1)
        with pytest.raises(Suspected):
            await house.jobs.run(ann, wish("poison"))
        clock.move(2)
        assert (await house.jobs.run(ann, wish("poison"))).charged == PRICE


async def test_a_restart_does_not_forget_it(houses: Houses) -> None:
    async with houses.open(POISON) as house:
        ann = house.account("25")
        with pytest.raises(GenerationFailed):
            await house.jobs.run(ann, wish("poison"))
    async with houses.open() as house:
        with pytest.raises(Suspected):
            await house.jobs.run(ann, wish("poison"))


async def test_a_failed_key_does_not_open_it(houses: Houses) -> None:
    key = Idempotency("order", "a" * 64)
    async with houses.open(POISON) as house:
        ann = house.account("25")
        with pytest.raises(GenerationFailed):
            await house.jobs.run(ann, wish("poison"), key)
        with pytest.raises(Suspected):
            await house.jobs.run(ann, wish("poison"), key)


async def test_one_lost_worker_is_an_accident(houses: Houses) -> None:
    async with houses.open(Fault("lose", when="unlucky", times=1)) as house:
        ann = house.account("25")
        assert (await house.jobs.run(ann, wish("unlucky"))).charged == PRICE
        assert (await house.jobs.run(ann, wish("unlucky"))).charged == PRICE
        assert len(house.book.suspects) == 0


async def test_a_killed_server_is_not_the_fault_of_its_jobs(houses: Houses) -> None:
    """One try died with the server and one with its worker; that is no pattern."""
    async with houses.open(start=False) as house:
        ann = house.account("25")
        ticket = await house.jobs.submit(ann, wish("poison", is_async=True))
        assert await house.book.claim(ticket.job_id, "worker", 0.0) == 1
        house.database.write_now(lambda c: c.exec_driver_sql("DELETE FROM server_process"))
    async with houses.open(Fault("lose", when="poison", times=1)) as house:
        job = await house.until(ticket.job_id, "failed")
        assert job.error_code == "worker_lost"
        assert (await house.jobs.run(ann, wish("poison"))).charged == PRICE


class TestFingerprint:
    def test_the_seed_and_previews_do_not_matter(self) -> None:
        plain = ImageTask(prompt="a", seed=1)
        assert fingerprint(plain) == fingerprint(ImageTask(prompt="a", seed=2, previews=True))

    @pytest.mark.parametrize(
        "other", [ImageTask(prompt="b"), ImageTask(prompt="a", image="f" * 64), ImageTask(prompt="a", steps=3)]
    )
    def test_everything_else_does(self, other: ImageTask) -> None:
        assert fingerprint(other) != fingerprint(ImageTask(prompt="a"))
