"""Connections to Redis: the one place that knows where the server is, who connects, and how. Celery's are made here too
(`shared/process/transport.py`)."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
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
from shared.store.primary import AsyncToPrimary, AsyncToPrimaryTls, Primary, ToPrimary, ToPrimaryTls
from shared.store.sentinels import Sentinels

_MAX_CONNECTIONS = 64
"""Per process. Redis runs one command at a time, so more connections would not make it faster."""


_SENTINEL_TIMEOUT_S = 2.0
"""Another sentinel is asked then. A sentinel answers from its memory."""


def connection_options(settings: RedisSettings) -> dict[str, Any]:
    """Keyword arguments of every connection. A frozen or missing server is noticed within `redis_timeout_s`; a server
    with TLS gets no password before its certificate and its host name are verified."""
    address = RedisAddress.parse(settings.redis_url)
    host, port = address.endpoints[0]
    return {
        **({"primary": primary_of(settings)} if address.sentinel else {"host": host, "port": port}),
        "db": address.database,
        "username": address.user,
        "password": address.password,
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 10,
        **_verification(address, settings.ca_file),
    }


def connection_class(settings: RedisSettings) -> type[Connection]:
    """The class of sync connections."""
    address = RedisAddress.parse(settings.redis_url)
    if address.sentinel:
        return ToPrimaryTls if address.is_tls else ToPrimary
    return SSLConnection if address.is_tls else Connection


def primary_of(settings: RedisSettings) -> Primary:
    """The primary that the sentinels of REDIS_URL know: one object in this process for the same settings."""
    with _making:
        return _primary(settings.redis_url, settings.redis_timeout_s, settings.ca_file)


def follow_primary(settings: RedisSettings) -> bool:
    """With Sentinel: cut all connections of this process to a server that is the primary no longer. Returns whether
    there are sentinels."""
    if not RedisAddress.parse(settings.redis_url).sentinel:
        return False
    primary_of(settings).follow()
    return True


def address_of(settings: RedisSettings) -> str:
    """Where the server is, for logs: without the users and the passwords of REDIS_URL."""
    return RedisAddress.parse(settings.redis_url).place


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
    pool = BlockingConnectionPool(
        connection_class=_ASYNC[connection_class(settings)],
        **connection_options(settings),
        max_connections=_MAX_CONNECTIONS,
        timeout=settings.redis_timeout_s,
        retry=AsyncRetry(ExponentialBackoff(cap=0.5, base=0.05), retries=2),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    return AsyncRedis.from_pool(pool)


_ASYNC: dict[type[Connection], type[AsyncConnection]] = {
    Connection: AsyncConnection,
    SSLConnection: AsyncSSLConnection,
    ToPrimary: AsyncToPrimary,
    ToPrimaryTls: AsyncToPrimaryTls,
}


_making = threading.Lock()
"""Two threads that ask a cache at once would get two objects, and each would follow its own connections only."""


@lru_cache
def _primary(url: str, timeout_s: float, ca_file: Path | None) -> Primary:
    address = RedisAddress.parse(url)
    if address.sentinel is None:
        raise ValueError("there are no sentinels")
    timeout_s = min(timeout_s, _SENTINEL_TIMEOUT_S)
    options = {
        "username": address.sentinel.user,
        "password": address.sentinel.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "ssl": address.is_tls,
        **_verification(address, ca_file),
    }
    return Primary(Sentinels(address.sentinel.service, address.endpoints, options))


def _verification(address: RedisAddress, ca_file: Path | None) -> dict[str, Any]:
    """Arguments for TLS; none without it. The CAs of the system are trusted as well, because redis-py loads them
    first."""
    private = {"ssl_ca_certs": str(ca_file)} if ca_file else {}
    verified = {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **private, **address.files}
    return verified if address.is_tls else {}
