"""Connections to Redis."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.settings import RedisSettings

_MAX_CONNECTIONS = 64
"""Per process. Redis runs one command at a time, so more connections would not make it faster."""

_DEFAULT_PORT = 6379


def connection_options(settings: RedisSettings) -> dict[str, Any]:
    """Keyword arguments of every client. A frozen or missing server is noticed within `redis_timeout_s`."""
    return {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


def address_of(settings: RedisSettings) -> str:
    """`HOST:PORT` of the server, for logs: without the user and the password of REDIS_URL."""
    parts = urlsplit(settings.redis_url)
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _DEFAULT_PORT}"


def async_redis(settings: RedisSettings) -> Redis:
    """An async client with a pool of connections; the first command connects.

    A command waits while all connections are in use, so that thousands of clients at once do not flood the server. A
    command whose connection is lost is sent again, up to twice.
    """
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        **connection_options(settings),
        max_connections=_MAX_CONNECTIONS,
        timeout=settings.redis_timeout_s,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=2),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    return Redis.from_pool(pool)
