"""The client for programs without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import TypeVar

from maskq.driver import Driver
from maskq.errors import MaskqError
from maskq.images import ImageInput, listed
from maskq.job import Job, Result
from maskq.job_batch import Batch
from maskq.job_state import JobState
from maskq.operations import Model, at_least, job_filters
from maskq.submission import BatchOptions, SubmitOptions
from maskq.threads import in_thread
from maskq.transport import RETRY_FOR_S, Service, Verify
from maskq.typed import Json, Self, Unpack

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
        self._driver = Driver(Service.at(url, api_key, retry_for_s, verify))
        self.url = self._driver.url
        """The URL of the service, without a slash at its end."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._driver.close()

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
        return Result(self._driver, self._driver.run(self._driver.operations.segment(image, prompt, options, wait_s)))

    def submit(self, image: ImageInput, prompt: str, **options: Unpack[SubmitOptions]) -> Job:
        """Submit a job and do not wait for it.

        >>> with Client() as maskq:
        ...     job = maskq.submit("photo.png", "cat", ref="frame-17")
        ...     job.wait(timeout=30).status, job.ref
        ('succeeded', 'frame-17')

        Raises:
            ImageError, RequestError, ConnectionFailed: as `segment`.
        """
        return Job(self._driver, self._driver.run(self._driver.operations.submit(image, prompt, options)))

    def submit_batch(self, images: Iterable[ImageInput], prompt: str, **options: Unpack[BatchOptions]) -> Batch:
        """Submit many images with one prompt in one request, and do not wait for their jobs.

        All images are in memory at once, and the service limits their number and their bytes. For more, use `map`, or
        `maskq batch`. The request is repeated as long as the service accepts only a part of the images now: no image
        gets two jobs.

        >>> with Client() as maskq:
        ...     batch = maskq.submit_batch(["photo.png", b"no image"], "cat", ref="scan-7")
        ...     batch.wait(timeout=30).counts, [(each.index, each.type) for each in batch.refused]
        ({'succeeded': 1}, [(1, 'unsupported_image')])

        Args:
            images: each as in `segment`.
            options: `BatchOptions`, for all images. Each job has the `ref`.

        Raises:
            ImageError: an image cannot be read on this side. Nothing was submitted.
            RequestError: the service refused the batch, or all its images.
            ConnectionFailed: the service does not answer. With the same `idempotency_key`, another call goes on.
        """
        return Batch(self._driver, self._driver.run(self._driver.operations.submit_batch(images, prompt, options)))

    def batch(self, batch_id: str) -> Batch:
        """A batch that was submitted before. Its images are numbered as they were sent: files before URLs.

        Raises:
            BatchNotFound: there is none, or it has expired.
        """
        return Batch(self._driver, self._driver.run(self._driver.operations.batch(batch_id)))

    def coco(self, jobs: Iterable[JobState | str]) -> Json:
        """One COCO data set of the results of many jobs, with masks as run lengths, as the service writes it.

        Images are in the order of the jobs, with `job_id` and `ref`. Jobs without a result, and those that the service
        does not have, are named in `info.skipped` with the reason. At most as many jobs as a batch may have images.

        >>> with Client() as maskq:
        ...     jobs = [maskq.submit("photo.png", prompt).wait() for prompt in ("cat", "dog")]
        ...     [each["name"] for each in maskq.coco(jobs)["categories"]]
        ['segment cat', 'segment dog']

        Args:
            jobs: jobs, or their ids.

        Raises:
            InvalidField: there are none, too many, or one is no id.
        """
        return self._driver.run(self._driver.operations.coco(jobs))

    def job(self, job_id: str) -> Job:
        """A job that was submitted before.

        Raises:
            JobNotFound, JobExpired, JobDeleted: there is none.
        """
        return Job(self._driver, self._driver.run(self._driver.operations.job(job_id)))

    def jobs(
        self, limit: int | None = None, *, status: str | Iterable[str] = (), ref: str = "", **filters: str
    ) -> Iterator[Job]:
        """Your jobs, newest first, without results. Pages are read as they are needed.

        Args:
            limit: the most jobs. None: all.
            status: only jobs in this state, or in one of several: `succeeded`, or `["failed", "canceled"]`.
            ref: only jobs that were submitted with this `ref`.
            filters: further query parameters of `GET /jobs`.
        """
        at_least(0, limit=limit)
        return islice(self._all_jobs(limit, job_filters(status, ref, filters)), limit)

    def _all_jobs(self, limit: int | None, filters: dict[str, str]) -> Iterator[Job]:
        cursor: str | None = None
        while True:
            page = self._driver.run(self._driver.operations.page(cursor, limit, filters))
            yield from (Job(self._driver, each) for each in page.jobs)
            cursor = page.next_cursor
            if cursor is None:
                return

    def models(self) -> list[Model]:
        """The models of the service, the default first.

        >>> with Client() as maskq:
        ...     [model.id for model in maskq.models()]
        ['demo']
        """
        return self._driver.run(self._driver.operations.models())

    def limits(self) -> Json:
        """What you may do: the answer of `GET /limits`.

        >>> with Client() as maskq:
        ...     maskq.limits()["max_prompt_chars"]
        512
        """
        return self._driver.run(self._driver.operations.limits())

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
        at_least(1, concurrency=concurrency)
        remaining = listed(images)
        running: dict[Future[Result | MaskqError], ImageT] = {}

        def outcome(image: ImageT) -> Result | MaskqError:
            merged: SubmitOptions = {**options, **(options_for(image) if options_for else {})}
            try:
                return self.segment(image, prompt, **merged)
            except MaskqError as error:
                return error

        while True:
            for image in islice(remaining, concurrency - len(running)):
                running[in_thread(outcome, image)] = image
            if not running:
                return
            done = next(iter(wait(running, return_when=FIRST_COMPLETED).done))
            yield running.pop(done), done.result()
