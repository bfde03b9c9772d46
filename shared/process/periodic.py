"""Periodic tasks: what a process repeats beside its main work."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from redis.exceptions import RedisError

_JITTER = 0.2
"""Periods vary by this share, so that processes that started together do not act at the same moments."""

logger = logging.getLogger(__name__)


class PeriodicTask:
    """A thread that calls `act` at once and then every `period_s` until stopped. A failure is logged; the next call is
    the retry."""

    def __init__(self, name: str, period_s: float, act: Callable[[], object]) -> None:
        self._name = name
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
        while True:
            try:
                self._act()
            except RedisError as error:
                logger.warning("%s: the store does not answer: %s", self._name, type(error).__name__)
            except Exception:
                logger.exception("%s failed; it will be retried", self._name)
            if self._stopped.wait(self._period_s * random.uniform(1 - _JITTER, 1 + _JITTER)):  # noqa: S311
                return
