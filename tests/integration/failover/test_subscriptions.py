"""Subscriptions notice that their server is no primary, is frozen, or gets nothing any more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from redis import Redis
from redis.asyncio import Connection
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from local.broker import free_port
from shared.settings import Settings
from shared.store.connection import async_redis
from shared.store.subscription import SILENCE_S, messages, sync_messages
from tests.integration.failover.server import Server

_CHANNEL = "maskq:changes"
_PATIENCE_S = 20.0
_FAULTS: dict[str, Callable[[Server], object]] = {
    "it became a replica": lambda server: server.admin.replicaof("127.0.0.1", str(free_port())),
    "it lacks replicas": lambda server: server.admin.config_set("min-replicas-to-write", "1"),
    "it is frozen": lambda server: server.freeze(),
    "it is gone": lambda server: server.kill(),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data")
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_subscription_ends_when_its_server_is_no_primary(server: Server, fault: str) -> None:
    async def main() -> None:
        redis = AsyncRedis.from_url(server.url, socket_timeout=1)
        received = messages(redis, _CHANNEL)
        assert await anext(received) is None
        _FAULTS[fault](server)
        with pytest.raises(RedisError):
            async with asyncio.timeout(_PATIENCE_S):
                await anext(received)
        await redis.aclose()

    asyncio.run(main())


def test_a_subscription_says_that_it_has_begun_anew_when_its_connection_was_replaced(
    server: Server,
) -> None:
    """redis-py connects again by itself, and what was sent meanwhile is lost."""

    async def main() -> None:
        redis = async_redis(Settings.of(redis_url=server.url).redis)
        received = messages(redis, _CHANNEL)
        async with asyncio.timeout(_PATIENCE_S):
            assert await anext(received) is None
            for _ in range(2):
                server.admin.client_kill_filter(_type="pubsub")
                assert await anext(received) is None
            server.admin.publish(_CHANNEL, "a job")
            assert await anext(received) == "a job"
        await redis.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_subscription_of_a_thread_ends_too(server: Server, fault: str) -> None:
    with Redis.from_url(server.url, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as redis:
        _FAULTS[fault](server)
        ends_at = time.monotonic() + _PATIENCE_S
        with pytest.raises(RedisError):
            next(sync_messages(redis, _CHANNEL, lambda: time.monotonic() > ends_at, 0.1))
        assert time.monotonic() < ends_at


@pytest.mark.slow
def test_a_subscription_to_a_server_that_gets_nothing_ends(server: Server, tmp_path: Path) -> None:
    """Commands go to another server than the subscription, as when an address is given to a new primary."""
    other = Server(tmp_path / "other")
    other.start()
    other.wait()

    async def main() -> None:
        redis = AsyncRedis.from_url(server.url)
        received = messages(redis, _CHANNEL)
        assert await anext(received) is None
        for idle in redis.connection_pool._available_connections:
            await idle.disconnect()
            cast(Connection, idle).port = other.port
        begin = time.monotonic()
        with pytest.raises(RedisError, match="does not get what the primary sends"):
            async with asyncio.timeout(_PATIENCE_S):
                await anext(received)
        assert time.monotonic() - begin >= SILENCE_S
        await redis.aclose()

    try:
        asyncio.run(main())
    finally:
        other.kill()


def test_a_silent_subscription_to_the_primary_goes_on(server: Server) -> None:
    stopped = threading.Event()
    with Redis.from_url(server.url) as redis:
        publish = threading.Timer(3 * SILENCE_S, lambda: server.admin.publish(_CHANNEL, "a job"))
        publish.start()
        assert next(sync_messages(redis, _CHANNEL, stopped.is_set, 0.1)) == "a job"
        publish.join()
