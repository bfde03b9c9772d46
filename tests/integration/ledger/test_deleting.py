"""Deleting a job: in every state, while others use it, and nothing of it is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from shared.domain.job import new_job_id
from shared.domain.webhook import Attempt, DeliveryState, Webhook
from shared.errors import JobDeleted, JobExpired, JobNotFound, NothingToDeliver
from shared.settings import Settings
from shared.store import key_names
from shared.store.deliveries import DeliveryStore, Verdict
from shared.store.records import text
from shared.store.submissions import SubmissionStore
from tests.clock import MovedClock
from tests.integration.ledger.deployment import LEASE_S, MODEL, SUCCESS, Deploy, Deployment, first_canceled

_WEBHOOK = Webhook(url="https://example.com/hook", base_url="http://here/")


def _nothing(deployment: Deployment, clock: MovedClock) -> None:
    pass


def _claim(deployment: Deployment, clock: MovedClock) -> None:
    deployment.claim()


def _lose_worker(deployment: Deployment, clock: MovedClock) -> None:
    deployment.claim()
    clock.advance(LEASE_S)
    assert deployment.leases.reap(MODEL).released == 1


def _finish(deployment: Deployment, clock: MovedClock) -> None:
    assert deployment.leases.finish(deployment.claim(), SUCCESS)


def _cancel(deployment: Deployment, clock: MovedClock) -> None:
    ((job_id,), _) = deployment.listed("me")
    deployment.cancel(job_id)


def _keys_with(redis: Redis, job_id: str) -> set[str]:
    """Every key that is named after the job, or has its id as a value or a member."""
    return {key for key in map(text, redis.keys()) if job_id in key or job_id in _content(redis, key)}


def _content(redis: Redis, key: str) -> str:
    match text(redis.type(key)):
        case "zset":
            return str(redis.zrange(key, 0, -1))
        case "string":
            return str(redis.get(key))
        case _:
            return ""


@pytest.mark.parametrize("change", [_nothing, _claim, _lose_worker, _finish, _cancel])
def test_nothing_but_a_tombstone_is_left_of_a_deleted_job(
    deploy: Deploy, redis: Redis, clock: MovedClock, change: Callable[[Deployment, MovedClock], None]
) -> None:
    deployment = deploy(result_cache_s=100)
    job_id = deployment.submit(timeout_s=5_000, webhook=_WEBHOOK, idempotency_key="key")
    change(deployment, clock)
    deployment.delete(job_id)
    idempotency = {key for key in _keys_with(redis, job_id) if "idempotency" in key}
    assert _keys_with(redis, job_id) - idempotency == {key_names.tombstone(job_id)}
    with pytest.raises(JobDeleted):
        deployment.job(job_id)
    with pytest.raises(JobDeleted):
        deployment.delete(job_id)
    assert deployment.listed("me") == ([], None)
    assert deployment.leases.claim(MODEL, is_idle=True) is None
    assert redis.hgetall(key_names.IMAGE_BYTES) == redis.hgetall(key_names.waiting_clients(MODEL)) == {}
    assert redis.zcard(key_names.DELIVERY_CLIENTS) == 0
    clock.advance(10_000)
    deployment.leases.reap(MODEL)
    assert deployment.leases.claim(MODEL, is_idle=True) is None


def test_a_worker_of_a_deleted_job_can_change_nothing(deployment: Deployment, redis: Redis) -> None:
    job_id = deployment.submit()
    lease = deployment.claim()
    deployment.delete(job_id)
    assert deployment.leases.heartbeat(MODEL, "worker", [lease]) == {job_id}
    assert not deployment.leases.finish(lease, SUCCESS)
    assert not deployment.leases.release(lease)
    assert _keys_with(redis, job_id) == {key_names.tombstone(job_id)}


def test_a_worker_is_told_that_its_job_is_deleted(deployment: Deployment, redis: Redis) -> None:
    job_id = deployment.submit()
    deployment.claim()
    assert first_canceled(deployment, redis, lambda: deployment.delete(job_id)) == [job_id]


def test_a_repeated_request_does_not_run_a_deleted_job_again(deployment: Deployment) -> None:
    job_id = deployment.submit(idempotency_key="key")
    deployment.delete(job_id)
    with pytest.raises(JobDeleted):
        deployment.submit(idempotency_key="key")
    assert deployment.leases.claim(MODEL, is_idle=True) is None


def test_the_result_of_a_deleted_job_answers_no_other_one(deploy: Deploy) -> None:
    deployment = deploy(result_cache_s=100)
    first = deployment.submit()
    deployment.leases.finish(deployment.claim(), SUCCESS)
    copy = deployment.submit()
    assert deployment.job(copy).cached
    deployment.delete(first)
    assert deployment.result(copy) is not None  # it is that of another job
    assert not deployment.job(deployment.submit()).cached


def test_an_entry_of_the_result_cache_stays_if_it_is_another_job_s(deploy: Deploy) -> None:
    deployment = deploy(result_cache_s=100)
    first, _ = deployment.submit(), deployment.submit()
    for _ in range(2):
        deployment.leases.finish(deployment.claim(), SUCCESS)
    deployment.delete(first)
    assert deployment.job(deployment.submit()).cached


def test_the_tombstone_of_a_deleted_job_expires(deploy: Deploy, redis: Redis) -> None:
    deployment = deploy()
    job_id = deployment.submit()
    deployment.delete(job_id)
    assert 1_000 < redis.ttl(key_names.tombstone(job_id)) <= 1_100
    redis.delete(key_names.tombstone(job_id))
    for call in (deployment.delete, deployment.job, deployment.cancel):
        with pytest.raises(JobNotFound):
            call(job_id)


def test_an_expired_job_is_not_deleted(deployment: Deployment, redis: Redis) -> None:
    job_id = deployment.submit()
    deployment.leases.finish(deployment.claim(), SUCCESS)
    redis.delete(key_names.job(job_id))
    with pytest.raises(JobExpired) as caught:
        deployment.delete(job_id)
    assert caught.value.type == "job_expired"


def test_an_attempt_of_a_deleted_delivery_is_not_recorded(
    deployment: Deployment, settings: Settings, redis: Redis
) -> None:
    job_id = deployment.submit(webhook=_WEBHOOK)
    deployment.leases.finish(deployment.claim(), SUCCESS)

    async def attempt() -> None:
        deliveries = DeliveryStore.connect(settings)
        try:
            lease = await deliveries.claim([])
            assert lease is not None
            await asyncio.to_thread(deployment.delete, job_id)
            attempt = Attempt(at_ms=1, duration_s=0.1, status=500)
            assert await deliveries.record(lease, attempt, Verdict(DeliveryState.PENDING, 1.0)) is None
            with pytest.raises(NothingToDeliver):
                await deliveries.redeliver(job_id)
            assert await deliveries.claim([]) is None
        finally:
            await deliveries.close()

    asyncio.run(attempt())
    assert _keys_with(redis, job_id) == {key_names.tombstone(job_id)}


def test_a_deleted_job_is_announced(deployment: Deployment, settings: Settings) -> None:
    async def delete_and_listen() -> None:
        store = SubmissionStore.connect(settings)
        try:
            job_id = await asyncio.to_thread(deployment.submit)
            changes = store.changes()
            assert await anext(changes) is None
            await store.delete(job_id)
            assert await anext(changes) == job_id
        finally:
            await store.close()

    asyncio.run(asyncio.wait_for(delete_and_listen(), 60))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def test_an_image_in_a_folder_is_removed_with_its_job(deploy: Deploy, folder: Path) -> None:
    deployment = deploy(image_store=folder.as_uri())
    job_id, other = deployment.submit(image=b"one"), deployment.submit(image=b"two")
    deployment.delete(job_id)
    assert [path.name for path in folder.iterdir()] == [other]
    assert deployment.image(other) == b"two"


def test_a_race_of_worker_client_and_deletion_leaves_nothing(deploy: Deploy, redis: Redis) -> None:
    with ThreadPoolExecutor(3) as threads:
        for _ in range(20):
            worker, client, deleter = deploy(), deploy(), deploy()
            job_id = new_job_id()
            client.submit(job_id, webhook=_WEBHOOK)

            def work(worker: Deployment = worker) -> None:
                lease = worker.leases.claim(MODEL, is_idle=True)
                if lease:
                    worker.leases.finish(lease, SUCCESS)

            def cancel(client: Deployment = client, job_id: str = job_id) -> None:
                with suppress(JobExpired):
                    client.cancel(job_id)

            racing = [threads.submit(work), threads.submit(cancel), threads.submit(deleter.delete, job_id)]
            for each in racing:
                each.result()
            assert _keys_with(redis, job_id) == {key_names.tombstone(job_id)}
