"""A clock that the test moves, in place of the server's: the scripts of the store ask for it."""

from __future__ import annotations

from types import ModuleType

import pytest
from redis import Redis

from shared.store.connection import script

_CLOCK = "test:clock_us"
_SERVERS_TIME = "return time[1] * 1000000 + time[2]"
START_MS = 1_700_000_000_000


def patch_clock(patch: pytest.MonkeyPatch, *sides: ModuleType) -> None:
    """Make the scripts of these modules of the store ask for the time that `MovedClock` sets."""
    for side in sides:
        patch.setattr(side, "script", _script_with_moved_clock)


def _script_with_moved_clock(name: str) -> str:
    """What `shared.store.connection.script` returns, but for the time."""
    source = script(name)
    assert _SERVERS_TIME in source
    return source.replace(_SERVERS_TIME, f"return tonumber(redis.call('GET', '{_CLOCK}'))")


class MovedClock:
    """The time that those scripts see."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.now_ms = START_MS
        self.advance(0)

    def advance(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)
        self._redis.set(_CLOCK, self.now_ms * 1000)
