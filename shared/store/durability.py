"""Whether a server keeps what it has accepted."""

from __future__ import annotations

import logging

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from shared.errors import ConfigurationError
from shared.settings import RedisSettings
from shared.store.connection import connection_options

_NEEDED = {
    "appendonly": ("yes", "it forgets accepted jobs when it restarts"),
    "maxmemory-policy": ("noeviction", "it throws accepted jobs away when memory runs out"),
}

logger = logging.getLogger(__name__)


def require_durable_server(settings: RedisSettings) -> None:
    """Make sure that the server would not lose jobs. One that cannot be reached now, or does not tell, is let pass.

    Raises:
        ConfigurationError: it would lose jobs, and `MASKQ_ALLOW_DATA_LOSS` does not say that it may.
    """
    try:
        with Redis.from_url(settings.redis_url, **connection_options(settings), decode_responses=True) as redis:
            config = redis.config_get(*_NEEDED)
    except ResponseError:
        logger.warning("the server does not tell how it is configured; make sure that it has AOF and never evicts")
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
