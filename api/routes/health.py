"""/livez and /readyz, for orchestrators."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from redis.exceptions import RedisError

from api.dependencies import ServicesDep
from api.http.openapi import problems
from api.services import Services
from shared.errors import InvalidField, StoreUnconfirmed
from shared.store.server_faults import public_reason_of

router = APIRouter()

Excluded = Annotated[
    Literal["submissions"] | None,
    Query(
        description="`submissions`: 200 whenever the store answers. For what sends requests to front ends: they answer "
        "all others although no job is accepted."
    ),
]


class Readiness(BaseModel):
    """Why jobs are accepted, or are not."""

    store: bool = Field(description="Whether the store answers.")
    live_workers: dict[str, int] = Field(description="Workers of each model that take jobs now.")
    reason: str | None = Field(None, description="Why the store takes no jobs now; missing if it does.")


@router.head("/livez", include_in_schema=False)
@router.get("/livez", operation_id="get_liveness")
async def live() -> dict[str, str]:
    """Whether this process answers. Does not check Redis: a restart of this process would not bring it back."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    operation_id="get_readiness",
    response_model_exclude_none=True,
    responses=problems(InvalidField) | {503: {"model": Readiness, "description": "No job is accepted now."}},
)
async def ready(services: ServicesDep, response: Response, exclude: Excluded = None) -> Readiness:
    """Whether jobs are accepted: 200 if they are for at least one model, by the rules that submissions follow."""
    readiness = await _readiness(services)
    if readiness.store and exclude != "submissions":
        is_ready, readiness.reason = await _accepts_any(services)
    else:
        is_ready = readiness.store
    response.status_code = 200 if is_ready else 503
    return readiness


async def _readiness(services: Services) -> Readiness:
    """What can be read of the store."""
    try:
        workers = {name: await services.store.live_workers(name) for name in services.models}
    except RedisError as error:
        return Readiness(store=False, live_workers=dict.fromkeys(services.models, 0), reason=public_reason_of(error))
    return Readiness(store=True, live_workers=workers, reason=None)


async def _accepts_any(services: Services) -> tuple[bool, str | None]:
    """Whether jobs are accepted for a model; and why the store takes none, if it does not."""
    try:
        return any([await services.store.accepts(name) for name in services.models]), None
    except RedisError as error:
        return False, public_reason_of(error)
    except StoreUnconfirmed as error:
        return False, error.detail
