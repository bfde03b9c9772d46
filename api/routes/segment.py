"""POST /segment/: accept a job."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Request, Response
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from structlog.contextvars import bind_contextvars

from api.auth.caller import Caller
from api.dependencies import ServicesDep, Submitter, require_valid
from api.http.headers import preferred_wait_s
from api.http.openapi import problems
from api.http.public_address import prefix
from api.http.request_memory import memory_of
from api.job_response import add_job_headers, answered_view
from api.services import Services
from api.submission.schema import ERRORS, REQUEST
from shared.domain.views import JobView
from shared.errors import MaskqError
from shared.process.failpoints import failpoint
from shared.process.notifier import queue_name
from shared.store.job_state import JobState

router = APIRouter()

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The job has ended within the time of `Prefer: wait`.", "model": JobView},
    202: {"description": "The job is accepted."},
}


@router.post(
    "/segment/",
    status_code=202,
    responses={**_ANSWERS, **problems(*ERRORS)},
    openapi_extra=REQUEST,
    operation_id="submit_job",
)
@router.post("/segment", status_code=202, include_in_schema=False)
async def submit(
    request: Request, response: Response, services: ServicesDep, caller: Submitter, after: BackgroundTasks
) -> JobView:
    """Queue an image for segmentation. The answer is the job; poll `urls.self` for its progress."""
    new = await services.intake.read(request, caller)
    await services.store.require_workers(new.request.model_id)
    failpoint("api.read")
    state = await services.store.submit(new)
    job_id = state.job.id
    queue = queue_name(new.request.model_id)
    del new
    memory_of(request).free()  # the image is stored; a client that waits keeps it no longer
    failpoint("api.submitted")
    bind_contextvars(job_id=job_id)
    response.headers["Location"] = f"{prefix(request)}/jobs/{job_id}"
    wait_s = preferred_wait_s(request.headers.getlist("prefer"), services.http.max_wait_s)
    if state.wakes_worker:
        notifying = asyncio.create_task(run_in_threadpool(services.notifier.notify, queue, job_id))
        after.add_task(asyncio.wait, [notifying])
    if wait_s:
        with suppress(MaskqError, RedisError):  # whatever fails now, the job is accepted, and the answer says so
            state = await _ended(request, services, caller, job_id, wait_s)
            response.headers["Preference-Applied"] = f"wait={wait_s:.0f}"
            response.status_code = 200 if state.job.status.is_terminal else 202
    add_job_headers(response, state)
    return answered_view(state, request, caller)


async def _ended(request: Request, services: Services, caller: Caller, job_id: str, wait_s: float) -> JobState:
    """The job when it has ended, or after `wait_s` seconds.

    Raises:
        ServerBusy, ShareExceeded, KeyRequired, JobNotFound, JobExpired: it cannot wait, or not answer any longer.
    """
    watcher = services.watcher
    state = await watcher.read_once(job_id, caller, lambda state: state.job.status.is_terminal, wait_s, request.receive)
    await require_valid(caller, services)
    return state
