"""POST /segment/: take a job."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, BackgroundTasks, Request, Response
from starlette.concurrency import run_in_threadpool
from structlog.contextvars import bind_contextvars

from api.caller import Submitter
from api.headers import preferred_wait_s
from api.jobs import add_job_headers, job_view
from api.services import ServicesDep
from shared.faults import fault_point
from shared.job import MaskFormat, Priority
from shared.wire import JobView

router = APIRouter()

_PROPERTIES: dict[str, Any] = {
    "prompt": {"type": "string", "minLength": 1, "description": "`cat`, `segment cat` or `cat ; dog`."},
    "image_url": {"type": "string", "format": "uri", "description": "https, on the public Internet."},
    "model_id": {"type": "string", "description": "One of GET /models; the default is the one it lists."},
    "timeout": {"type": "number", "exclusiveMinimum": 0, "description": "Seconds until the job is canceled."},
    "priority": {"type": "string", "enum": list(Priority), "default": Priority.NORMAL},
    "mask_format": {
        "type": "array",
        "items": {"type": "string", "enum": list(MaskFormat)},
        "description": "How to write masks. Several are allowed; the default is `rle`.",
    },
}
_FILE = {"image_file": {"type": "string", "format": "binary", "description": "JPEG, PNG or WebP."}}
_BASE64 = {"image_base64": {"type": "string", "format": "byte", "description": "JPEG, PNG or WebP, base64."}}


def _body(image: dict[str, Any]) -> dict[str, Any]:
    """A body with a prompt and exactly one image: `image` or a URL."""
    one_of = [{"required": [name]} for name in (*image, "image_url")]
    return {
        "schema": {"type": "object", "required": ["prompt"], "properties": {**_PROPERTIES, **image}, "oneOf": one_of}
    }


_REQUEST_BODY = {
    "required": True,
    "content": {"multipart/form-data": _body(_FILE), "application/json": _body(_BASE64)},
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 255},
    "description": "The same key and the same request give the same job again, for a day.",
}


_PREFER = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string"},
    "description": "`wait=N` holds the answer for up to N seconds (at most 60): 200 if the job has ended by then.",
}


@router.post(
    "/segment/",
    status_code=202,
    openapi_extra={"requestBody": _REQUEST_BODY, "parameters": [_KEY, _PREFER]},
)
@router.post("/segment", status_code=202, include_in_schema=False)
async def submit(
    request: Request, response: Response, services: ServicesDep, caller: Submitter, after: BackgroundTasks
) -> JobView:
    """Queue an image to be segmented. The answer is the job; its `urls.self` tells how it goes on."""
    new = await services.intake.read(request, caller)
    fault_point("api.read")
    job_id = await services.store.submit(new)
    fault_point("api.submitted")
    bind_contextvars(job_id=job_id)
    response.headers["Location"] = f"/jobs/{job_id}"
    wait_s = preferred_wait_s(request.headers.getlist("prefer"), services.settings.max_wait_s)
    if not wait_s:
        after.add_task(services.doorbell.ring, job_id)
        state = await services.store.read(job_id)
    else:
        await run_in_threadpool(services.doorbell.ring, job_id)
        state = await services.watcher.read_once(job_id, lambda state: state.job.status.is_terminal, wait_s)
        response.headers["Preference-Applied"] = f"wait={wait_s:.0f}"
        response.status_code = 200 if state.job.status.is_terminal else 202
    add_job_headers(response, state)
    return job_view(state, request)
