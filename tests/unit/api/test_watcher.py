"""Requests that wait for one job: they share its reads, and see every change."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from api.auth.caller import Caller
from api.watcher import JobWatcher
from shared.domain.job import JobStatus
from shared.store.job_state import JobState
from shared.store.submissions import SubmissionStore
from testing.factories import stored_job

_ME = Caller("me")


class _Store:
    """Has one job, and sends its changes."""

    def __init__(self) -> None:
        self.status = JobStatus.QUEUED
        self.reads = 0
        self.changed: asyncio.Queue[str | None] = asyncio.Queue()

    async def read(self, job_id: str) -> JobState:
        self.reads += 1
        status = self.status
        await asyncio.sleep(0.01)
        return JobState(stored_job(id=job_id, status=status))

    async def changes(self) -> Any:
        while True:
            yield await self.changed.get()

    def end(self, job_id: str) -> None:
        self.status = JobStatus.SUCCEEDED
        self.changed.put_nowait(job_id)


async def _never(*_: object) -> Any:
    return await asyncio.Future()


def _has_ended(state: JobState) -> bool:
    return state.job.status.is_terminal


def test_many_that_wait_for_one_job_share_its_reads_and_see_its_end() -> None:
    async def main() -> None:
        store = _Store()
        watcher = JobWatcher(cast(SubmissionStore, store), max_waiters=1_000)
        listening = asyncio.create_task(watcher.run())
        waits = [asyncio.create_task(watcher.read_once("job", _ME, _has_ended, 20, _never)) for _ in range(200)]
        await asyncio.sleep(0)  # all of them are reading
        await asyncio.sleep(0)
        store.end("job")  # while they read the old state
        states = await asyncio.gather(*waits)
        assert {state.job.status for state in states} == {JobStatus.SUCCEEDED}
        assert store.reads <= 10
        assert len(watcher) == 0
        listening.cancel()

    asyncio.run(main())


def test_a_wait_that_is_canceled_ends_no_read_of_others() -> None:
    async def main() -> None:
        store = _Store()
        store.status = JobStatus.SUCCEEDED
        watcher = JobWatcher(cast(SubmissionStore, store), max_waiters=10)
        first, second = (asyncio.create_task(watcher.read_once("job", _ME, _has_ended, 20, _never)) for _ in range(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).job.status is JobStatus.SUCCEEDED
        assert store.reads == 1

    asyncio.run(main())
