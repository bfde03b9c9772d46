"""Fixtures that several folders of tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from redis import Redis

from shared.settings import Settings
from testing.redis_group import RedisGroup
from testing.replication import ReplicatedServers, replicated
from testing.servers import embedded_broker, system_redis

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background so. The processes of tests would inherit it, and never hear Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("without a deadline", deadline=None)  # a busy machine makes no test fail
hypothesis.settings.load_profile("without a deadline")

_SERVERS = {"valkey": embedded_broker, "redis": system_redis}


@pytest.fixture(scope="session", params=_SERVERS)
def any_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of each kind of server that maskq supports: a test runs once for each."""
    with _SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as url:
        yield url


@pytest.fixture(params=_SERVERS)
def replicated_servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReplicatedServers]:
    """A primary with a replica, of each kind of server that maskq supports."""
    with replicated(_SERVERS[request.param], tmp_path) as servers:
        yield servers


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one embedded broker, which all tests share that need only one kind of server."""
    with embedded_broker(tmp_path_factory.mktemp("broker")) as url:
        yield url


@pytest.fixture
def settings(valkey_url: str) -> Settings:
    """Settings of a deployment whose store is empty and that accepts jobs although no worker serves them."""
    with Redis.from_url(valkey_url) as redis:
        redis.flushall()
    return Settings.of(redis_url=valkey_url, accept_unserved=True)


@pytest.fixture
def root() -> Path:
    """The root folder of the project."""
    return Path(__file__).parent.parent


@pytest.fixture
def redis_group(tmp_path: Path) -> Iterator[RedisGroup]:
    """Three servers and three Sentinels with the usual options. A test with others starts a `RedisGroup` itself."""
    with RedisGroup(tmp_path / "redis") as group:
        yield group
