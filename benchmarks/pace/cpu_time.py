"""The CPU time of one call."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.processes import cpu_s

_CALLS = 4
"""Between two looks at the clock."""
_WALL_FACTOR = 20
"""Seconds of wall time, per second of CPU time, after which a measurement ends in any case."""


def cpu_us(work: Callable[[], object], seconds: float, clock_s: Callable[[], float] = time.process_time) -> float:
    """Microseconds of CPU time of one call, the mean of as many as take so many seconds of it. `clock_s` returns the
    CPU seconds so far: by default those of this process with all its threads."""
    work()
    calls, begin, until = 0, clock_s(), time.perf_counter() + _WALL_FACTOR * seconds
    while (spent := clock_s() - begin) < seconds and time.perf_counter() < until:
        for _ in range(_CALLS):
            work()
        calls += _CALLS
    return spent * 1e6 / max(1, calls)


def decoders_cpu_s() -> float:
    """CPU seconds so far of the processes that decode images for this one."""
    return cpu_s()["decoders"]


def broker_cpu_s() -> float:
    """CPU seconds so far of the broker that this process started."""
    return cpu_s()["broker"]
