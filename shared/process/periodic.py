"""Periodic tasks: what a process repeats beside its main work."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from redis.exceptions import RedisError

from shared.process.fault_log import FaultLog

_RETRY_S = 1.0
"""After an error of Redis, if the period is not shorter. So leases are renewed soon after a failover."""
_JITTER = 0.2
"""Periods vary by this share, so that processes that started together do not act at the same moments."""

logger = logging.getLogger(__name__)


class PeriodicTask:
    """A thread that calls `act` at once and then every `period_s` until stopped. A failure is logged; the next call is
    the retry, and comes sooner if Redis has failed."""

    def __init__(self, name: str, period_s: float, act: Callable[[], object]) -> None:
        self._name = name
        self._faults = FaultLog(logger, f"{name}: not done")
        self._period_s = period_s
        self._act = act
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Make no further call, and return when the running one is over."""
        self._stopped.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stopped.wait(self._act_once() * random.uniform(1 - _JITTER, 1 + _JITTER)):  # noqa: S311
            pass

    def _act_once(self) -> float:
        """Act. Returns the seconds until the next call."""
        try:
            self._act()
            self._faults.succeeded()
        except RedisError as error:
            self._faults.failed(error)
            return min(self._period_s, _RETRY_S)
        except Exception:
            logger.exception("%s failed; it will be retried", self._name)
        return self._period_s
