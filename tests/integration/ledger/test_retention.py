"""How long a job is kept, and the list of the jobs that are kept."""

from __future__ import annotations

import pytest
from redis import Redis

from shared.domain.job import JobStatus, new_job_id
from shared.errors import InvalidField, JobExpired, JobNotFound
from shared.store import key_names
from shared.store.job_list import JobFilter
from tests.clock import START_MS, MovedClock
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
    for number in range(6):
        ids.append(deployment.submit())
        clock.advance(number % 2 / 1000)  # pairs of jobs that were accepted in the same millisecond
    deployment.submit(owner="b")
    newest_first = sorted(ids, key=lambda each: (deployment.job(each).created_at_ms, each), reverse=True)
    assert deployment.listed("me") == (newest_first, None)
    for limit in range(1, 6):
        assert _pages(deployment, limit) == newest_first
    redis.delete(key_names.job(newest_first[1]), key_names.job(newest_first[4]))
    left = [each for each in newest_first if redis.exists(key_names.job(each))]
    assert _pages(deployment, 3) == left
    assert redis.zcard(key_names.owned("me")) == len(left)  # a page that meets an expired job removes it
    with pytest.raises(InvalidField, match="next_cursor"):
        deployment.listed("me", cursor=ids[0])


def _pages(deployment: Deployment, limit: int) -> list[str]:
    listed, cursor = deployment.listed("me", limit=limit)
    while cursor:
        page, cursor = deployment.listed("me", cursor, limit)
        assert len(page) <= limit
        listed += page
    return listed


def test_a_cursor_stays_valid_when_its_job_is_gone(deployment: Deployment, clock: MovedClock, redis: Redis) -> None:
    ids = []
    for _ in range(4):
        ids.append(deployment.submit())
        clock.advance(0.001)
    _, cursor = deployment.listed("me", limit=2)
    assert cursor is not None
    redis.delete(key_names.job(ids[2]))
    redis.zrem(key_names.owned("me"), ids[2])
    assert deployment.listed("me", cursor) == ([ids[1], ids[0]], None)


def test_a_page_looks_at_a_bounded_number_of_jobs(deployment: Deployment, redis: Redis) -> None:
    kept = deployment.submit()
    expired = {f"{number:08}-0000-7000-8000-000000000000": START_MS + 1 + number for number in range(2_500)}
    redis.zadd(key_names.owned("me"), expired)
    cursor: str | None = None
    for left in (1_501, 501):
        page, cursor = deployment.listed("me", cursor)
        assert (page, redis.zcard(key_names.owned("me"))) == ([], left)
        assert cursor is not None
    assert deployment.listed("me", cursor) == ([kept], None)


def test_a_list_has_the_jobs_that_match(deployment: Deployment, clock: MovedClock) -> None:
    ids = {}
    for ref in ("a", "a", "b", 'quo"te', ""):
        ids[deployment.submit(ref=ref)] = ref
        clock.advance(0.001)
    first, *others = ids
    deployment.cancel(first)
    newest_first = others[::-1] + [first]
    assert deployment.listed("me", wanted=JobFilter(ref="a")) == (newest_first[-2:], None)
    assert deployment.listed("me", wanted=JobFilter(ref='quo"te')) == ([newest_first[1]], None)
    assert deployment.listed("me", wanted=JobFilter(ref="A")) == ([], None)
    assert deployment.listed("me", wanted=JobFilter(frozenset({JobStatus.CANCELED}))) == ([first], None)
    assert deployment.listed("me", wanted=JobFilter(frozenset(JobStatus))) == (newest_first, None)
    queued = JobFilter(frozenset({JobStatus.QUEUED, JobStatus.FAILED}), "a")
    assert deployment.listed("me", wanted=queued) == ([newest_first[-2]], None)


def test_a_page_looks_at_a_bounded_number_of_jobs_that_do_not_match(deployment: Deployment, redis: Redis) -> None:
    wanted = deployment.submit(ref="a")
    other = redis.hgetall(key_names.job(deployment.submit(ref="b")))
    with redis.pipeline() as pipe:
        for number in range(300):
            job_id = f"{number:08}-0000-7000-8000-000000000000"
            pipe.hset(key_names.job(job_id), mapping=other)  # type: ignore[arg-type]
            pipe.zadd(key_names.owned("me"), {job_id: START_MS + 1 + number})
        pipe.execute()
    page, cursor = deployment.listed("me", wanted=JobFilter(ref="a"))
    assert page == []
    assert cursor is not None
    assert deployment.listed("me", cursor, wanted=JobFilter(ref="a")) == ([wanted], None)


def test_the_list_of_an_owner_without_jobs_expires(deployment: Deployment, redis: Redis) -> None:
    deployment.submit()
    month_s = 30 * 86_400
    assert month_s + 99 <= redis.ttl(key_names.owned("me")) <= month_s + 100


def test_submitting_removes_the_oldest_expired_jobs_from_the_list(deployment: Deployment, redis: Redis) -> None:
    gone = deployment.submit()
    redis.delete(key_names.job(gone))
    deployment.submit()
    assert redis.zscore(key_names.owned("me"), gone) is None
