"""Servers that would lose jobs are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from local.broker import free_port
from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.store.durability import require_durable_server
from testing.servers import embedded_broker


@pytest.mark.parametrize(
    ("option", "value", "needed"), [("appendonly", "no", "yes"), ("maxmemory-policy", "allkeys-lru", "noeviction")]
)
def test_a_server_that_would_lose_jobs_is_refused(tmp_path: Path, option: str, value: str, needed: str) -> None:
    with embedded_broker(tmp_path) as url, Redis.from_url(url) as redis:
        settings = Settings.of(redis_url=url)
        require_durable_server(settings.redis)
        redis.config_set(option, value)
        with pytest.raises(ConfigurationError, match=f"{option} is {value} and must be {needed}"):
            require_durable_server(settings.redis)
        require_durable_server(settings.replace(allow_data_loss=True).redis)


def test_a_server_that_is_not_reachable_yet_is_not_refused() -> None:
    require_durable_server(Settings.of(redis_url=f"redis://127.0.0.1:{free_port()}/0").redis)
