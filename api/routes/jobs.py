"""/jobs: list jobs, look at one, wait for it, cancel it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from api.auth.caller import OwnJob, OwnJobToChange, Reader
from api.http.headers import is_known, weak_entity_tag
from api.http.openapi import problems
from api.services import ServicesDep
from shared.domain.views import JobPage, JobView
from shared.errors import InvalidField, JobEnded, JobExpired, JobNotFound, ScopeMissing, ServerBusy
from shared.store.job_state import JobState

router = APIRouter(prefix="/jobs")

NOT_FOUND = (JobNotFound, JobExpired)
"""What every route with a job in its path may raise."""
_WAIT = "Longest time to hold the answer, in seconds."
_NOT_MODIFIED = {"description": "The job is in the state that `If-None-Match` names, and was for as long as asked."}


@router.get("", responses=problems(InvalidField, JobNotFound, ScopeMissing))
async def list_jobs(
    request: Request,
    services: ServicesDep,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str, Query(description="`next_cursor` of the page before.", max_length=64)] = "",
    owner: Annotated[str, Query(description="Another key's id: for admins.", max_length=64)] = "",
) -> JobPage:
    """The caller's jobs, newest first, without their results."""
    if owner not in ("", caller.owner) and not caller.is_admin:
        raise ScopeMissing("other callers' jobs need the scope admin")
    jobs = await services.store.list(owner or caller.owner, before=cursor, limit=limit)
    views = [JobView.of(job, None, None, str(request.base_url)) for job in jobs]
    return JobPage(jobs=views, next_cursor=jobs[-1].id if len(jobs) == limit else None)


@router.get("/{job_id}", responses={304: _NOT_MODIFIED, **problems(*NOT_FOUND, InvalidField, ServerBusy)})
async def read_job(
    state: OwnJob,
    request: Request,
    response: Response,
    services: ServicesDep,
    wait: Annotated[float, Query(ge=0, description=_WAIT, json_schema_extra={"x-maximum": "max_wait_s"})] = 0,
    if_none_match: Annotated[str | None, Header(description="The `ETag` of the state that is known.")] = None,
) -> JobView:
    """How a job stands, with its result once there is one.

    With `wait` the answer is held until the job has ended; with `If-None-Match` beside it, only until the job is in
    another state than the client knows. When the time is over, the answer is the job as it is, or 304.
    """
    if wait > services.settings.http.max_wait_s:
        raise InvalidField(f"wait: at most {services.settings.http.max_wait_s:g} seconds")

    def is_news(state: JobState) -> bool:
        return state.job.status.is_terminal if if_none_match is None else not is_known(if_none_match, state.job.version)

    if wait and not is_news(state):
        state = await services.watcher.read_once(state.job.id, is_news, wait, request.receive)
    add_job_headers(response, state)
    response.headers["ETag"] = weak_entity_tag(state.job.version)
    if is_known(if_none_match, state.job.version):
        return Response(status_code=304, headers=response.headers)  # type: ignore[return-value]
    return job_view(state, request)


@router.post("/{job_id}/cancel", status_code=202, responses=problems(*NOT_FOUND, JobEnded))
async def cancel_job(state: OwnJobToChange, request: Request, services: ServicesDep) -> JobView:
    """End a job that has not ended. It will never have a result."""
    status = await services.store.cancel(state.job.id)
    if status.is_terminal:
        raise JobEnded(f"it {status} before it could be canceled" if status != "canceled" else "it was canceled before")
    return job_view(await services.store.read(state.job.id), request)


def add_job_headers(response: Response, state: JobState) -> None:
    """Say when to come back, if the job has not ended, and that caches must ask before they answer."""
    response.headers["Cache-Control"] = "private, no-cache"
    if state.retry_after_s is not None:
        response.headers["Retry-After"] = str(state.retry_after_s)


def job_view(state: JobState, request: Request) -> JobView:
    """The job as its client sees it, with URLs on the host that the client spoke to."""
    return JobView.of(state.job, state.queue_position, state.result, str(request.base_url))
