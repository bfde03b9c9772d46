"""Something a process does again and again beside its work."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from redis.exceptions import RedisError

_JITTER = 0.2
"""Periods vary by this share, so that processes started together do not act together."""

logger = logging.getLogger(__name__)


class PeriodicTask:
    """A thread that acts at once and then every so often until stopped. What fails is tried again next time."""

    def __init__(self, name: str, period_s: float, act: Callable[[], object]) -> None:
        self._name = name
        self._period_s = period_s
        self._act = act
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Act no more, and return when the present action is over."""
        self._stopped.set()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            try:
                self._act()
            except RedisError as error:
                logger.warning("%s: the store does not answer: %s", self._name, type(error).__name__)
            except Exception:
                logger.exception("%s failed; it is tried again", self._name)
            if self._stopped.wait(self._period_s * random.uniform(1 - _JITTER, 1 + _JITTER)):  # noqa: S311
                return
