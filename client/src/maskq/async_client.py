"""The client for programs with an event loop. Its names are those of `maskq.client`, where they are described."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import httpx2

from maskq.errors import MaskqError
from maskq.images import ImageInput
from maskq.job_state import JobState
from maskq.operations import Model
from maskq.result import BaseResult, picture_of, with_tags
from maskq.steps import Operation, Pause, Reply, Step
from maskq.submission import SubmitOptions
from maskq.transport import RETRY_FOR_S, Service, Verify, answer_of, arguments_of, no_answer_of
from maskq.typed import Json, Self, Unpack

if TYPE_CHECKING:
    import PIL.Image

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
        service = Service.at(url, api_key, retry_for_s, verify)
        self._operations = service.operations
        self._http = httpx2.AsyncClient(**service.http_options)
        self.url = service.configuration.url
        """The URL of the service, without a slash at its end."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def segment(
        self, image: ImageInput, prompt: str, *, wait_s: float | None = None, **options: Unpack[SubmitOptions]
    ) -> AsyncResult:
        """As `Client.segment`."""
        return AsyncResult(self, await self._run(self._operations.segment(image, prompt, options, wait_s)))

    async def submit(self, image: ImageInput, prompt: str, **options: Unpack[SubmitOptions]) -> AsyncJob:
        """As `Client.submit`."""
        return AsyncJob(self, await self._run(self._operations.submit(image, prompt, options)))

    async def job(self, job_id: str) -> AsyncJob:
        """As `Client.job`."""
        return AsyncJob(self, await self._run(self._operations.job(job_id)))

    async def jobs(self, limit: int | None = None, **filters: str) -> AsyncIterator[AsyncJob]:
        """As `Client.jobs`."""
        cursor: str | None = None
        count = 0
        while limit is None or count < limit:
            page = await self._run(self._operations.page(cursor, limit, filters))
            for each in islice(page.jobs, None if limit is None else limit - count):
                count += 1
                yield AsyncJob(self, each)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def models(self) -> list[Model]:
        """As `Client.models`."""
        return await self._run(self._operations.models())

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
        remaining = iter(images)
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

    async def _run(self, operation: Operation[T]) -> T:
        reply: Reply = None
        while True:
            try:
                step = operation.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            reply = await self._reply(step)

    async def _reply(self, step: Step) -> Reply:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return answer_of(await self._http.request(**arguments_of(step.request)))
        except httpx2.RequestError as error:
            return no_answer_of(error)


class AsyncJob(JobState):
    """As `Job`."""

    def __init__(self, client: AsyncClient, state: JobState) -> None:
        super().__init__(state.json, state.etag)
        self._client = client

    async def refresh(self) -> AsyncJob:
        """As `Job.refresh`."""
        return self._now(await self._client._run(self._client._operations.job(self.id)))

    async def wait(self, timeout: float | None = None) -> AsyncJob:
        """As `Job.wait`."""
        return self._now(await self._client._run(self._client._operations.ended(self, timeout)))

    async def events(self) -> AsyncIterator[JobState]:
        """As `Job.events`."""
        await self.refresh()
        yield JobState(self.json, self.etag)
        while not self.has_ended:
            self._now(await self._client._run(self._client._operations.news(self)))
            yield JobState(self.json, self.etag)

    async def result(self, timeout: float | None = None) -> AsyncResult:
        """As `Job.result`."""
        operation = self._client._operations.with_result(self, timeout)
        return AsyncResult(self._client, self._now(await self._client._run(operation)))

    async def cancel(self) -> AsyncJob:
        """As `Job.cancel`."""
        return self._now(await self._client._run(self._client._operations.cancel(self.id)))

    async def delete(self) -> None:
        """As `Job.delete`."""
        await self._client._run(self._client._operations.delete(self.id))

    def _now(self, state: JobState) -> AsyncJob:
        self.json, self.etag = state.json, state.etag
        return self


class AsyncResult(BaseResult):
    """As `Result`."""

    def __init__(self, client: AsyncClient, job: JobState) -> None:
        super().__init__(JobState(job.json, job.etag))
        self._client = client

    async def overlay(self) -> PIL.Image.Image:
        """As `Result.overlay`."""
        return picture_of(await self.overlay_png())

    async def overlay_png(self) -> bytes:
        """As `Result.overlay_png`."""
        return await self._client._run(self._client._operations.overlay(self.job.id))

    async def to_labelstudio(self, from_name: str = "tag", to_name: str = "image") -> Json:
        """As `Result.to_labelstudio`."""
        document = await self._client._run(self._client._operations.document(self.job.id, "labelstudio"))
        return with_tags(document, from_name, to_name)
