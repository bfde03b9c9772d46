"""/batches/{id}/coco and /jobs/coco: one COCO document of many jobs, for training tools."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from api.auth.caller import Caller
from api.dependencies import OwnBatch, Reader, ServicesDep, job_of, require_valid
from api.formats import Document
from api.formats.coco_writer import CocoWriter
from api.http.headers import is_known, weak_entity_tag
from api.http.openapi import problems
from api.http.streamed_document import StreamedDocument
from api.services import Services
from api.submission.job_selection import read_selection, selection_schema
from shared.domain.batch import Batch
from shared.errors import (
    BatchNotFound,
    InvalidField,
    JobDeleted,
    JobExpired,
    JobNotFound,
    MalformedRequest,
    PayloadTooLarge,
    RequestTimedOut,
    ServerBusy,
    ShareExceeded,
    UnsupportedEncoding,
)

router = APIRouter()

_GONE = {JobExpired: "expired", JobDeleted: "deleted", JobNotFound: "not_found"}
"""Why the service does not have a job."""
_BODY_ERRORS = (MalformedRequest, InvalidField, PayloadTooLarge, RequestTimedOut, UnsupportedEncoding)
_KNOWN = {"description": "The client has it already: `If-None-Match` names its `ETag`."}


@router.head("/batches/{batch_id}/coco", include_in_schema=False)
@router.get(
    "/batches/{batch_id}/coco",
    operation_id="get_batch_coco",
    response_model=Document,
    responses={304: _KNOWN, **problems(BatchNotFound, ServerBusy, ShareExceeded)},
)
async def read_batch_coco(
    batch: OwnBatch,
    services: ServicesDep,
    caller: Reader,
    if_none_match: Annotated[str | None, Header(description="The `ETag` that the client has.")] = None,
) -> Response:
    """All results of a batch as one COCO data set. Images are in the order of the batch; jobs without a result are
    named in `info.skipped`. It may be read before the batch has ended: its `ETag` changes with its jobs."""
    version = _version(batch)
    headers = {"ETag": weak_entity_tag(version), "Cache-Control": "private, no-cache"}
    if is_known(if_none_match, version):
        return Response(status_code=304, headers=headers)
    return _document(services, caller, [job.id for job in batch.jobs], headers)


@router.post(
    "/jobs/coco",
    operation_id="get_jobs_coco",
    response_model=Document,
    responses=problems(*_BODY_ERRORS, ServerBusy, ShareExceeded),
    openapi_extra=selection_schema(),
)
async def read_jobs_coco(request: Request, services: ServicesDep, caller: Reader) -> Response:
    """The results of these jobs as one COCO data set, in this order. Jobs without a result, and those that the caller
    does not have, are named in `info.skipped`."""
    ids = await read_selection(request, services.settings.submissions.max_batch_images)
    return _document(services, caller, ids, {"Cache-Control": "no-store"})


def _version(batch: Batch) -> str:
    """Names the document of a batch, which the states of its jobs decide, and which of its results a job has."""
    states = "\n".join(f"{job.id} {job.status} {batch.versions[job.index]}" for job in batch.jobs)
    return hashlib.sha256(states.encode()).hexdigest()[:32]


def _document(services: Services, caller: Caller, ids: Sequence[str], headers: dict[str, str]) -> Response:
    place = services.datasets.holding(caller.client, share=caller.share)
    return StreamedDocument(_Dataset(services, caller).pieces(ids), place, headers)


class _Dataset:
    """One document. Only one result is in memory at a time, and it is written in a thread that clients share."""

    def __init__(self, services: Services, caller: Caller) -> None:
        self._services = services
        self._caller = caller
        self._writer = CocoWriter()

    async def pieces(self, ids: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """The bytes of the document.

        Raises:
            KeyRequired: the caller's key was revoked meanwhile.
        """
        before = self._writer.begin()
        for job_id in ids:
            await require_valid(self._caller, self._services)
            prepare = partial(self._prepare, job_id)
            piece = await self._services.documents.make(self._caller.client, self._caller.share, prepare)
            if piece:
                yield before + piece
                before = b""
        yield before + self._writer.end()

    async def _prepare(self, job_id: str) -> Callable[[], bytes]:
        """Read one job when it is its turn, and return what writes it."""
        try:
            state = await job_of(job_id, self._services, self._caller, with_result=True)
        except (JobExpired, JobDeleted, JobNotFound) as error:
            self._writer.skip_gone(job_id, _GONE[type(error)])
            return bytes
        if state.result is None:
            self._writer.skip(state.job)
            return bytes
        return partial(self._writer.add, state.job, state.result)
