"""/livez and /readyz, for orchestrators."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from redis.exceptions import RedisError

from api.dependencies import ServicesDep
from api.http.openapi import problems
from api.services import Services
from shared.errors import InvalidField
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
    reason: str | None = Field(None, description="Why the store cannot be used now; missing if it can.")


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
    try:
        workers = {name: await services.store.live_workers(name) for name in services.models}
        if exclude != "submissions" and not await _accepts_any(services):
            response.status_code = 503
        return Readiness(store=True, live_workers=workers)
    except RedisError as error:
        response.status_code = 503
        none = dict.fromkeys(services.models, 0)
        return Readiness(store=False, live_workers=none, reason=public_reason_of(error))


async def _accepts_any(services: Services) -> bool:
    return any([await services.store.accepts(name) for name in services.models])
