"""`GET /readyz` says what submissions get, and only that; `GET /models` says it for each model."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from redis import Redis

from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.servers import front_end
from tests.jobs import assert_problem, submit


@pytest.fixture
def two_models(settings: Settings, root: Path, tmp_path: Path) -> Settings:
    """A deployment with the models `first`, the default, and `second`. It accepts no jobs that no worker would run."""
    models = tmp_path / "models"
    for name in ("first", "second"):
        shutil.copytree(root / "models" / "demo", models / name)
    ours = {"model_id": f"first={models / 'first'}", "models": f"second={models / 'second'}"}
    return settings.replace(**ours, accept_unserved=False)


@pytest.fixture
def strict(two_models: Settings) -> Iterator[httpx2.Client]:
    with front_end(two_models) as url, httpx2.Client(base_url=url, timeout=30) as client:
        yield client


def _statuses(client: httpx2.Client) -> tuple[int, int, int]:
    """Of `/readyz`, and of submissions for both models."""
    models = ("first", "second")
    first, second = (submit(client, model_id=name).status_code for name in models)
    return client.get("/readyz").status_code, first, second


def test_readiness_is_what_submissions_get(strict: httpx2.Client, leases: LeaseStore) -> None:
    assert _statuses(strict) == (503, 503, 503)
    assert strict.head("/readyz").status_code == 503
    leases.heartbeat("second", "someone")
    assert _statuses(strict) == (200, 503, 202)
    leases.heartbeat("first", "someone")
    assert _statuses(strict) == (200, 202, 202)


def test_a_worker_that_has_gone_ends_readiness(strict: httpx2.Client, leases: LeaseStore) -> None:
    leases.heartbeat("first", "someone")
    assert strict.get("/readyz").status_code == 200
    leases.deregister("first", "someone")
    deadline = time.monotonic() + 20  # a look at the workers is valid for a second
    while (ready := strict.get("/readyz")).status_code == 200:
        assert time.monotonic() < deadline
    assert ready.json() == {"store": True, "live_workers": {"first": 0, "second": 0}}
    assert submit(strict).status_code == 503


def test_without_submissions_only_the_store_counts(strict: httpx2.Client) -> None:
    answer = strict.get("/readyz", params={"exclude": "submissions"})
    assert (answer.status_code, answer.json()["store"]) == (200, True)
    assert strict.get("/readyz", params={"exclude": "everything"}).status_code == 422


def test_jobs_that_may_wait_for_a_worker_need_none(client: httpx2.Client) -> None:
    assert client.get("/readyz").status_code == 200
    assert submit(client).status_code == 202


def test_a_store_without_room_is_not_ready(client: httpx2.Client, valkey_url: str) -> None:
    with Redis.from_url(valkey_url) as redis:
        before = redis.config_get("maxmemory")["maxmemory"]
        try:
            redis.config_set("maxmemory", redis.info("memory")["used_memory"] * 11 // 10)
            assert_problem(submit(client), 503, "store_full")
            assert client.get("/readyz").status_code == 503
            assert client.get("/readyz", params={"exclude": "submissions"}).status_code == 200
        finally:
            redis.config_set("maxmemory", before)
