"""The sliding log of requests, and the shortcut for those who are over their limit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.api.flood import Flood
from keelbill.api.ratelimit import RateLimiter
from keelbill.core.errors import RateLimited


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def monotonic_s(self) -> float:
        return self.at_s

    def now_ms(self) -> int:
        return 0

    def now(self) -> datetime:
        return datetime.fromtimestamp(0, UTC)


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def limiter(clock: Hand) -> RateLimiter:
    return RateLimiter(clock, 3, 10.0)


class TestSlidingLog:
    def test_limit(self, limiter: RateLimiter) -> None:
        for left in (2, 1, 0):
            assert limiter.hit("a")[1].remaining == left
        with pytest.raises(RateLimited, match="3 requests per 10 seconds"):
            limiter.hit("a")

    def test_accounts_do_not_share(self, limiter: RateLimiter) -> None:
        for _ in range(3):
            limiter.hit("a")
        assert limiter.hit("b")[1].remaining == 2

    def test_wait_is_rounded_up(self, limiter: RateLimiter, clock: Hand) -> None:
        for _ in range(3):
            limiter.hit("a")
        clock.at_s += 2.5
        with pytest.raises(RateLimited) as caught:
            limiter.hit("a")
        assert caught.value.retry_after_s == 8

    def test_waiting_as_told_is_enough(self, limiter: RateLimiter, clock: Hand) -> None:
        for _ in range(3):
            limiter.hit("a")
            clock.at_s += 0.3
        with pytest.raises(RateLimited) as caught:
            limiter.hit("a")
        clock.at_s += caught.value.retry_after_s
        limiter.hit("a")

    def test_one_leaves_one_enters(self, limiter: RateLimiter, clock: Hand) -> None:
        for _ in range(3):
            limiter.hit("a")
            clock.at_s += 3
        clock.at_s += 1
        limiter.hit("a")
        with pytest.raises(RateLimited):
            limiter.hit("a")

    def test_refused_requests_do_not_count(self, limiter: RateLimiter, clock: Hand) -> None:
        for _ in range(3):
            limiter.hit("a")
        for _ in range(50):
            clock.at_s += 0.1
            with pytest.raises(RateLimited):
                limiter.hit("a")
        clock.at_s += 5
        limiter.hit("a")

    def test_own_limit(self, limiter: RateLimiter) -> None:
        for _ in range(5):
            limiter.hit("key:1", limit=5)
        with pytest.raises(RateLimited, match="5 requests"):
            limiter.hit("key:1", limit=5)

    def test_giving_back(self, limiter: RateLimiter) -> None:
        strike, _ = limiter.hit("a")
        limiter.give_back(strike)
        limiter.give_back(strike)
        assert limiter.standing("a").remaining == 3

    def test_weight(self, limiter: RateLimiter) -> None:
        limiter.count("address", weight=2)
        assert not limiter.is_full("address")
        limiter.count("address", weight=2)
        assert limiter.is_full("address")

    def test_weight_beyond_the_limit(self, limiter: RateLimiter) -> None:
        with pytest.raises(RateLimited) as caught:
            limiter.hit("a", weight=4)
        assert caught.value.retry_after_s == 10

    def test_memory_is_bounded(self, clock: Hand) -> None:
        limiter = RateLimiter(clock, 3, 10.0, max_accounts=100)
        for number in range(1000):
            limiter.hit(str(number))
        assert len(limiter) == 100

    @given(st.lists(st.floats(0, 4), min_size=1, max_size=200))
    def test_never_more_than_the_limit_in_any_window(self, pauses: list[float]) -> None:
        clock = Hand()
        limiter = RateLimiter(clock, 5, 10.0)
        let_in = []
        for pause in pauses:
            clock.at_s += pause
            try:
                limiter.hit("a")
            except RateLimited:
                continue
            let_in.append(clock.at_s)
        for position, at_s in enumerate(let_in):
            assert sum(1 for other in let_in[position:] if other - at_s < 10.0 - 1e-6) <= 5


class TestSeveralServers:
    @pytest.mark.parametrize(("servers", "share"), [(1, 150), (2, 75), (4, 38), (11, 14), (15, 10), (200, 1)])
    def test_each_grants_its_share(self, clock: Hand, servers: int, share: int) -> None:
        limiter = RateLimiter(clock, 150, 10.0, servers=lambda: servers)
        for left in reversed(range(share)):
            assert limiter.hit("a")[1].remaining == left
        with pytest.raises(RateLimited, match=f"{share} requests"):
            limiter.hit("a")
        assert limiter.standing("a").limit == share
        if servers <= 15:
            assert 150 <= servers * share <= 165

    def test_limits_of_keys_and_of_strangers_are_split_too(self, clock: Hand) -> None:
        limiter = RateLimiter(clock, 60, 10.0, servers=lambda: 2)
        assert limiter.hit("key", limit=5)[1].limit == 3
        limiter.count("address", weight=29)
        assert not limiter.is_full("address")
        limiter.count("address", weight=29)
        assert limiter.is_full("address")
        assert limiter.standing("address").remaining == 0

    def test_one_comes_and_goes(self, clock: Hand) -> None:
        alive = [1]
        limiter = RateLimiter(clock, 4, 10.0, servers=lambda: alive[0])
        for _ in range(3):
            limiter.hit("a")
        alive[0] = 2
        with pytest.raises(RateLimited) as caught:
            limiter.hit("a")
        assert caught.value.retry_after_s == 10
        assert limiter.standing("a").remaining == 0
        alive[0] = 1
        assert limiter.hit("a")[1].remaining == 0


class TestFlood:
    SCOPE: ClassVar[dict[str, Any]] = {"headers": [(b"host", b"localhost"), (b"authorization", b"Bearer sk-a")]}

    def test_remembers_the_credential(self, clock: Hand) -> None:
        flood = Flood(clock)
        assert flood.retry_after_s(self.SCOPE) == 0
        flood.refuse(self.SCOPE, 5)
        assert flood.retry_after_s(self.SCOPE) == 5
        assert flood.retry_after_s({"headers": [(b"authorization", b"Bearer sk-b")]}) == 0
        assert flood.retry_after_s({"headers": []}) == 0

    def test_asks_again_after_a_second(self, clock: Hand) -> None:
        flood = Flood(clock)
        flood.refuse(self.SCOPE, 9)
        clock.at_s += 0.9
        assert flood.retry_after_s(self.SCOPE) > 0
        clock.at_s += 0.2
        assert flood.retry_after_s(self.SCOPE) == 0

    def test_never_refuses_beyond_what_is_certain(self, clock: Hand) -> None:
        flood = Flood(clock)
        flood.refuse(self.SCOPE, 1)
        assert flood.retry_after_s(self.SCOPE) == 0

    def test_nothing_to_remember_without_a_credential(self, clock: Hand) -> None:
        flood = Flood(clock)
        flood.refuse({"headers": []}, 5)
        assert len(flood) == 0

    def test_memory_is_bounded(self, clock: Hand) -> None:
        flood = Flood(clock, max_credentials=10)
        for number in range(100):
            flood.refuse({"headers": [(b"x-api-key", str(number).encode())]}, 5)
        assert len(flood) == 10
