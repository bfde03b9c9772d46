"""`submit` returns the state of the job, the same as a `read` directly after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.domain.job import JobStatus
from shared.errors import JobExpired
from shared.settings import Settings
from shared.store.leases import LeaseStore
from shared.store.new_job import NewJob
from shared.store.submissions import SubmissionStore
from testing.factories import new_job
from tests.jobs import finish_next


def _new(key: str = "") -> NewJob:
    return new_job(idempotency_key=key)


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[SubmissionStore]:
    store = SubmissionStore.connect(settings)
    try:
        yield store
    finally:
        await store.close()


def test_submit_returns_the_same_state_as_read(settings: Settings) -> None:
    async def submit() -> None:
        async with _store(settings) as store:
            for ahead in range(3):
                state = await store.submit(_new())
                assert state == await store.read(state.job.id)
                assert (state.job.status, state.queue_position) == (JobStatus.QUEUED, ahead)

    asyncio.run(submit())


def test_submit_returns_the_result_of_a_cached_job(settings: Settings) -> None:
    cached = settings.replace(result_cache_s=100)
    leases = LeaseStore.connect(cached)

    async def submit() -> None:
        async with _store(cached) as store:
            await store.submit(_new())
            finish_next(leases)
            state = await store.submit(_new())
            assert state == await store.read(state.job.id)
            assert state.result is not None

    asyncio.run(submit())
    leases.close()


@pytest.mark.slow
def test_a_used_idempotency_key_returns_its_job_until_it_expires(settings: Settings) -> None:
    async def submit() -> None:
        async with _store(settings.replace(retention_s=3, image_retention_s=3)) as store:
            first = await store.submit(_new("key"))
            await store.cancel(first.job.id)
            again = await store.submit(_new("key"))
            assert (again.job.id, again.job.status) == (first.job.id, JobStatus.CANCELED)
            await asyncio.sleep(3.2)
            with pytest.raises(JobExpired):
                await store.submit(_new("key"))

    asyncio.run(submit())
