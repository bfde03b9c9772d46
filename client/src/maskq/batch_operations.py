"""What a client can do with many jobs at once, step by step and without input or output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from maskq.batch_state import BatchJob, BatchState
from maskq.errors import BatchNotFound, ImageError, JobDeleted, JobExpired, WaitTimeout
from maskq.images import ImageInput, listed, upload_of
from maskq.job_state import JobState
from maskq.operations import Operations, is_no_name
from maskq.steps import Operation, Request
from maskq.submission import batch_submission
from maskq.typed import Json


class BatchOperations(Operations):
    """The operations of one client, with those on batches."""

    def submit_batch(
        self, images: Iterable[ImageInput], prompt: str, options: Mapping[str, Any]
    ) -> Operation[BatchState]:
        """Submit a job for each image. Files are sent first, then URLs: the service numbers them so."""
        uploads = [upload_of(image) for image in listed(images)]
        if not uploads:
            raise ImageError("a batch has at least one image")
        order = sorted(range(len(uploads)), key=lambda index: bool(uploads[index].url))
        request = batch_submission([uploads[index] for index in order], prompt, options)
        return BatchState((yield from self._exchange.answer(request)).json(), [] if order == sorted(order) else order)

    def batch(self, batch_id: str) -> Operation[BatchState]:
        """The batch now."""
        return BatchState((yield from self._exchange.answer(Request("GET", _path(batch_id)))).json())

    def batch_ended(self, batch: BatchState, wait_s: float | None) -> Operation[BatchState]:
        """The batch when all its jobs have ended. Waits for one job after the other, and usually for the last one only.

        Raises:
            WaitTimeout: they have not ended within `wait_s` seconds. None: there is no limit.
        """
        end = None if wait_s is None else self._clock() + wait_s
        while not batch.has_ended:
            rest_s = None if end is None else max(0.0, end - self._clock())
            try:
                yield from self._job_ended(batch.unfinished[-1], rest_s)
            except WaitTimeout:
                raise WaitTimeout(batch.id, wait_s or 0.0, "batch") from None
            batch = yield from self.batch(batch.id)
        return batch

    def cancel_batch(self, batch_id: str) -> Operation[BatchState]:
        """Cancel all jobs of a batch that have not ended."""
        return BatchState((yield from self._exchange.answer(Request("POST", f"{_path(batch_id)}/cancel"))).json())

    def delete_batch(self, batch_id: str) -> Operation[None]:
        """Delete all jobs of a batch."""
        yield from self._exchange.answer(Request("DELETE", _path(batch_id)))

    def batch_coco(self, batch_id: str) -> Operation[Json]:
        """The results of a batch as one COCO data set."""
        document: Json = (yield from self._exchange.answer(Request("GET", f"{_path(batch_id)}/coco"))).json()
        return document

    def coco(self, jobs: Iterable[JobState | str]) -> Operation[Json]:
        """The results of these jobs as one COCO data set."""
        ids = [job if isinstance(job, str) else job.id for job in jobs]
        document: Json = (yield from self._exchange.answer(Request("POST", "/jobs/coco", json={"jobs": ids}))).json()
        return document

    def _job_ended(self, job: BatchJob, wait_s: float | None) -> Operation[None]:
        with suppress(JobDeleted, JobExpired):  # the batch says so
            yield from self.ended(JobState({"id": job.id, "status": job.status}), wait_s)


def _path(batch_id: str) -> str:
    if is_no_name(batch_id):
        raise BatchNotFound(404, "batch_not_found", "Batch not found", f"{batch_id!r} is no id of a batch", "")
    return f"/batches/{quote(batch_id, safe='')}"
