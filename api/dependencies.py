"""What routes declare as parameters: the services, the caller, and the job in the path that this caller may use.

Every route that shows or changes jobs declares a caller or a job from here, so it requires an API key. FastAPI resolves
these before the body is read: no route declares its body, so FastAPI leaves it unread until the route reads it itself.
A test checks both.
"""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from api.auth.caller import Caller
from api.auth.charges import charge_of
from api.auth.link import require_time
from api.http.access_log import add_answer_headers
from api.http.request_memory import memory_of
from api.services import Services
from shared.domain.api_key import ApiKey, Scope, fingerprint
from shared.domain.batch import Batch, Closed
from shared.domain.job import ANONYMOUS, is_job_id
from shared.errors import (
    BatchNotFound,
    InvalidField,
    JobDeleted,
    JobExpired,
    JobNotFound,
    KeyRequired,
    RateLimited,
    ScopeMissing,
    StoreUnconfirmed,
)
from shared.store.api_keys import Admission
from shared.store.job_state import JobState

_BEARER = HTTPBearer(auto_error=False, description="An API key, made with `scripts/keys create`.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key, for clients without Bearer.")


async def _services(request: Request) -> Services:  # async: FastAPI would call a plain function in a thread
    return cast(Services, request.app.state.services)


ServicesDep = Annotated[Services, Depends(_services)]
"""The services of this process."""


async def _key_sha256(
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    header: Annotated[str | None, Depends(_HEADER)],
) -> str:
    secret = bearer.credentials if bearer else header
    return fingerprint(secret) if secret else ""


SentKey = Annotated[str, Depends(_key_sha256)]
"""Fingerprint of the API key in the headers; empty without one."""


async def _caller(request: Request, services: ServicesDep, needed: SecurityScopes, key_sha256: SentKey) -> Caller:
    return await admitted(request, services, needed, key_sha256)


async def admitted(request: Request, services: Services, needed: SecurityScopes, key_sha256: str) -> Caller:
    """The caller with this API key, which has the needed scopes and is within its rate limit. From here on the memory
    that the request takes counts for it.

    Raises:
        KeyRequired: there is no key, or it is unknown.
        ScopeMissing: the key lacks a scope.
        RateLimited: the key is over its rate limit.
    """
    caller = await _identified(request, services, needed, key_sha256)
    memory_of(request).count_for(caller.client, caller.share)
    return caller


async def _identified(request: Request, services: Services, needed: SecurityScopes, key_sha256: str) -> Caller:
    address = request.client.host if request.client else ""
    if services.http.require_keys is False:
        return Caller(ANONYMOUS, address=address)
    admission = await services.keys.admit(key_sha256, charge_of(request)) if key_sha256 else None
    if admission is None:
        raise KeyRequired("send a key as `Authorization: Bearer maskq_...` or `X-API-Key: maskq_...`")
    request.state.caller = admission.key.id
    add_answer_headers(request, _rate_headers(admission))
    if not admission.is_within_rate:
        wait_s = admission.retry_after_s
        raise RateLimited(f"this key may {admission.kind} again in {wait_s:.1f} s", wait_s)
    key = admission.key
    _require_scopes(key, needed)
    return Caller(
        key.id,
        is_admin=key.allows(Scope.ADMIN),
        may_read=key.allows(Scope.READ),
        share=key.share,
        address=address,
        key_sha256=key_sha256,
    )


async def require_valid(caller: Caller, services: Services) -> None:
    """Check again, after a wait, that the caller's link has not ended and its key has not been revoked.

    Raises:
        LinkExpired, KeyRequired: it has.
    """
    require_time(caller.until)
    if caller.key_sha256 and not await services.keys.is_valid(caller.key_sha256):
        raise KeyRequired("this key was revoked")


def _require_scopes(key: ApiKey, needed: SecurityScopes) -> None:
    missing = [scope for scope in needed.scopes if not key.allows(Scope(scope))]
    if missing:
        raise ScopeMissing(f"it needs the scope {', '.join(sorted(missing))}")


