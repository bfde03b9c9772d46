"""Jobs and results of the client with an event loop. Their names are those of `maskq.job`, where they are described."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from maskq.async_driver import AsyncDriver
from maskq.job_state import JobState
from maskq.result import BaseResult, picture_of
from maskq.typed import Json

if TYPE_CHECKING:
    import PIL.Image


class AsyncJob(JobState):
    """As `Job`."""

    def __init__(self, driver: AsyncDriver, state: JobState) -> None:
        super().__init__(state.json, state.etag)
        self._driver = driver

    async def refresh(self) -> AsyncJob:
        """As `Job.refresh`."""
        return self._now(await self._driver.run(self._driver.operations.job(self.id)))

    async def wait(self, timeout: float | None = None) -> AsyncJob:
        """As `Job.wait`."""
        return self._now(await self._driver.run(self._driver.operations.ended(self, timeout)))

    async def events(self) -> AsyncIterator[JobState]:
        """As `Job.events`."""
        await self.refresh()
        yield JobState(self.json, self.etag)
        while not self.has_ended:
            self._now(await self._driver.run(self._driver.operations.news(self)))
            yield JobState(self.json, self.etag)

    async def result(self, timeout: float | None = None) -> AsyncResult:
        """As `Job.result`."""
        operation = self._driver.operations.with_result(self, timeout)
        return AsyncResult(self._driver, self._now(await self._driver.run(operation)))

    async def links(self, expires_in_s: float = 300.0) -> Json:
        """As `Job.links`."""
        return await self._driver.run(self._driver.operations.links(self.id, expires_in_s))

    async def cancel(self) -> AsyncJob:
        """As `Job.cancel`."""
        return self._now(await self._driver.run(self._driver.operations.cancel(self.id)))

    async def delete(self) -> None:
        """As `Job.delete`."""
        await self._driver.run(self._driver.operations.delete(self.id))

    def _now(self, state: JobState) -> AsyncJob:
        self.json, self.etag = state.json, state.etag
        return self


class AsyncResult(BaseResult):
    """As `Result`."""

    def __init__(self, driver: AsyncDriver, job: JobState) -> None:
        super().__init__(JobState(job.json, job.etag))
        self._driver = driver

    async def overlay(self) -> PIL.Image.Image:
        """As `Result.overlay`."""
        return picture_of(await self.overlay_png())

    async def overlay_png(self) -> bytes:
        """As `Result.overlay_png`."""
        return await self._driver.run(self._driver.operations.overlay(self.job.id))

    async def to_labelstudio(self, from_name: str | None = None, to_name: str | None = None) -> Json:
        """As `Result.to_labelstudio`."""
        return await self._driver.run(self._driver.operations.prediction(self.job.id, from_name, to_name))
