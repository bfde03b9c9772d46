"""/livez and /readyz, for orchestrators."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel
from redis.exceptions import RedisError

from api.dependencies import ServicesDep

router = APIRouter()


class Readiness(BaseModel):
    """Whether jobs can be accepted, and the number of live workers per model."""

    store: bool
    live_workers: dict[str, int]


@router.head("/livez", include_in_schema=False)
@router.get("/livez", operation_id="get_liveness")
async def live() -> dict[str, str]:
    """Whether this process answers. Does not check Redis: a restart of this process would not bring it back."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", operation_id="get_readiness", responses={503: {"model": Readiness}})
async def ready(services: ServicesDep, response: Response) -> Readiness:
    """Whether jobs can be accepted: 200 if the store answers. No worker is needed, since jobs can wait."""
    try:
        workers = {name: await services.store.live_workers(name) for name in services.models}
        return Readiness(store=True, live_workers=workers)
    except RedisError:
        response.status_code = 503
        return Readiness(store=False, live_workers=dict.fromkeys(services.models, 0))
