"""Jobs that are canceled by their client or at their deadline."""

from __future__ import annotations

from redis import Redis

from shared.domain.job import JobStatus
from shared.store.leases import Reaped
from tests.clock import MovedClock
from tests.integration.ledger.deployment import MODEL, SUCCESS, Deployment, first_canceled


def test_a_canceled_job_never_gets_a_result(deployment: Deployment) -> None:
    waiting, running = deployment.submit(), deployment.submit()
    assert deployment.cancel(waiting) is JobStatus.QUEUED
    lease = deployment.claim()
    assert lease.job.id == running
    assert deployment.cancel(running) is JobStatus.PROCESSING
    assert not deployment.leases.finish(lease, SUCCESS)
    for each in (waiting, running):
        assert deployment.job(each).status is JobStatus.CANCELED
        assert deployment.cancel(each) is JobStatus.CANCELED
    assert deployment.leases.claim(MODEL, is_idle=True) is None


def test_workers_receive_the_id_of_a_canceled_job(deployment: Deployment, redis: Redis) -> None:
    job_id = deployment.submit()
    assert first_canceled(deployment, redis, lambda: deployment.cancel(job_id)) == [job_id]


def test_a_job_is_canceled_at_its_deadline_both_queued_and_running(deployment: Deployment, clock: MovedClock) -> None:
    running, waiting, timeless = (deployment.submit(timeout_s=t) for t in (5, 10, None))
    lease = deployment.claim()
    assert lease.job.id == running
    assert deployment.leases.reap(MODEL) == Reaped()
    clock.advance(10)
    assert deployment.leases.reap(MODEL) == Reaped(canceled=2)
    for job_id in (running, waiting):
        job = deployment.job(job_id)
        assert job.status is JobStatus.CANCELED
        assert job.error is not None
        assert job.error.type == "deadline_exceeded"
    assert not deployment.leases.finish(lease, SUCCESS)
    assert deployment.claim().job.id == timeless
