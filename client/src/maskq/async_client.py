"""The client for programs with an event loop. Its names are those of `maskq.client`, where they are described."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from typing import TypeVar

from maskq.async_driver import AsyncDriver
from maskq.async_job import AsyncJob, AsyncResult
from maskq.async_job_batch import AsyncBatch
from maskq.errors import MaskqError
from maskq.images import ImageInput, listed
from maskq.job_state import JobState
from maskq.operations import Model, at_least, job_filters
from maskq.submission import BatchOptions, SubmitOptions
from maskq.transport import RETRY_FOR_S, Service, Verify
from maskq.typed import Json, Self, Unpack

T = TypeVar("T")
ImageT = TypeVar("ImageT", bound=ImageInput)


class AsyncClient:
    """As `Client`. It belongs to one event loop.

    >>> async def main():
    ...     async with AsyncClient() as maskq:
    ...         return await maskq.segment("photo.png", "cat")
    >>> asyncio.run(main())[0].area
    1
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        retry_for_s: float = RETRY_FOR_S,
        verify: Verify = True,
    ) -> None:
        """As `Client`."""
        self._driver = AsyncDriver(Service.at(url, api_key, retry_for_s, verify))
        self.url = self._driver.url
        """The URL of the service, without a slash at its end."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._driver.close()

    async def segment(
        self, image: ImageInput, prompt: str, *, wait_s: float | None = None, **options: Unpack[SubmitOptions]
    ) -> AsyncResult:
        """As `Client.segment`."""
        return AsyncResult(
            self._driver, await self._driver.run(self._driver.operations.segment(image, prompt, options, wait_s))
        )

    async def submit(self, image: ImageInput, prompt: str, **options: Unpack[SubmitOptions]) -> AsyncJob:
        """As `Client.submit`."""
        return AsyncJob(self._driver, await self._driver.run(self._driver.operations.submit(image, prompt, options)))

    async def submit_batch(
        self, images: Iterable[ImageInput], prompt: str, **options: Unpack[BatchOptions]
    ) -> AsyncBatch:
        """As `Client.submit_batch`."""
        return AsyncBatch(
            self._driver, await self._driver.run(self._driver.operations.submit_batch(images, prompt, options))
        )

    async def batch(self, batch_id: str) -> AsyncBatch:
        """As `Client.batch`."""
        return AsyncBatch(self._driver, await self._driver.run(self._driver.operations.batch(batch_id)))

    async def coco(self, jobs: Iterable[JobState | str]) -> Json:
        """As `Client.coco`."""
        return await self._driver.run(self._driver.operations.coco(jobs))

    async def job(self, job_id: str) -> AsyncJob:
        """As `Client.job`."""
        return AsyncJob(self._driver, await self._driver.run(self._driver.operations.job(job_id)))

    async def jobs(
        self, limit: int | None = None, *, status: str | Iterable[str] = (), ref: str = "", **filters: str
    ) -> AsyncIterator[AsyncJob]:
        """As `Client.jobs`."""
        at_least(0, limit=limit)
        wanted = job_filters(status, ref, filters)
        cursor: str | None = None
        count = 0
        while limit is None or count < limit:
            page = await self._driver.run(self._driver.operations.page(cursor, limit, wanted))
            for each in islice(page.jobs, None if limit is None else limit - count):
                count += 1
                yield AsyncJob(self._driver, each)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def models(self) -> list[Model]:
        """As `Client.models`."""
        return await self._driver.run(self._driver.operations.models())

    async def limits(self) -> Json:
        """As `Client.limits`."""
        return await self._driver.run(self._driver.operations.limits())

    async def map(
        self,
        images: Iterable[ImageT],
        prompt: str,
        *,
        concurrency: int = 16,
        options_for: Callable[[ImageT], SubmitOptions] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> AsyncIterator[tuple[ImageT, AsyncResult | MaskqError]]:
        """As `Client.map`. If the caller stops early and closes the iterator, what has begun is abandoned."""
        at_least(1, concurrency=concurrency)
        remaining = listed(images)
        running: dict[asyncio.Task[AsyncResult | MaskqError], ImageT] = {}

        async def outcome(image: ImageT) -> AsyncResult | MaskqError:
            merged: SubmitOptions = {**options, **(options_for(image) if options_for else {})}
            try:
                return await self.segment(image, prompt, **merged)
            except MaskqError as error:
                return error

        try:
            while True:
                for image in islice(remaining, concurrency - len(running)):
                    running[asyncio.create_task(outcome(image))] = image
                if not running:
                    return
                finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                done = next(iter(finished))
                yield running.pop(done), done.result()
        finally:
            for task in running:
                task.cancel()
