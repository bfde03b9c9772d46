"""/livez and /readyz, for orchestrators."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from redis.exceptions import RedisError

from api.dependencies import ServicesDep
from shared.store.server_faults import public_reason_of

router = APIRouter()


class Readiness(BaseModel):
    """Whether jobs can be accepted, and the number of live workers per model."""

    store: bool
    live_workers: dict[str, int]
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
    responses={503: {"model": Readiness, "description": "There is no primary that answers."}},
)
async def ready(services: ServicesDep, response: Response) -> Readiness:
    """Whether the store answers as a primary. No worker is needed, since jobs can wait. A store whose memory or disk is
    full is ready: it refuses jobs, and what it has can be read."""
    try:
        workers = {name: await services.store.live_workers(name) for name in services.models}
        return Readiness(store=True, live_workers=workers)
    except RedisError as error:
        response.status_code = 503
        none = dict.fromkeys(services.models, 0)
        return Readiness(store=False, live_workers=none, reason=public_reason_of(error))
