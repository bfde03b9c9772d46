"""Whether the server can be used, and whether it is configured to keep all accepted jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from shared.errors import ConfigurationError
from shared.settings import RedisSettings
from shared.store.connection import address_of, connection_options
from shared.store.server_faults import require_healing

_NEEDED = {
    "appendonly": ("yes", "it loses accepted jobs when it restarts"),
    "maxmemory-policy": ("noeviction", "it removes accepted jobs when its memory is full"),
}
_UNUSED_KEYS = ("maskq:unused", "_kombu.unused", "unacked.unused")
"""Keys that nothing writes, one of each kind that maskq and Celery use: to see whether this user may write them."""

logger = logging.getLogger(__name__)


class ServerCheck:
    """Checks the server of REDIS_URL: whenever the process meets it for the first time after a start of the server.

    A start of the server has its own `run_id`, so a server that was configured anew or replaced is noticed, and one
    that runs on costs only `INFO server`. A server that loses jobs is refused while the process runs as well as at its
    start: the process would go on to accept jobs and promise to keep them. Thread-safe in that one thread uses it.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        options = {**connection_options(settings), "retry": Retry(NoBackoff(), 0), "decode_responses": True}
        self._redis = Redis.from_url(settings.redis_url, **options)
        self._run_id = ""

    def check(self) -> None:
        """Return if the server can be used now.

        Raises:
            RedisError: the server is away, starts, or takes no data now. Try again.
            ConfigurationError: REDIS_URL is wrong, its user lacks rights, or the server would lose jobs and
                `MASKQ_ALLOW_DATA_LOSS` is not set.
        """
        try:
            run_id = self._redis.info("server")["run_id"]
            if run_id != self._run_id:
                self._require_rights()
                self._require_durable()
                self._run_id = run_id
        except RedisError as error:
            require_healing(error, self._settings)
            raise

    def close(self) -> None:
        self._redis.close()

    def _require_rights(self) -> None:
        """Run harmless commands of the kinds that maskq and Celery use."""
        self._redis.eval("return redis.call('DEL', unpack(KEYS))", len(_UNUSED_KEYS), *_UNUSED_KEYS)
        self._redis.publish("maskq:unused", "")

    def _require_durable(self) -> None:
        try:
            config = self._redis.config_get(*_NEEDED)
        except ResponseError:
            logger.warning("the server hides its configuration; make sure that it has AOF and never evicts keys")
            return
        faults = durability_faults(config)
        if faults and not self._settings.allow_data_loss:
            where = address_of(self._settings)
            raise ConfigurationError(
                f"Redis at {where}: {'; '.join(faults)}. Change it, or set MASKQ_ALLOW_DATA_LOSS=true"
            )


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
