"""How long a job is kept, and the list of the jobs that are kept."""

from __future__ import annotations

import pytest
from redis import Redis

from shared.domain.job import new_job_id
from shared.errors import JobExpired, JobNotFound
from shared.store import key_names
from tests.clock import MovedClock
from tests.integration.ledger.deployment import SUCCESS, Deployment


def test_an_ended_job_is_kept_for_its_retention_and_a_queued_one_without_limit(
    deployment: Deployment, redis: Redis
) -> None:
    job_id = deployment.submit()
    assert {redis.ttl(key) for key in (key_names.job(job_id), key_names.image(job_id))} == {-1}
    deployment.leases.finish(deployment.claim(), SUCCESS)
    assert 99 <= redis.ttl(key_names.job(job_id)) <= 100
    assert 99 <= redis.ttl(key_names.result(job_id)) <= 100
    assert 49 <= redis.ttl(key_names.image(job_id)) <= 50
    assert 1099 <= redis.ttl(key_names.tombstone(job_id)) <= 1100
    job = deployment.job(job_id)
    assert job.completed_at_ms is not None
    assert job.expires_at_ms == job.completed_at_ms + 100_000


def test_an_expired_job_is_distinguished_from_one_that_never_existed(deployment: Deployment, redis: Redis) -> None:
    job_id = deployment.submit()
    deployment.leases.finish(deployment.claim(), SUCCESS)
    redis.delete(key_names.job(job_id), key_names.result(job_id), key_names.image(job_id))  # as if they expired
    for read in (deployment.job, deployment.cancel):
        with pytest.raises(JobExpired):
            read(job_id)
        with pytest.raises(JobNotFound):
            read(new_job_id())
    assert deployment.image(job_id) is None


def test_jobs_of_an_owner_are_listed_newest_first_in_pages(
    deployment: Deployment, clock: MovedClock, redis: Redis
) -> None:
    ids = []
    for _ in range(5):
        ids.append(deployment.submit())
        clock.advance(0.001)
    deployment.submit(owner="b")
    newest_first = ids[::-1]
    assert deployment.listed("me") == newest_first
    assert deployment.listed("me", limit=2) == newest_first[:2]
    assert deployment.listed("me", before=newest_first[1], limit=2) == newest_first[2:4]
    redis.delete(key_names.job(ids[0]), key_names.job(ids[3]))
    assert deployment.listed("me", limit=3) == [ids[4], ids[2], ids[1]]
    deployment.submit()
    assert redis.zrank(key_names.owned("me"), ids[0]) is None
    with pytest.raises(JobNotFound):
        deployment.listed("me", before="gone")
