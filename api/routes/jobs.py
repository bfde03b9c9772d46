"""/jobs: list jobs, read one, wait for it, cancel it, delete it."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from redis.exceptions import RedisError

from api.dependencies import (
    OWN_JOB_ERRORS,
    OwnJob,
    OwnJobToChange,
    OwnJobToDelete,
    Reader,
    ServicesDep,
    Submitter,
    require_valid,
)
from api.http.headers import is_known, weak_entity_tag
from api.http.openapi import problems
from api.http.public_address import base_url
from api.job_response import add_job_headers, answered_view, job_view
from shared.domain.job import MAX_REF_CHARS, JobStatus
from shared.domain.views import JobPage, JobView
from shared.errors import (
    InvalidField,
    JobDeleted,
    JobEnded,
    MaskqError,
    ScopeMissing,
    ServerBusy,
    ShareExceeded,
)
from shared.store.job_list import CURSOR, JobFilter
from shared.store.job_state import JobState

router = APIRouter(prefix="/jobs")

_WAIT = "Longest time to wait for the job before answering, in seconds (long polling)."
_STATUS = "Only jobs in these states: `succeeded`, or several, repeated or with commas between them."
_STATUSES = {"items": {"$ref": "#/components/schemas/JobStatus"}}
_BUSY = (ServerBusy, ShareExceeded)
_NOT_MODIFIED = {"description": "The job is still in the state that `If-None-Match` names, `wait` included."}


@router.head("", include_in_schema=False)
@router.get("", operation_id="list_jobs", responses=problems(InvalidField, MaskqError, ScopeMissing, *_BUSY))
async def list_jobs(
    request: Request,
    services: ServicesDep,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str, Query(description="`next_cursor` of the previous page.", pattern=CURSOR)] = "",
    status: Annotated[list[str], Query(description=_STATUS, json_schema_extra=_STATUSES)] = [],  # noqa: B006 - FastAPI copies it
    ref: Annotated[str, Query(description="Only jobs with this `ref`, exactly.", max_length=MAX_REF_CHARS)] = "",
    owner: Annotated[str, Query(description="Id of another key, whose jobs to list: for admins.", max_length=64)] = "",
) -> JobPage:
    """The caller's jobs, newest first, without their results.

    A page may have fewer jobs than `limit`, or none, although there are more: go on until `next_cursor` is null. One
    request looks at a bounded number of jobs, so with a filter this happens often.
    """
    if owner not in ("", caller.owner) and not caller.is_admin:
        raise ScopeMissing("other callers' jobs need the scope admin")
    wanted = JobFilter.parse(status, ref)
    found = await services.store.list(owner or caller.owner, cursor, limit, wanted)
    views = [JobView.of(job, None, None, base_url(request)) for job in found.jobs]
    return JobPage(jobs=views, next_cursor=found.next_cursor)


@router.head("/{job_id}", include_in_schema=False)
@router.get(
    "/{job_id}",
    operation_id="get_job",
    responses={304: _NOT_MODIFIED, **problems(*OWN_JOB_ERRORS, InvalidField, *_BUSY)},
)
async def read_job(
    state: OwnJob,
    request: Request,
    response: Response,
    services: ServicesDep,
    caller: Reader,
    wait: Annotated[float, Query(ge=0, description=_WAIT)] = 0,
    if_none_match: Annotated[str | None, Header(description="The `ETag` of the state the client knows.")] = None,
) -> JobView:
    """The job's state, with its result if it has succeeded.

    With `wait`, the answer comes when the job has ended. With `wait` and `If-None-Match`, it comes when the job is in
    another state than that one. When the time is over, the answer is the job as it is, or 304.
    """
    max_wait_s = services.http.max_wait_s
    if wait > max_wait_s:
        raise InvalidField(f"wait: at most {max_wait_s:g} seconds")

    def is_news(state: JobState) -> bool:
        return state.job.status.is_terminal if if_none_match is None else not is_known(if_none_match, state.job.version)

    if wait and not is_news(state):
        state = await services.watcher.read_once(state.job.id, caller, is_news, wait, request.receive)
        await require_valid(caller, services)
    elif state.job.status == JobStatus.SUCCEEDED and not is_known(if_none_match, state.job.version):
        state = await services.store.read(state.job.id)
    add_job_headers(response, state)
    response.headers["ETag"] = weak_entity_tag(state.job.version)
    if is_known(if_none_match, state.job.version):
        return Response(status_code=304, headers=response.headers)  # type: ignore[return-value]
    return job_view(state, request)


@router.delete("/{job_id}", operation_id="delete_job", status_code=204, responses=problems(*OWN_JOB_ERRORS))
async def delete_job(state: OwnJobToDelete, services: ServicesDep) -> None:
    """Remove a job in any state, with its image, its result and its webhook. One that has not ended is canceled."""
    with suppress(JobDeleted):  # a moment ago: by this request, if it was sent to Redis again
        await services.store.delete(state.job.id)


@router.post(
    "/{job_id}/cancel",
    operation_id="cancel_job",
    status_code=202,
    responses=problems(*OWN_JOB_ERRORS, JobEnded),
)
async def cancel_job(state: OwnJobToChange, request: Request, services: ServicesDep, caller: Submitter) -> JobView:
    """Cancel a job that has not ended. It will never have a result."""
    status = await services.store.cancel(state.job.id)
    is_canceled_now = status == JobStatus.CANCELED and not state.job.status.is_terminal  # the script may run twice
    if status.is_terminal and not is_canceled_now:
        raise JobEnded(f"it {status} before it could be canceled" if status != "canceled" else "it was canceled before")
    with suppress(MaskqError, RedisError):  # it is canceled, even if it cannot be read now
        state = await services.store.read(state.job.id, with_result=False)
    return answered_view(state, request, caller)
