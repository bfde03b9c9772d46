"""Whether the server can be used, and whether it is configured to keep all accepted jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

from redis import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from shared.errors import ConfigurationError
from shared.settings import RedisSettings
from shared.store.confirmation import wait_command
from shared.store.connection import address_of, sync_redis
from shared.store.promise import Promise
from shared.store.records import text
from shared.store.rights import UNUSED_KEY, Process, Rights, named_rights
from shared.store.server_faults import require_healing

_NEEDED = {
    "appendonly": ("yes", "it loses accepted jobs when it restarts"),
    "maxmemory-policy": ("noeviction", "it removes accepted jobs when its memory is full"),
}

logger = logging.getLogger(__name__)


class ServerCheck:
    """Checks the server of REDIS_URL: whenever the process meets it for the first time after a start of the server.

    A start of the server has its own `run_id`, so a server that was configured anew or replaced is noticed, and one
    that runs on costs two small commands. A server that loses jobs is refused while the process runs as well as at its
    start: the process would go on to accept jobs and promise to keep them. Everything else may end once the server was
    usable: passwords and users are replaced while processes run. Thread-safe in that one thread uses it.
    """

    def __init__(self, settings: RedisSettings, process: Process | None = None) -> None:
        """`process` is the kind whose rights are checked; None: of none."""
        self._settings = settings
        self._process = process
        self._redis = sync_redis(settings)
        self._run_id = ""

    def check(self) -> None:
        """Return if the server can be used now.

        Raises:
            RedisError: the server is away, starts, or takes no data now. Try again.
            ConfigurationError: the server would lose jobs and `MASKQ_ALLOW_DATA_LOSS` is not set; or, before it could
                be used for the first time, REDIS_URL is wrong or its user lacks rights.
        """
        try:
            run_id = self._redis.info("server")["run_id"]
            if run_id != self._run_id:
                self._require_rights()
                self._require_durable()
            require_writable(self._redis)
            if run_id != self._run_id:
                self._report_promise()
            self._run_id = run_id
        except RedisError as error:
            if not self._run_id:
                require_healing(error, self._settings)
            raise

    def close(self) -> None:
        self._redis.close()

    def _require_rights(self) -> None:
        if self._process:
            self._require(self._process.value)

    def _require(self, rights: Rights) -> None:
        if missing := rights.missing(self._redis):
            raise NoPermissionError(f"a {rights.name} also needs {named_rights(missing)}")

    def _report_promise(self) -> None:
        """Log what the server promises, and what is missing for it."""
        if self._process is None:
            return
        promise = Promise.read(self._redis, self._settings.confirm_replicas, self._wait_command(self._process.value))
        logger.info("Redis at %s: %s", address_of(self._settings), promise)
        for gap in promise.gaps():
            logger.warning("Redis at %s: %s", address_of(self._settings), gap)

    def _wait_command(self, rights: Rights) -> str:
        """With which this process waits for replicas; empty if it does not."""
        if not self._settings.confirm_replicas:
            return ""
        command = wait_command(self._redis)
        if not command:
            where = address_of(self._settings)
            raise ConfigurationError(f"Redis at {where} has no command WAIT: MASKQ_CONFIRM_REPLICAS must be 0")
        self._require(rights.confirming(command))
        return command

    def _config(self) -> dict[str, str]:
        return cast(dict[str, str], self._redis.config_get(*_NEEDED))

    def _require_durable(self) -> None:
        try:
            config = {text(name): text(value) for name, value in self._config().items()}
        except ResponseError:
            logger.warning("the server hides its configuration; make sure that it has AOF and never evicts keys")
            return
        faults = durability_faults(config)
        if faults and not self._settings.allow_data_loss:
            where = address_of(self._settings)
            raise ConfigurationError(
                f"Redis at {where}: {'; '.join(faults)}. Change it, or set MASKQ_ALLOW_DATA_LOSS=true"
            )


def require_writable(redis: Redis) -> None:
    """Return if the server takes writes now. Nothing is written.

    Raises:
        RedisError: it does not: its memory is full, its disk is, it is a replica, or has too few of them.
    """
    redis.setrange(UNUSED_KEY, 0, "")


def durability_faults(config: Mapping[Any, Any]) -> list[str]:
    """What in the configuration of a server (the reply to CONFIG GET) would lose jobs."""
    return [
        f"{name} is {config[name]} and must be {value}, or {consequence}"
        for name, (value, consequence) in _NEEDED.items()
        if config.get(name, value) != value
    ]


def require_durable_server(settings: RedisSettings) -> None:
    """Check the server once. One that is away now passes.

    Raises:
        ConfigurationError: as `ServerCheck.check`.
    """
    check = ServerCheck(settings)
    try:
        check.check()
    except RedisError:
        return
    finally:
        check.close()
