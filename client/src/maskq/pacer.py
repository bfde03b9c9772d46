"""Delays requests before the service would refuse them. All requests of a client share one pacer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from maskq.rate_limit import Limit, limits_of

_RESERVE = 0.05
"""Part of a quota that is left unused: the client's count and that of the service differ a little."""
_MAX_LAG = 0.1
"""The service counts a request after it was sent. How much later is not known: at most this part of a window is
assumed."""


@dataclass(frozen=True)
class Turn:
    """Whether a request may be sent."""

    wait_s: float
    """Seconds after which to ask again; 0 if it may be sent now."""
    number: int = 0
    """How many requests were sent before this one, and this one."""
    at: float = 0.0
    """When it was sent."""


@dataclass(frozen=True)
class _Known:
    """The last thing that is known about a limit."""

    limit: Limit
    number: int
    at: float

    def wait_s(self, sent: int, now: float) -> float:
        """Seconds until one more request may be sent."""
        limit = self.limit
        available = min(limit.quota, limit.remaining + (now - self.at) * limit.per_s) - (sent - self.number)
        needed = min(limit.quota, 1 + limit.quota * _RESERVE)
        return max(0.0, needed - available) / limit.per_s


class Pacer:
    """Safe to share between threads.

    The service counts requests like a token bucket, and says in each answer how many are left. From the newest answer,
    the time since then and the requests sent since then, the pacer knows how many are left now. Other programs may use
    the same API key: the next answer shows it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._uncounted: set[str] = set()
        self._paused_until: dict[str, float] = {}
        self._sent = 0

    def turn(self, kind: str) -> Turn:
        """Ask to send a request of this kind. If it may be sent, it counts as sent."""
        with self._lock:
            now = self._clock()
            counts = kind not in self._uncounted
            waits = [known.wait_s(self._sent, now) for known in self._known.values() if counts]
            wait_s = max([self._paused_until.get(kind, now) - now, *waits])
            if wait_s > 0:
                return Turn(wait_s)
            self._sent += counts
            return Turn(0.0, self._sent, now)

    def learn(self, kind: str, turn: Turn, headers: Mapping[str, str]) -> None:
        """Take notice of the headers of an answer. A kind of request whose answers name no limit does not count."""
        limits = limits_of(headers)
        with self._lock:
            (self._uncounted.discard if limits else self._uncounted.add)(kind)
            for name, limit in limits.items():
                lag = min(self._clock() - turn.at, _MAX_LAG * limit.quota / limit.per_s)
                if name not in self._known or self._known[name].number < turn.number:
                    self._known[name] = _Known(limit, turn.number, turn.at + lag)

    def pause(self, kind: str, seconds: float) -> None:
        """Let no request of this kind be sent for a while."""
        with self._lock:
            until = self._clock() + seconds
            self._paused_until[kind] = max(until, self._paused_until.get(kind, until))
