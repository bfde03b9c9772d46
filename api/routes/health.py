"""/livez and /readyz, for orchestrators."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel
from redis.exceptions import RedisError

from api.services import ServicesDep

router = APIRouter()


class Readiness(BaseModel):
    """Whether jobs can be taken, and who is there to do them."""

    store: bool
    live_workers: dict[str, int]


@router.get("/livez")
async def live() -> dict[str, str]:
    """This process answers. Says nothing of Redis: restarting us would not bring it back."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"model": Readiness}})
async def ready(services: ServicesDep, response: Response) -> Readiness:
    """Jobs can be taken: 200 if the store answers, even before the first worker is there, since jobs can wait."""
    try:
        workers = {name: await services.store.live_workers(name) for name in services.models}
        return Readiness(store=True, live_workers=workers)
    except RedisError:
        response.status_code = 503
        return Readiness(store=False, live_workers=dict.fromkeys(services.models, 0))
