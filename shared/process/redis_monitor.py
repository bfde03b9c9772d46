"""Watches Redis for a process: says once that it cannot be used and why, and once that it can, and checks it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from shared.errors import ConfigurationError
from shared.process.periodic import PeriodicTask
from shared.settings import RedisSettings
from shared.settings.redis_url import RedisAddress
from shared.store.connection import address_of, follow_primary
from shared.store.durability import ServerCheck
from shared.store.rights import Process
from shared.store.server_faults import reason_of

_PERIOD_S = 1.0
"""Between two checks: for so long at most, jobs are accepted on a server that has come back without AOF."""

logger = logging.getLogger(__name__)


def start_following(settings: RedisSettings) -> None:
    """With Sentinel: cut the connections of this process to a server that is the primary no longer, every second, in a
    thread that ends with the process. For a process that has no monitor because another one checks its server."""
    if RedisAddress.parse(settings.redis_url).sentinel:
        PeriodicTask("following the primary", _PERIOD_S, lambda: follow_primary(settings)).start()


class RedisMonitor:
    """Checks the server of REDIS_URL every second. The process ends if the server would lose what it accepts, or turns
    out to be wrong when it is there for the first time."""

    def __init__(self, settings: RedisSettings, process: Process) -> None:
        """`process` is the kind of this process, whose rights are checked."""
        self._settings = settings
        self._check = ServerCheck(settings, process)
        self._address = address_of(settings)
        self._reason = ""
        """Why the server cannot be used; empty while it can."""
        self._fault: ConfigurationError | None = None

    def is_there(self) -> bool:
        """Check once, and log if the server has gone away, has another reason for it, or has come back.

        Raises:
            ConfigurationError: as `ServerCheck.check`.
        """
        try:
            follow_primary(self._settings)
            self._check.check()
        except RedisError as error:
            self._report(reason_of(error))
        else:
            self._report("")
        return not self._reason

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

    def _report(self, reason: str) -> None:
        if reason and reason != self._reason:
            logger.warning("waiting for Redis at %s: %s", self._address, reason)
        elif self._reason and not reason:
            logger.warning("Redis at %s is there", self._address)
        self._reason = reason

    def _check_again(self, end_process: Callable[[], None]) -> None:
        if self._fault is not None:
            return
        try:
            self.is_there()
        except ConfigurationError as error:
            logger.critical("ending the process: %s", error.detail)
            self._fault = error
            end_process()
