"""Batches of the client with an event loop. Their names are those of `maskq.job_batch`, where they are described."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from maskq.async_driver import AsyncDriver
from maskq.async_job import AsyncJob
from maskq.batch_state import BatchState
from maskq.errors import JobDeleted, JobExpired
from maskq.typed import Json


class AsyncBatch(BatchState):
    """As `Batch`."""

    def __init__(self, driver: AsyncDriver, state: BatchState) -> None:
        super().__init__(state.json, state._order)
        self._driver = driver

    async def refresh(self) -> AsyncBatch:
        """As `Batch.refresh`."""
        return self._now(await self._driver.run(self._driver.operations.batch(self.id)))

    async def progress(self) -> dict[str, int]:
        """As `Batch.progress`."""
        return (await self.refresh()).counts

    async def wait(self, timeout: float | None = None) -> AsyncBatch:
        """As `Batch.wait`."""
        return self._now(await self._driver.run(self._driver.operations.batch_ended(self, timeout)))

    async def jobs(self) -> AsyncIterator[AsyncJob]:
        """As `Batch.jobs`."""
        for entry in self.kept:
            with suppress(JobDeleted, JobExpired):
                yield AsyncJob(self._driver, await self._driver.run(self._driver.operations.job(entry.id)))

    async def cancel(self) -> AsyncBatch:
        """As `Batch.cancel`."""
        return self._now(await self._driver.run(self._driver.operations.cancel_batch(self.id)))

    async def delete(self) -> None:
        """As `Batch.delete`."""
        await self._driver.run(self._driver.operations.delete_batch(self.id))

    async def to_coco(self) -> Json:
        """As `Batch.to_coco`."""
        return await self._driver.run(self._driver.operations.batch_coco(self.id))

    def _now(self, state: BatchState) -> AsyncBatch:
        self.json = {**self.json, **state.json}
        return self
