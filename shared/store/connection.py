"""Connections to Redis: the one place that knows where the server is, who connects, and how. Celery's are made here too
(`shared/process/transport.py`)."""

from __future__ import annotations

from typing import Any

from redis import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Connection as AsyncConnection
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio import SSLConnection as AsyncSSLConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.settings import RedisSettings
from shared.settings.redis_url import RedisAddress

_MAX_CONNECTIONS = 64
"""Per process. Redis runs one command at a time, so more connections would not make it faster."""


def connection_options(settings: RedisSettings) -> dict[str, Any]:
    """Keyword arguments of every connection. A frozen or missing server is noticed within `redis_timeout_s`; a server
    with TLS gets no password before its certificate and its host name are verified."""
    address = RedisAddress.parse(settings.redis_url)
    return {
        "host": address.host,
        "port": address.port,
        "db": address.database,
        "username": address.user,
        "password": address.password,
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 10,
        **(_verification(address, settings) if address.is_tls else {}),
    }


def connection_class(settings: RedisSettings) -> type[Connection]:
    """The class of sync connections."""
    return SSLConnection if RedisAddress.parse(settings.redis_url).is_tls else Connection


def address_of(settings: RedisSettings) -> str:
    """`HOST:PORT` of the server, for logs: without the user and the password of REDIS_URL."""
    address = RedisAddress.parse(settings.redis_url)
    return f"{f'[{address.host}]' if ':' in address.host else address.host}:{address.port}"


def sync_redis(settings: RedisSettings, **more: Any) -> Redis:
    """A client for threads; the first command connects. A command whose connection is lost is not sent again. `more`
    are further arguments of its connections."""
    options = {**connection_options(settings), "retry": Retry(NoBackoff(), retries=0), **more}
    return Redis.from_pool(ConnectionPool(connection_class(settings), **options))


def async_redis(settings: RedisSettings) -> AsyncRedis:
    """An async client with a pool of connections; the first command connects.

    A command waits while all connections are in use, so that thousands of clients at once do not flood the server. A
    command whose connection is lost is sent again, up to twice.
    """
    is_tls = connection_class(settings) is SSLConnection
    pool = BlockingConnectionPool(
        connection_class=AsyncSSLConnection if is_tls else AsyncConnection,
        **connection_options(settings),
        max_connections=_MAX_CONNECTIONS,
        timeout=settings.redis_timeout_s,
        retry=AsyncRetry(ExponentialBackoff(cap=0.5, base=0.05), retries=2),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    return AsyncRedis.from_pool(pool)


def _verification(address: RedisAddress, settings: RedisSettings) -> dict[str, Any]:
    """Arguments for TLS. The CAs of the system are trusted as well, because redis-py loads them first."""
    private = {"ssl_ca_certs": str(settings.ca_file)} if settings.ca_file else {}
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **private, **address.files}
