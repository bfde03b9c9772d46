"""Leases of workers that send heartbeats, fall silent, stop, or are killed by a job."""

from __future__ import annotations

from redis import Redis

from shared.domain.job import JobStatus
from shared.store import key_names
from shared.store.leases import Lease, Reaped
from tests.clock import MovedClock
from tests.integration.ledger.deployment import FAILURE, LEASE_S, MODEL, SUCCESS, Deploy, Deployment


def test_a_silent_worker_loses_its_job_and_cannot_finish_it(deployment: Deployment, clock: MovedClock) -> None:
    job_id = deployment.submit()
    silent = deployment.claim()
    assert deployment.leases.reap(MODEL) == Reaped()
    clock.advance(LEASE_S)
    assert deployment.leases.reap(MODEL) == Reaped(released=1)
    assert not deployment.leases.finish(silent, SUCCESS)
    second = deployment.claim()
    assert (second.job.id, second.job.attempt, second.job.fence) == (job_id, 2, 2)
    assert not deployment.leases.finish(silent, FAILURE)
    assert not deployment.leases.release(silent)
    assert deployment.leases.finish(second, SUCCESS)


def test_a_heartbeat_renews_leases_and_returns_the_jobs_that_were_lost(
    deployment: Deployment, clock: MovedClock
) -> None:
    deployment.submit()
    kept = deployment.claim()
    canceled_id = deployment.submit()
    canceled = deployment.claim(is_idle=False)
    deployment.cancel(canceled_id)
    for _ in range(3):
        clock.advance(LEASE_S / 2)
        assert deployment.leases.heartbeat(MODEL, "me", [kept, canceled]) == {canceled_id}
        assert deployment.leases.reap(MODEL) == Reaped()
    assert deployment.leases.finish(kept, SUCCESS)


def test_nothing_is_reaped_soon_after_the_server_has_started(deploy: Deploy, clock: MovedClock) -> None:
    patient = deploy(restart_grace_s=100_000)
    patient.submit()
    patient.claim()
    clock.advance(1_000)
    assert patient.leases.reap(MODEL) == Reaped()


def test_a_released_job_keeps_its_position_and_its_attempt_is_not_counted(deployment: Deployment) -> None:
    first, _ = deployment.submit(), deployment.submit()
    assert deployment.leases.release(deployment.claim())
    again = deployment.claim()
    assert (again.job.id, again.job.attempt, again.job.quarantined) == (first, 1, False)


def test_a_quarantined_job_runs_alone_and_before_all_others(deployment: Deployment, clock: MovedClock) -> None:
    quarantined_id = deployment.submit()
    deployment.claim()
    clock.advance(LEASE_S)
    deployment.leases.reap(MODEL)
    other_id = deployment.submit()
    assert deployment.job(quarantined_id).quarantined
    assert deployment.position(quarantined_id) == 0
    assert deployment.leases.claim(MODEL, is_idle=False) is None
    assert deployment.claim().job.id == quarantined_id
    assert deployment.claim().job.id == other_id


def test_a_job_that_loses_three_workers_while_alone_fails_as_worker_lost(
    deployment: Deployment, clock: MovedClock
) -> None:
    job_id = deployment.submit()
    for _ in range(4):  # another job may have caused the first loss
        assert deployment.job(job_id).status is JobStatus.QUEUED
        deployment.claim()
        clock.advance(LEASE_S)
        deployment.leases.reap(MODEL)
    job = deployment.job(job_id)
    assert (job.status, job.attempt) == (JobStatus.FAILED, 4)
    assert job.error is not None
    assert job.error.type == "worker_lost"


def test_the_jobs_of_an_ended_worker_are_queued_at_once_and_no_others(deploy: Deploy) -> None:
    lost, living, unnamed = (deploy(restart_grace_s=100_000) for _ in range(3))
    lost.leases.worker_id, living.leases.worker_id = "lost", "living"
    ids = [lost.submit() for _ in range(4)]
    stale = lost.claim()
    kept = [living.claim(is_idle=False), unnamed.claim(is_idle=False)]
    canceled = lost.claim(is_idle=False)
    lost.cancel(canceled.job.id)
    assert living.leases.reap_worker(MODEL, "lost") == Reaped(released=1)
    assert living.leases.reap_worker(MODEL, "lost") == Reaped()
    job = living.job(ids[0])
    assert (job.status, job.attempt, job.quarantined) == (JobStatus.QUEUED, 1, True)
    assert not lost.leases.finish(stale, SUCCESS)
    assert lost.leases.heartbeat(MODEL, "lost", [stale]) == {ids[0]}
    assert [living.leases.finish(lease, SUCCESS) for lease in kept] == [True, True]


