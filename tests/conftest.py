"""Fixtures that several folders of tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from shared.settings import Settings
from testing.servers import embedded_broker, system_redis

_SERVERS = {"valkey": embedded_broker, "redis": system_redis}


@pytest.fixture(scope="session", params=_SERVERS)
def any_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of each server maskq works on, in turn."""
    with _SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as url:
        yield url


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one embedded broker for all tests that need only one."""
    with embedded_broker(tmp_path_factory.mktemp("broker")) as url:
        yield url


@pytest.fixture
def settings(valkey_url: str) -> Settings:
    """Settings of a deployment with an empty store, where jobs may wait for workers that never come."""
    with Redis.from_url(valkey_url) as redis:
        redis.flushall()
    return Settings.of(redis_url=valkey_url, accept_unserved=True)


@pytest.fixture
def root() -> Path:
    """The project's root."""
    return Path(__file__).parent.parent
