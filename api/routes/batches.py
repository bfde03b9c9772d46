"""/batches: accept many images in one request, follow their jobs, cancel and delete them."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.batch_submission import BatchSubmission
from api.dependencies import OwnBatch, OwnBatchToChange, OwnBatchToDelete, ServicesDep, Submitter
from api.http.access_log import add_answer_headers
from api.http.headers import idempotency_key
from api.http.openapi import problems
from api.http.public_address import base_url, prefix
from api.submission.schema import BATCH_REQUEST, ERRORS
from shared.domain.batch import Closed
from shared.domain.batch_views import MAX_JOBS, BatchView
from shared.errors import (
    BatchClosed,
    BatchNotFound,
    BatchRefused,
    InvalidField,
    JobExpired,
    JobNotFound,
    StoreUnconfirmed,
)

router = APIRouter(prefix="/batches")
_CHANGE_ERRORS = problems(BatchNotFound, StoreUnconfirmed)
_SUBMIT_ERRORS = problems(*ERRORS, BatchClosed, BatchRefused)


@router.post("", operation_id="submit_batch", status_code=202, responses=_SUBMIT_ERRORS, openapi_extra=BATCH_REQUEST)
async def submit_batch(request: Request, services: ServicesDep, caller: Submitter) -> BatchView:
    """Queue many images with one prompt: each becomes a job. Repeated with the same `Idempotency-Key`, which is
    required, it adds only the images that are missing. So repeat it after any error, also after 429 and 503."""
    key = idempotency_key(request.headers)
    if not key:
        raise InvalidField("Idempotency-Key: is required here, so that a repeated request adds no image twice")
    incoming = await services.intake.read_batch(request, caller)
    submission = BatchSubmission(request, services, caller, incoming)
    begun = await submission.begin(key)
    _name_in_answers(request, begun.id)
    return BatchView.of(await submission.submit(begun), base_url(request))


@router.head("/{batch_id}", include_in_schema=False)
@router.get("/{batch_id}", operation_id="get_batch", responses=problems(BatchNotFound, InvalidField))
async def read_batch(
    request: Request,
    batch: OwnBatch,
    first: Annotated[int, Query(ge=0, description="Index of the first image whose job to list.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_JOBS)] = MAX_JOBS,
) -> BatchView:
    """The progress of a batch: the number of its jobs by status, and its jobs without their results."""
    return BatchView.of(batch, base_url(request), first, limit)


@router.post("/{batch_id}/cancel", operation_id="cancel_batch", status_code=202, responses=_CHANGE_ERRORS)
async def cancel_batch(request: Request, batch: OwnBatchToChange, services: ServicesDep) -> BatchView:
    """Cancel the jobs of a batch that have not ended. It takes no more images, also from a request in progress."""
    closed = await services.batches.close_batch(batch.id, Closed.CANCELED)
    for job in closed.unfinished:
        with suppress(JobNotFound, JobExpired):
            await services.store.cancel(job.id, is_confirmed=False)
    await services.store.confirm()
    return BatchView.of(await services.batches.read(batch.id), base_url(request))


@router.delete("/{batch_id}", operation_id="delete_batch", status_code=204, responses=_CHANGE_ERRORS)
async def delete_batch(batch: OwnBatchToDelete, services: ServicesDep) -> None:
    """Delete a batch with all its jobs, as `DELETE /jobs/{job_id}`. Its webhook is not sent."""
    closed = await services.batches.close_batch(batch.id, Closed.DELETED)
    for job in closed.jobs:
        with suppress(JobNotFound, JobExpired):
            await services.store.delete(job.id, is_confirmed=False)
    await services.store.confirm()


def _name_in_answers(request: Request, batch_id: str) -> None:
    """Also an error names the batch, which may have some of the images."""
    add_answer_headers(request, {"Location": f"{prefix(request)}/batches/{batch_id}"})
