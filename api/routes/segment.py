"""POST /segment/: take a job."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Request, Response
from starlette.concurrency import run_in_threadpool
from structlog.contextvars import bind_contextvars

from api.auth.caller import Submitter
from api.http.headers import preferred_wait_s
from api.http.openapi import problems
from api.routes.jobs import add_job_headers, job_view
from api.services import ServicesDep
from api.submission.schema import REFUSALS, REQUEST
from shared.domain.views import JobView
from shared.process.failpoints import failpoint
from shared.process.notifier import queue_name

router = APIRouter()

_ENOUGH_BELLS = 64
"""Whoever hears a bell works until nothing waits. So where so many jobs wait, each of which has rung, one more would
wake nobody; and if there are more idle hands than that, they look for themselves within a second."""
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The job has ended within the time of `Prefer: wait`.", "model": JobView},
    202: {"description": "The job is taken."},
}


@router.post("/segment/", status_code=202, responses={**_ANSWERS, **problems(*REFUSALS)}, openapi_extra=REQUEST)
@router.post("/segment", status_code=202, include_in_schema=False)
async def submit(
    request: Request, response: Response, services: ServicesDep, caller: Submitter, after: BackgroundTasks
) -> JobView:
    """Queue an image to be segmented. The answer is the job; its `urls.self` tells how it goes on."""
    new = await services.intake.read(request, caller)
    await services.store.require_workers(new.request.model_id)
    failpoint("api.read")
    state = await services.store.submit(new)
    job_id = state.job.id
    failpoint("api.submitted")
    bind_contextvars(job_id=job_id)
    response.headers["Location"] = f"/jobs/{job_id}"
    queue = queue_name(new.request.model_id)
    wait_s = preferred_wait_s(request.headers.getlist("prefer"), services.settings.http.max_wait_s)
    if (state.queue_position or 0) < _ENOUGH_BELLS:
        ringing = asyncio.create_task(run_in_threadpool(services.notifier.notify, queue, job_id))
        after.add_task(asyncio.wait, [ringing])
    if wait_s:
        state = await services.watcher.read_once(
            job_id, lambda state: state.job.status.is_terminal, wait_s, request.receive
        )
        response.headers["Preference-Applied"] = f"wait={wait_s:.0f}"
        response.status_code = 200 if state.job.status.is_terminal else 202
    add_job_headers(response, state)
    return job_view(state, request)
