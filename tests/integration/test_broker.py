"""The embedded broker has a memory limit, and the front end refuses jobs before it is reached."""

from __future__ import annotations

from pathlib import Path

import httpx2
import psutil
import pytest
from redis import Redis

from local import broker
from shared.settings import Settings
from testing.servers import embedded_broker, front_end
from tests.jobs import assert_problem, submit


def test_the_embedded_broker_may_use_a_quarter_of_the_machine(tmp_path: Path) -> None:
    with embedded_broker(tmp_path) as url, Redis.from_url(url, decode_responses=True) as redis:
        config = redis.config_get("maxmemory*")
    assert 0 < int(config["maxmemory"]) <= psutil.virtual_memory().total / 4
    assert config["maxmemory-policy"] == "noeviction"


@pytest.mark.parametrize(
    ("text", "is_lower"), [("400000000\n", True), ("max\n", False), ("9223372036854771712\n", False), ("", False)]
)
def test_a_container_with_less_memory_has_a_lower_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, is_lower: bool
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(broker, "_CGROUP_LIMITS", (tmp_path / "absent", limit))
    unlimited = broker.max_memory_bytes()
    limit.write_text(text)
    assert broker.max_memory_bytes() == (100_000_000 if is_lower else unlimited)


def test_a_job_is_refused_when_the_memory_of_the_broker_is_nearly_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "max_memory_bytes", lambda: 1_000_000)  # less than an empty server uses
    with (
        embedded_broker(tmp_path) as url,
        front_end(Settings.of(redis_url=url, accept_unserved=True)) as api,
        httpx2.Client(base_url=api) as client,
    ):
        assert_problem(submit(client), 503, "store_full")
