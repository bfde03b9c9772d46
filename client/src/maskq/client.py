"""The client for programs without an event loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
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


class Client:
    """Calls one service. Safe to share between threads; close it, or use it as a context.

    Requests are repeated when connections break and when the service says that it is busy, and they are delayed before
    the rate limit of the API key would refuse them. A submission is never carried out twice.

    >>> with Client() as maskq:
    ...     result = maskq.segment("photo.png", "cat")
    >>> result[0].score, result[0].mask.shape
    (1.0, (48, 64))
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        retry_for_s: float = RETRY_FOR_S,
        verify: Verify = True,
    ) -> None:
        """Nothing is sent yet.

        Args:
            url: of the service. Default: `MASKQ_URL`, or http://127.0.0.1:8000.
            api_key: default: `MASKQ_API_KEY`, or none.
            retry_for_s: for how many seconds a request is repeated after its first failure; 0: never. As long as the
                service has never answered, it is at most 10.
            verify: False accepts any certificate; an `ssl.SSLContext` says which ones.

        Raises:
            ConfigurationError: the URL or the key cannot be used.
        """
        service = Service.at(url, api_key, retry_for_s, verify)
        self._operations = service.operations
        self._http = httpx2.Client(**service.http_options)
        self.url = service.configuration.url
        """The URL of the service, without a slash at its end."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def segment(
        self, image: ImageInput, prompt: str, *, wait_s: float | None = None, **options: Unpack[SubmitOptions]
    ) -> Result:
        """Cut the objects that a prompt names out of an image. Takes one request, if the job ends within 30 s.

        Args:
            image: a path, an `https` or `data:` URL, bytes, a file, a Pillow image, or an array of uint8.
            prompt: `cat`, or `cat ; dog` for two things.
            wait_s: seconds to wait for the result. None: until the job has ended.
            options: `SubmitOptions`.

        Raises:
            ImageError: the image cannot be read.
            RequestError: the service refused the job.
            ConnectionFailed: the service does not answer.
            JobFailed, JobCanceled: the job has no result.
            WaitTimeout: the job has not ended in time; it goes on.
        """
        return Result(self, self._run(self._operations.segment(image, prompt, options, wait_s)))

    def submit(self, image: ImageInput, prompt: str, **options: Unpack[SubmitOptions]) -> Job:
        """Submit a job and do not wait for it.

        >>> with Client() as maskq:
        ...     job = maskq.submit("photo.png", "cat", ref="frame-17")
        ...     job.wait(timeout=30).status, job.ref
        ('succeeded', 'frame-17')

        Raises:
            ImageError, RequestError, ConnectionFailed: as `segment`.
        """
        return Job(self, self._run(self._operations.submit(image, prompt, options)))

    def job(self, job_id: str) -> Job:
        """A job that was submitted before.

        Raises:
            JobNotFound, JobExpired, JobDeleted: there is none.
        """
        return Job(self, self._run(self._operations.job(job_id)))

    def jobs(self, limit: int | None = None, **filters: str) -> Iterator[Job]:
        """Your jobs, newest first, without results. Pages are read as they are needed.

        Args:
            limit: the most jobs. None: all.
            filters: query parameters of `GET /jobs`.
        """
        return islice(self._all_jobs(limit, filters), limit)

    def _all_jobs(self, limit: int | None, filters: dict[str, str]) -> Iterator[Job]:
        cursor: str | None = None
        while True:
            page = self._run(self._operations.page(cursor, limit, filters))
            yield from (Job(self, each) for each in page.jobs)
            cursor = page.next_cursor
            if cursor is None:
                return

    def models(self) -> list[Model]:
        """The models of the service, the default first.

        >>> with Client() as maskq:
        ...     [model.id for model in maskq.models()]
        ['demo']
        """
        return self._run(self._operations.models())

    def map(
        self,
        images: Iterable[ImageT],
        prompt: str,
        *,
        concurrency: int = 16,
        options_for: Callable[[ImageT], SubmitOptions] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[tuple[ImageT, Result | MaskqError]]:
        """Segment many images. Yields each with its result, or with the error that it has instead, as they end.

        An image is taken when there is room for it, so any number needs the memory of `concurrency` images. If the
        caller stops early, what has begun is left alone.

        >>> with Client() as maskq:
        ...     for image, outcome in maskq.map(["photo.png", "missing.png"], "cat"):
        ...         print(image, "failed" if isinstance(outcome, MaskqError) else len(outcome))
        missing.png failed
        photo.png 1

        Args:
            concurrency: the most jobs that are under way.
            options_for: returns further options for one image, such as its `ref`.
            options: for all images, as in `segment`.
        """
        remaining = iter(images)
        running: dict[Future[Result | MaskqError], ImageT] = {}

        def outcome(image: ImageT) -> Result | MaskqError:
            merged: SubmitOptions = {**options, **(options_for(image) if options_for else {})}
            try:
                return self.segment(image, prompt, **merged)
            except MaskqError as error:
                return error

        while True:
            for image in islice(remaining, concurrency - len(running)):
                running[_in_thread(outcome, image)] = image
            if not running:
                return
            done = next(iter(wait(running, return_when=FIRST_COMPLETED).done))
            yield running.pop(done), done.result()

    def _run(self, operation: Operation[T]) -> T:
        reply: Reply = None
        while True:
            try:
                step = operation.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            reply = self._reply(step)

    def _reply(self, step: Step) -> Reply:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return answer_of(self._http.request(**arguments_of(step.request)))
        except httpx2.RequestError as error:
            return no_answer_of(error)


class Job(JobState):
    """A job, as it was when its client last asked; `refresh` and `wait` bring it up to date."""

    def __init__(self, client: Client, state: JobState) -> None:
        super().__init__(state.json, state.etag)
        self._client = client

    def refresh(self) -> Job:
        """Ask for the state of the job. Returns the job itself."""
        return self._now(self._client._run(self._client._operations.job(self.id)))

    def wait(self, timeout: float | None = None) -> Job:
        """Wait until the job has ended, in whichever way. Returns the job itself.

        Args:
            timeout: seconds. None: no limit.

        Raises:
            WaitTimeout: it has not ended in time.
        """
        return self._now(self._client._run(self._client._operations.ended(self, timeout)))

    def events(self) -> Iterator[JobState]:
        """The job now, and again whenever its status changes, until it has ended.

        >>> with Client() as maskq:
        ...     [state.status for state in maskq.submit("photo.png", "cat").events()][-1]
        'succeeded'
        """
        self.refresh()
        yield JobState(self.json, self.etag)
        while not self.has_ended:
            self._now(self._client._run(self._client._operations.news(self)))
            yield JobState(self.json, self.etag)

    def result(self, timeout: float | None = None) -> Result:
        """Wait until the job has succeeded, and return its result.

        Args:
            timeout: seconds. None: no limit.

        Raises:
            JobFailed, JobCanceled: it has none.
            WaitTimeout: it has not ended in time.
        """
        operation = self._client._operations.with_result(self, timeout)
        return Result(self._client, self._now(self._client._run(operation)))

    def cancel(self) -> Job:
        """Cancel the job: it will never have a result. Returns the job itself.

        Raises:
            JobEnded: it has ended before.
        """
        return self._now(self._client._run(self._client._operations.cancel(self.id)))

    def delete(self) -> None:
        """Delete the job, its image and its result. A job that has not ended is canceled."""
        self._client._run(self._client._operations.delete(self.id))

    def _now(self, state: JobState) -> Job:
        self.json, self.etag = state.json, state.etag
        return self


class Result(BaseResult):
    """The result of a job: a sequence of `Segment`."""

    def __init__(self, client: Client, job: JobState) -> None:
        super().__init__(JobState(job.json, job.etag))
        self._client = client

    def overlay(self) -> PIL.Image.Image:
        """The image with the masks drawn over it, for people. The service draws it as long as it has the image.

        >>> with Client() as maskq:
        ...     maskq.segment("photo.png", "cat").overlay().size
        (64, 48)

        Raises:
            ImageExpired: it no longer has it.
            MissingPackage: Pillow is not installed.
        """
        return picture_of(self.overlay_png())

    def overlay_png(self) -> bytes:
        """The same as the bytes of a PNG file."""
        return self._client._run(self._client._operations.overlay(self.job.id))

    def to_labelstudio(self, from_name: str = "tag", to_name: str = "image") -> Json:
        """A prediction with brush labels, for Label Studio. The service makes it.

        Args:
            from_name: name of the control tag `<BrushLabels>`.
            to_name: name of the object tag `<Image>`.
        """
        document = self._client._run(self._client._operations.document(self.job.id, "labelstudio"))
        return with_tags(document, from_name, to_name)


def _in_thread(function: Callable[[ImageT], T], argument: ImageT) -> Future[T]:
    """Call a function in a thread that does not keep the process alive, as those of a pool would."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(function(argument))
        except BaseException as error:  # `map` raises it
            future.set_exception(error)

    threading.Thread(target=work, name="maskq", daemon=True).start()
    return future
