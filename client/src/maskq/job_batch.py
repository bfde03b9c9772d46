"""Batches of the client without an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from maskq.batch_state import BatchState
from maskq.driver import Driver
from maskq.errors import JobDeleted, JobExpired
from maskq.job import Job
from maskq.typed import Json


class Batch(BatchState):
    """The jobs of one submission of many images, as they were when the client last asked.

    >>> with Client() as maskq:
    ...     batch = maskq.submit_batch(["photo.png", "photo.png"], "cat", ref="scan-7")
    ...     batch.wait(timeout=60).counts
    ...     [job.result()[0].area for job in batch.jobs()]
    {'succeeded': 2}
    [1, 1]
    """

    def __init__(self, driver: Driver, state: BatchState) -> None:
        super().__init__(state.json, state._order)
        self._driver = driver

    def refresh(self) -> Batch:
        """Ask for the states of all jobs. Returns the batch itself. Costs as much as ten other reads.

        Raises:
            BatchNotFound: the service no longer has the batch.
        """
        return self._now(self._driver.run(self._driver.operations.batch(self.id)))

    def progress(self) -> dict[str, int]:
        """The number of jobs by status, now: `{"succeeded": 12, "queued": 3}`. `counts` is the same without asking.

        Raises:
            BatchNotFound: as `refresh`.
        """
        return self.refresh().counts

    def wait(self, timeout: float | None = None) -> Batch:
        """Wait until all jobs have ended, in whichever way. Returns the batch itself.

        Args:
            timeout: seconds. None: no limit.

        Raises:
            WaitTimeout: they have not ended in time. They go on.
            BatchNotFound: as `refresh`.
        """
        return self._now(self._driver.run(self._driver.operations.batch_ended(self, timeout)))

    def jobs(self) -> Iterator[Job]:
        """The jobs, in the order of the images. Each is read when it is its turn, with its result if it has one. Jobs
        that are deleted or expired are left out; `entries` has them."""
        for entry in self.kept:
            with suppress(JobDeleted, JobExpired):
                yield Job(self._driver, self._driver.run(self._driver.operations.job(entry.id)))

    def cancel(self) -> Batch:
        """Cancel the jobs that have not ended. Returns the batch itself.

        Raises:
            BatchNotFound: as `refresh`.
        """
        return self._now(self._driver.run(self._driver.operations.cancel_batch(self.id)))

    def delete(self) -> None:
        """Delete the batch and all jobs, with their images and results. Those that have not ended are canceled.

        Raises:
            BatchNotFound: as `refresh`.
        """
        self._driver.run(self._driver.operations.delete_batch(self.id))

    def to_coco(self) -> Json:
        """One COCO data set of all results, with masks as run lengths, as the service writes it. It does not wait: what
        has no result, also because it has not ended, is named in `info.skipped` with the reason.

        >>> with Client() as maskq:
        ...     data = maskq.submit_batch(["photo.png"], "cat").wait().to_coco()
        >>> data["images"][0]["file_name"], data["info"]["skipped"]
        ('photo.png', [])

        Raises:
            BatchNotFound: as `refresh`.
        """
        return self._driver.run(self._driver.operations.batch_coco(self.id))

    def _now(self, state: BatchState) -> Batch:
        self.json = {**self.json, **state.json}
        return self
