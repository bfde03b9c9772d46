"""Delays requests before the service would refuse them. All requests of a client share one pacer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from maskq.rate_limit import Limit, limits_of

_RESERVE = 0.05
"""Part of a quota that is left unused: the client's count and that of the service differ a little."""
_MAX_LAG = 0.1
"""The service counts a request after it was sent. How much later is not known: at most this part of a window is
assumed."""

_TOO_SHORT_S = 0.001
"""A wait that is not worth a pause."""


@dataclass(frozen=True)
class Turn:
    """Whether a request may be sent."""

    wait_s: float
    """Seconds after which to ask again; 0 if it may be sent now."""
    number: int = 0
    """How many requests were sent before this one, and this one."""
    at: float = 0.0
    """When it was sent."""
    cost: int = 1
    """How many requests it counts for."""


class _Bucket:
    """What is left of one limit: the newest answer about it, and what was sent since then."""

    def __init__(self, limit: Limit, number: int, at: float) -> None:
        """`limit` is as the service saw it at the moment `at`, when it had counted the request with this number."""
        self._sent: list[Turn] = []
        self.learn(limit, number, at)

    def learn(self, limit: Limit, number: int, at: float) -> None:
        """Begin anew at what the service said, and count again what was sent after that request."""
        self._limit, self._number = limit, number
        self._level, self._at = limit.remaining, at
        later, self._sent = [turn for turn in self._sent if turn.number > number], []
        for turn in later:
            self.take(turn)

    def knows_later_than(self, number: int) -> bool:
        """Whether the newest answer was to a later request."""
        return self._number >= number

    def take(self, turn: Turn) -> None:
        """Count a request."""
        self._sent.append(turn)
        self._level = self._level_at(turn.at) - turn.cost
        self._at = max(self._at, turn.at)

    def wait_s(self, now: float, cost: int) -> float:
        """Seconds until a request of this cost may be sent. One that costs more than the quota waits for all of it."""
        quota = self._limit.quota
        needed = min(quota, cost + quota * _RESERVE)
        return max(0.0, needed - self._level_at(now)) / self._limit.per_s

    def _level_at(self, moment: float) -> float:
        return min(self._limit.quota, self._level + max(0.0, moment - self._at) * self._limit.per_s)


class Pacer:
    """Safe to share between threads.

    The service counts requests like a token bucket, and says in each answer how many are left. From the newest answer,
    the time since then and the requests sent since then, the pacer knows how many are left now. Other programs may use
    the same API key: the next answer shows it. Limits have names: kinds of requests may have one in common, or each its
    own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._limits_of_kind: dict[str, list[str]] = {}
        self._paused_until: dict[str, float] = {}
        self._sent = 0

    def turn(self, kind: str, cost: int = 1) -> Turn:
        """Ask to send a request of this kind, which counts for `cost` of them. If it may be sent, it counts as sent."""
        with self._lock:
            now = self._clock()
            buckets = [self._buckets[name] for name in self._limits_of_kind.get(kind, ())]
            wait_s = max([self._paused_until.get(kind, now) - now, *(bucket.wait_s(now, cost) for bucket in buckets)])
            if wait_s > _TOO_SHORT_S:
                return Turn(wait_s)
            self._sent += 1
            turn = Turn(0.0, self._sent, now, cost)
            for bucket in buckets:
                bucket.take(turn)
            return turn

    def learn(self, kind: str, turn: Turn, headers: Mapping[str, str]) -> None:
        """Take notice of the headers of an answer. A kind of request counts for those limits that the answers to it
        name. They tell what is left after the first of the requests that a turn counts for."""
        limits = {
            name: replace(limit, remaining=max(0.0, limit.remaining - (turn.cost - 1)))
            for name, limit in limits_of(headers).items()
        }
        with self._lock:
            self._limits_of_kind[kind] = list(limits)
            for name, limit in limits.items():
                at = turn.at + min(self._clock() - turn.at, _MAX_LAG * limit.quota / limit.per_s)
                bucket = self._buckets.get(name)
                if bucket is None:
                    self._buckets[name] = _Bucket(limit, turn.number, at)
                elif not bucket.knows_later_than(turn.number):
                    bucket.learn(limit, turn.number, at)

    def pause(self, kind: str, seconds: float) -> None:
        """Let no request of this kind be sent for a while."""
        with self._lock:
            until = self._clock() + seconds
            self._paused_until[kind] = max(until, self._paused_until.get(kind, until))
