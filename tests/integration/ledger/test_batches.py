"""Batches in the ledger: a job is accepted and added to its batch in one step."""

from __future__ import annotations

import pytest

from shared.domain.batch import Batch
from shared.errors import BatchNotFound, QueueFull, ShareExceeded
from tests.integration.ledger.deployment import SUCCESS, Deploy, Deployment


def read(deployment: Deployment, batch_id: str = "b") -> Batch:
    return deployment._runner.run(deployment.front.read_batch(batch_id))


def test_a_batch_has_the_state_of_its_jobs(deployment: Deployment) -> None:
    ids = [deployment.submit(batch="b", batch_index=index) for index in range(3)]
    assert deployment.leases.finish(deployment.claim(), SUCCESS)
    deployment.cancel(ids[2])
    batch = read(deployment)
    assert [job.id for job in batch.jobs] == ids
    assert batch.counts == {"succeeded": 1, "queued": 1, "canceled": 1}
    assert [job.id for job in batch.unfinished] == [ids[1]]
    assert batch.owner == "me"


def test_a_repeated_part_is_in_the_batch_once(deployment: Deployment) -> None:
    first = [deployment.submit(batch="b", batch_index=0, idempotency_key="k 0") for _ in range(2)]
    assert [job.id for job in read(deployment).jobs] == first[:1]


def test_a_refused_job_is_in_no_batch(deploy: Deploy) -> None:
    deployment = deploy(max_queued_jobs=1)
    job_id = deployment.submit(batch="b", batch_index=0)
    with pytest.raises((QueueFull, ShareExceeded)):
        deployment.submit(batch="b", batch_index=1)
    assert [job.id for job in read(deployment).jobs] == [job_id]


def test_deleted_jobs_of_a_batch_are_shown_as_deleted(deployment: Deployment) -> None:
    job_id = deployment.submit(batch="b", batch_index=0)
    deployment.delete(job_id)
    assert read(deployment).counts == {"deleted": 1}


def test_an_unknown_batch_is_not_found(deployment: Deployment) -> None:
    with pytest.raises(BatchNotFound):
        read(deployment)