def _rate_headers(admission: Admission) -> dict[str, str]:
    """The rate limit of the key for this kind of request, by which it is named, in the fields of
    draft-ietf-httpapi-ratelimit-headers-10. The quota is the burst; the window is the time in which the key earns a
    whole burst again."""
    return {
        "RateLimit-Policy": f'"{admission.kind}";q={admission.quota};w={admission.window_s}',
        "RateLimit": f'"{admission.kind}";r={admission.remaining};t={round(admission.refilled_s + 0.499)}',
    }


Submitter = Annotated[Caller, Security(_caller, scopes=[Scope.SUBMIT])]
"""A caller that may submit jobs, and cancel its own."""
Reader = Annotated[Caller, Security(_caller, scopes=[Scope.READ])]
"""A caller that may read its own jobs."""
AnyCaller = Annotated[Caller, Security(_caller)]
"""A caller with any scope."""


async def _checked_id(job_id: str) -> str:
    if not is_job_id(job_id):
        raise JobNotFound("this is not a job id; ids look like 0197a2b4-5c6d-7e8f-9a0b-1c2d3e4f5a6b")
    return job_id


JobId = Annotated[str, Depends(_checked_id)]
"""The id in the path."""


async def _own_job(job_id: JobId, services: ServicesDep, caller: Annotated[Caller, Depends(_caller)]) -> JobState:
    return await job_of(job_id, services, caller)


async def job_of(job_id: str, services: Services, caller: Caller, *, with_result: bool = False) -> JobState:
    """A job, if the caller may see it. Another owner's job is not found, as if it did not exist.

    Raises:
        JobNotFound, JobExpired: as the store's `read`.
    """
    state = await services.store.read(job_id, with_result=with_result)
    if not caller.may_see(state.job):
        raise JobNotFound("no job has this id")
    return state


OwnJob = Annotated[JobState, Security(_own_job, scopes=[Scope.READ])]
"""The job in the path, without its result, for a caller that may read it."""
OwnJobToChange = Annotated[JobState, Security(_own_job, scopes=[Scope.SUBMIT])]
"""The same for a caller that may change it."""


async def _own_job_to_delete(
    job_id: JobId, services: ServicesDep, caller: Annotated[Caller, Depends(_caller)]
) -> JobState:
    try:
        return await job_of(job_id, services, caller)
    except JobDeleted:
        await services.store.confirm()  # an earlier request has deleted it, and may not have been confirmed
        raise


OwnJobToDelete = Annotated[JobState, Security(_own_job_to_delete, scopes=[Scope.SUBMIT])]
"""The same for a caller that may delete it."""

OWN_JOB_ERRORS = (JobNotFound, JobExpired, JobDeleted, StoreUnconfirmed, InvalidField)
"""What a route with a job in its path may raise."""


async def _batch_to_delete(batch_id: str, services: ServicesDep, caller: Annotated[Caller, Depends(_caller)]) -> Batch:
    batch = await services.batches.read(batch_id) if is_job_id(batch_id) else None
    if batch is None or not caller.may_see(batch):
        raise BatchNotFound("no batch has this id")
    return batch


async def _own_batch(batch: Annotated[Batch, Depends(_batch_to_delete)]) -> Batch:
    """The batch in the path, if the caller may see it.

    Raises:
        BatchNotFound: there is none, it was deleted, or it has another owner.
    """
    if batch.closed == Closed.DELETED:
        raise BatchNotFound("it was deleted")
    return batch


OwnBatch = Annotated[Batch, Security(_own_batch, scopes=[Scope.READ])]
"""The batch in the path, for a caller that may read it."""
OwnBatchToChange = Annotated[Batch, Security(_own_batch, scopes=[Scope.SUBMIT])]
"""The batch in the path, for a caller that may change it."""
OwnBatchToDelete = Annotated[Batch, Security(_batch_to_delete, scopes=[Scope.SUBMIT])]
"""The same, also if it was deleted before: that may have ended half-way."""
