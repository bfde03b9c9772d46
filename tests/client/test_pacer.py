"""Requests are delayed before the service would refuse them."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import pytest
from maskq.pacer import Pacer

_LATENCY_S = 0.03
"""Until the service counts a request."""


@dataclass
class _Service:
    """Counts requests as the service does (`admit.lua`)."""

    per_minute: float = 600.0
    burst: int = 100
    used_until: float = 0.0
    statuses: list[int] = field(default_factory=list)

    def headers(self, now: float) -> dict[str, str]:
        interval = 60 / self.per_minute
        allowance = interval * self.burst
        used_until = max(now, self.used_until)
        is_allowed = used_until + interval - allowance <= now
        self.used_until = used_until + interval * is_allowed
        self.statuses.append(200 if is_allowed else 429)
        remaining = max(0, math.floor((now + allowance - self.used_until) / interval + 1e-6))
        window_s = math.ceil(60 * self.burst / self.per_minute)
        return {
            "ratelimit-policy": f'"key";q={self.burst};w={window_s}',
            "ratelimit": f'"key";r={remaining};t={math.ceil(self.used_until - now)}',
        }


class _Batch:
    """A number of requests, of which `concurrency` are under way. Each is answered `takes_s` after it was counted."""

    def __init__(self, service: _Service, takes_s: float, concurrency: int = 16) -> None:
        self.service = service
        self.now = 50.0
        self.pacer = Pacer(lambda: self.now)
        self._takes_s = takes_s
        self._concurrency = concurrency

    def run(self, requests: int) -> float:
        """Send all. Returns the seconds that this took."""
        begin = self.now
        events = [(begin, number, "ask") for number in range(self._concurrency)]
        turns: dict[int, object] = {}
        answers: dict[int, dict[str, str]] = {}
        left = requests
        while events:
            self.now, number, event = heapq.heappop(events)
            if event == "ask" and left > 0:
                turn = self.pacer.turn("submit")
                if not turn.wait_s:
                    left -= 1
                    turns[number] = turn
                heapq.heappush(
                    events, (self.now + (turn.wait_s or _LATENCY_S), number, "ask" if turn.wait_s else "count")
                )
            elif event == "count":
                answers[number] = self.service.headers(self.now)
                heapq.heappush(events, (self.now + self._takes_s, number, "answer"))
            elif event == "answer":
                self.pacer.learn("submit", turns[number], answers[number])  # type: ignore[arg-type]
                heapq.heappush(events, (self.now, number, "ask"))
        return self.now - begin


@pytest.mark.parametrize("takes_s", [0.01, 0.3, 3.0])
@pytest.mark.parametrize(("per_minute", "burst"), [(600, 100), (600, 5), (60, 10), (6_000, 1_000), (120, 1)])
def test_a_batch_is_not_refused_and_loses_little_time(takes_s: float, per_minute: float, burst: int) -> None:
    service = _Service(per_minute, burst)
    batch = _Batch(service, takes_s, concurrency=min(16, burst))
    requests = 500
    seconds = batch.run(requests)
    assert service.statuses.count(429) <= requests * 0.01
    least_s = max((requests - burst) * 60 / per_minute, requests / min(16, burst) * (takes_s + _LATENCY_S))
    if burst > 1:
        assert seconds <= least_s * 1.15 + takes_s + 1


def test_other_programs_with_the_same_key_are_taken_into_account() -> None:
    service = _Service()
    batch = _Batch(service, 0.05)
    batch.run(50)
    for _ in range(40):
        service.headers(batch.now)
    before = len(service.statuses)
    batch.run(200)
    assert service.statuses[before:].count(429) <= 4


def test_without_a_limit_nothing_waits() -> None:
    pacer = Pacer(lambda: 0.0)
    for _ in range(1_000):
        turn = pacer.turn("submit")
        assert not turn.wait_s
        pacer.learn("submit", turn, {})


def test_a_kind_of_request_that_the_service_does_not_count_does_not_wait() -> None:
    pacer = Pacer(lambda: 0.0)
    pacer.learn("read", pacer.turn("read"), {})
    pacer.learn("submit", pacer.turn("submit"), {"ratelimit-policy": '"key";q=10;w=10', "ratelimit": '"key";r=0;t=10'})
    assert pacer.turn("submit").wait_s > 0
    assert not pacer.turn("read").wait_s


def _answer(name: str, remaining: int) -> dict[str, str]:
    return {"ratelimit-policy": f'"{name}";q=10;w=10', "ratelimit": f'"{name}";r={remaining};t=10'}


def test_kinds_with_limits_of_their_own_do_not_wait_for_each_other() -> None:
    pacer = Pacer(lambda: 0.0)
    pacer.learn("submit", pacer.turn("submit"), _answer("submit", 0))
    assert not pacer.turn("read").wait_s
    pacer.learn("read", pacer.turn("read"), _answer("read", 5))
    assert pacer.turn("submit").wait_s > 0
    assert not any(pacer.turn("read").wait_s for _ in range(4))
    assert pacer.turn("read").wait_s > 0


def test_kinds_with_a_limit_in_common_share_it() -> None:
    pacer = Pacer(lambda: 0.0)
    for kind, remaining in (("submit", 9), ("read", 0)):
        pacer.learn(kind, pacer.turn(kind), _answer("key", remaining))
    assert pacer.turn("submit").wait_s > 0


def test_a_pause_ends() -> None:
    now = 0.0
    pacer = Pacer(lambda: now)
    pacer.pause("submit", 5)
    assert pacer.turn("submit").wait_s == 5
    now = 5.0
    assert not pacer.turn("submit").wait_s


def test_a_request_may_count_for_many() -> None:
    now = 0.0
    pacer = Pacer(lambda: now)
    pacer.learn("submit", pacer.turn("submit", 6), _answer("submit", 9))  # of 10, one was counted before the answer
    assert pacer.turn("submit", 5).wait_s == pytest.approx(1.5)  # 4 are left, and half of one stays unused
    assert not pacer.turn("submit", 3).wait_s
    now = 30.0
    assert not pacer.turn("submit", 200).wait_s  # more than the quota: all of it is enough
    assert pacer.turn("submit").wait_s > 0
