"""/batches: accept many images in one request, follow their jobs, cancel and delete them."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from api.auth.caller import Caller
from api.dependencies import Reader, ServicesDep, Submitter
from api.http.headers import idempotency_key
from api.http.openapi import problems
from api.http.public_address import prefix
from api.http.request_memory import memory_of
from api.services import Services
from api.submission.batch import Fields
from api.submission.schema import BATCH_REQUEST, ERRORS
from shared.domain.api_key import Charge, RequestKind
from shared.domain.batch import Batch, BatchJob
from shared.domain.job import is_job_id
from shared.errors import (
    BatchNotFound,
    InvalidField,
    JobExpired,
    JobNotFound,
    KeyRequired,
    MaskqError,
    RateLimited,
)
from shared.process.failpoints import failpoint
from shared.process.notifier import queue_name

router = APIRouter(prefix="/batches")


class RefusedImage(BaseModel):
    """An image that became no job."""

    index: int = Field(description="Of the image in the request, from 0.")
    type: str = Field(description="As in docs/errors.md.")
    detail: str


class BatchView(BaseModel):
    """A batch and a page of its jobs."""

    id: str
    total: int = Field(description="Number of its jobs.")
    is_ended: bool = Field(description="Whether all its jobs have ended.")
    counts: dict[str, int] = Field(description="Number of jobs by status; `expired` and `deleted` are those gone.")
    jobs: list[BatchJob] = Field(description="In the order of the images.")

    @classmethod
    def of(cls, batch: Batch, first: int = 0, limit: int = 1_000) -> Self:
        """The view, with at most `limit` jobs from the index `first` on."""
        page = [job for job in batch.jobs if job.index >= first][:limit]
        is_ended = not batch.unfinished
        return cls(id=batch.id, total=len(batch.jobs), is_ended=is_ended, counts=batch.counts, jobs=page)


class AcceptedBatch(BatchView):
    """A batch as the answer to its submission."""

    refused: list[RefusedImage] = Field([], description="Images that cannot be used. Repeating them does not help.")


async def _own_batch(batch_id: str, services: ServicesDep, caller: Caller) -> Batch:
    batch = await services.store.read_batch(batch_id) if is_job_id(batch_id) else None
    if batch is None or not (caller.is_admin or caller.owner == batch.owner):
        raise BatchNotFound("no batch has this id")
    return batch


async def _batch_to_read(batch_id: str, services: ServicesDep, caller: Reader) -> Batch:
    return await _own_batch(batch_id, services, caller)


async def _batch_to_change(batch_id: str, services: ServicesDep, caller: Submitter) -> Batch:
    return await _own_batch(batch_id, services, caller)


OwnBatch = Annotated[Batch, Depends(_batch_to_read)]
OwnBatchToChange = Annotated[Batch, Depends(_batch_to_change)]


@router.post("", operation_id="submit_batch", status_code=202, responses=problems(*ERRORS), openapi_extra=BATCH_REQUEST)
async def submit_batch(request: Request, response: Response, services: ServicesDep, caller: Submitter) -> AcceptedBatch:
    """Queue many images with one prompt: each becomes a job. Repeated with the same `Idempotency-Key`, which is
    required, it adds only the images that are missing. So repeat it after any error, also after 429 and 503."""
    key = idempotency_key(request.headers)
    if not key:
        raise InvalidField("Idempotency-Key: is required here, so that a repeated request adds no image twice")
    parts = await services.intake.read_batch(request, caller)
    submission = _BatchSubmission(request, services, caller, _batch_id(caller.owner, key))
    refused = await submission.submit(parts)
    batch = await services.store.read_batch(submission.batch_id)
    response.headers["Location"] = f"{prefix(request)}/batches/{batch.id}"
    return AcceptedBatch(**BatchView.of(batch).model_dump(), refused=refused)


@router.head("/{batch_id}", include_in_schema=False)
@router.get("/{batch_id}", operation_id="get_batch", responses=problems(BatchNotFound, InvalidField))
async def read_batch(
    batch: OwnBatch,
    first: Annotated[int, Query(ge=0, description="Index of the first image whose job to list.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 1_000,
) -> BatchView:
    """The progress of a batch: the number of its jobs by status, and its jobs without their results."""
    return BatchView.of(batch, first, limit)


@router.post("/{batch_id}/cancel", operation_id="cancel_batch", status_code=202, responses=problems(BatchNotFound))
async def cancel_batch(batch: OwnBatchToChange, services: ServicesDep) -> BatchView:
    """Cancel the jobs of a batch that have not ended."""
    for job in batch.unfinished:
        with suppress(JobNotFound, JobExpired):
            await services.store.cancel(job.id)
    return BatchView.of(await services.store.read_batch(batch.id))


@router.delete("/{batch_id}", operation_id="delete_batch", status_code=204, responses=problems(BatchNotFound))
async def delete_batch(batch: OwnBatchToChange, services: ServicesDep) -> None:
    """Delete all jobs of a batch, as `DELETE /jobs/{job_id}`."""
    for job in batch.jobs:
        with suppress(JobNotFound, JobExpired):
            await services.store.delete(job.id)


def _batch_id(owner: str, key: str) -> str:
    """The same for a repeated request, and of another owner's request never the same."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"{owner}\n{key}".encode()).digest()[:16]))


class _BatchSubmission:
    """The images of one request on their way into the ledger, one after the other."""

    def __init__(self, request: Request, services: Services, caller: Caller, batch_id: str) -> None:
        self._request = request
        self._services = services
        self._caller = caller
        self.batch_id = batch_id

    async def submit(self, parts: list[Fields]) -> list[RefusedImage]:
        """Submit each image. Returns those that cannot be used.

        Raises:
            MaskqError: an image may be accepted later, so no further one was tried; or none can be used.
        """
        refused: list[RefusedImage] = []
        known = await self._known()
        for index in range(len(parts)):
            try:
                if index not in known and index > 0:
                    await self._charge()
                with memory_of(self._request).returned():
                    await self._submit_one(parts[index], index)
            except MaskqError as error:
                if error.retry_after_s is not None or len(refused) == len(parts) - 1:
                    raise
                refused.append(RefusedImage(index=index, type=error.type, detail=error.detail))
            parts[index] = {}  # its image is stored
            failpoint("api.batch_part")
        return refused

    async def _known(self) -> set[int]:
        """Indexes of the images that an earlier request has brought. They are not charged again."""
        with suppress(BatchNotFound):
            return {job.index for job in (await self._services.store.read_batch(self.batch_id)).jobs}
        return set()

    async def _charge(self) -> None:
        """Charge the key for one more image; the first one is charged with the request."""
        if not self._caller.key_sha256:
            return
        admission = await self._services.keys.admit(self._caller.key_sha256, Charge(RequestKind.SUBMIT))
        if admission is None:
            raise KeyRequired("this key was revoked")
        if not admission.is_within_rate:
            wait_s = admission.retry_after_s
            raise RateLimited(f"repeat the request in {wait_s:.1f} s for the images that are missing", wait_s)

    async def _submit_one(self, fields: Fields, index: int) -> None:
        key = f"batch:{self.batch_id}:{index}"
        new = await self._services.intake.batch_part(self._request, self._caller, fields, key)
        new = replace(new, batch=self.batch_id, batch_index=index)
        model_id = new.request.model_id
        await self._services.store.require_workers(model_id)
        state = await self._services.store.submit(new)
        if state.wakes_worker:
            await run_in_threadpool(self._services.notifier.notify, queue_name(model_id), state.job.id)
