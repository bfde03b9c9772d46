"""POST /jobs/{id}/links: signed URLs with which a browser shows a job's pictures and follows its events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.auth.link import Link
from api.dependencies import OWN_JOB_ERRORS, OwnJob, Reader, ServicesDep
from api.formats import ResultFormat
from api.http.openapi import problems
from api.http.public_address import base_url
from api.http.unknown_names import about_unknown
from api.submission.json_object import parse_json_object
from shared.domain.views import JobUrls
from shared.errors import InvalidField, MalformedRequest
from shared.store.job_state import JobState

router = APIRouter(prefix="/jobs/{job_id}")

_MAX_BODY_BYTES = 1_000
_FOREIGN = dict.fromkeys(("expires_in", "expires", "expiry", "ttl", "seconds", "timeout", "max_age"), "expires_in_s")
"""The field by the names that other services give it."""


class LinkRequest(BaseModel):
    """Which links are wanted."""

    model_config = ConfigDict(strict=True, extra="forbid")

    expires_in_s: float = Field(300, ge=1, le=3_600, description="Seconds for which the links work.")


class JobLinks(BaseModel):
    """URLs that need no API key until they expire. Each works for `GET` and `HEAD`, exactly as it is."""

    expires_at: datetime
    events: str = Field(description="The states of the job, for `EventSource`. The last one has the result.")
    overlay: str = Field(description="The image with the masks drawn over it.")
    picture: str = Field(description="The image without masks.")
    masks: list[str] = Field(description="One PNG per object; empty before the job has succeeded.")
    results: dict[ResultFormat, str] = Field(description="The result by format.")

    @classmethod
    def of(cls, state: JobState, expires_at: int, url: Callable[[str], str]) -> JobLinks:
        """The links of a job. `url` makes one of a path and its query."""
        paths = JobUrls.of(state.job.id, "", len(state.result.objects) if state.result else 0)
        return cls(
            expires_at=datetime.fromtimestamp(expires_at, UTC),
            events=url(paths.events),
            overlay=url(paths.overlay),
            picture=url(f"{paths.self}/picture.png"),
            masks=[url(path) for path in paths.masks],
            results={name: url(f"{paths.result}?format={name}") for name in ResultFormat},
        )


_BODY: dict[str, Any] = {"content": {"application/json": {"schema": LinkRequest.model_json_schema()}}}


@router.post(
    "/links",
    operation_id="create_links",
    responses=problems(*OWN_JOB_ERRORS, MalformedRequest, InvalidField),
    openapi_extra={"requestBody": _BODY},
)
async def create_links(state: OwnJob, request: Request, services: ServicesDep, caller: Reader) -> JobLinks:
    """Signed URLs of the job for a browser, which sends no API key for pictures and event streams.

    Whoever has such a URL may read what it names until it expires, or until the job or the API key is gone. Its
    requests count for the API key.
    """
    wanted = await _wanted(request)
    expires_at = math.ceil(time.time() + wanted.expires_in_s)
    secret = await services.keys.link_secret()
    state = await services.store.read(state.job.id)  # with the result, which says how many masks there are
    return JobLinks.of(state, expires_at, partial(_url, base_url(request), secret, expires_at, caller.key_sha256))


def _url(base: str, secret: bytes, expires_at: int, key_sha256: str, resource: str) -> str:
    return base.rstrip("/") + Link(resource, expires_at, key_sha256).signed(secret)


async def _wanted(request: Request) -> LinkRequest:
    """What the body says; the defaults without one.

    Raises:
        MalformedRequest: it is no JSON object, or long.
        InvalidField: a field is wrong or unknown.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY_BYTES:
            raise MalformedRequest(f"this body has at most {_MAX_BODY_BYTES:,} bytes")
    fields = parse_json_object(body, ()) if body else {}
    known = list(LinkRequest.model_fields)
    if unknown := [name for name in fields if name not in known]:
        raise InvalidField("; ".join(about_unknown(name, "field", known, _FOREIGN) for name in unknown[:10]))
    try:
        return LinkRequest.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from None
