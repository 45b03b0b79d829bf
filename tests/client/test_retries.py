"""Which tries are repeated, what they share, and how long they wait; on a real socket."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from tenacity import Future, RetryCallState, Retrying

from keelbill import client as sdk
from keelbill.client import Client, Retries
from keelbill.client.errors import KeelbillError
from keelbill.client.target import Target
from keelbill.client.wire import Request, is_repeatable
from support.apidouble import KEY, QUICK, ApiDouble, Scripted

BUSY = Scripted(503, {"id": "a" * 32, "name": "service_unavailable", "errors": ["full"]})
SLOW_DOWN = Scripted(
    429, {"id": "a" * 32, "name": "rate_limit_exceeded", "errors": ["slow down"]}, {"retry-after": "0"}
)


class TestRepeated:
    @pytest.mark.parametrize(
        "first",
        [BUSY, SLOW_DOWN, Scripted(502), Scripted(504), Scripted(drop=True)],
        ids=["503", "429", "502", "504", "cut"],
    )
    def test_until_it_works(self, double: ApiDouble, client: Client, first: Scripted) -> None:
        double.script = [first, first]
        assert client.generate("a cat").seed == 4242
        assert len(double.asked) == 3

    def test_all_tries_have_one_idempotency_key(self, double: ApiDouble, client: Client) -> None:
        double.script = [BUSY, Scripted(drop=True)]
        client.generate("a cat")
        client.generate("a cat")
        keys = [asked.headers["idempotency-key"] for asked in double.asked]
        assert len(set(keys[:3])) == 1
        assert keys[3] != keys[0]

    def test_ones_own_idempotency_key(self, double: ApiDouble, client: Client) -> None:
        double.script = [BUSY]
        client.generate("a cat", idempotency_key="order-17")
        assert [asked.headers["idempotency-key"] for asked in double.asked] == ["order-17"] * 2

    def test_all_tries_send_the_whole_body(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        double.script = [BUSY, Scripted(drop=True)]
        client.generate("a cat", image=picture, strength=0.5)
        assert [asked.files["image"] for asked in double.asked] == [picture] * 3

    def test_the_first_request_is_still_at_work(self, double: ApiDouble, client: Client) -> None:
        double.script = [Scripted(409, {"name": "conflict", "errors": ["at work"]}, {"retry-after": "0"})]
        assert client.generate("a cat")

    def test_the_server_says_when(self, double: ApiDouble, client: Client) -> None:
        double.script = [replace(SLOW_DOWN, headers={"retry-after": "1"})]
        start = time.monotonic()
        client.balance()
        assert 1.0 <= time.monotonic() - start < 30


class TestNotRepeated:
    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 422, 500, 501])
    def test_answers_that_would_not_change(self, double: ApiDouble, client: Client, status: int) -> None:
        double.script = [Scripted(status, {"name": "x", "errors": ["no"]})]
        with pytest.raises(KeelbillError):
            client.generate("a cat")
        assert len(double.asked) == 1

    def test_more_often_than_said(self, double: ApiDouble, client: Client) -> None:
        double.script = [BUSY] * 9
        with pytest.raises(sdk.UnavailableError):
            client.generate("a cat")
        assert len(double.asked) == QUICK.attempts

    def test_a_wait_longer_than_the_time_that_is_left(self, double: ApiDouble) -> None:
        double.script = [replace(SLOW_DOWN, headers={"retry-after": "60"})]
        start = time.monotonic()
        with Client(KEY, double.base_url, timeout_s=50) as client, pytest.raises(sdk.RateLimitError) as caught:
            client.balance()
        assert time.monotonic() - start < 40
        assert caught.value.retry_after_s == 60

    def test_the_time_counts_for_all_tries_together(self, double: ApiDouble) -> None:
        double.script = [replace(BUSY, delay_s=0.3)] * 9
        start = time.monotonic()
        with Client(KEY, double.base_url, timeout_s=0.7, retries=QUICK) as client, pytest.raises(KeelbillError):
            client.balance()
        assert time.monotonic() - start < 20
        assert len(double.asked) <= 3


class TestCharging:
    def test_a_picture_of_the_hosted_service_might_be_charged_twice(self) -> None:
        hosted, ours = Target("https://api.stability.ai", KEY), Target("http://localhost:8000", KEY)
        assert not is_repeatable(Request("POST", "/x"), hosted)
        assert is_repeatable(Request("GET", "/x"), hosted)
        assert is_repeatable(Request("POST", "/x"), ours)

    @pytest.mark.parametrize("lost", [Scripted(502), Scripted(504), Scripted(drop=True)], ids=["502", "504", "cut"])
    def test_so_a_lost_answer_is_not_asked_for_again_there(
        self, double: ApiDouble, client: Client, lost: Scripted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Target, "is_hosted", property(lambda _: True))
        double.script = [lost]
        with pytest.raises(KeelbillError) as caught:
            client.generate("a cat")
        assert not caught.value.can_retry
        assert len(double.asked) == 1

    def test_a_refusal_is(self, double: ApiDouble, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Target, "is_hosted", property(lambda _: True))
        double.script = [BUSY]
        assert client.generate("a cat")


def test_waits_double_and_are_bounded() -> None:
    policy = Retries(first_wait_s=1.0, longest_wait_s=3.0)
    state = RetryCallState(Retrying(), None, (), {})
    for attempt, most in [(1, 1.0), (2, 2.0), (3, 3.0), (9, 3.0)]:
        state.attempt_number = attempt
        outcome = Future(attempt)
        outcome.set_exception(sdk.UnavailableError("full", can_retry=True))
        state.outcome = outcome
        waits = [policy._wait_s(state) for _ in range(200)]
        assert 0 <= min(waits) <= max(waits) <= most
        assert max(waits) - min(waits) > most / 4, "chance spreads the clients"
    assert [policy.pause_s(failures) for failures in (1, 2, 3, 9)] == [1, 2, 3, 3]
