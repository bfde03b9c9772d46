"""Jobs and results of the client without an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from maskq.driver import Driver
from maskq.job_state import JobState
from maskq.result import BaseResult, picture_of
from maskq.typed import Json

if TYPE_CHECKING:
    import PIL.Image


class Job(JobState):
    """A job, as it was when its client last asked; `refresh` and `wait` bring it up to date."""

    def __init__(self, driver: Driver, state: JobState) -> None:
        super().__init__(state.json, state.etag)
        self._driver = driver

    def refresh(self) -> Job:
        """Ask for the state of the job. Returns the job itself."""
        return self._now(self._driver.run(self._driver.operations.job(self.id)))

    def wait(self, timeout: float | None = None) -> Job:
        """Wait until the job has ended, in whichever way. Returns the job itself.

        Args:
            timeout: seconds. None: no limit.

        Raises:
            WaitTimeout: it has not ended in time.
        """
        return self._now(self._driver.run(self._driver.operations.ended(self, timeout)))

    def events(self) -> Iterator[JobState]:
        """The job now, and again whenever its status changes, until it has ended.

        >>> with Client() as maskq:
        ...     [state.status for state in maskq.submit("photo.png", "cat").events()][-1]
        'succeeded'
        """
        self.refresh()
        yield JobState(self.json, self.etag)
        while not self.has_ended:
            self._now(self._driver.run(self._driver.operations.news(self)))
            yield JobState(self.json, self.etag)

    def result(self, timeout: float | None = None) -> Result:
        """Wait until the job has succeeded, and return its result.

        Args:
            timeout: seconds. None: no limit.

        Raises:
            JobFailed, JobCanceled: it has none.
            WaitTimeout: it has not ended in time.
        """
        operation = self._driver.operations.with_result(self, timeout)
        return Result(self._driver, self._now(self._driver.run(operation)))

    def links(self, expires_in_s: float = 300.0) -> Json:
        """URLs that a browser may use without the API key: the answer of `POST /jobs/{job_id}/links`.

        >>> with Client() as maskq:
        ...     sorted(maskq.submit("photo.png", "cat").links(expires_in_s=60))
        ['events', 'expires_at', 'masks', 'overlay', 'picture', 'results']

        Args:
            expires_in_s: seconds until they expire, at most 3600.
        """
        return self._driver.run(self._driver.operations.links(self.id, expires_in_s))

    def cancel(self) -> Job:
        """Cancel the job: it will never have a result. Returns the job itself.

        Raises:
            JobEnded: it has ended before.
        """
        return self._now(self._driver.run(self._driver.operations.cancel(self.id)))

    def delete(self) -> None:
        """Delete the job, its image and its result. A job that has not ended is canceled."""
        self._driver.run(self._driver.operations.delete(self.id))

    def _now(self, state: JobState) -> Job:
        self.json, self.etag = state.json, state.etag
        return self


class Result(BaseResult):
    """The result of a job: a sequence of `Segment`."""

    def __init__(self, driver: Driver, job: JobState) -> None:
        super().__init__(JobState(job.json, job.etag))
        self._driver = driver

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
        return self._driver.run(self._driver.operations.overlay(self.job.id))

    def to_labelstudio(self, from_name: str | None = None, to_name: str | None = None) -> Json:
        """A prediction with brush labels, for Label Studio. The service makes it.

        Args:
            from_name: name of the control tag `<BrushLabels>`. Default: that of the submission, or `tag`.
            to_name: name of the object tag `<Image>`. Default: that of the submission, or `image`.
        """
        return self._driver.run(self._driver.operations.prediction(self.job.id, from_name, to_name))
