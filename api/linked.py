"""What routes declare to which signed links lead: the caller and its job, by API key or by link.

A link has the rights of the API key that asked for it, for reading one resource. It counts for that key and ends with
it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Query, Request, Security
from fastapi.security import SecurityScopes

from api.auth.caller import Caller
from api.auth.link import INVALID, PARAMETER, GivenLink, require_time
from api.dependencies import OWN_JOB_ERRORS, JobId, SentKey, ServicesDep, admitted, job_of
from api.http.access_log import add_answer_headers
from api.http.public_address import prefix
from api.services import Services
from shared.domain.api_key import Scope
from shared.errors import KeyRequired, LinkExpired, LinkInvalid
from shared.store.job_state import JobState

_HEADERS = {"Cross-Origin-Resource-Policy": "cross-origin", "Cache-Control": "private, no-cache"}
"""Of answers to a link. Pages of other origins may show the picture. Browsers ask before they show their copy, because
the link may have ended."""


async def _caller(
    request: Request,
    services: ServicesDep,
    needed: SecurityScopes,
    key_sha256: SentKey,
    signature: Annotated[str | None, Query(alias=PARAMETER, include_in_schema=False)] = None,
) -> Caller:
    if signature is None:
        return await admitted(request, services, needed, key_sha256)
    caller = await _caller_of_link(request, services, needed)
    add_answer_headers(request, _HEADERS)
    return caller


async def _caller_of_link(request: Request, services: Services, needed: SecurityScopes) -> Caller:
    """The caller that asked for the link in the URL. An API key in the headers does not count.

    Raises:
        LinkInvalid: it is none for this URL, or its key was revoked.
        LinkExpired: its time is over.
        ScopeMissing, RateLimited: as for its key.
    """
    path: str = request.scope["path"].removeprefix(prefix(request))
    given = GivenLink.parse(path, request.scope["query_string"].decode("latin-1"))
    link = given.verified(await services.keys.link_secret())
    require_time(link.expires_at)
    try:
        return replace(await admitted(request, services, needed, link.key_sha256), until=link.expires_at)
    except KeyRequired:
        raise LinkInvalid(INVALID) from None


async def _own_job(job_id: JobId, services: ServicesDep, caller: Annotated[Caller, Depends(_caller)]) -> JobState:
    return await job_of(job_id, services, caller)


LinkedReader = Annotated[Caller, Security(_caller, scopes=[Scope.READ])]
"""A caller that may read its own jobs, or has a link."""
LinkedJob = Annotated[JobState, Security(_own_job, scopes=[Scope.READ])]
"""The job in the path, for a caller that may read it, or has a link."""
LINKED_JOB_ERRORS = (*OWN_JOB_ERRORS, LinkInvalid, LinkExpired)
"""What a route with such a job may raise."""
