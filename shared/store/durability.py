"""Whether a server is configured to keep all accepted jobs."""

from __future__ import annotations

import logging

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from shared.errors import ConfigurationError
from shared.settings import RedisSettings
from shared.store.connection import connection_options

_NEEDED = {
    "appendonly": ("yes", "it loses accepted jobs when it restarts"),
    "maxmemory-policy": ("noeviction", "it removes accepted jobs when its memory is full"),
}

logger = logging.getLogger(__name__)


def require_durable_server(settings: RedisSettings) -> None:
    """Refuse a server that would lose jobs. A server that is not reachable now, or hides its configuration, passes.

    Raises:
        ConfigurationError: the server would lose jobs, and `MASKQ_ALLOW_DATA_LOSS` is not set.
    """
    try:
        with Redis.from_url(settings.redis_url, **connection_options(settings), decode_responses=True) as redis:
            config = redis.config_get(*_NEEDED)
    except ResponseError:
        logger.warning("the server does not show its configuration; make sure that it has AOF and never evicts keys")
        return
    except RedisError:
        return
    faults = [
        f"{name} is {config[name]} and must be {value}, or {consequence}"
        for name, (value, consequence) in _NEEDED.items()
        if config.get(name, value) != value
    ]
    if faults and not settings.allow_data_loss:
        raise ConfigurationError(f"{'; '.join(faults)}. Change it, or set MASKQ_ALLOW_DATA_LOSS=true")
