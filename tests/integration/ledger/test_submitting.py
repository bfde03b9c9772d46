"""Jobs that are accepted, refused, or known already."""

from __future__ import annotations

import pytest
from redis import Redis

from shared.domain.job import JobStatus, Priority, new_job_id
from shared.errors import IdempotencyMismatch, QueueFull, StoreFull
from shared.store import key_names
from tests.integration.ledger.deployment import MODEL, RESULT, SUCCESS, Deploy, Deployment


def test_submitting_the_same_id_again_changes_nothing(deployment: Deployment) -> None:
    job_id = deployment.submit(image=b"first")
    deployment.submit(job_id, image=b"second")
    assert deployment.claim().image == b"first"
    assert deployment.leases.claim(MODEL, is_idle=True) is None
    deployment.submit(job_id)
    assert deployment.job(job_id).status is JobStatus.PROCESSING


def test_an_idempotency_key_belongs_to_one_job_of_one_owner(deployment: Deployment, redis: Redis) -> None:
    first = deployment.submit(idempotency_key="k")
    assert deployment.submit(idempotency_key="k") == first
    assert deployment.submit(idempotency_key="other") != first
    assert deployment.submit(owner="b", idempotency_key="k") != first
    assert redis.zcard(key_names.ready(MODEL)) == 3
    for change in ({"image": b"another"}, {"priority": Priority.HIGH}, {"timeout_s": 5}):
        with pytest.raises(IdempotencyMismatch):
            deployment.submit(idempotency_key="k", **change)
    assert 0 < redis.ttl(key_names.idempotency("me", "k")) <= 86_400


def test_a_repeated_request_gets_its_result_from_the_cache_if_that_is_on(
    deployment: Deployment, deploy: Deploy, redis: Redis
) -> None:
    cached = deploy(result_cache_s=1_000)
    first = cached.submit()
    cached.leases.finish(cached.claim(), SUCCESS)
    (known,) = redis.keys(key_names.cached("*"))
    assert 99 <= redis.ttl(known) <= 100  # no longer than the result
    again = cached.submit(priority=Priority.HIGH)
    job = cached.job(again)
    assert (job.status, job.cached, cached.job(first).cached) == (JobStatus.SUCCEEDED, True, False)
    assert cached.result(again) == RESULT
    assert cached.leases.claim(MODEL, is_idle=True) is None
    assert cached.job(cached.submit(image=b"another")).status is JobStatus.QUEUED
    assert deployment.job(deployment.submit()).status is JobStatus.QUEUED  # off by default
    redis.delete(key_names.result(first))
    assert cached.job(cached.submit()).status is JobStatus.QUEUED


def test_a_full_queue_refuses_a_job_and_stores_nothing_of_it(deploy: Deploy, redis: Redis) -> None:
    limited = deploy(max_queued_jobs=3)
    for owner in "abc":
        limited.submit(owner=owner)
    refused = new_job_id()
    with pytest.raises(QueueFull, match="3 jobs are waiting"):
        limited.submit(refused)
    assert not redis.exists(key_names.job(refused), key_names.image(refused))
    limited.claim()
    limited.submit(refused)


def test_jobs_are_refused_before_the_memory_is_full(deployment: Deployment, redis: Redis) -> None:
    redis.config_set("maxmemory", str(redis.info("memory")["used_memory"] * 11 // 10))
    try:
        with pytest.raises(StoreFull, match="80%"):
            deployment.submit()
    finally:
        redis.config_set("maxmemory", "0")
