"""How `benchmarks.pace.stages` measures CPU time."""

from __future__ import annotations

import time
from itertools import count

import pytest

from benchmarks.pace.cpu_time import cpu_us


def test_the_mean_is_that_of_the_given_clock() -> None:
    calls = count()
    clock = iter(range(100))
    assert cpu_us(lambda: next(calls), 3, lambda: next(clock)) == pytest.approx(3e6 / 8)
    assert next(calls) == 1 + 8  # the first is not counted


def test_the_time_of_a_sleep_is_not_counted() -> None:
    assert cpu_us(lambda: time.sleep(0.01), 0.005) < 5_000


def test_a_measurement_ends_if_nothing_is_counted() -> None:
    assert cpu_us(lambda: None, 0.001, lambda: 0.0) == 0
