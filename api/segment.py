"""POST /segment/: take a job."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, BackgroundTasks, Request, Response

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


@router.post("/segment/", status_code=202, openapi_extra={"requestBody": _REQUEST_BODY, "parameters": [_KEY]})
@router.post("/segment", status_code=202, include_in_schema=False)
async def submit(request: Request, response: Response, services: ServicesDep, after: BackgroundTasks) -> JobView:
    """Queue an image to be segmented. The answer is the job; its `urls.self` tells how it goes on."""
    new = await services.intake.read(request)
    fault_point("api.read")
    job_id = await services.store.submit(new)
    fault_point("api.submitted")
    after.add_task(services.doorbell.ring, job_id, new.request.model_id)
    state = await services.store.read(job_id)
    view = JobView.of(state.job, state.queue_position, state.result, str(request.base_url))
    response.headers["Location"] = f"/jobs/{job_id}"
    response.headers["Retry-After"] = "1"
    return view
