"""Watches Redis for a process: reports once that it is away and once that it is back, and checks it again then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from shared.errors import ConfigurationError
from shared.process.periodic import PeriodicTask
from shared.settings import RedisSettings
from shared.store.connection import address_of
from shared.store.durability import ServerCheck
from shared.store.server_faults import reason_of

_PERIOD_S = 1.0
"""Between two checks: for so long at most, jobs are accepted on a server that has come back without AOF."""

logger = logging.getLogger(__name__)


class RedisMonitor:
    """Checks the server of REDIS_URL every second. The process ends if the server can no longer be used."""

    def __init__(self, settings: RedisSettings) -> None:
        self._check = ServerCheck(settings)
        self._address = address_of(settings)
        self._is_away = False
        self._fault: ConfigurationError | None = None

    def is_there(self) -> bool:
        """Check once, and log if the server has gone away or come back.

        Raises:
            ConfigurationError: as `ServerCheck.check`.
        """
        try:
            self._check.check()
        except RedisError as error:
            if not self._is_away:
                logger.warning("waiting for Redis at %s: %s", self._address, reason_of(error))
            self._is_away = True
            return False
        if self._is_away:
            logger.warning("Redis at %s is there", self._address)
        self._is_away = False
        return True

    def wait(self) -> None:
        """Return once the server is there.

        Raises:
            ConfigurationError: as `ServerCheck.check`.
        """
        while not self.is_there():
            time.sleep(_PERIOD_S)

    @contextmanager
    def running(self, end_process: Callable[[], None]) -> Iterator[None]:
        """Check in a thread. If the server can no longer be used, call `end_process` once, from that thread.

        Raises, at its end:
            ConfigurationError: that was so.
        """
        task = PeriodicTask("redis monitor", _PERIOD_S, lambda: self._check_again(end_process))
        task.start()
        try:
            yield
        finally:
            task.stop()
            self._check.close()
            if self._fault is not None:
                raise self._fault

    def _check_again(self, end_process: Callable[[], None]) -> None:
        if self._fault is not None:
            return
        try:
            self.is_there()
        except ConfigurationError as error:
            logger.critical("ending the process: %s", error.detail)
            self._fault = error
            end_process()
