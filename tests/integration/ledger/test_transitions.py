"""Transitions of a job: which are allowed, who may make them, and that each is announced."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import product

import pytest

from shared.domain.job import ALLOWED_TRANSITIONS, JobStatus, new_job_id
from shared.settings import Settings
from shared.store.leases import Lease
from shared.store.submissions import SubmissionStore
from testing.factories import job_request, new_job
from tests.clock import START_MS, MovedClock
from tests.integration.ledger.deployment import FAILURE, LEASE_S, MODEL, RESULT, SUCCESS, Deployment


def test_a_job_is_queued_then_processing_then_succeeded(deployment: Deployment, clock: MovedClock) -> None:
    job_id = deployment.submit(image=b"\x00\xff bytes")
    queued = deployment.job(job_id)
    assert (queued.status, queued.request, queued.attempt) == (JobStatus.QUEUED, job_request(), 0)
    clock.advance(1)
    lease = deployment.claim()
    assert (lease.job.id, lease.image) == (job_id, b"\x00\xff bytes")
    processing = deployment.job(job_id)
    assert (processing.status, processing.attempt, processing.fence) == (JobStatus.PROCESSING, 1, 1)
    clock.advance(2)
    assert deployment.leases.finish(lease, SUCCESS)
    done = deployment.job(job_id)
    assert (done.status, done.error) == (JobStatus.SUCCEEDED, None)
    assert deployment.result(job_id) == RESULT
    times_ms = (done.created_at_ms, done.started_at_ms, done.completed_at_ms)
    assert times_ms == (START_MS, START_MS + 1_000, START_MS + 3_000)
    assert done.metrics is not None
    assert (done.metrics.model_s, done.metrics.batch_size) == (0.5, 2)


def test_a_failed_job_has_its_error(deployment: Deployment) -> None:
    job_id = deployment.submit()
    assert deployment.leases.finish(deployment.claim(), FAILURE)
    job = deployment.job(job_id)
    assert (job.status, job.error) == (JobStatus.FAILED, FAILURE.failure)


def test_a_job_is_finished_once_and_only_with_the_present_fence_token(deployment: Deployment) -> None:
    job_id = deployment.submit()
    lease = deployment.claim()
    stale = Lease(lease.job.model_copy(update={"token": f"{lease.job.token}0"}), lease.image)
    assert not deployment.leases.finish(stale, SUCCESS)
    assert deployment.leases.finish(lease, SUCCESS)
    assert not deployment.leases.finish(lease, FAILURE)
    assert deployment.job(job_id).status is JobStatus.SUCCEEDED


def test_a_worker_that_did_not_learn_that_its_job_is_finished_learns_it_again(
    deployment: Deployment, clock: MovedClock
) -> None:
    job_id = deployment.submit()
    lease = deployment.claim()
    assert deployment.leases.finish(lease, SUCCESS)
    finished = deployment.job(job_id)
    clock.advance(1)
    assert deployment.leases.heartbeat(MODEL, "me", [lease]) == set()
    assert deployment.leases.finish(lease, SUCCESS)
    assert deployment.job(job_id) == finished


def test_a_worker_whose_job_failed_because_it_was_lost_does_not_count_as_who_finished_it(
    deployment: Deployment, clock: MovedClock
) -> None:
    deployment.submit()
    for _ in range(4):
        lease = deployment.claim()
        clock.advance(LEASE_S)
        deployment.leases.reap(MODEL)
    assert deployment.job(lease.job.id).status is JobStatus.FAILED
    assert deployment.leases.heartbeat(MODEL, "me", [lease]) == {lease.job.id}
    assert not deployment.leases.finish(lease, FAILURE)


def test_every_transition_is_announced(deployment: Deployment, settings: Settings) -> None:
    async def make_transitions_and_listen() -> None:
        store, job_id = SubmissionStore.connect(settings), new_job_id()
        try:
            changes = store.changes()
            assert await anext(changes) is None
            await store.submit(new_job(id=job_id))
            for end_claim in (deployment.leases.release, partial(deployment.leases.finish, outcome=SUCCESS)):
                lease = await asyncio.to_thread(deployment.claim)
                assert await anext(changes) == job_id
                await asyncio.to_thread(end_claim, lease)
                assert await anext(changes) == job_id
        finally:
            await store.close()

    asyncio.run(asyncio.wait_for(make_transitions_and_listen(), 60))


def _bring_to(deployment: Deployment, status: JobStatus) -> tuple[str, Lease]:
    """A job in this status, and the lease of its worker, or one that a worker could have made up."""
    job_id = deployment.submit()
    if status is JobStatus.QUEUED:
        return job_id, Lease(deployment.job(job_id), b"")
    lease = deployment.claim()
    if status is JobStatus.CANCELED:
        deployment.cancel(job_id)
    elif status.is_terminal:
        deployment.leases.finish(lease, SUCCESS if status is JobStatus.SUCCEEDED else FAILURE)
    return job_id, lease


def _attempt_transition(deployment: Deployment, job_id: str, lease: Lease, status: JobStatus) -> None:
    match status:
        case JobStatus.QUEUED:
            deployment.leases.release(lease)
        case JobStatus.PROCESSING:
            deployment.leases.claim(MODEL, is_idle=True)
        case JobStatus.SUCCEEDED:
            deployment.leases.finish(lease, SUCCESS)
        case JobStatus.FAILED:
            deployment.leases.finish(lease, FAILURE)
        case JobStatus.CANCELED:
            deployment.cancel(job_id)


@pytest.mark.parametrize(("before", "after"), list(product(JobStatus, JobStatus)))
def test_scripts_make_the_allowed_transitions_and_no_others(
    deployment: Deployment, before: JobStatus, after: JobStatus
) -> None:
    job_id, lease = _bring_to(deployment, before)
    assert deployment.job(job_id).status is before
    _attempt_transition(deployment, job_id, lease, after)
    assert deployment.job(job_id).status is (after if after in ALLOWED_TRANSITIONS[before] else before)
