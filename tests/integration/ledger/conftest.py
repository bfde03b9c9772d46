"""The ledger, on every server that maskq supports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from redis import Redis

from shared.settings import Settings
from tests.clock import MovedClock, patch_clock
from tests.integration.ledger.deployment import LEASE_S, Deploy, Deployment


@pytest.fixture
def redis(any_server: str) -> Iterator[Redis]:
    with Redis.from_url(any_server) as redis:
        redis.flushall()
        yield redis


@pytest.fixture
def settings(any_server: str) -> Settings:
    return Settings.of(
        redis_url=any_server,
        max_queued_jobs=100,
        restart_grace_s=0,
        lease_s=LEASE_S,
        retention_s=100,
        image_retention_s=50,
        tombstone_s=1000,
    )


@pytest.fixture
def clock(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    """The clock of every deployment that is made from here on: its time passes only when the test advances it."""
    patch_clock(monkeypatch)
    return MovedClock(redis)


@pytest.fixture
def deploy(clock: MovedClock, settings: Settings) -> Iterator[Deploy]:
    """Makes deployments with some settings changed, and closes all of them after the test."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(closing(Deployment(settings.replace(**changes))))


@pytest.fixture
def deployment(deploy: Deploy) -> Deployment:
    return deploy()
