"""A clock that the test sets, in place of the server's: the scripts of the store read it."""

from __future__ import annotations

import pytest
from redis import Redis

from shared.store import lua_script

_CLOCK = "test:clock_us"
_SERVER_TIME = "return time[1] * 1000000 + time[2]"
START_MS = 1_700_000_000_000


def patch_clock(patch: pytest.MonkeyPatch) -> None:
    """Make every script that is loaded from here on read the time that `MovedClock` sets."""
    patch.setattr(lua_script, "lua_source", _source_with_test_clock)


def _source_with_test_clock(name: str) -> str:
    """The same as `shared.store.lua_script.lua_source`, but for the time."""
    source = _original_source(name)
    assert name != "common" or _SERVER_TIME in source
    return source.replace(_SERVER_TIME, f"return tonumber(redis.call('GET', '{_CLOCK}'))")


_original_source = lua_script.lua_source


class MovedClock:
    """The time that those scripts read."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.now_ms = START_MS
        self.advance(0)

    def advance(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)
        self._redis.set(_CLOCK, self.now_ms * 1000)