def test_an_ended_worker_is_not_counted_as_alive(deployment: Deployment) -> None:
    deployment.leases.heartbeat(MODEL, "lost")
    deployment.leases.reap_worker(MODEL, "lost")
    assert deployment.live_workers() == 0


def test_a_claim_of_an_older_version_is_not_that_of_the_worker_before(deployment: Deployment, redis: Redis) -> None:
    deployment.leases.worker_id = "lost"
    job_id = deployment.submit()
    deployment.claim()
    redis.hincrby(key_names.job(job_id), "fence", 1)  # its script leaves the other fields as they are
    assert deployment.leases.reap_worker(MODEL, "lost") == Reaped()
    assert deployment.job(job_id).status is JobStatus.PROCESSING


def _as_an_older_version_claims(deployment: Deployment, redis: Redis) -> Lease:
    """Its script counts the claim, and leaves the token of an earlier claim in the record."""
    lease = deployment.claim()
    redis.hset(key_names.job(lease.job.id), "token", "0-earlier")
    return Lease(lease.job.model_copy(update={"token": str(lease.job.fence)}), lease.image)


_IS_CLAIMED_IN_AN_OLDER_VERSION = """
local job = redis.call('HMGET', KEYS[1], 'status', 'fence')
return job[1] == 'processing' and tonumber(job[2]) == tonumber(ARGV[1])
"""


def test_a_worker_of_an_older_version_keeps_the_job_that_it_has_claimed(deployment: Deployment, redis: Redis) -> None:
    job_id = deployment.submit()
    lease = _as_an_older_version_claims(deployment, redis)
    assert redis.eval(_IS_CLAIMED_IN_AN_OLDER_VERSION, 1, key_names.job(job_id), lease.job.token)
    assert deployment.leases.heartbeat(MODEL, "older", [lease]) == set()
    assert deployment.leases.finish(lease, SUCCESS)


def test_a_worker_of_an_older_version_loses_its_job_to_one_of_this(
    deployment: Deployment, redis: Redis, clock: MovedClock
) -> None:
    job_id = deployment.submit()
    older = _as_an_older_version_claims(deployment, redis)
    clock.advance(LEASE_S)
    deployment.leases.reap(MODEL)
    second = deployment.claim()
    assert not redis.eval(_IS_CLAIMED_IN_AN_OLDER_VERSION, 1, key_names.job(job_id), older.job.token)
    assert not deployment.leases.finish(older, SUCCESS)
    bare = Lease(second.job.model_copy(update={"token": str(second.job.fence)}), b"")
    assert not deployment.leases.finish(bare, SUCCESS)
    assert deployment.leases.finish(second, SUCCESS)


def test_a_worker_loses_its_job_to_one_of_an_older_version(
    deployment: Deployment, redis: Redis, clock: MovedClock
) -> None:
    job_id = deployment.submit()
    first = deployment.claim()
    clock.advance(LEASE_S)
    deployment.leases.reap(MODEL)
    redis.hincrby(key_names.job(job_id), "fence", 1)
    redis.hset(key_names.job(job_id), "status", "processing")
    assert not deployment.leases.finish(first, SUCCESS)
    assert not deployment.leases.release(first)
    assert deployment.leases.heartbeat(MODEL, "me", [first]) == {job_id}


def test_a_job_that_kills_its_worker_again_and_again_fails_without_the_end_of_a_lease(deployment: Deployment) -> None:
    deployment.leases.worker_id = "lost"
    job_id = deployment.submit()
    for _ in range(4):
        deployment.claim()
        deployment.leases.reap_worker(MODEL, "lost")
    job = deployment.job(job_id)
    assert (job.status, job.attempt) == (JobStatus.FAILED, 4)
    assert job.error is not None
    assert job.error.type == "worker_lost"


def test_workers_are_counted_until_they_deregister_or_fall_silent(deployment: Deployment, clock: MovedClock) -> None:
    assert deployment.live_workers() == 0
    for worker in ("a", "b", "a"):
        deployment.leases.heartbeat(MODEL, worker)
    assert deployment.live_workers() == 2
    deployment.leases.deregister(MODEL, "a")
    assert deployment.live_workers() == 1
    clock.advance(60)
    assert deployment.live_workers() == 0
