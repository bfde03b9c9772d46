"""Who is calling, what they may do, and which jobs they may see. Every route that shows or changes jobs asks here.

These are dependencies, and yet come before the body is read: no route declares one as a parameter, so FastAPI leaves it
on the wire until the route itself takes it. A test holds that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from api.services import ServicesDep
from shared.domain.api_key import ApiKey, Scope
from shared.domain.job import ANONYMOUS, Job, is_job_id
from shared.errors import JobNotFound, KeyRequired, RateLimited, ScopeMissing
from shared.store.api_keys import Admission
from shared.store.job_state import JobState

_BEARER = HTTPBearer(auto_error=False, description="An API key, made with `scripts/keys create`.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key, for clients without Bearer.")


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    owner: str
    """Whose the jobs are that it submits, and which it may see."""
    is_admin: bool = False
    """It may see and cancel everybody's."""
    share: int = 1
    """Of its jobs in the order of service."""

    def may_see(self, job: Job) -> bool:
        return self.is_admin or job.owner == self.owner


async def _caller(
    request: Request,
    services: ServicesDep,
    needed: SecurityScopes,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    header: Annotated[str | None, Depends(_HEADER)],
) -> Caller:
    """The caller, who has shown a key with the scopes needed and is within its rate.

    Raises:
        KeyRequired, ScopeMissing, RateLimited: it has not, or is not.
    """
    if services.settings.http.require_keys is False:
        return Caller(ANONYMOUS)
    secret = bearer.credentials if bearer else header
    admission = await services.keys.admit(secret) if secret else None
    if admission is None:
        raise KeyRequired("send a key as `Authorization: Bearer maskq_...` or `X-API-Key: maskq_...`")
    request.state.caller = admission.key.id
    request.state.answer_headers = _rate_headers(admission)
    if not admission.is_within_rate:
        wait_s = admission.retry_after_s
        raise RateLimited(f"this key may send its next request in {wait_s:.1f} s", wait_s)
    _require_scopes(admission.key, needed)
    is_admin = Scope.ADMIN in admission.key.scopes
    return Caller(admission.key.id, is_admin, admission.key.share)


def _require_scopes(key: ApiKey, needed: SecurityScopes) -> None:
    missing = set(needed.scopes) - key.scopes
    if missing and Scope.ADMIN not in key.scopes:
        raise ScopeMissing(f"it needs the scope {', '.join(sorted(missing))}")


def _rate_headers(admission: Admission) -> dict[str, str]:
    """How the key stands, in the fields of draft-ietf-httpapi-ratelimit-headers-10. Its quota is its burst, and the
    window the time in which it earns that again."""
    return {
        "RateLimit-Policy": f'"key";q={admission.key.burst};w={admission.window_s}',
        "RateLimit": f'"key";r={admission.remaining};t={round(admission.refilled_s + 0.499)}',
    }


Submitter = Annotated[Caller, Security(_caller, scopes=[Scope.SUBMIT])]
"""A caller that may hand in jobs, and cancel its own."""
Reader = Annotated[Caller, Security(_caller, scopes=[Scope.READ])]
"""A caller that may look at its own jobs."""
Admin = Annotated[Caller, Security(_caller, scopes=[Scope.ADMIN])]
"""A caller that may do everything. Without keys nobody is told apart, so everybody passes."""


async def _checked_id(job_id: str) -> str:
    if not is_job_id(job_id):
        raise JobNotFound("this is not a job id; ids look like 0197a2b4-5c6d-7e8f-9a0b-1c2d3e4f5a6b")
    return job_id


async def _own_job(
    job_id: Annotated[str, Depends(_checked_id)], services: ServicesDep, caller: Annotated[Caller, Depends(_caller)]
) -> JobState:
    """The job in the path, if it is the caller's to see. Another's is not found, as if it did not exist.

    Raises:
        JobNotFound, JobExpired: as the store's `read`.
    """
    state = await services.store.read(job_id)
    if not caller.may_see(state.job):
        raise JobNotFound("no job has this id")
    return state


OwnJob = Annotated[JobState, Security(_own_job, scopes=[Scope.READ])]
"""The job in the path, for a caller that may look at it."""
OwnJobToChange = Annotated[JobState, Security(_own_job, scopes=[Scope.SUBMIT])]
"""The job in the path, for a caller that may change it."""
