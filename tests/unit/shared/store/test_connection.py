"""Connections of threads that begin at the same time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from shared.settings import RedisSettings, Settings
from shared.store.connection import primary_of
from shared.store.primary import Primary

_THREADS = 8
_ROUNDS = 100


@pytest.fixture
def short_turns() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("short_turns")
def test_all_threads_that_begin_at_once_follow_the_same_primary() -> None:
    barrier = Barrier(_THREADS)

    def find(settings: RedisSettings) -> Primary:
        barrier.wait()
        return primary_of(settings)

    with ThreadPoolExecutor(_THREADS) as threads:
        for number in range(_ROUNDS):
            settings = Settings.of(redis_url=f"sentinel://127.0.0.1:1/maskq/{number}").redis
            assert len(set(threads.map(find, [settings] * _THREADS))) == 1
