"""Periodic tasks: they run at once, repeat, survive errors, and end."""

from __future__ import annotations

import threading

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.process.periodic import PeriodicTask


def test_a_task_runs_at_once_and_not_again_before_its_period() -> None:
    calls: list[int] = []
    called = threading.Event()

    def act() -> None:
        calls.append(1)
        called.set()

    task = PeriodicTask("once", 3_600, act)
    task.start()
    assert called.wait(10)
    task.stop()
    assert calls == [1]


@pytest.mark.parametrize("error", [RedisConnectionError(), ValueError()])
def test_a_task_that_failed_is_run_again(error: Exception) -> None:
    failures = [error]
    succeeded = threading.Event()

    def act() -> None:
        if failures:
            raise failures.pop()
        succeeded.set()

    task = PeriodicTask("fails once", 0.01, act)
    task.start()
    assert succeeded.wait(10)
    task.stop()


def test_a_task_that_redis_failed_is_run_again_soon() -> None:
    succeeded = threading.Event()
    failures = [RedisConnectionError()]

    def act() -> None:
        if failures:
            raise failures.pop()
        succeeded.set()

    task = PeriodicTask("rare", 3_600, act)
    task.start()
    assert succeeded.wait(10)
    task.stop()
