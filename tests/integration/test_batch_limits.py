"""Batches at the limits: the rate of a key, the share of the queue, another owner, time, and a request in progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from redis import Redis

from shared.domain.api_key import Scope
from shared.settings import Settings
from shared.store import key_names
from shared.store.api_keys import ApiKeyStore
from shared.store.leases import LeaseStore
from testing.servers import front_end
from tests.jobs import PNG, assert_problem, finish_next


def post(client: httpx2.Client, count: int, key: str = "k") -> httpx2.Response:
    files = [("image_file", (f"{number}.png", PNG)) for number in range(count)]
    return client.post("/batches", data={"prompt": "cat"}, files=files, headers={"Idempotency-Key": key})


def complete(client: httpx2.Client, count: int, between: Callable[[], Any]) -> tuple[dict[str, Any], int]:
    """Repeat a batch until it is accepted. Returns it, and how many requests were refused."""
    seen: dict[int, str] = {}
    for refused in range(1_000):
        answer = post(client, count)
        if answer.status_code == 202:
            batch: dict[str, Any] = answer.json()
            jobs = {job["index"]: job["id"] for job in batch["jobs"]}
            assert list(jobs) == list(range(count))
            assert len(set(jobs.values())) == count
            assert seen.items() <= jobs.items()
            return batch, refused
        assert answer.status_code in (429, 503), answer.text
        assert int(answer.headers["retry-after"]) >= 1
        if "location" in answer.headers:
            partial = client.get(answer.headers["location"]).json()
            assert (partial["is_complete"], partial["is_ended"]) == (False, False)
            assert len(partial["jobs"]) >= len(seen)
            seen = {job["index"]: job["id"] for job in partial["jobs"]}
        between()
    raise AssertionError("never accepted")


@pytest.mark.parametrize("burst", [1, 3])
def test_a_rate_that_is_used_up_on_the_way_is_completed_by_repeating(settings: Settings, burst: int) -> None:
    key = asyncio.run(_key(settings, per_minute=600, burst=burst))
    with front_end(settings.replace(require_keys=True)) as url, _client(url, key) as client:
        batch, refused = complete(client, 8, lambda: time.sleep(0.11))
        assert refused >= 2
        assert batch["total"] == 8


def test_a_share_of_the_queue_that_is_used_up_on_the_way_is_completed_by_repeating(
    settings: Settings, leases: LeaseStore
) -> None:
    with front_end(settings.replace(max_queued_jobs=4)) as url, _client(url) as client:
        batch, refused = complete(client, 10, lambda: finish_next(leases))
        assert refused >= 2
        assert batch["is_complete"]


def test_another_owner_sees_nothing_of_a_batch(settings: Settings) -> None:
    keys = [asyncio.run(_key(settings)) for _ in range(2)]
    admin = asyncio.run(_key(settings, scopes=(Scope.ADMIN, Scope.READ, Scope.SUBMIT)))
    with (
        front_end(settings.replace(require_keys=True)) as url,
        _client(url, keys[0]) as own,
        _client(url, keys[1]) as other,
        _client(url, admin) as operator,
    ):
        batch = post(own, 2).json()
        path = f"/batches/{batch['id']}"
        reads, changes = ["", "/webhooks"], ["/cancel", "/webhooks/redeliver"]
        foreign = [other.get(path + each) for each in reads] + [other.post(path + each) for each in changes]
        for answer in (*foreign, other.delete(path)):
            assert_problem(answer, 404, "batch_not_found")
        assert own.get(path).json() == operator.get(path).json() == batch
        assert post(other, 2).json()["id"] != batch["id"]


def test_an_ended_batch_expires_with_its_jobs(settings: Settings, leases: LeaseStore) -> None:
    short = settings.replace(retention_s=1)
    store = LeaseStore.connect(short)
    with front_end(short) as url, _client(url) as client:
        batch = post(client, 1).json()
        finish_next(store)
        _until(lambda: client.get(f"/batches/{batch['id']}").status_code == 404)
        assert_problem(post(client, 1), 410, "job_expired")
        assert post(client, 1, "another").json()["id"] != batch["id"]
    store.close()


def test_the_key_begins_a_new_batch_when_its_time_is_over(
    settings: Settings, client: httpx2.Client, valkey_url: str
) -> None:
    batch = post(client, 2).json()
    with Redis.from_url(valkey_url) as redis:
        redis.delete(key_names.batch_binding("anonymous", "k"))
    again = post(client, 2).json()
    assert again["id"] != batch["id"]
    assert {job["id"] for job in again["jobs"]}.isdisjoint(job["id"] for job in batch["jobs"])
    assert client.get(f"/batches/{batch['id']}").json() == batch


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_a_canceled_or_deleted_batch_takes_no_more_images(settings: Settings, end: str) -> None:
    with front_end(settings.replace(max_queued_jobs=4)) as url, _client(url) as client:
        answer = post(client, 10)
        assert answer.status_code == 429
        path = answer.headers["location"]
        response = client.post(f"{path}/cancel") if end == "cancel" else client.delete(path)
        assert response.status_code in (202, 204)
        assert_problem(post(client, 10), 409, "batch_closed")
        if end == "cancel":
            batch = client.get(path).json()
            assert (batch["is_complete"], batch["is_ended"], set(batch["counts"])) == (False, True, {"canceled"})
        else:
            assert_problem(client.get(path), 404, "batch_not_found")


def test_two_requests_with_one_key_at_once_make_each_job_once(client: httpx2.Client) -> None:
    async def both() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(base_url=client.base_url, timeout=60) as together:
            files = [("image_file", (f"{number}.png", PNG)) for number in range(30)]
            sent: dict[str, Any] = {"data": {"prompt": "cat"}, "files": files, "headers": {"Idempotency-Key": "k"}}
            return list(await asyncio.gather(*(together.post("/batches", **sent) for _ in range(4))))

    answers = asyncio.run(both())
    assert {answer.status_code for answer in answers} == {202}
    assert len({str(answer.json()["jobs"]) for answer in answers}) == 1
    assert len(client.get("/jobs", params={"limit": 100}).json()["jobs"]) == 30


async def _key(settings: Settings, scopes: tuple[Scope, ...] = (Scope.SUBMIT, Scope.READ), **limits: Any) -> str:
    store = ApiKeyStore.connect(settings.redis)
    try:
        return (await store.create("somebody", scopes, **limits))[1]
    finally:
        await store.close()


def _client(url: str, key: str = "") -> httpx2.Client:
    return httpx2.Client(base_url=url, timeout=60, headers={"Authorization": f"Bearer {key}"} if key else {})


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
