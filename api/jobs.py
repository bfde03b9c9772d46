"""/jobs: look at a job, wait for it, cancel it."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.services import Services, ServicesDep
from shared.errors import InvalidField, JobEnded, JobNotFound
from shared.job import ANONYMOUS, is_job_id
from shared.store.submissions import JobState
from shared.wire import JobPage, JobView

router = APIRouter(prefix="/jobs")


def _checked(job_id: str) -> str:
    if not is_job_id(job_id):
        raise JobNotFound("this is not a job id; ids look like 0197a2b4-5c6d-7e8f-9a0b-1c2d3e4f5a6b")
    return job_id


JobId = Annotated[str, Depends(_checked)]


@router.get("")
async def list_jobs(
    request: Request,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str, Query(description="`next_cursor` of the page before.", max_length=64)] = "",
) -> JobPage:
    """The caller's jobs, newest first, without their results."""
    jobs = await services.store.list(ANONYMOUS, before=cursor, limit=limit)
    views = [JobView.of(job, None, None, str(request.base_url)) for job in jobs]
    return JobPage(jobs=views, next_cursor=jobs[-1].id if len(jobs) == limit else None)


@router.get("/{job_id}")
async def read_job(
    job_id: JobId,
    request: Request,
    response: Response,
    services: ServicesDep,
    wait: Annotated[float, Query(ge=0, description="Seconds to hold the answer until the job's state changes.")] = 0,
) -> JobView:
    """How a job stands, with its result once there is one."""
    if wait > services.settings.max_wait_s:
        raise InvalidField(f"wait: at most {services.settings.max_wait_s:g} seconds")
    state = await _read_after_change(services, job_id, wait)
    if not state.job.status.is_terminal:
        response.headers["Retry-After"] = "1"
    return _view(state, request)


@router.post("/{job_id}/cancel", status_code=202)
async def cancel_job(job_id: JobId, request: Request, services: ServicesDep) -> JobView:
    """End a job that has not ended. It will never have a result."""
    status = await services.store.cancel(job_id)
    if status.is_terminal:
        raise JobEnded(f"it {status} before it could be canceled" if status != "canceled" else "it was canceled before")
    return _view(await services.store.read(job_id), request)


async def _read_after_change(services: Services, job_id: str, wait_s: float) -> JobState:
    """The job's state: now if it has ended or nobody waits, else after its next move or `wait_s` seconds."""
    if not wait_s:
        return await services.store.read(job_id)
    with services.watcher.watching(job_id) as moved:
        state = await services.store.read(job_id)
        if state.job.status.is_terminal:
            return state
        try:
            await asyncio.wait_for(moved.wait(), wait_s)
        except TimeoutError:
            return state
    return await services.store.read(job_id)


def _view(state: JobState, request: Request) -> JobView:
    return JobView.of(state.job, state.queue_position, state.result, str(request.base_url))
