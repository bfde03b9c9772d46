"""Submits and reads jobs as a front end does, from synchronous code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.domain.job import Job
from shared.domain.webhook import Webhook
from shared.settings import Settings
from shared.store.job_state import JobState
from shared.store.new_job import NewJob
from shared.store.submissions import SubmissionStore
from testing.factories import new_job

_T = TypeVar("_T")


class FrontEnd:
    """Submits and reads jobs from synchronous code."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def submit(self, image: bytes = b"x", timeout_s: float | None = None, webhook: Webhook | None = None) -> str:
        return self.submit_new(new_job(image=image, timeout_s=timeout_s, webhook=webhook))

    def submit_new(self, new: NewJob) -> str:
        return self._call(lambda store: store.submit(new)).job.id

    def submitted(self) -> JobState:
        """The state of a job, as whoever submits it gets it."""
        return self._call(lambda store: store.submit(new_job(image=b"x")))

    def state(self, job_id: str) -> JobState:
        return self._call(lambda store: store.read(job_id))

    def job(self, job_id: str) -> Job:
        return self.state(job_id).job

    def cancel(self, job_id: str) -> None:
        self._call(lambda store: store.cancel(job_id))

    def _call(self, ask: Callable[[SubmissionStore], Awaitable[_T]]) -> _T:
        async def call() -> _T:
            store = SubmissionStore.connect(self._settings)
            try:
                return await ask(store)
            finally:
                await store.close()

        return asyncio.run(call())
