"""Credits over HTTP: what is there, what is reserved, where it went, what things cost, and codes."""

from __future__ import annotations

from keelbill.core.types import micro
from keelbill.ledger.vouchers import Vouchers
from support.doors import Doors


def voucher(doors: Doors, worth: str) -> str:
    platform = doors.live.platform
    vouchers = Vouchers(platform.ledger, platform.clock)
    return doors.live.write(lambda c: vouchers.create(c, micro(worth), created_by="tests"))


def test_available_reserved_and_total(doors: Doors) -> None:
    ann = doors.account("20.5")
    with doors.live.slow_workers(0.2):
        ann.post("/api/jobs", json={"prompt": "x", "width": 64, "height": 64})
        balance = ann.get("/api/credits").json()
        doors.live.wait_until_idle()
    assert (balance["available"], balance["reserved"], balance["total"]) == ("14", "6.5", "20.5")
    assert balance["is_unlimited"] is False
    assert [lot["category"] for lot in balance["lots"]] == ["free"]


def test_movements(doors: Doors) -> None:
    ann = doors.account("50")
    jobs = [doors.picture(ann, seed=seed) for seed in (1, 2, 3)]
    page = ann.get("/api/credits/transfers", params={"limit": 2}).json()
    assert [(line["kind"], line["amount"], line["item"]) for line in page["transfers"]] == [
        ("capture", "-6.5", "sd3.5-large")
    ] * 2
    rest = ann.get("/api/credits/transfers", params={"before": page["next_before"]}).json()
    assert [line["job_id"] for line in page["transfers"] + rest["transfers"]][:3] == jobs[::-1]
    assert rest["next_before"] == ""
    assert doors.account().get("/api/credits/transfers").json()["transfers"][0]["kind"] != "capture"


def test_prices(doors: Doors) -> None:
    prices = doors.account("0", "account:read").get("/api/credits/prices").json()
    assert (prices["credits"]["sd3.5-large"], prices["credits"]["v1"]) == ("6.5", "0.9")


class TestVouchers:
    def test_a_code_is_worth_its_credits_once(self, doors: Doors) -> None:
        ann, bob = doors.account("1"), doors.account("1")
        code = voucher(doors, "1000")
        assert ann.post("/api/credits/vouchers", json={"code": code.lower()}).json() == {
            "added": "1000",
            "available": "1001",
        }
        for caller in (ann, bob):
            again = caller.post("/api/credits/vouchers", json={"code": code})
            assert again.status_code == 400
        assert bob.get("/api/credits").json()["available"] == "1"

    def test_guessing(self, doors: Doors) -> None:
        ann = doors.account("1")
        statuses = [ann.post("/api/credits/vouchers", json={"code": "WRONG"}).status_code for _ in range(6)]
        assert statuses == [400] * 5 + [429]

    def test_more_than_a_code(self, doors: Doors) -> None:
        answer = doors.account("1").post("/api/credits/vouchers", json={"code": "x", "amount": 5})
        assert answer.status_code == 400


def test_scope(doors: Doors) -> None:
    assert doors.account("0", "account:read").get("/api/credits").status_code == 403
